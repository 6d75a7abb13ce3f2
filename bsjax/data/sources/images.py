"""From image files to one array."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from bsjax.data.dataset import DataError, quoted

Pixels = UInt8[np.ndarray, 'height width channel']
RULES = 3  # raised when the same file becomes other pixels
# What Pillow decodes itself: for PostScript it would start an interpreter.
FORMATS = ('AVIF', 'BMP', 'DDS', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'PPM', 'TIFF', 'WEBP')
MOST_PIXELS = Image.MAX_IMAGE_PIXELS
GREY = ('1', 'L', 'LA', 'La')  # Pillow's modes


def decode(file: Path | io.BytesIO, name: str, mode: str | None = None) -> Pixels:
  """The pixels of an image file, in Pillow's `mode`, or else as grey or RGB as they are.

  Without a `mode` images are turned as their camera was held (EXIF). Raises DataError where pixels
  would be made up or left out: transparent ones, several frames, more than 8 bits.
  """
  try:
    with Image.open(file, formats=_formats()) as image:
      if image.width * image.height > MOST_PIXELS:
        raise DataError(f'{name} claims {image.width:,} x {image.height:,} pixels; replace it')
      deep = _deep(image)  # which loading forgets
      image.load()
      if deep or image.mode.startswith(('I', 'F')):
        raise DataError(f'{name} has more than 8 bits a channel; convert it to 8 bits')
      if getattr(image, 'n_frames', 1) > 1 and image.format != 'MPO':  # of cameras, with a preview
        raise DataError(f'{name} has {image.n_frames} frames; keep the one that is meant')
      if mode != 'RGBA' and image.has_transparency_data and _transparent(image):
        raise DataError(
          f'{name} has transparent pixels (an alpha channel), whose colour is not meant to be seen;'
          ' put it on a background'
        )
      if mode is None:
        image = ImageOps.exif_transpose(image)
      pixels = np.asarray(image.convert(mode or ('L' if image.mode in GREY else 'RGB')))
  except DataError:
    raise
  except Exception as error:  # Pillow's plugins raise what comes up: of struct, SyntaxError, ...
    raise DataError(
      f'{name} cannot be decoded: {error or type(error).__name__}; replace or drop it'
    ) from error
  return pixels.reshape(*pixels.shape[:2], -1)


def _formats() -> list[str]:
  Image.init()
  return [name for name in FORMATS if name in Image.OPEN]


def _deep(image: Image.Image) -> bool:
  """Whether the file has 16 bits a channel, of which Pillow would take the upper 8 in silence."""
  return any(
    ';16' in str(tile[3]) or (tile[0].startswith('ppm') and str(tile[3]).endswith(' 65535)'))
    for tile in image.tile
  )


def _transparent(image: Image.Image) -> bool:
  return image.convert('RGBA').getextrema()[3][0] < 255


def stack(
  named_images: Iterable[tuple[str, Pixels]], count: int
) -> UInt8[np.ndarray, 'example height width channel']:
  """One array of `count` images, all of the first one's shape."""
  images, others = None, []
  for index, (name, pixels) in enumerate(named_images):
    if images is None:
      images = np.empty((count, *pixels.shape), np.uint8)
    if pixels.shape == images.shape[1:]:
      images[index] = pixels
    else:
      others.append(f'{name} {pixels.shape}')
  if images is None or not images.size:
    raise DataError(f'{count} images with pixels: none; add some')
  if others:
    raise DataError(
      f'{len(others)} of {count} images differ from the first in shape {images.shape[1:]} (height,'
      f' width, channels): {quoted(others)}; bring them to one shape'
    )
  return images
