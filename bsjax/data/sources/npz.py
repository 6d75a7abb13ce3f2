"""Source 'npz': a file written by np.savez, with SPLIT_images and SPLIT_labels of every split."""

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from bsjax.config.errors import Problem
from bsjax.data.cache import Arrays, cached, stamp
from bsjax.data.dataset import DataError, Raw, check_labels, shown

RULES = 2  # raised when the same file becomes other arrays, or none
# What NumPy and the archive raise of files that are cut, changed, or something else.
UNREADABLE = (
  OSError,
  ValueError,
  AttributeError,
  TypeError,
  KeyError,
  EOFError,
  MemoryError,
  RuntimeError,
  OverflowError,
  SyntaxError,
  struct.error,
  tokenize.TokenError,
  zipfile.BadZipFile,
  zlib.error,
)


def array_conflicts(config: ConfigDict) -> list[Problem]:
  """Arrays that are missing; they are not read."""
  try:
    with np.load(Path(config.path).expanduser()) as file:
      names = sorted(file.files)
  except UNREADABLE as error:
    sentence = (
      f'data.path={config.path!r} is no .npz file, or damaged ({shown(error)});'
      ' write it by np.savez'
    )
    return [Problem(sentence, 'data.path')]
  present = set(names)
  if len(present) < len(names):
    sentence = f'data.path={config.path!r} holds arrays of one name: {names}; write it by np.savez'
    return [Problem(sentence, 'data.path')]
  splits = {'train', config.validation} - {'split'}
  needed = sorted(f'{split}_{part}' for split in splits for part in ('images', 'labels'))
  if present.issuperset(needed):
    return []
  sentence = (
    f'data.path={config.path!r} holds the arrays {sorted(present)}, and with'
    f' data.validation={config.validation!r} needs {needed}; add the missing ones, or choose'
    " 'split' to hold out a share of the training data"
  )
  return [Problem(sentence, 'data.path', 'data.validation')]


def read(config: ConfigDict, split: str) -> Raw:
  path = Path(config.path).expanduser()
  identity = ['npz', RULES, split, str(path.resolve()), *stamp(path)]
  arrays = cached(
    config, f'{path.stem}-{split}', identity, f'{path} {split}', lambda: _decode(path, split)
  )
  return Raw(**arrays)


def _decode(path: Path, split: str) -> Arrays:
  try:
    with np.load(path) as file:
      images, labels = file[f'{split}_images'], file[f'{split}_labels']
  except UNREADABLE as error:
    if 'pickle' in str(error):
      raise DataError(
        f'{path}: {shown(error)}; labels must be integers or texts, not objects'
      ) from error
    raise DataError(f'{path} is damaged: {shown(error)}; write it again by np.savez') from error
  if not (isinstance(images, np.ndarray) and isinstance(labels, np.ndarray)):
    raise DataError(f'{path} holds something else than arrays; write it by np.savez')
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
  if labels.dtype.kind in 'biu':
    if labels.max() > np.iinfo(np.int64).max:
      raise DataError(f'{path}: {split}_labels holds {labels.max()}; number the classes from 0 on')
    labels = labels.astype(np.int64)
  else:
    labels = np.char.strip(labels)
  labels = check_labels(labels, f'{path}: {split}_labels')
  return {'images': images.reshape(*images.shape[:3], -1), 'labels': labels}
