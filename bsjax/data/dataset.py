"""What loading gives, what a source gives, and the error both may raise."""

import dataclasses
import functools
import hashlib
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Shaped, UInt8

from bsjax.config.errors import Refused

# One array, or several by name; of inputs or of targets.
Arrays = np.ndarray | dict[str, Any]
NO_LABEL = ('', 'nan', '<na>', '#n/a', 'null')  # as tables have it, in any case


# Of an example as a model gets it: (height, width, channel) in float32, or arrays of one example.
InputShape = tuple[int, ...] | Arrays


class DataError(Refused):
  """The data cannot be had as configured; the text says what to do about it."""


def leaves(tree: Arrays) -> list[Any]:
  """The arrays of inputs or targets, in order of their names."""
  return [tree[name] for name in sorted(tree)] if isinstance(tree, dict) else [tree]


def of_each(function: Callable[[Any], Any], tree: Arrays) -> Any:
  """What a function makes of each of the arrays."""
  if isinstance(tree, dict):
    return {name: function(array) for name, array in tree.items()}
  return function(tree)


@dataclasses.dataclass(frozen=True)
class Split:
  """Examples to train on, or to validate on."""

  # The inputs: uint8 images, float32 for what frozen layers make of them, or somebody's own.
  images: Arrays  # [example, ...]
  labels: Arrays  # the targets: int32 [example], or somebody's own

  def __len__(self) -> int:
    return len(leaves(self.images)[0])


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Training and validation examples; `mean` and `std` of the training pixels, in raw units.

  Inputs that are no images have neither; targets that are no classes have no `class_names`.
  """

  name: str
  class_names: tuple[str, ...]
  train: Split
  validation: Split
  mean: Float32[np.ndarray, ' channel'] | None
  std: Float32[np.ndarray, ' channel'] | None

  @property
  def num_classes(self) -> int:
    return len(self.class_names)

  def class_counts(self) -> dict[str, list[int]]:
    """Examples of each class in both splits, in order of labels."""
    splits = {'train': self.train, 'validation': self.validation}
    return {
      name: np.bincount(split.labels, minlength=self.num_classes).tolist()
      for name, split in splits.items()
    }

  def fingerprint(self) -> str:
    """A checksum of all images and labels, to tell another data set under the same name."""
    return self._fingerprint

  @functools.cached_property
  def _fingerprint(self) -> str:
    checksum = 0
    for split in (self.train, self.validation):
      for array in (*leaves(split.images), *leaves(split.labels)):
        checksum = zlib.crc32(np.ascontiguousarray(array), checksum)
    return f'{checksum:08x}'

  @functools.cached_property  # asked for by the plan and by data.json, and of every arm
  def digests(self) -> tuple[list[bytes], list[bytes]]:
    """Checksums of 64 bits of the training images and of the validation images."""

    def digest(*arrays: Shaped[np.ndarray, '...']) -> bytes:
      hashed = hashlib.blake2b(digest_size=8)
      for array in arrays:
        hashed.update(np.ascontiguousarray(array))
      return hashed.digest()

    of_splits = (map(digest, *leaves(split.images)) for split in (self.train, self.validation))
    train, validation = map(list, of_splits)
    return train, validation

  @property
  def image_shape(self) -> InputShape:
    """(height, width, channel); of inputs that are no images see `InputShape`."""
    if self.mean is not None:
      return self.train.images.shape[1:]
    return of_each(lambda array: np.empty((1, *array.shape[1:]), array.dtype), self.train.images)

  @property
  def strata(self) -> Int32[np.ndarray, ' example']:
    """The class of each training example, by which shares are drawn; without classes 0."""
    return self.train.labels if self.class_names else np.zeros(len(self.train), np.int32)


class Raw(NamedTuple):
  """One split as its source has it: labels are integers or texts, class names in label order."""

  images: UInt8[np.ndarray, 'example height width channel']
  labels: Shaped[np.ndarray, ' example']
  class_names: tuple[str, ...] | None = None


def mean_and_std(
  images: UInt8[np.ndarray, 'example height width channel'],
) -> tuple[Float32[np.ndarray, ' channel'], Float32[np.ndarray, ' channel']]:
  """Mean and standard deviation per channel, from counts of the 256 values of a pixel."""
  counts = np.zeros((images.shape[-1], 256), np.int64)
  for start in range(0, len(images), 1024):  # at a time: bincount takes 8 bytes a pixel
    channels = np.moveaxis(images[start : start + 1024], -1, 0)
    counts += [np.bincount(channel.ravel(), minlength=256) for channel in channels]
  value, pixels = np.arange(256), counts[0].sum()
  mean = counts @ value / pixels
  std = np.sqrt((counts * (value - mean[:, None]) ** 2).sum(axis=1) / pixels)
  std[std == 0] = 1  # a constant channel becomes 0, not 0 / 0
  return mean.astype(np.float32), std.astype(np.float32)


def check_labels(
  labels: Shaped[np.ndarray, ' example'], where: str
) -> Shaped[np.ndarray, ' example']:
  """Returns the labels; raises DataError where some stand for "no label".

  Negative ones do, beside others; -1 and 1 alone are two classes.
  """
  none = labels.dtype.kind == 'U' and np.isin(np.char.lower(labels), NO_LABEL)
  if (empty := np.flatnonzero(none)).size:
    raise DataError(
      f'{where}: {empty.size} labels are empty or {quoted(NO_LABEL[1:], 9)},'
      f' example {quoted(empty.tolist())}; give them one, or drop the examples'
    )
  if labels.dtype.kind == 'i' and (labels < 0).any() and not set(np.unique(labels)) <= {-1, 1}:
    negative = labels[labels < 0]
    raise DataError(
      f'{where}: {negative.size} of {labels.size} labels are negative, such as {negative[0]}, which'
      ' often stands for "no label"; drop these examples, or number the classes from 0 on'
    )
  return labels


def shown(error: Exception) -> str:
  """What an error says, or else what it is, in one line."""
  return ' '.join(str(error).split())[:200] or type(error).__name__


def quoted(items: Sequence[Any], most: int = 3) -> str:
  """The first few offenders of an error message."""
  return ', '.join(map(repr, items[:most])) + (', ...' if len(items) > most else '')
