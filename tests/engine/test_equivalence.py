"""Every fast path against its slow twin, but for rounding: plain optax loops, one device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.small import largest_difference, small_config, trained

from bsjax import data, models
from bsjax.data import sampler, stream
from bsjax.engine import lanes
from bsjax.models import convolution
from bsjax.optim import entries
from bsjax.plan import plan

OPTIMIZERS = {
  'sgd': lambda rate: optax.sgd(rate, momentum=0.9),
  'sgd nesterov': lambda rate: optax.chain(
    optax.add_decayed_weights(0.1, _kernels), optax.sgd(rate, momentum=0.9, nesterov=True)
  ),
  'adam': lambda rate: optax.adam(rate, eps=1e-3),
  'adam nesterov': lambda rate: optax.chain(
    optax.add_decayed_weights(0.1, _kernels), optax.nadam(rate, eps=1e-3)
  ),
  'adamw': lambda rate: optax.adamw(rate, eps=1e-3, weight_decay=0.1, mask=_kernels),
  'rmsprop': lambda rate: optax.chain(
    optax.add_decayed_weights(0.1, _kernels), optax.rmsprop(rate, 0.9, 1e-3, momentum=0.5)
  ),
  'lars': lambda rate: optax.lars(
    rate, 0.1, _kernels, 0.02, trust_ratio_mask=_kernels, momentum=0.9
  ),
  'lars nesterov': lambda rate: optax.lars(
    rate, 0.1, _kernels, 0.02, trust_ratio_mask=_kernels, momentum=0.9, nesterov=True
  ),
  'lamb': lambda rate: optax.lamb(rate, eps=1e-3, weight_decay=0.1, mask=_kernels),
  'lion': lambda rate: optax.lion(rate, b2=0.999, weight_decay=0.1, mask=_kernels),
  'signum': lambda rate: optax.chain(
    optax.ema(0.9, debias=False),
    optax.scale_by_sign(),
    optax.add_decayed_weights(0.1, _kernels),
    optax.scale_by_learning_rate(rate),
  ),
  'muon nesterov': lambda rate: optax.contrib.muon(
    rate,
    beta=0.9,
    eps=1e-3,
    weight_decay=0.1,
    weight_decay_mask=_kernels,
    adam_b2=0.999,
    consistent_rms=0.2,
  ),
  'adafactor': lambda rate: optax.chain(
    optax.adafactor(1.0),
    optax.scale(-1.0),
    optax.add_decayed_weights(0.1, _kernels),
    optax.scale_by_learning_rate(rate),
  ),
}


def _kernels(params):
  return jax.tree.map(lambda x: x.ndim > 1, params)


def _optimizer_keys(name):
  name, _, nesterov = name.partition(' ')
  keys = {'optimizer__name': name, 'optimizer__eps': 1e-3, 'optimizer__trust_coefficient': 0.02}
  keys['optimizer__nesterov'] = bool(nesterov)
  if name == 'rmsprop':
    keys['optimizer__rmsprop_momentum'] = 0.5
  if nesterov or name not in ('sgd', 'adam'):
    keys['optimizer__weight_decay'] = 0.1
  return keys


def start_of_trial(config, dataset, study, trial):
  """The model's variables at the start of a trial, and its examples in the order of training."""
  model = models.create(config.model, dataset.num_classes, conv=convolution.conv('native'))
  key = stream.trial_key(config.seed, jnp.int32(trial))
  shape = (1, *dataset.image_shape)
  variables = model.init(jax.random.fold_in(key, lanes.INIT), jnp.zeros(shape), train=False)
  epochs = -(-study.total_examples // study.train_examples)
  sample = sampler.create(config.data, dataset.train.labels)
  return model, variables, np.asarray(sample(key, jnp.int32(0), epochs)).reshape(-1)


def plain_loop(start, dataset, study, lane, plain):
  """Trains one setting as anybody would: whole batches, one after the other."""
  model, variables, examples = start
  make_optimizer, step = plain
  params, stats = variables['params'], variables.get('batch_stats', {})
  opt_state = make_optimizer(lane.learning_rate).init(params)
  for first in range(0, study.total_examples, lane.batch_size):
    chosen = examples[first : first + lane.batch_size]
    images = (dataset.train.images[chosen] - dataset.mean) / dataset.std
    batch = jnp.asarray(images, jnp.float32), jnp.asarray(dataset.train.labels[chosen])
    params, stats, opt_state = step(model, lane.learning_rate, params, stats, opt_state, *batch)
  return params, stats


def plain_step(make_optimizer):
  """The optimizer and one step of that loop; `make_optimizer(learning rate)` is of optax."""

  @functools.partial(jax.jit, static_argnums=0)
  def step(model, rate, params, stats, opt_state, images, labels):
    def loss(params):
      logits, changed = model.apply(
        {'params': params, 'batch_stats': stats}, images, train=True, mutable=['batch_stats']
      )
      losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
      return losses.mean(), changed.get('batch_stats', {})

    grads, new_stats = jax.grad(loss, has_aux=True)(params)
    updates, opt_state = make_optimizer(rate).update(grads, opt_state, params)
    return optax.apply_updates(params, updates), new_stats, opt_state

  return make_optimizer, step


def assert_lanes_equal_plain_loops(config, steps, atol):
  """`steps(batch_size)` is the plain step for lanes of a batch size."""
  dataset = data.load(config.data, config.seed)
  study, groups, _ = trained(config, dataset)
  steps = {size: steps(size) for size in config.batch_sizes}
  starts = [start_of_trial(config, dataset, study, trial) for trial in range(config.trials)]
  for group in groups:
    states = group.to_host()
    for i, lane in enumerate(group.group.lanes):
      expected = plain_loop(starts[lane.trial], dataset, study, lane, steps[lane.batch_size])
      own = jax.tree.map(lambda x, i=i: x[i], (states.params, states.batch_stats))
      assert largest_difference(own, expected) < atol, lane
      assert states.updates[i] == study.total_examples // lane.batch_size


def test_lanes_of_a_trial_share_weighted_draws_whatever_their_batch_size():
  config = small_config(data__sampler='inverse_frequency', data__imbalance_factor=10.0)
  config.data.train_examples, config.epochs = 0, 1.0
  config.optimizer.momentum = 0.0
  step = plain_step(optax.sgd)
  assert_lanes_equal_plain_loops(config, lambda size: step, atol=1e-5)


def test_every_optimizer_is_compared_with_a_plain_loop():
  assert {name.split()[0] for name in OPTIMIZERS} == set(entries.OPTIMIZERS)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_lane_equals_plain_optax_loop_at_its_own_batch_size(name):
  rates = (0.02, 0.1) if name.split()[0] in ('sgd', 'lars') else (0.002, 0.01)
  config = small_config(learning_rates=rates, **_optimizer_keys(name))
  step = plain_step(OPTIMIZERS[name])
  assert_lanes_equal_plain_loops(config, lambda size: step, atol=1e-5)


AXES = {
  'adamw': {'axes__b2': (0.9, 0.999), 'scaling__hyperparameters': 'keep,half_life+decay_time'},
  'sgd': {'axes__momentum': (0.0, 0.9), 'axes__weight_decay': (0.0, 0.1)},
  'rmsprop': {'axes__rmsprop_decay': (0.8, 0.9), 'optimizer__rmsprop_momentum': 0.5},
}


@pytest.mark.parametrize('name', AXES)
def test_lanes_of_every_branch_equal_plain_loops_with_its_values_in_one_program(name):
  config = small_config(optimizer__name=name, **AXES[name], trials=1, learning_rates=(0.01,))
  config.optimizer.eps, config.optimizer.weight_decay = 1e-3, 0.1
  config.scaling.base_batch_size = 8
  dataset = data.load(config.data, config.seed)
  study, (group,), _ = trained(config, dataset)
  start = start_of_trial(config, dataset, study, 0)
  states = group.to_host()
  for i, lane in enumerate(group.group.lanes):
    own = dict(lane.hyperparameters)
    words = dict(word.split('=') for word in lane.branch.split(' '))
    power = lane.batch_size / 8 if words.get('hyperparameters', 'keep') != 'keep' else 1
    if name == 'adamw':
      assert own['b2'] == pytest.approx(float(words['b2']) ** power)
      assert own['weight_decay'] == pytest.approx(0.1 * power)
    plain = plain_step(functools.partial(_with_values, name, own))
    expected = plain_loop(start, dataset, study, lane, plain)
    mine = jax.tree.map(lambda x, i=i: x[i], (states.params, states.batch_stats))
    assert largest_difference(mine, expected) < 1e-5, lane


def _with_values(name, own, rate):
  if name == 'adamw':
    return optax.adamw(
      rate, own['b1'], own['b2'], 1e-3, weight_decay=own['weight_decay'], mask=_kernels
    )
  if name == 'sgd':
    decay = optax.add_decayed_weights(own['weight_decay'], _kernels)
    return optax.chain(decay, optax.sgd(rate, own['momentum']))
  decay = optax.add_decayed_weights(0.1, _kernels)
  return optax.chain(decay, optax.rmsprop(rate, own['rmsprop_decay'], 1e-3, momentum=0.5))


def test_schedule_is_a_function_of_examples_seen():
  config = small_config(
    schedule__name='cosine', schedule__warmup_epochs=0.5, batch_sizes=(8, 32), trials=1
  )
  study = plan.make_plan(config, 150).first
  warmup = round(0.5 * study.train_examples)

  def steps(batch_size):
    def scheduled(peak):
      def rate(count):  # as optax counts: updates made so far
        examples = count * batch_size
        up = jnp.minimum(examples / warmup, 1.0)
        share = jnp.clip((examples - warmup) / (study.total_examples - warmup), 0, 1)
        return peak * up * (0.5 * (1 + jnp.cos(jnp.pi * share)))

      return optax.sgd(rate, momentum=0.9)

    return plain_step(scheduled)

  assert_lanes_equal_plain_loops(config, steps, atol=1e-5)


def test_whole_batches_with_batch_norm_equal_a_plain_loop():
  config = small_config(micro_batch='batch', model__normalization='batch', trials=1)
  step = plain_step(OPTIMIZERS['sgd'])
  assert_lanes_equal_plain_loops(config, lambda size: step, atol=1e-4)


@pytest.mark.parametrize(
  'keys',
  [
    {'noise_scale__probe_every': 1},
    pytest.param(
      {'model__normalization': 'batch', 'noise_scale__probe_every': 3, 'batch_sizes': (8, 32)},
      marks=pytest.mark.slow,
    ),
    pytest.param(
      {
        **{'model__name': 'cnn', 'model__width': 4, 'data__crop': 1, 'data__flip': True},
        **{'batch_sizes': (8, 32), 'learning_rates': (0.05,)},
      },
      marks=pytest.mark.slow,
    ),
  ],
)
def test_strategies_are_equal(keys):
  config = small_config(trials=1, **keys)  # unrolled, every lane is compiled
  states = {}
  for how in ('map-canonical', 'vmap-im2col', 'vmap-native', 'unrolled-canonical'):
    config.execution.strategy = how
    _, (group,), _ = trained(config)
    states[how] = group.to_host()
  expected = states.pop('map-canonical')
  for state in states.values():
    for a, b in zip(*map(jax.tree.leaves, (state, expected)), strict=True):
      np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)
    for name in ('count', 'updates'):
      np.testing.assert_array_equal(getattr(state, name), getattr(expected, name))
    windows = (each.noise.windows['plain'].updates.count for each in (state, expected))
    np.testing.assert_array_equal(*windows)


def test_vmap_makes_no_copies_of_the_training_set():
  config = small_config(execution__strategy='vmap-native', noise_scale__probe_every=2)
  _, (group,), on_device = trained(config, examples=0)
  compiled = group.lower(group.parts[0], on_device).as_text()
  assert '150x8x8x1xui8' in compiled  # the training set, of this many digits
  lanes_here = len(group.group.lanes) // len(group.devices)
  assert f'{lanes_here}x150x8x8x1xui8' not in compiled


def test_convolutions_train_as_in_a_plain_loop():
  config = small_config(
    model__name='cnn', model__width=4, batch_sizes=(8, 16), learning_rates=(0.05,), trials=1
  )
  step = plain_step(OPTIMIZERS['sgd'])
  assert_lanes_equal_plain_loops(config, lambda size: step, atol=2e-5)


def test_augmentation_does_not_depend_on_the_micro_batch():
  """Lanes of batch size 16 that gather it as 4 x 4, 2 x 8 or 1 x 16 examples stay together."""
  states = []
  for micro in (4, 8, 'batch'):
    config = small_config(
      batch_sizes=(16,), micro_batch=micro, data__crop=2, data__flip=True, trials=1
    )
    _, (group,), _ = trained(config)
    states.append(group.to_host().params)
  assert largest_difference(states[0], states[1]) < 1e-5
  assert largest_difference(states[0], states[2]) < 1e-5
  _, (plain,), _ = trained(small_config(batch_sizes=(16,), micro_batch=8, trials=1))
  assert largest_difference(states[1], plain.to_host().params) > 0.01


def test_lanes_not_a_multiple_of_devices():
  config = small_config(learning_rates=(0.1,), trials=1, execution__devices=2)
  _, (odd,), _ = trained(config)
  config.execution.devices = 1
  _, (one,), _ = trained(config)
  assert len(odd.to_host().updates) == 3
  assert largest_difference(odd.to_host().params, one.to_host().params) < 1e-5


def test_all_lanes_of_a_trial_see_the_same_examples_whatever_their_batch_size():
  """While learning rates are small, a block of examples moves every lane along the same gradient.

  Summed over one block, updates of size 8 move four times as far as the one update of size 32, up
  to the curvature along the way; other examples would point elsewhere.
  """
  config = small_config(learning_rates=(1e-4,), optimizer__momentum=0.0)
  _, (before,), _ = trained(config, examples=0)
  study, (after,), _ = trained(config, examples=32)
  assert study.block_examples == 32
  start, end = (np.concatenate(_flat(g.to_host().params), axis=1) for g in (before, after))
  moves = {
    (lane.batch_size, lane.trial): (end[lane.lane] - start[lane.lane]) * lane.batch_size
    for lane in after.group.lanes
  }

  def off(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)

  for trial in (0, 1):
    assert off(moves[8, trial], moves[32, trial]) < 0.01
    assert off(moves[16, trial], moves[32, trial]) < 0.01
  assert off(moves[32, 0], moves[32, 1]) > 0.5


def _flat(params):
  return [leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(params)]
