"""An average of the weights beside the weights: that of a plain loop, which training never sees."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.small import largest_difference, small_config, trained

from bsjax import data
from bsjax.engine import averages, device_lanes, frozen_features
from bsjax.train import transfer
from bsjax.train.rows import lane_records

HALF_LIFE = 40.0
pytestmark = pytest.mark.optimized


@pytest.fixture(scope='module')
def both():
  """A study with an average and without, with BatchNorm; their data."""
  keys = {'model__normalization': 'batch', 'learning_rates': (0.1,), 'trials': 1, 'micro_batch': 8}
  results = []
  for half_life in (0.0, HALF_LIFE):
    config = small_config(**keys, averaging__half_life=half_life)
    study, (group,), on_device = trained(config)
    results.append((group, on_device))
  return config, study, results


def test_training_and_what_is_measured_of_it_are_bitwise_as_without(both):
  _, _, ((plain, there), (averaged, here)) = both
  before, after = plain.to_host(), averaged.to_host()
  assert not isinstance(before, averages.AveragedState)
  for name in vars(before):
    assert largest_difference(getattr(before, name), getattr(after, name)) == 0, name
  ours, other = (
    group.evaluate(at)().evaluation for group, at in ((plain, there), (averaged, here))
  )
  assert not ours.averaged
  for name in ('train', 'validation', 'reestimated'):
    assert largest_difference(getattr(ours, name), getattr(other, name)) == 0, name


def test_the_average_is_that_of_a_plain_loop(both):
  """Of the weights after each block, here the updates of the largest batch size, by optax.ema."""
  _, study, ((plain, _), (averaged, _)) = both
  states = averaged.to_host()
  size = study.block_examples
  (lane,) = [i for i, x in enumerate(averaged.group.lanes) if x.batch_size == size]
  plain.restart(1)
  on_device = both[2][0][1]
  decay = 2 ** (-size / HALF_LIFE)
  ema = optax.ema(decay, debias=True)
  state, average = None, None
  while plain.position < study.total_examples:
    plain.advance(on_device, 1)
    params = jax.tree.map(lambda x: x[lane], plain.to_host().params)
    state = ema.init(params) if state is None else state
    average, state = ema.update(params, state)
  ours = jax.tree.map(lambda x: x[lane], states.average)
  assert largest_difference(ours, average) < 1e-5
  assert largest_difference(ours, jax.tree.map(lambda x: x[lane], states.params)) > 1e-3


def test_records_have_the_average_with_statistics_of_its_own(both):
  config, study, (_, (group, on_device)) = both
  dataset = data.load(config.data, config.seed)
  found = group.evaluate(on_device)()
  state = jax.tree.map(lambda x: x[0], group.to_host())
  rows = lane_records(
    group.group.lanes, found, {'examples': study.total_examples}, group.rates(), (0, 0)
  )
  size, count = config.evaluation.batch_size, len(dataset.train)
  images = (jnp.asarray(dataset.train.images, jnp.float32) - dataset.mean) / dataset.std
  model = group.spec.model.clone(batch_norm_momentum=0.0)
  moments = []
  for start in range(0, count // size * size, size):
    variables = {'params': state.average, 'batch_stats': state.batch_stats}
    _, new = model.apply(
      variables, images[start : start + size], train=True, mutable=['batch_stats']
    )
    moments.append(new['batch_stats'])
  layer = next(iter(moments[0]))
  mean = np.mean([x[layer]['mean'] for x in moments], axis=0)
  second = np.mean([x[layer]['var'] + x[layer]['mean'] ** 2 for x in moments], axis=0)
  statistics = {layer: {'mean': mean, 'var': second - mean**2}}
  held = (jnp.asarray(dataset.validation.images, jnp.float32) - dataset.mean) / dataset.std
  logits = group.spec.model.apply(
    {'params': state.average, 'batch_stats': statistics}, held, train=False
  )
  labels = dataset.validation.labels
  loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
  np.testing.assert_allclose(rows[0]['averaged_val_loss'], loss, rtol=1e-4)
  assert rows[0]['averaged_val_accuracy'] == np.mean(np.argmax(logits, -1) == labels)
  assert rows[0]['averaged_val_loss'] != rows[0]['reestimated_val_loss']


def test_before_the_first_update_the_average_is_the_weights(both):
  _, study, (_, (group, on_device)) = both
  fresh = device_lanes.Lanes(group.programs, group.group, study)
  found = fresh.evaluate(on_device)().evaluation
  for name, sums in found.averaged.items():
    assert largest_difference(sums, found.reestimated[name]) == 0


def test_a_half_life_of_many_updates_loses_no_digits(both):
  """Of weights that go from 0 to 1, by float64; in float32 `1 - 2^-x` is 0 for the largest."""
  lane = jax.tree.map(lambda x: x[0], both[2][1][0].to_host())
  size, values = 8, np.linspace(0, 1, 50)
  for half_life in (4.0, 1e6, 1e10):
    decay = np.exp2(-size / half_life)
    weights = -np.expm1(-size / half_life * np.log(2)) * decay ** np.arange(len(values))[::-1]
    state = lane.replace(
      params=jnp.float32(0), average=jnp.float32(-7), mass=jnp.float32(0), batch_stats={}
    )
    for value in values:
      state = state.replace(params=jnp.float32(value)).after_update(jnp.float32(size / half_life))
    np.testing.assert_allclose(state.mass, weights.sum(), rtol=1e-5)
    expected = (weights * values).sum() / weights.sum()
    np.testing.assert_allclose(state.averaged().params, expected, rtol=1e-5)


def test_features_of_frozen_layers_serve_averages_that_are_the_same_alone(both):
  """An average of layers that were trained before is not what these are, even of a single lane."""
  _, _, (_, (group, _)) = both
  trainable = frozenset({'BatchNorm_0/scale', 'BatchNorm_0/bias', 'Dense_1/kernel', 'Dense_1/bias'})
  spec = dataclasses.replace(group.spec, trainable=trainable)
  states = jax.tree.map(lambda x: x[:1], group.to_host())
  assert not frozen_features.usable(spec, states)
  assert frozen_features.usable(spec, states.replace(average=states.params))


def test_lanes_that_are_lent_weights_begin_their_average_with_them(both):
  _, _, (_, (group, _)) = both
  states = group.to_host()
  weights = {'params': states.params, 'batch_stats': states.batch_stats}
  other = jax.tree.map(lambda x: x[0] + 1, weights)
  lent, _ = transfer.lend(states, other)
  assert largest_difference(lent.average, lent.params) == 0
  assert largest_difference(lent.params, states.params) > 0.5
