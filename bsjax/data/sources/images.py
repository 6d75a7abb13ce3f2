"""From image files to one array."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from bsjax.data.dataset import DataError, quoted

Pixels = UInt8[np.ndarray, 'height width channel']
RULES = 2  # raised when the same file becomes other pixels
GREY = ('1', 'L', 'LA', 'La')  # Pillow's modes


def decode(file: Path | io.BytesIO, name: str, mode: str | None = None) -> Pixels:
  """The pixels of an image file, in Pillow's `mode`, or else as grey or RGB as they are.

  Without a `mode` images are turned as their camera was held (EXIF). Raises DataError where pixels
  would be made up or left out: transparent ones, several frames, more than 8 bits.
  """
  try:
    with Image.open(file) as image:
      image.load()
      if image.mode.startswith(('I', 'F')):
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
  if others:
    raise DataError(
      f'{len(others)} of {count} images differ from the first in shape {images.shape[1:]} (height,'
      f' width, channels): {quoted(others)}; bring them to one shape'
    )
  return images
