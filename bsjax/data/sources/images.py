"""From image files to one array."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from bsjax.data.dataset import DataError, quoted

Pixels = UInt8[np.ndarray, 'height width channel']


def decode(file: Path | io.BytesIO, name: str, mode: str | None = None) -> Pixels:
  """The pixels of an image file, in Pillow's `mode`, or else as grey or RGB as they are."""
  try:
    with Image.open(file) as image:
      if image.mode.startswith(('I', 'F')):
        raise DataError(f'{name} has more than 8 bits a channel; convert it to 8 bits')
      pixels = np.asarray(image.convert(mode or ('L' if image.mode in ('1', 'L') else 'RGB')))
  except (OSError, SyntaxError) as error:  # Pillow's word for a broken PNG is SyntaxError
    raise DataError(f'{name} cannot be decoded: {error}; replace or drop it') from error
  return pixels.reshape(*pixels.shape[:2], -1)


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
