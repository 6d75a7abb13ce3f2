"""Data sets on the host: four sources, a cache of decoded arrays, stratified splits.

Whatever the source, images become one uint8 array and labels the integers 0..C-1. Decoding is done
once: the arrays are kept as .npy files and memory-mapped afterwards, without importing the source's
library. The cache directory may be deleted at any time.
"""

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import socket
import urllib.parse
import urllib.request
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Float32, Int32, UInt8
from ml_collections import ConfigDict
from PIL import Image

Arrays = dict[str, np.ndarray]


class DataError(ValueError):
  """The data cannot be had as configured; the text says what to do about it."""


@dataclasses.dataclass(frozen=True)
class Split:
  """Examples to train on, or to validate on."""

  images: UInt8[np.ndarray, 'example height width channel']
  labels: Int32[np.ndarray, ' example']


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Training and validation examples; `mean` and `std` of the training pixels, in raw units."""

  name: str
  class_names: tuple[str, ...]
  train: Split
  validation: Split
  mean: Float32[np.ndarray, ' channel']
  std: Float32[np.ndarray, ' channel']

  @property
  def num_classes(self) -> int:
    return len(self.class_names)

  @property
  def image_shape(self) -> tuple[int, int, int]:
    return self.train.images.shape[1:]


class Raw(NamedTuple):
  """One split as its source has it: labels are integers or texts, class names in label order."""

  images: np.ndarray
  labels: np.ndarray
  class_names: tuple[str, ...] | None = None


def load(config: ConfigDict, seed: int) -> Dataset:
  """The data set of the `data` config; `seed` draws the stratified share and subset.

  Raises DataError with everything `problems` finds, or with what only reading the data can tell.
  """
  if found := problems(config):
    raise DataError('\n'.join(found))
  read = SOURCES[config.source].read
  train = read(config, 'train')
  own = None if config.validation == 'split' else read(config, config.validation)
  _check_shapes(config, train, own)
  values = np.unique(train.labels)
  names = train.class_names or tuple(str(value) for value in values)
  known = np.arange(len(names)) if train.class_names else values
  labels = _numbered(train.labels, known)
  chosen = _choose(config, labels, seed)
  # Where no example is left out, keep the memory map rather than a copy.
  images = train.images if len(chosen['train']) == len(labels) else train.images[chosen['train']]
  training = Split(images, labels[chosen['train']])
  if own is None:
    validation = Split(train.images[chosen['validation']], labels[chosen['validation']])
  else:
    validation = Split(own.images, _numbered(own.labels, known))
  name = config.name or Path(config.path).stem or config.source
  return Dataset(name, names, training, validation, *_mean_and_std(images))


def problems(config: ConfigDict) -> list[str]:
  """What is wrong with the `data` config, as far as can be told without reading the images."""
  found = []
  if not 0 < config.validation_share < 1:
    found.append(
      f'config.data.validation_share = {config.validation_share} must lie between 0 and 1, both'
      ' excluded; 0.2 holds out a fifth of the training data'
    )
  for key, unit in (('train_examples', 'examples; 0 takes all'), ('crop', 'pixels; 0: no crop')):
    if config[key] < 0:
      found.append(f'config.data.{key} = {config[key]} must be at least 0 {unit}')
  if config.validation == 'train':
    found.append(
      "config.data.validation = 'train' would validate on the training data; choose 'split' to hold"
      ' out a share of them, or the name of another split of the set'
    )
  if config.source in SOURCES:
    found += SOURCES[config.source].problems(config)
  else:
    known = ', '.join(sorted(SOURCES))
    found.append(f'config.data.source = {config.source!r} is unknown; choose one of {known}')
  return found


def _quoted(items: Sequence[Any], most: int = 3) -> str:
  """The first few offenders of an error message."""
  return ', '.join(map(repr, items[:most])) + (', ...' if len(items) > most else '')


# --- Labels, splits and statistics ---


def _check_shapes(config: ConfigDict, train: Raw, own: Raw | None) -> None:
  shape = train.images.shape[1:]
  if own is not None and own.images.shape[1:] != shape:
    raise DataError(
      f'the images of split {config.validation!r} are {own.images.shape[1:]}, those of the training'
      f' split {shape} (height, width, channels); bring them to one shape'
    )
  if config.crop >= min(shape[:2]):
    raise DataError(
      f'config.data.crop = {config.crop} may be at most {min(shape[:2]) - 1} on images of'
      f' {shape[0]} x {shape[1]} pixels, or crops could miss them; 0: no crop'
    )


def _numbered(labels: np.ndarray, known: np.ndarray) -> np.ndarray:
  """Labels as 0..C-1, their places in the sorted `known`."""
  if len(known) < 2:
    raise DataError(f'the only training label is {_quoted(known.tolist())}; 2 classes are needed')
  unknown = np.setdiff1d(labels, known)
  if len(unknown):
    raise DataError(
      f'{np.isin(labels, unknown).sum()} of {len(labels)} examples have labels that are none of the'
      f' {len(known)} training classes: {_quoted(unknown.tolist())}; correct or drop them'
    )
  return np.searchsorted(known, labels).astype(np.int32)


def _choose(config: ConfigDict, labels: np.ndarray, seed: int) -> Arrays:
  """Sorted indices of the training examples and of those held out, drawn class by class."""
  everything, nothing = np.arange(len(labels)), np.arange(0)
  held = round(config.validation_share * len(labels)) if config.validation == 'split' else 0
  if config.validation == 'split' or config.train_examples:
    _check_counts(config, labels, held)

  def draw() -> Arrays:
    # Importing this takes over a second: restarts find the indices in the cache instead.
    from sklearn.model_selection import train_test_split

    def part(indices: np.ndarray, size: int) -> list[np.ndarray]:
      drawing = {'stratify': labels[indices], 'random_state': seed}
      return train_test_split(indices, train_size=size, **drawing)

    train, validation = part(everything, len(labels) - held) if held else (everything, nothing)
    if 0 < config.train_examples < len(train):
      train, _ = part(train, config.train_examples)
    return {'train': np.sort(train), 'validation': np.sort(validation)}

  if held or 0 < config.train_examples < len(labels):
    if config.source == 'digits':  # comes with scikit-learn, and is never cached
      return draw()
    identity = ['split', zlib.crc32(labels), len(labels), held, config.train_examples, seed]
    return _cached(config, 'split', identity, 'drawing the stratified split', draw)
  return {'train': everything, 'validation': nothing}


def _check_counts(config: ConfigDict, labels: np.ndarray, held: int) -> None:
  classes, counts = np.unique(labels, return_counts=True)
  if counts.min() < 2:
    raise DataError(
      f'class number {classes[counts.argmin()]} has 1 training example, and a stratified choice'
      ' needs 2 of each class; add or drop some'
    )
  total, left = len(labels), len(labels) - held
  if config.validation == 'split' and not len(classes) <= held <= total - len(classes):
    raise DataError(
      f'config.data.validation_share = {config.validation_share} parts {total} examples into {left}'
      f' to train and {held} to validate on, and each part needs one of all {len(classes)} classes;'
      f' choose between {len(classes) / total:.3g} and {1 - len(classes) / total:.3g}'
    )
  # An example of every class among those passed over, too: scikit-learn insists.
  most = left - len(classes)
  if config.train_examples not in (0, left) and not len(classes) <= config.train_examples <= most:
    raise DataError(
      f'config.data.train_examples = {config.train_examples} must be between {len(classes)}, one of'
      f' each class, and {most}, or all {left} that are there for training; 0 takes all'
    )


def _mean_and_std(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Mean and standard deviation per channel, exact until the last division."""
  pixels = images.reshape(-1, images.shape[-1])
  histogram = np.zeros((pixels.shape[1], 256), np.int64)
  for start in range(0, len(pixels), 2**20):
    for counts, channel in zip(histogram, pixels[start : start + 2**20].T, strict=True):
      counts += np.bincount(channel, minlength=256)
  value, count = np.arange(256), len(pixels)
  # Python's integers, since count * squares outgrows 64 bits on CIFAR-10 already.
  moments = [(int(row @ value), int(row @ value**2)) for row in histogram]
  mean = np.asarray([total / count for total, _ in moments], np.float32)
  variance = [(count * squares - total**2) / count**2 for total, squares in moments]
  std = np.sqrt(variance).astype(np.float32)
  return mean, np.where(std > 0, std, np.float32(1))  # a constant channel becomes 0, not 0 / 0


# --- The cache of decoded arrays ---


def _cached(
  config: ConfigDict, label: str, identity: list, action: str, build: Callable[[], Arrays]
) -> Arrays:
  """The arrays `build` makes, memory-mapped from the folder of this label and identity."""
  root = Path(config.cache_dir or Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache', 'bsjax'))
  digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
  folder = root.expanduser() / f'{label}-{digest}'
  try:
    return _open(folder)
  except (OSError, ValueError) as error:
    if folder.exists():
      logging.warning('%s again: the cached %s is damaged: %s', action, folder, error)
      shutil.rmtree(folder, ignore_errors=True)
    else:
      logging.info('%s, once; cached in %s', action, folder)
  arrays = build()
  try:
    return _publish(folder, arrays)
  except OSError as error:
    raise DataError(
      f'cannot write decoded arrays to {folder}: {error}; set config.data.cache_dir to a directory'
      f' with {sum(array.nbytes for array in arrays.values()) / 2**20:.0f} MiB of room'
    ) from error


def _fingerprint(array: np.ndarray) -> list:
  return [array.dtype.str, list(array.shape), zlib.crc32(np.ascontiguousarray(array).data)]


def _open(folder: Path) -> Arrays:
  """The folder's arrays; OSError or ValueError where they are not there as written."""
  fingerprints = json.loads((folder / 'fingerprints.json').read_text())
  arrays = {name: np.load(folder / f'{name}.npy', mmap_mode='r') for name in fingerprints}
  for name, array in arrays.items():
    if _fingerprint(array) != fingerprints[name]:
      raise ValueError(f'{name}.npy is not what was written')
  return arrays


def _publish(folder: Path, arrays: Arrays) -> Arrays:
  """Writes the arrays beside `folder` and renames: other processes see all of them or none."""
  written = folder.with_name(f'{folder.name}.{uuid.uuid4().hex}')
  try:
    written.mkdir(parents=True)
    for name, array in arrays.items():
      np.save(written / f'{name}.npy', array)
    fingerprints = {name: _fingerprint(array) for name, array in arrays.items()}
    (written / 'fingerprints.json').write_text(json.dumps(fingerprints))
    opened = _open(written)  # the maps outlive renaming and removal
    with contextlib.suppress(OSError):  # another process was faster
      written.rename(folder)
    return opened
  finally:
    shutil.rmtree(written, ignore_errors=True)


def _stamp(path: Path) -> list:
  """What tells that a file was changed: its name, size in bytes and time in nanoseconds."""
  state = path.stat()
  return [path.name, state.st_size, state.st_mtime_ns]


# --- Decoding ---


def _pixels(file: Path | io.BytesIO, name: str, mode: str | None = None) -> np.ndarray:
  """An image file as uint8 [height, width, channel], in Pillow's `mode` or as grey or RGB."""
  try:
    with Image.open(file) as image:
      if image.mode.startswith(('I', 'F')):
        raise DataError(f'{name} has more than 8 bits a channel; convert it to 8 bits')
      pixels = np.asarray(image.convert(mode or ('L' if image.mode in ('1', 'L') else 'RGB')))
  except (OSError, SyntaxError) as error:
    raise DataError(f'{name} cannot be decoded: {error}; replace or drop it') from error
  return pixels.reshape(*pixels.shape[:2], -1)


def _stack(named_images: Iterable[tuple[str, np.ndarray]], count: int) -> np.ndarray:
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
      f' width, channels): {_quoted(others)}; bring them to one shape'
    )
  return images


# --- Source: scikit-learn's digits ---


def _only_split(config: ConfigDict) -> list[str]:
  if config.validation in ('split', 'train'):
    return []
  return [
    f'config.data.validation = {config.validation!r}: source {config.source!r} has no split of its'
    " own beside the training data; choose 'split'"
  ]


def _read_digits(config: ConfigDict, split: str) -> Raw:
  from sklearn.datasets import load_digits

  digits = load_digits()  # 8 x 8, values 0 to 16
  return Raw(digits.images.astype(np.uint8)[..., None], digits.target)


# --- Source: a folder of images with a CSV of labels ---


def _path(config: ConfigDict) -> Path:
  return Path(config.path).expanduser()


def _path_problem(config: ConfigDict, what: str) -> list[str]:
  if config.path and _path(config).exists():
    return []
  return [
    f'config.data.path = {config.path!r} does not exist; source {config.source!r} needs {what}'
  ]


def _image_folder_problems(config: ConfigDict) -> list[str]:
  if found := _path_problem(config, 'a folder with images and a CSV of their labels'):
    return found + _only_split(config)
  try:
    _read_label_csv(config)
  except DataError as error:
    return [str(error), *_only_split(config)]
  return _only_split(config)


def _read_label_csv(config: ConfigDict) -> tuple[list[str], np.ndarray]:
  """File names and labels: the first two columns below the header, as in `id,has_cactus`."""
  path = _path(config) / config.label_csv
  where = f'config.data.label_csv = {config.label_csv!r} ({path})'
  try:
    with path.open(newline='', encoding='utf-8-sig') as file:
      reader = csv.reader(file)
      lines = [(reader.line_num, row) for row in reader if row]
  except (OSError, UnicodeDecodeError) as error:
    raise DataError(f'{where} cannot be read: {error}; name a CSV in the folder') from error
  short = [number for number, row in lines if len(row) < 2]
  if short or len(lines) < 2:
    raise DataError(
      f'{where} needs a header and rows below it, of 2 columns or more, file name and label; of its'
      f' {len(lines)} lines {len(short)} are shorter'
      + (f': line {_quoted(short)}; complete them' if short else '; add the rows')
    )
  rows = [row for _, row in lines[1:]]
  names = [row[0] for row in rows]
  if len(set(names)) < len(names):
    values, counts = np.unique(names, return_counts=True)
    raise DataError(
      f'{where} lists {(counts > 1).sum()} files more than once: '
      f'{_quoted(values[counts > 1].tolist())}; keep one row each, or training and validation'
      ' examples overlap'
    )
  labels = np.asarray([row[1] for row in rows])
  with contextlib.suppress(ValueError):  # texts stay texts; numbers sort as numbers, 9 before 10
    labels = labels.astype(np.int64)
  return names, labels


def _read_image_folder(config: ConfigDict, split: str) -> Raw:
  folder = _path(config)
  names, labels = _read_label_csv(config)
  root = folder / 'train' if (folder / 'train').is_dir() else folder
  files, missing = [], []
  for name in names:
    try:
      files.append(_stamp(root / name))
    except OSError:
      missing.append(name)
  if missing:
    raise DataError(
      f'{len(missing)} of {len(names)} files listed in {config.label_csv} are missing in {root}:'
      f' {_quoted(missing)}; add them or drop their rows'
    )
  arrays = _cached(
    config,
    folder.name,
    ['image_folder', str(root.resolve()), files],
    f'decoding {folder}: {len(names)} images',
    lambda: {'images': _stack(((name, _pixels(root / name, name)) for name in names), len(names))},
  )
  return Raw(arrays['images'], labels)


# --- Source: .npz ---


def _npz_problems(config: ConfigDict) -> list[str]:
  if found := _path_problem(config, 'a .npz file'):
    return found
  try:
    with np.load(_path(config)) as file:
      held = set(file.files)
  except (OSError, ValueError, AttributeError, TypeError) as error:
    return [f'config.data.path = {config.path!r} is no .npz file ({error}); write it by np.savez']
  splits = {'train'} | ({config.validation} - {'split'})
  needed = sorted(f'{split}_{part}' for split in splits for part in ('images', 'labels'))
  if held.issuperset(needed):
    return []
  return [
    f'config.data.path = {config.path!r} holds the arrays {sorted(held)}, and with'
    f' config.data.validation = {config.validation!r} needs {needed}; add the missing ones, or'
    " choose 'split' to hold out a share of the training data"
  ]


def _read_npz(config: ConfigDict, split: str) -> Raw:
  path = _path(config)

  def decode() -> Arrays:
    try:
      with np.load(path) as file:
        images, labels = file[f'{split}_images'], file[f'{split}_labels']
    except ValueError as error:
      raise DataError(f'{path}: {error}; labels must be integers or texts, not objects') from error
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not images.size:
      raise DataError(
        f'{path}: {split}_images is {images.dtype} {images.shape}; it must be uint8 of shape'
        ' (example, height, width) or (example, height, width, channel), and not empty'
      )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in 'biuU':
      raise DataError(
        f'{path}: {split}_labels is {labels.dtype} {labels.shape}; it must be integers or texts of'
        f' shape {images.shape[:1]}, one for each image'
      )
    labels = labels.astype(np.int64) if labels.dtype.kind in 'biu' else labels
    return {'images': images.reshape(*images.shape[:3], -1), 'labels': labels}

  identity = ['npz', split, str(path.resolve()), _stamp(path)]
  label = f'{path.stem}-{split}'
  return Raw(**_cached(config, label, identity, f'decoding {path} {split}', decode))


# --- Source: TensorFlow Datasets ---


def _tfds_dir(config: ConfigDict) -> Path:
  usual = os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'
  return Path(config.path or usual).expanduser()


def _prepared(config: ConfigDict) -> Path | None:
  """The folder of the newest prepared version, found without importing TFDS."""
  name, _, version = config.name.partition(':')
  infos = (_tfds_dir(config) / name).glob(f'{version or "*"}/dataset_info.json')
  folders = [info.parent for info in infos if re.fullmatch(r'\d+\.\d+\.\d+', info.parent.name)]
  return max(folders, key=lambda folder: [int(n) for n in folder.name.split('.')], default=None)


def _tfds_problems(config: ConfigDict) -> list[str]:
  if not config.name:
    return [
      "config.data.name is empty: source 'tfds' needs the name of a set, such as 'cifar10', or"
      " 'emnist/balanced' where a set has several variants"
    ]
  folder = _prepared(config)
  return [] if folder is None else _folder_problems(config, folder)


def _folder_problems(config: ConfigDict, folder: Path) -> list[str]:
  info = json.loads((folder / 'dataset_info.json').read_text())
  found = []
  if info.get('fileFormat') != 'array_record':
    found.append(
      f'{folder} is prepared as {info.get("fileFormat", "tfrecord")} files, and only array_record'
      f' can be read without TensorFlow; prepare the set in another directory:\n{_recipe(config)}'
    )
  splits = {split['name'] for split in info['splits']}
  if missing := {'train', config.validation} - splits - {'split'}:
    found.append(
      f'config.data.validation = {config.validation!r}: {config.name} has no split'
      f" {_quoted(sorted(missing))}; it has {_quoted(sorted(splits), 9)}, and 'split' holds out a"
      ' share of the training data'
    )
  return found


def _recipe(config: ConfigDict) -> str:
  return (
    '  pip install tensorflow-datasets tensorflow-cpu array-record importlib_resources\n'
    '  python -c "import tensorflow_datasets as tfds; tfds.builder('
    f"'{config.name}', data_dir='DIR', file_format='array_record').download_and_prepare()\"\n"
    'on a machine with a network, copy DIR here, and set TFDS_DATA_DIR or config.data.path to it.'
  )


def _prepare(config: ConfigDict) -> Path:
  """Downloads and prepares the set with TFDS; the folder of its record files."""
  data_dir = _tfds_dir(config)
  logging.info('%s is not prepared in %s: downloading and preparing it', config.name, data_dir)
  import tensorflow_datasets as tfds

  try:
    builder = tfds.builder(config.name, data_dir=data_dir, file_format='array_record')
    if not Path(
      builder.data_dir
    ).exists():  # where a set has variants, the default one may be there
      _check_network(builder.url_infos or (), data_dir / 'downloads')
      builder.download_and_prepare()
  except tfds.core.DatasetNotFoundError as error:
    close = re.search(r'Did you mean: .* -> (\S+)', str(error))
    raise DataError(
      f'config.data.name = {config.name!r} is neither prepared in {data_dir} nor known to TFDS; '
      + (f'did you mean {close[1]!r}?' if close else 'see tfds.list_builders() for the known sets')
    ) from error
  except Exception as error:  # whatever failed in there, the remedy is the same
    raise DataError(
      f'config.data.name = {config.name!r} is not prepared in {data_dir} (config.data.path, else'
      f' $TFDS_DATA_DIR, else ~/tensorflow_datasets), and preparing it failed:\n'
      f'  {type(error).__name__}: {error}\n'
      f'Prepare it by\n{_recipe(config)}'
    ) from error
  return Path(builder.data_dir)


def _check_network(urls: Iterable[str], downloads: Path) -> None:
  """Fails at once where no download can succeed: TFDS itself would retry for minutes."""
  if urllib.request.getproxies() or any(path.is_file() for path in downloads.rglob('*')):
    return
  for host in {urllib.parse.urlparse(url).hostname for url in urls}:
    try:
      socket.getaddrinfo(host, None)
    except OSError as error:
      raise ConnectionError(f'cannot find {host}: is there a network? ({error})') from error


def _read_tfds(config: ConfigDict, split: str) -> Raw:
  folder = _prepared(config)
  if folder is None:
    folder = _prepare(config)
    if found := _folder_problems(config, folder):
      raise DataError('\n'.join(found))
  splits = json.loads((folder / 'dataset_info.json').read_text())['splits']
  count = sum(int(n) for entry in splits if entry['name'] == split for n in entry['shardLengths'])
  arrays = _cached(
    config,
    '-'.join([config.name.partition(':')[0].replace('/', '-'), folder.name, split]),
    ['tfds', split, str(folder.resolve()), [_stamp(path) for path in sorted(folder.iterdir())]],
    f'decoding {config.name} {split}: {count} images',
    lambda: _decode_tfds(config, folder, split),
  )
  names = folder / 'label.labels.txt'
  return Raw(
    **arrays, class_names=tuple(names.read_text().splitlines()) if names.exists() else None
  )


def _decode_tfds(config: ConfigDict, folder: Path, split: str) -> Arrays:
  import tensorflow_datasets as tfds

  builder = tfds.builder_from_directory(folder)
  features = dict(builder.info.features.items())
  image, label = features.get('image'), features.get('label')
  good_image = isinstance(image, tfds.features.Image) and image.np_dtype == np.uint8
  scalar_label = label is not None and label.shape == ()
  if not (good_image and scalar_label and np.issubdtype(label.np_dtype, np.integer)):
    raise DataError(
      f"{config.name} has the features {features}, and needed are an 'image' of uint8 and an"
      " integer 'label'; choose another set, or write this one as .npz and choose source 'npz'"
    )
  # The files' bytes, decoded by Pillow here: 2.5 times faster than TFDS decodes them.
  source = builder.as_data_source(split, decoders={'image': tfds.decode.SkipDecoding()})
  labels = np.empty(len(source), np.int64)
  mode = {1: 'L', 3: 'RGB', 4: 'RGBA'}.get(image.shape[-1])

  def examples(at_once: int = 1024) -> Iterator[tuple[str, np.ndarray]]:
    for start in range(0, len(source), at_once):
      indices = range(start, min(start + at_once, len(source)))
      for index, example in zip(indices, source.__getitems__(indices), strict=True):
        labels[index] = example['label']
        name = f'{split} example {index}'
        yield name, _pixels(io.BytesIO(example['image']), name, mode)

  return {'images': _stack(examples(), len(source)), 'labels': labels}


class Source(NamedTuple):
  """What a value of config.data.source stands for."""

  problems: Callable[[ConfigDict], list[str]]
  read: Callable[[ConfigDict, str], Raw]


SOURCES = {
  'digits': Source(_only_split, _read_digits),
  'image_folder': Source(_image_folder_problems, _read_image_folder),
  'npz': Source(_npz_problems, _read_npz),
  'tfds': Source(_tfds_problems, _read_tfds),
}
