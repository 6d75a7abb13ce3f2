"""What may be wrong with a data set that can be trained on: copies of images, labels alike."""

import collections
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from bsjax.data.dataset import Dataset, quoted

MAYBE_NO_LABEL = ('?', 'n/a', 'na', 'none', 'unknown', 'unlabeled', 'unlabelled')


class Copies(NamedTuple):
  """How many images are there more than once, pixel by pixel."""

  shared: int  # validation images that are in the training data too
  within: int  # training images that are copies of others
  ambiguous: int  # images of the training data under several labels


def copies(dataset: Dataset) -> Copies:
  """Counts the copies in a data set, by checksums of 64 bits."""
  train, validation = dataset.digests
  labels = collections.defaultdict(set)
  for digest, label in zip(train, dataset.strata, strict=True):
    labels[digest].add(int(label))
  return Copies(
    sum(digest in labels for digest in validation),
    len(train) - len(labels),
    sum(len(classes) > 1 for classes in labels.values()),
  )


def doubts(dataset: Dataset) -> list[str]:
  """Returns sentences for a person, none where nothing was noticed."""
  counts, sentences = copies(dataset), []
  images, exactly = ('images', ', pixel by pixel') if dataset.mean is not None else ('inputs', '')
  if counts.shared:
    sentences.append(
      f'{counts.shared:,} of {len(dataset.validation):,} validation {images} are in the'
      f' training data too{exactly}: what validation says of them is not of unseen data'
    )
  if counts.within:
    unsure = f', and {counts.ambiguous:,} {images} have several labels' if counts.ambiguous else ''
    sentences.append(f'{counts.within:,} training {images} are copies of others{unsure}')
  return [*sentences, *_names_alike(dataset.class_names), *_odd_classes(dataset)]


def _odd_classes(dataset: Dataset) -> list[str]:
  """Classes that may be none, and axes that may be another."""
  names, sentences = dataset.class_names, []
  if not names:
    return []
  if names == ('-1', '1'):
    sentences.append("labels -1 and 1 are taken as two classes; -1 must not stand for 'no label'")
  if doubtful := [name for name in names if name.casefold() in MAYBE_NO_LABEL]:
    sentences.append(
      f'label {quoted(doubtful, 9)} is taken as a class; it may stand for "no label"'
    )
  for split, counts in dataset.class_counts().items():
    if lacking := [name for name, count in zip(names, counts, strict=True) if not count]:
      sentences.append(f'no {split} example has the label {quoted(lacking)}')
  if dataset.mean is None:
    return sentences
  height, width, channels = dataset.image_shape
  if channels not in (1, 3):
    sentences.append(f'images are of {height} x {width} pixels with {channels} channels')
  return sentences


def _names_alike(names: Sequence[str]) -> list[str]:
  """Class names that a person would read as one."""
  alike = collections.defaultdict(list)
  for name in names:
    shown = ''.join(
      c for c in unicodedata.normalize('NFKC', name) if unicodedata.category(c) != 'Cf'
    )
    alike[' '.join(shown.casefold().split())].append(name)
  groups = [group for group in alike.values() if len(group) > 1]
  return [f'labels {quoted(group, 9)} differ in case or spaces only' for group in groups]
