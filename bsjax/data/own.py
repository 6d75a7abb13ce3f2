"""Data from outside: arrays, or dicts of arrays, of any type and rank."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from bsjax.data.dataset import (
  Arrays,
  DataError,
  Dataset,
  Split,
  leaves,
  mean_and_std,
  of_each,
)

MOST = np.iinfo(np.int32).max
AT_ONCE = 1024  # examples


class Data(NamedTuple):
  """Training and validation examples: inputs, or a pair of inputs and targets.

  Both are arrays `[example, ...]`, or dicts of them. Without targets the inputs are the targets.
  `uint8 [example, height, width, channel]` are images, which are normalized, cropped and flipped as
  those of other sources; all else reaches the model as it is. Targets that are whole numbers from 0
  on, one for each example, are classes where the task takes them so.
  """

  train: Any
  validation: Any
  name: str = 'own data'


def given(data: Any) -> Data:
  """Returns what somebody gave as data; raises DataError where it is no `Data`, or pair of them."""
  if isinstance(data, Data):
    return data
  if isinstance(data, tuple) and len(data) == 2:
    return Data(*data)
  raise DataError(
    'data is none: give bsjax.Data(train=(inputs, targets), validation=(inputs, targets)), or the '
    'pair of both'
  )


def dataset(data: Data, classes: bool) -> Dataset:
  """The data set that the engine trains on; `classes`: the task takes targets for classes.

  Raises DataError where arrays do not go together.
  """
  train, validation = (
    _split(part, name) for part, name in ((data.train, 'train'), (data.validation, 'validation'))
  )
  for what in ('images', 'labels'):
    ours, other = (_likes(getattr(split, what)) for split in (train, validation))
    if ours != other:
      raise DataError(
        f'{"inputs" if what == "images" else "targets"} of training and validation differ: {ours} '
        f'and {other}'
      )
  names: tuple[str, ...] = ()
  if classes:
    names = tuple(map(str, range(_classes(train.labels, validation.labels))))
    train, validation = (
      Split(split.images, split.labels.astype(np.int32)) for split in (train, validation)
    )
  if _are_images(train.images):
    return Dataset(data.name, names, train, validation, *mean_and_std(train.images))
  return Dataset(data.name, names, train, validation, None, None)


def _split(part: Any, where: str) -> Split:
  inputs, targets = part if isinstance(part, tuple) else (part, None)
  inputs = _arrays(inputs, f'inputs of {where}')
  targets = inputs if targets is None else _arrays(targets, f'targets of {where}')
  counts = {len(array) for tree in (inputs, targets) for array in leaves(tree)}
  if len(counts) != 1 or not min(counts):
    raise DataError(f'the arrays of {where} hold {sorted(counts)} examples: all must hold as many')
  return Split(inputs, targets)


def _arrays(tree: Any, where: str) -> Arrays:
  if isinstance(tree, Mapping):
    return {str(name): _array(x, f'{where}, {name}') for name, x in sorted(tree.items())}
  return _array(tree, where)


def _array(values: Any, where: str) -> Shaped[np.ndarray, 'example ...']:
  """The array as devices hold it: whole numbers and others in 32 bits where they had more."""
  array = np.asarray(values)
  if array.dtype.kind not in 'biuf' or not array.ndim:
    raise DataError(f'{where}: an array of {array.dtype} {list(array.shape)} holds no numbers')
  if array.dtype.kind == 'f' and (wrong := sum(_not_finite(array))):
    raise DataError(f'{where}: {wrong} values are not finite as numbers of 32 bits')
  if array.dtype.itemsize == 8 and array.dtype.kind in 'iu':
    # Not as NumPy's, of which neither unsigned ones nor the least have a negative.
    if array.size and max(int(array.max()), -int(array.min())) > MOST:
      raise DataError(f'{where}: whole numbers beyond {MOST} do not fit 32 bits')
    return array.astype(np.int32)
  wide = array.dtype.kind == 'f' and array.dtype.itemsize > 4
  return array.astype(np.float32) if wide else array


def _not_finite(array: Shaped[np.ndarray, 'example ...']) -> Iterator[int]:
  """How many values of some examples are not, and of the next; they may be mapped from a disk."""
  for start in range(0, len(array), AT_ONCE):
    with np.errstate(over='ignore'):  # what is too large becomes infinite, and is counted
      part = array[start : start + AT_ONCE].astype(np.float32, copy=False)
    yield part.size - int(np.isfinite(part).sum())


def _likes(tree: Arrays) -> Any:
  """The shapes and types of single examples."""
  return of_each(lambda array: f'{array.dtype}{list(array.shape[1:])}', tree)


def _are_images(inputs: Arrays) -> bool:
  return not isinstance(inputs, dict) and inputs.dtype == np.uint8 and inputs.ndim == 4


def _classes(train: Arrays, validation: Arrays) -> int:
  """How many classes there are; DataError where targets are none."""
  remedy = 'give whole numbers from 0 on, one for each example, or a task of their own (task=)'
  if isinstance(train, dict) or train.ndim != 1 or train.dtype.kind not in 'iu':
    raise DataError(f'targets of {_likes(train)} for an example are no classes: {remedy}')
  least, most = min(train.min(), validation.min()), int(max(train.max(), validation.max()))
  if least < 0 or len(np.unique(train)) < 2:
    raise DataError(f'targets from {least} to {most} are no classes: {remedy}')
  return most + 1
