"""Source 'npz': a file written by np.savez, with SPLIT_images and SPLIT_labels of every split."""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from bsjax.data.cache import Arrays, cached, stamp
from bsjax.data.dataset import DataError, Raw


def array_conflicts(config: ConfigDict) -> list[str]:
  """Arrays that are missing; they are not read."""
  try:
    with np.load(Path(config.path).expanduser()) as file:
      present = set(file.files)
  except (OSError, ValueError, AttributeError, TypeError) as error:
    return [f'data.path={config.path!r} is no .npz file ({error}); write it by np.savez']
  splits = {'train', config.validation} - {'split'}
  needed = sorted(f'{split}_{part}' for split in splits for part in ('images', 'labels'))
  if present.issuperset(needed):
    return []
  return [
    f'data.path={config.path!r} holds the arrays {sorted(present)}, and with'
    f' data.validation={config.validation!r} needs {needed}; add the missing ones, or choose'
    " 'split' to hold out a share of the training data"
  ]


def read(config: ConfigDict, split: str) -> Raw:
  path = Path(config.path).expanduser()
  identity = ['npz', split, str(path.resolve()), *stamp(path)]
  arrays = cached(
    config, f'{path.stem}-{split}', identity, f'{path} {split}', lambda: _decode(path, split)
  )
  return Raw(**arrays)


def _decode(path: Path, split: str) -> Arrays:
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
