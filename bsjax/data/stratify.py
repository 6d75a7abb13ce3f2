"""Which examples are trained on and which are held out, drawn class by class."""

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from bsjax.data.dataset import DataError

Indices = Int[np.ndarray, ' chosen']


def choose(
  config: ConfigDict, labels: Int[np.ndarray, ' example'], seed: int
) -> tuple[Indices, Int[np.ndarray, ' held']]:
  """Sorted indices of the training examples and of those held out, none where none are asked for.

  The same seed holds out the same examples, however many are trained on.
  """
  held = round(config.validation_share * len(labels)) if config.validation == 'split' else 0
  left = len(labels) - held
  if config.validation == 'split' or config.train_examples:
    _check_counts(config, labels, held)
  held_out = stratified(labels, held, seed)
  kept = np.setdiff1d(np.arange(len(labels)), held_out)
  if 0 < config.train_examples < left:
    kept = kept[stratified(labels[kept], config.train_examples, seed)]
  return kept, held_out


def stratified(labels: Int[np.ndarray, ' example'], size: int, seed: int) -> Indices:
  """Sorted indices of `size` random examples, each class with its share rounded down or up."""
  counts = np.bincount(labels)
  taken, remainders = np.divmod(counts * size, len(labels))
  taken[np.argsort(-remainders, kind='stable')[: size - taken.sum()]] += 1
  shuffled = np.random.default_rng(seed).permutation(len(labels))
  by_class = shuffled[np.argsort(labels[shuffled], kind='stable')]
  place_in_class = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
  return np.sort(by_class[place_in_class < np.repeat(taken, counts)])


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
      f' between {classes / total:.3g} and {1 - classes / total:.3g}'
    )
  if config.train_examples and not classes <= config.train_examples <= left:
    raise DataError(
      f'data.train_examples={config.train_examples} must be between {classes}, one of each class,'
      f' and {left}, all that are there for training; 0 takes all'
    )
