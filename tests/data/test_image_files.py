"""Image files of many kinds: their pixels as they are meant, or a refusal that names the file."""

import io
import struct
import zlib

import hypothesis
import numpy as np
import pytest
from helpers import many
from helpers.builders import random_images
from hypothesis import strategies
from PIL import Image

from bsjax.data import DataError
from bsjax.data.sources.images import decode

COLOUR = random_images(1, 5, (6, 4, 3))[0]
GREY = COLOUR[..., :1]
BLACK_AND_WHITE = np.where(GREY > 127, np.uint8(255), np.uint8(0))
LOSSLESS = {'WEBP': {'lossless': True, 'exact': True}, 'TIFF': {'compression': 'tiff_lzw'}}


def saved(image, kind='PNG', **keywords):
  file = io.BytesIO()
  image.save(file, kind, **(LOSSLESS.get(kind, {}) | keywords))
  return file.getvalue()


def image_of(mode):
  """The image in a mode of Pillow, opaque where that knows transparency."""
  if mode in ('RGB', 'RGBA'):
    return Image.fromarray(COLOUR).convert(mode)
  if mode == 'P':
    return Image.fromarray(GREY[..., 0]).convert('RGB').quantize(24)
  return Image.fromarray((BLACK_AND_WHITE if mode == '1' else GREY)[..., 0]).convert(mode)


def read(content):
  return decode(io.BytesIO(content), 'a.file')


MEANT = [
  *((kind, mode) for kind in ('PNG', 'TIFF') for mode in ('1', 'L', 'LA', 'P', 'RGB', 'RGBA')),
  *(('GIF', mode) for mode in ('1', 'L', 'P')),
  *(('BMP', mode) for mode in ('1', 'L', 'P', 'RGB')),
  *(('PPM', mode) for mode in ('1', 'L', 'RGB')),
  *(('WEBP', mode) for mode in ('RGB', 'RGBA')),
  *(('JPEG2000', mode) for mode in ('L', 'RGB', 'RGBA')),
]


@pytest.mark.parametrize('kind, mode', MEANT)
def test_pixels_are_as_they_were_written_grey_or_colour(kind, mode):
  pixels = read(saved(image_of(mode), kind))
  wanted = {'1': BLACK_AND_WHITE, 'RGB': COLOUR, 'RGBA': COLOUR}.get(mode, GREY)
  if mode == 'P':  # of 24 greys, in a palette of colours
    wanted = np.asarray(image_of('P').convert('RGB'))
  elif kind in ('WEBP', 'GIF') and mode != '1':  # which have no grey, or a palette of it
    wanted = np.broadcast_to(wanted, COLOUR.shape)
  np.testing.assert_array_equal(pixels, wanted)


def test_inks_become_the_colours_that_they_print():
  inks = Image.merge('CMYK', [Image.new('L', (8, 8), ink) for ink in (0, 255, 255, 0)])  # red
  for kind, most in {'TIFF': 0, 'JPEG': 3}.items():
    pixels = read(saved(inks, kind)).astype(int)
    assert pixels.shape == (8, 8, 3) and np.abs(pixels - [255, 0, 0]).max() <= most


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'TIFF', 'WEBP'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_every_orientation_of_a_camera_is_undone(kind, orientation):
  turned = {
    1: COLOUR,
    2: COLOUR[:, ::-1],
    3: COLOUR[::-1, ::-1],
    4: COLOUR[::-1],
    5: COLOUR.swapaxes(0, 1),
    6: np.rot90(COLOUR),
    7: np.rot90(COLOUR.swapaxes(0, 1), 2),
    8: np.rot90(COLOUR, -1),
  }[orientation]
  exif = Image.Exif()
  exif[0x0112] = orientation
  lossy = {'quality': 100, 'subsampling': 0} if kind == 'JPEG' else {}
  pixels = read(saved(Image.fromarray(np.ascontiguousarray(turned)), kind, exif=exif, **lossy))
  assert np.abs(pixels.astype(int) - COLOUR).max() <= (8 if lossy else 0)


def png(depth, colour, samples):
  """A PNG of 2 x 2 pixels with so many bits of each sample, which Pillow does not write."""

  def chunk(name, content):
    return (
      struct.pack('>I', len(content))
      + name
      + content
      + struct.pack('>I', zlib.crc32(name + content))
    )

  row = b'\0' + bytes(range(2 * samples * depth // 8))
  header = struct.pack('>IIBBBBB', 2, 2, depth, colour, 0, 0, 0)
  parts = chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(2 * row)) + chunk(b'IEND', b'')
  return b'\x89PNG\r\n\x1a\n' + parts


def tiff16(samples):
  """A TIFF of 2 x 2 pixels with 16 bits of each sample."""
  pixels = bytes(range(8 * samples))
  bits, offset = (16, 0) if samples == 1 else (0, 200)
  tags = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, samples, bits or offset), (259, 3, 1, 1)]
  tags += [(262, 3, 1, 1 if samples == 1 else 2), (273, 4, 1, 220), (277, 3, 1, samples)]
  tags += [(278, 3, 1, 2), (279, 4, 1, len(pixels))]
  directory = struct.pack('<H', len(tags)) + b''.join(struct.pack('<HHII', *tag) for tag in tags)
  head = (b'II*\0' + struct.pack('<I', 8) + directory + bytes(4)).ljust(200, b'\0')
  return (head + struct.pack('<HHH', 16, 16, 16)).ljust(220, b'\0') + pixels


def frames(kind):
  others = [Image.fromarray(COLOUR[::-1]), Image.fromarray(COLOUR[:, ::-1])]
  return saved(Image.fromarray(COLOUR), kind, save_all=True, append_images=others)


def half_transparent(kind, mode='RGBA'):
  image = image_of(mode)
  image.putalpha(128)
  return saved(image, kind)


DEEP = Image.fromarray(np.arange(24, dtype=np.uint16).reshape(6, 4) * 1000)
REFUSED = {
  **{f'frames of {kind}': (frames(kind), '3 frames') for kind in ('GIF', 'PNG', 'TIFF', 'WEBP')},
  **{
    f'alpha of {kind}': (half_transparent(kind), 'transparent')
    for kind in ('PNG', 'TIFF', 'WEBP', 'JPEG2000')
  },
  'grey alpha': (half_transparent('TIFF', 'LA'), 'transparent'),
  'colour of a palette': (saved(image_of('P'), transparency=3), 'transparent'),
  'colour key': (saved(image_of('RGB'), transparency=tuple(COLOUR[0, 0].tolist())), 'transparent'),
  'PNG of 16 bits': (saved(DEEP), '8 bits'),
  'PNG of 16 bits of colour': (png(16, 2, 3), '8 bits'),
  'PNG of 16 bits and alpha': (png(16, 6, 4), '8 bits'),
  'TIFF of 16 bits': (saved(DEEP, 'TIFF'), '8 bits'),
  'TIFF of 16 bits, by hand': (tiff16(1), '8 bits'),
  'TIFF of 16 bits of colour': (tiff16(3), 'a.file'),
  'JPEG2000 of 16 bits': (saved(DEEP, 'JPEG2000'), '8 bits'),
  'TIFF of fractions': (saved(Image.fromarray(np.ones((2, 2), np.float32)), 'TIFF'), '8 bits'),
  'TIFF of 32 bits': (saved(Image.fromarray(np.ones((2, 2), np.int32)), 'TIFF'), '8 bits'),
}


@pytest.mark.parametrize('kind', REFUSED)
def test_what_would_lose_or_make_up_pixels_is_refused(kind):
  content, words = REFUSED[kind]
  with pytest.raises(DataError) as refused:
    read(content)
  said = str(refused.value)
  assert 'a.file' in said and words in said and '\n' not in said


WHOLE = {
  kind: saved(Image.fromarray(random_images(1, 1, (24, 20, 3))[0]), kind)
  for kind in ('AVIF', 'BMP', 'DDS', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'PPM', 'TIFF', 'WEBP')
}


@pytest.mark.filterwarnings('ignore')  # of Pillow, on tags
@many.many(1500)
@hypothesis.given(
  kind=strategies.sampled_from(sorted(WHOLE)),
  damage=strategies.sampled_from(['cut', 'flip', 'zero', 'insert', 'head']),
  random=strategies.randoms(use_true_random=False),
)
def test_a_damaged_image_is_refused_with_its_name_or_has_pixels(kind, damage, random):
  content = bytearray(WHOLE[kind])
  place = random.randrange(len(content))
  match damage:
    case 'cut':
      del content[place:]
    case 'flip':
      content[place] ^= 1 << random.randrange(8)
    case 'zero':
      content[place : place + 40] = bytes(40)
    case 'insert':
      content[place:place] = random.randbytes(9)
    case 'head':
      content[random.randrange(40)] = random.randrange(256)
  try:
    pixels = read(bytes(content))
  except DataError as error:
    many.outcome(refused=True)
    assert 'a.file' in str(error) and '\n' not in str(error)
  else:
    many.outcome(refused=False)
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[-1] in (1, 3)
    assert pixels.size


@pytest.mark.parametrize('kind', sorted(WHOLE))
def test_a_file_that_is_cut_before_its_last_tenth_is_refused(kind):
  content = WHOLE[kind]
  for length in range(0, len(content) * 9 // 10, max(1, len(content) // 40)):
    with pytest.raises(DataError, match=r'a\.file'):
      read(content[:length])
