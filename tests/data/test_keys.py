"""Keys: what is drawn for different purposes, trials, streams and epochs is drawn apart."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from bsjax.data import stream
from bsjax.engine import lanes, probe


def bits(key):
  return tuple(np.asarray(jax.random.key_data(key)).tolist())


def test_purposes_fold_a_trials_key_with_different_numbers_below_those_of_streams():
  numbers = [lanes.INIT, stream.ORDER, stream.AUGMENT, probe.PROBE]
  assert len(set(numbers)) == len(numbers) and max(numbers) < stream.LATER_STREAMS


def test_every_seed_trial_and_stream_has_a_key_of_its_own():
  choices = list(itertools.product((0, 1), range(3), range(4)))
  keys = {bits(stream.stream_key(seed, jnp.int32(t), number)) for seed, t, number in choices}
  assert len(keys) == len(choices)
  assert bits(stream.stream_key(7, jnp.int32(2), 0)) == bits(
    stream.trial_key(7, jnp.int32(2))
  )  # of the first stream


def test_every_epoch_and_trial_has_an_order_of_its_own():
  orders = [
    stream.epoch_orders(stream.trial_key(0, jnp.int32(t)), jnp.int32(3), 2, 50) for t in (0, 1)
  ]
  rows = np.concatenate(orders)
  assert len({tuple(row) for row in rows.tolist()}) == 4
  assert (np.sort(rows, axis=1) == np.arange(50)).all()
