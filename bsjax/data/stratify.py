"""Which examples are trained on and which are held out, drawn class by class."""

import math

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from bsjax.data.dataset import DataError

Indices = Int[np.ndarray, ' chosen']


def choose(
  config: ConfigDict, labels: Int[np.ndarray, ' example'], seed: int
) -> tuple[Indices, Int[np.ndarray, ' held']]:
  """Sorted indices of the training examples and of those held out, none where none are asked for.

  The same seed holds out the same examples, however many are trained on, and a steeper or lower
  tail keeps some of those that a fuller one keeps.
  """
  held = round(config.validation_share * len(labels)) if config.validation == 'split' else 0
  if config.validation == 'split' or config.train_examples:
    _check_counts(config, labels, held)
  held_out = stratified(labels, held, seed)
  kept = np.setdiff1d(np.arange(len(labels)), held_out)
  if config.imbalance_factor != 1 or config.max_per_class:
    kept = kept[of_each_class(labels[kept], tail_counts(config, np.bincount(labels[kept])), seed)]
  if config.train_examples:
    _check_subset(config, labels[kept])
  if 0 < config.train_examples < len(kept):
    kept = kept[stratified(labels[kept], config.train_examples, seed)]
  return kept, held_out


def stratified(labels: Int[np.ndarray, ' example'], size: int, seed: int) -> Indices:
  """Sorted indices of `size` random examples, each class with its share rounded down or up."""
  counts = np.bincount(labels)
  taken, remainders = np.divmod(counts * size, len(labels))
  taken[np.argsort(-remainders, kind='stable')[: size - taken.sum()]] += 1
  return of_each_class(labels, taken, seed)


def of_each_class(
  labels: Int[np.ndarray, ' example'], taken: Int[np.ndarray, ' class'], seed: int
) -> Indices:
  """Sorted indices of `taken[c]` random examples of each class c; fewer are some of more."""
  counts = np.bincount(labels)
  shuffled = np.random.default_rng(seed).permutation(len(labels))
  by_class = shuffled[np.argsort(labels[shuffled], kind='stable')]
  place_in_class = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
  return np.sort(by_class[place_in_class < np.repeat(taken, counts)])


def tail_counts(config: ConfigDict, counts: Int[np.ndarray, ' class']) -> Int[np.ndarray, ' class']:
  """How many examples each class keeps under `imbalance_factor` and `max_per_class`.

  n_c = n_0 factor^(-c / (C - 1)), rounded down (Cui et al. 2019; the counts of CIFAR-10-LT of Cao
  et al. 2019, arXiv:1906.07413), with the largest n_0 that no class and no cap is too small for.
  """
  cap, factor = config.max_per_class or counts.max(), config.imbalance_factor
  if counts.min() < 1:
    raise DataError(
      f'class number {counts.argmin()} has no training example, so no tail of all {len(counts)}'
      ' classes can be cut; add examples, or set data.imbalance_factor=1 and data.max_per_class=0',
      'data.imbalance_factor',
      'data.max_per_class',
    )
  if factor == 1:
    return np.minimum(counts, cap)
  share = np.arange(len(counts)) / (len(counts) - 1)
  most = min(cap, (counts * factor**share).min())
  kept = np.floor(most * factor**-share + 1e-9).astype(np.int64)
  if kept.min() < 1:
    # The least that a class c < C - 1 can give its examples for, with one left in the last class.
    largest = min(cap, (counts[:-1] ** (1 / (1 - share[:-1]))).min())
    raise DataError(
      f'data.imbalance_factor={factor:g} leaves class number {kept.argmin()} without an example, as'
      f' class number 0 has {math.floor(most)} to begin with; choose at most {math.floor(largest)},'
      ' or allow more per class',
      'data.imbalance_factor',
    )
  return kept


def _check_counts(config: ConfigDict, labels: Int[np.ndarray, ' example'], held: int) -> None:
  present, counts = np.unique(labels, return_counts=True)
  classes, total, left = len(present), len(labels), len(labels) - held
  if counts.min() < 2:
    raise DataError(
      f'class number {present[counts.argmin()]} has 1 training example, and a stratified choice'
      ' needs 2 of each class; add or drop some'
    )
  if config.validation == 'split' and not classes <= held <= total - classes:
    raise DataError(
      f'data.validation_share={config.validation_share} parts {total} examples into {left} to train'
      f' and {held} to validate on, and each part needs one of all {classes} classes; choose'
      f' between {classes / total:.3g} and {1 - classes / total:.3g}',
      'data.validation_share',
    )


def _check_subset(config: ConfigDict, labels: Int[np.ndarray, ' example']) -> None:
  """Whether the training examples, as they are left, allow a subset with one of each class."""
  classes, left = len(np.unique(labels)), len(labels)
  if not classes <= config.train_examples <= left:
    raise DataError(
      f'data.train_examples={config.train_examples} must be between {classes}, one of each class,'
      f' and {left}, all that are there for training; 0 takes all',
      'data.train_examples',
    )
  counts = np.bincount(labels)
  scarce = counts[counts > 0].min()
  # A class with less than one example's share may be rounded away.
  if config.train_examples * scarce < left and config.imbalance_factor != 1:
    raise DataError(
      f'data.train_examples={config.train_examples} of the {left} that data.imbalance_factor='
      f'{config.imbalance_factor:g} leaves may lose the class of {scarce}; choose at least'
      f' {-(-left // scarce)}, or cut the tail by data.max_per_class',
      'data.train_examples',
      'data.imbalance_factor',
    )
