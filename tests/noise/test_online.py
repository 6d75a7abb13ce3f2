"""The noise scale that lanes measure while training, against the exact one of the training set."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.small import small_config, trained
from helpers.still import exact, still_config

from bsjax import data, models
from bsjax.data import stream
from bsjax.engine import lanes
from bsjax.models import convolution
from bsjax.noise import estimators, online


# Updates within an epoch, over its end, longer than a whole one; and lanes of one micro-batch an
# update, which probe; with `probe_every=1` neighbouring pairs share a batch, hence the wider band.
@pytest.mark.parametrize(
  'sizes, micro, band',
  [((16, 64), 8, 4.0), ((192,), 64, 4.0), ((8,), 8, 5.0), ((16, 32), 'batch', 5.0)],
)
@pytest.mark.parametrize('how', ['map-canonical', 'vmap-native'])
def test_lanes_measure_the_noise_of_their_training_set(sizes, micro, band, how):
  config = still_config(batch_sizes=sizes, micro_batch=micro, execution__strategy=how)
  dataset = data.load(config.data, config.seed)
  _, groups, on_device = trained(config, dataset)
  for group in groups:
    params = jax.tree.map(lambda x: jnp.asarray(x[0]), group.to_host().params)
    trace, grad_sq = exact(config, dataset, params)
    windows = group.evaluate(on_device)().noise['plain']
    for i, lane in enumerate(group.group.lanes):
      found = estimators.window_summary(jax.tree.map(lambda x, i=i: x[i], windows))
      assert found['count'] >= 9000 // lane.batch_size - 1
      for name, expected in (('trace', trace), ('grad_sq', grad_sq)):
        error = np.sqrt(found[f'{name}_var'] / found['count'])
        assert error < 0.1 * expected, (lane, name)
        assert abs(found[name] - expected) < band * error, (lane, name, found[name], expected)


@pytest.mark.parametrize('how', ['map-canonical', 'vmap-native'])
def test_a_part_of_the_updates_is_measured_as_well_as_all(how):
  """Batch sizes of 2, 4 and 8 ticks, an update of each measured every 4 ticks, none mixed up.

  At parameters that stand still: what a lane gathers in updates between must not be counted.
  """
  found = {}
  for every in (1, 4):
    config = still_config(batch_sizes=(16, 32, 64), micro_batch=8, execution__strategy=how)
    config.noise_scale.every = every
    study, (group,), on_device = trained(config)
    windows = group.evaluate(on_device)().noise['plain']
    for i, lane in enumerate(group.group.lanes):
      found[every, lane.batch_size, lane.trial] = jax.tree.map(lambda x, i=i: x[i], windows)
  updates = {size: study.total_examples // size for size in (16, 32, 64)}
  for (every, size, trial), window in found.items():
    summary = estimators.window_summary(window)
    share = 2 if (every, size) == (4, 16) else 1
    assert summary['count'] == -(-updates[size] // share)
    if every == 4:
      whole = estimators.window_summary(found[1, size, trial])
      for name in ('trace', 'grad_sq'):
        error = np.sqrt(summary[f'{name}_var'] / summary['count'])
        assert abs(summary[name] - whole[name]) < 4 * error, (size, trial, name)
        # Something of another update in each sum would double it.
        assert error < 0.1 * abs(whole['trace']), (size, trial, name)


def test_windows_start_anew():
  config = still_config(batch_sizes=(16,), micro_batch=8, epochs=4.0)
  _, (group,), on_device = trained(config)
  assert group.evaluate(on_device)().noise['plain'].updates.count == [38]
  assert group.evaluate(on_device)().noise['plain'].updates.count == [0]


def early(positions, population=150):
  """Which positions in the stream are in the first eighth of an epoch: within 19 of 150."""
  return np.asarray(positions) % population < math.ceil(population / 8)


@pytest.mark.parametrize('how', ['map-canonical', 'vmap-native'])
@pytest.mark.usefixtures('optimized_programs')
def test_what_begins_early_in_an_epoch_is_kept_apart(how):
  """Stretch by stretch of an update of the largest size, of lanes that move."""
  config = small_config(batch_sizes=(8, 16), micro_batch=8, learning_rates=(0.1,), trials=1)
  config.noise_scale.probe_every, config.epochs, config.execution.strategy = 1, 4.0, how
  study, (group,), on_device = trained(config, examples=0)
  begun = {8: 0, 16: 0}
  while group.position < study.total_examples:
    first = group.position
    group.advance(on_device, 1)
    snapshot = group.evaluate(on_device)()
    for i, lane in enumerate(group.group.lanes):
      whole, apart = (
        jax.tree.map(lambda x, i=i: x[i], windows['plain'])
        for windows in (snapshot.noise, snapshot.early_noise)
      )
      flags = early(range(first, group.position, lane.batch_size))
      assert (whole.updates.count, apart.updates.count) == (len(flags), flags.sum())
      begun[lane.batch_size] += flags.sum()
      if flags.all():
        jax.tree.map(np.testing.assert_array_equal, whole, apart)
  assert begun == {8: 11, 16: 5}  # of 76 and 38: three or two at the start of an epoch, and one


@pytest.mark.parametrize('every', [1, 4, 16, 20])
@pytest.mark.parametrize('accumulation', [1, 2, 6])
def test_early_updates_are_measured_more_often_and_the_others_as_before(every, accumulation):
  began = np.arange(0, 6000, accumulation)

  def counted(population):
    def one(at):
      where = online.counted(at, 8, accumulation, every, population)
      return where.regular, where.early, where.anywhere

    return map(np.asarray, jax.vmap(one)(jnp.asarray(began)))

  regular, apart, anywhere = counted(150)
  np.testing.assert_array_equal(regular, began % every < accumulation)
  often = max(every // 8, 1)
  np.testing.assert_array_equal(apart, early(8 * began) & (began % often < accumulation))
  np.testing.assert_array_equal(anywhere, regular | apart)
  if every % 8 == 0 and accumulation == 1:  # as many as of all
    assert apart.sum() == pytest.approx(regular.sum(), rel=0.1)
  _, anew, _ = counted(None)
  np.testing.assert_array_equal(anew, regular)


@pytest.mark.usefixtures('optimized_programs')
def test_draws_with_replacement_have_no_early_part():
  config = small_config(batch_sizes=(8, 16), micro_batch=8, learning_rates=(0.1,), trials=1)
  config.data.sampler = 'inverse_frequency'
  _, (group,), on_device = trained(config)
  snapshot = group.evaluate(on_device)()
  jax.tree.map(np.testing.assert_array_equal, snapshot.noise, snapshot.early_noise)
  assert snapshot.noise['plain'].updates.count.all()


def test_probes_can_be_switched_off_and_spaced():
  counts = {}
  for every in (0, 1, 4):
    config = still_config(batch_sizes=(8, 16), noise_scale__probe_every=every, epochs=4.0)
    _, (group,), on_device = trained(config)
    counts[every] = list(group.evaluate(on_device)().noise['plain'].updates.count)
  ticks = group.ticks
  assert counts == {0: [0, ticks // 2], 1: [ticks, ticks // 2], 4: [-(-ticks // 4), ticks // 2]}


def scaled_noise(name, config, dataset, study, lane):
  """The preconditioned noise of a lane's updates but the first, from a plain loop."""
  model = models.create(config.model, dataset.num_classes, conv=convolution.conv('native'))
  key = stream.trial_key(config.seed, jnp.int32(lane.trial))
  shape = (1, *dataset.image_shape)
  init_key = jax.random.fold_in(key, lanes.INIT)
  params = model.init(init_key, jnp.zeros(shape), train=False)['params']
  tx = {'adam': optax.adam, 'rmsprop': optax.rmsprop}[name](lane.learning_rate)
  opt_state, found = tx.init(params), []
  orders = np.asarray(stream.epoch_orders(key, jnp.int32(0), 3, study.train_examples)).ravel()

  @jax.jit
  def gradient(params, images, labels):
    def loss(params):
      logits = model.apply({'params': params}, images, train=True)
      return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return jax.grad(loss)(params)

  for update in range(study.total_examples // lane.batch_size):
    chosen = orders[update * lane.batch_size :][: lane.batch_size]
    images = stream.normalize(jnp.asarray(dataset.train.images[chosen]), dataset.mean, dataset.std)
    labels, size = jnp.asarray(dataset.train.labels[chosen]), lane.micro_batch
    parts = [slice(i, i + size) for i in range(0, lane.batch_size, size)]
    micro = [gradient(params, images[part], labels[part]) for part in parts]
    grads = jax.tree.map(lambda *g: sum(g) / len(g), *micro)
    nu = jax.tree.leaves(optax.tree_utils.tree_get(opt_state, 'nu'))
    nu = [np.maximum(v, 0.01 * np.mean(v)) for v in nu]  # no coordinate counts as rarer than that

    def flat(tree):
      return np.concatenate([np.ravel(x).astype(np.float64) for x in tree])

    if name == 'adam':
      scale = 1 / (np.sqrt(flat(nu) / (1 - 0.999 ** max(update, 1))) + 1e-8)
    else:
      scale = 1 / np.sqrt(flat(nu) + 1e-8)
    each = [((scale * flat(jax.tree.leaves(g))) ** 2).sum() for g in micro]
    both = ((scale * flat(jax.tree.leaves(grads))) ** 2).sum()
    trace = (np.mean(each) - both) / (1 / size - 1 / lane.batch_size)
    if update:  # before the first, the optimizer has no scale
      found.append((trace, both - trace * (1 / lane.batch_size - 1 / study.train_examples)))
    updates, opt_state = tx.update(grads, opt_state, params)
    params = optax.apply_updates(params, updates)
  return np.array(found).T


@pytest.mark.parametrize('name', ['adam', 'rmsprop'])
def test_the_optimizers_own_scaling_is_that_from_before_the_batch(name):
  config = small_config(batch_sizes=(10, 30), learning_rates=(0.003,), trials=1, micro_batch=10)
  config.optimizer.name, config.optimizer.eps = name, 1e-8
  config.epochs = 2.0
  dataset = data.load(config.data, config.seed)
  study, (group,), on_device = trained(config, dataset)
  windows, i = group.evaluate(on_device)().noise['preconditioned'], 1
  lane = group.group.lanes[i]
  expected = scaled_noise(name, config, dataset, study, lane)
  found = estimators.window_summary(jax.tree.map(lambda x: x[i], windows))
  assert found['count'] == expected.shape[1] == study.total_examples // 30 - 1
  assert found['trace'] == pytest.approx(expected[0].mean(), rel=1e-3)
  assert found['grad_sq'] == pytest.approx(expected[1].mean(), rel=1e-3)
  assert found['cov'] == pytest.approx(np.cov(expected)[0, 1], rel=1e-2)
