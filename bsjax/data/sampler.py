"""Which examples a trial sees, in which order: shuffled epochs, or draws weighted by class.

A sampler is a function `(trial key, first epoch, number of epochs) -> orders`, with the indices of
examples at `orders[epoch, place]`: a pure function of the trial and of the position, shared by all
lanes of a trial, that training resumes anywhere. An epoch is as many draws as there are examples.

Uniform epochs hold every example once. Weighted ones draw with replacement: first the class, then
one of its examples. How classes are weighed is in sampling.py.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key
from ml_collections import ConfigDict

from bsjax.data import stream
from bsjax.data.sampling import SAMPLERS as SAMPLERS
from bsjax.data.sampling import class_probabilities, with_replacement

Sampler = Callable[[Key[Array, ''], Int[Array, ''], int], Int[Array, 'epoch place']]
# Of a trial's draws, so many from the start are looked at for the classes in its batches.
MOST_DRAWS = 1_000_000


def create(
  config: ConfigDict,
  labels: Int[np.ndarray, ' example'],
  indices: Int[np.ndarray, ' used'] | None = None,
) -> Sampler:
  """Returns the sampler of a `data` config for training examples with these labels.

  `indices` are the examples in use, if not all: classes are weighed by their counts among these,
  and orders hold places in the whole array all the same.
  """
  if not with_replacement(config):
    return _shuffled(len(labels), indices)
  used = np.arange(len(labels)) if indices is None else np.asarray(indices)
  return _weighted(config, labels[used], used)


def _shuffled(examples: int, indices: Int[np.ndarray, ' used'] | None) -> Sampler:
  """Endless shuffled epochs."""
  if indices is None:
    return lambda key, first, epochs: stream.epoch_orders(key, first, epochs, examples)
  used = np.asarray(indices, np.int32)
  return lambda key, first, epochs: jnp.asarray(used)[
    stream.epoch_orders(key, first, epochs, len(used))
  ]


def _weighted(
  config: ConfigDict, labels: Int[np.ndarray, ' used'], indices: Int[np.ndarray, ' used']
) -> Sampler:
  """Draws of a class, then of one of its examples: one sum over all examples would be rounded."""
  counts = np.bincount(labels)
  by_class = indices[np.argsort(labels, kind='stable')].astype(np.int32)
  starts = (np.cumsum(counts) - counts).astype(np.int32)
  ends = np.cumsum(class_probabilities(config, counts))
  ends = (ends / ends[-1]).astype(np.float32)  # the last one is 1, which no draw reaches
  counts = counts.astype(np.int32)

  def epoch_order(key: Key[Array, '']) -> Int[Array, ' place']:
    class_key, example_key = jax.random.split(key)
    drawn = jax.random.uniform(class_key, (len(indices),))
    # A class without mass ends where it begins, so it is never the first that ends later.
    label = jnp.searchsorted(jnp.asarray(ends), drawn, side='right')
    place = jax.random.randint(example_key, drawn.shape, 0, jnp.asarray(counts)[label])
    return jnp.asarray(by_class)[jnp.asarray(starts)[label] + place]

  def orders(
    trial_key: Key[Array, ''], first_epoch: Int[Array, ''], num_epochs: int
  ) -> Int[Array, 'epoch place']:
    key = jax.random.fold_in(trial_key, stream.ORDER)
    epochs = first_epoch + jnp.arange(num_epochs)
    return jax.vmap(lambda epoch: epoch_order(jax.random.fold_in(key, epoch)))(epochs)

  return orders


def distinct_classes(
  sampler: Sampler,
  labels: Int[np.ndarray, ' example'],
  keys: Sequence[Key[Array, '']],
  batch_sizes: Sequence[int],
  positions: tuple[int, int],
  epoch_length: int,
) -> list[dict[str, Any]]:
  """How many different classes the batches between two positions hold, counted, not modelled.

  `keys` are those of the trials. Batches of each size follow one another from the first position;
  at most `MOST_DRAWS` examples of a trial are looked at. A row a batch size: {'batch_size', 'mean',
  'percentile_5', 'share_lacking' (of batches in which a class is missing), 'batches' (of all
  trials), 'classes' (that there are to draw)}.
  """
  start, end = positions
  end = min(end, start + MOST_DRAWS)
  first = start // epoch_length
  epochs = -(-end // epoch_length) - first
  orders = jax.jit(sampler, static_argnums=2)
  drawn = []
  for key in keys:
    order = np.asarray(orders(key, jnp.int32(first), epochs)).ravel()
    drawn.append(labels[order[start - first * epoch_length : end - first * epoch_length]])
  classes = len(np.unique(np.concatenate(drawn))) if drawn else 0
  return [_distinct_row(np.stack(drawn), size, classes) for size in sorted(batch_sizes)]


def _distinct_row(drawn: Int[np.ndarray, 'trial draw'], size: int, classes: int) -> dict[str, Any]:
  batches = drawn.shape[1] // size
  rows = np.sort(drawn[:, : batches * size].reshape(-1, size), axis=1)
  present = 1 + (np.diff(rows, axis=1) != 0).sum(axis=1)
  known = len(present) > 0
  return {
    'batch_size': int(size),
    'mean': float(present.mean()) if known else None,
    'percentile_5': float(np.percentile(present, 5)) if known else None,
    'share_lacking': float((present < classes).mean()) if known else None,
    'batches': len(present),
    'classes': classes,
  }
