"""Data sets on the host: uint8 images, labels 0..C-1, and a stratified validation split.

A source is a function `read(config, split) -> Raw` and its entry in SOURCES below; nothing else
knows the sources apart. Images are decoded once and memory-mapped afterwards (cache.py).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int32, Shaped, UInt8
from ml_collections import ConfigDict

from bsjax.config import bounds
from bsjax.config.errors import Problem, unknown
from bsjax.config.keys import section
from bsjax.config.own import OWN
from bsjax.data.dataset import DataError, Dataset, Raw, Split, mean_and_std, quoted
from bsjax.data.sources import digits, image_folder, npz, tfds_source
from bsjax.data.stratify import choose


class Source(NamedTuple):
  """What a value of config.data.source stands for."""

  read: Callable[[ConfigDict, str], Raw]  # the named split, 'train' or another
  # What of the keys does not go with the files, as far as can be told without reading images.
  conflicts: Callable[[ConfigDict], list[Problem]] | None = None
  path: str = ''  # what config.data.path must lead to, where the source needs it
  has_splits: bool = False  # whether there may be others than 'train'


MOST_CHANNELS = 4  # of pictures; more where there should be three are another axis

SOURCES = {
  'digits': Source(digits.read),
  'image_folder': Source(
    image_folder.read,
    image_folder.csv_conflicts,
    path='a folder with images and a CSV of their labels',
  ),
  'npz': Source(npz.read, npz.array_conflicts, path='a .npz file', has_splits=True),
  'tfds': Source(tfds_source.read, tfds_source.set_conflicts, has_splits=True),
}


def load(config: ConfigDict, seed: int) -> Dataset:
  """The data set of the `data` config; `seed` draws the stratified share and subset.

  Raises DataError with everything `wrong` lists, or with what only reading the data can tell.
  """
  if config.source == OWN:
    raise DataError(
      'the data were given by bsjax.Study(data=...), which only the script that began the study '
      'has, or its config file'
    )
  if sentences := wrong(config):
    raise DataError('\n'.join(sentences))
  named = config.path or config.name or config.source
  try:
    return _load(config, seed)
  except DataError as error:
    if named in str(error):
      raise
    raise DataError(f'data in {named}: {error}', *error.problems[0].keys) from error


def _load(config: ConfigDict, seed: int) -> Dataset:
  read = SOURCES[config.source].read
  train = read(config, 'train')
  held = None if config.validation == 'split' else read(config, config.validation)
  _check_shapes(config, train, held)
  values = np.unique(train.labels)
  class_names = train.class_names or tuple(str(value) for value in values)
  known = np.arange(len(class_names)) if train.class_names else values
  whole = Split(train.images, _numbered(train.labels, known))
  kept, held_out = choose(config, whole.labels, seed)
  training = _take(whole, kept)
  validation = Split(held.images, _numbered(held.labels, known)) if held else _take(whole, held_out)
  if len(np.unique(training.labels)) < 2:
    raise DataError(f'all {len(training.labels)} training labels are one; 2 classes are needed')
  _check_pixels(training.images)
  name = config.name or Path(config.path).stem or config.source
  return Dataset(name, class_names, training, validation, *mean_and_std(training.images))


def wrong(config: ConfigDict) -> list[Problem]:
  """Lists all that is wrong with a `data` config, as far as can be told without reading images."""
  keys = section('data')
  out_of_bounds = bounds.wrong({'data': config}, keys)
  if out_of_bounds.keys() & {key.name for key in keys if key.kind is str}:
    return list(out_of_bounds.values())
  return [*out_of_bounds.values(), *source_conflicts(config)]


def source_conflicts(config: ConfigDict) -> list[Problem]:
  """Lists what the source of a `data` config does not have, without reading its images."""
  sentences = []
  if config.validation == 'train':
    sentence = (
      "data.validation='train' would validate on the training data; choose 'split' to hold out a"
      ' share of them, or the name of another split of the set'
    )
    sentences.append(Problem(sentence, 'data.validation'))
  if config.source == OWN:  # `engine.own.conflicts` says what is wrong with it
    return []
  if config.source not in SOURCES:
    return [*sentences, unknown('data.source', config.source, SOURCES)]
  source = SOURCES[config.source]
  if not source.has_splits and config.validation not in ('split', 'train'):
    sentence = (
      f'data.validation={config.validation!r}: source {config.source!r} has no split beside the'
      " training data; choose 'split'"
    )
    sentences.append(Problem(sentence, 'data.validation', 'data.source'))
  if source.path and not (config.path and os.path.exists(os.path.expanduser(config.path))):
    sentence = (
      f'data.path={config.path!r} does not exist; source {config.source!r} needs {source.path}'
    )
    return [*sentences, Problem(sentence, 'data.path', 'data.source')]
  return sentences + (source.conflicts(config) if source.conflicts else [])


def _check_shapes(config: ConfigDict, train: Raw, held: Raw | None) -> None:
  shape = train.images.shape[1:]
  if shape[0] <= MOST_CHANNELS < shape[-1] and shape[0] < shape[1]:
    raise DataError(
      f'images of {shape[0]} x {shape[1]} pixels with {shape[2]} channels look like channels first;'
      ' bsjax takes (example, height, width, channel): turn them by'
      ' images.transpose(0, 2, 3, 1)'
    )
  if held is not None and held.images.shape[1:] != shape:
    raise DataError(
      f'the images of split {config.validation!r} are {held.images.shape[1:]}, those of the'
      f' training split {shape} (height, width, channels); bring them to one shape'
    )
  if config.crop >= min(shape[:2]):
    raise DataError(
      f'data.crop={config.crop} may be at most {min(shape[:2]) - 1} on images of'
      f' {shape[0]} x {shape[1]} pixels, or crops could miss them; 0: no crop',
      'data.crop',
    )


def _check_pixels(images: UInt8[np.ndarray, 'example height width channel']) -> None:
  for start in range(0, len(images), 1024):  # images may be mapped from a disk
    if (images[start : start + 1024] != images[0]).any():
      return
  raise DataError(
    f'all {len(images)} training images are the same, so there is nothing to tell classes by; look'
    ' at how they were decoded'
  )


def _numbered(
  labels: Shaped[np.ndarray, ' example'], known: Shaped[np.ndarray, ' class']
) -> Int32[np.ndarray, ' example']:
  """Labels as 0..C-1, their places in the sorted `known`."""
  if len(known) < 2:
    raise DataError(f'the only training label is {quoted(known.tolist())}; 2 classes are needed')
  unknown_labels = np.setdiff1d(labels, known)
  if len(unknown_labels):
    raise DataError(
      f'{np.isin(labels, unknown_labels).sum()} of {len(labels)} examples have labels that are none'
      f' of the {len(known)} training classes: {quoted(unknown_labels.tolist())}; correct or drop'
      ' them'
    )
  return np.searchsorted(known, labels).astype(np.int32)


def _take(split: Split, indices: Int[np.ndarray, ' chosen']) -> Split:
  if len(indices) == len(split.labels):
    return split  # keeps the memory map rather than a copy
  return Split(split.images[indices], split.labels[indices])
