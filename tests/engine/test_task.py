"""The loss and metrics of a study are those of its task, said in one place."""

import re
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.small import largest_difference, small_config, trained

from bsjax import data
from bsjax.data import stream
from bsjax.engine import evaluate, lanes, probe
from bsjax.engine.device_data import DeviceSplit
from bsjax.models.task import CLASSIFICATION, Metric, Task
from bsjax.noise import entries
from bsjax.sharpness.objective import lane_objective
from bsjax.train.rows import lane_records

PACKAGE = Path(evaluate.__file__).parents[1]
# Rooms that compute losses; what reads records or shows them may name a metric.
COMPUTING = ('engine', 'sharpness', 'cost', 'noise', 'train', 'autotune')


def test_nothing_but_the_task_says_cross_entropy_or_takes_the_largest_logit():
  saying = [
    str(path.relative_to(PACKAGE))
    for room in ('models', *COMPUTING)
    for path in sorted((PACKAGE / room).rglob('*.py'))
    if re.search(r'cross_entropy|log_softmax|logsumexp|argmax\(', path.read_text())
  ]
  assert saying == ['models/task.py']


class Line(nn.Module):
  """A linear model with one output."""

  @nn.compact
  def __call__(self, x, train):
    return nn.Dense(1)(x.reshape(len(x), -1))


def squared_error(outputs, targets):
  return (outputs[:, 0] - targets) ** 2


def absolute_error(outputs, targets):
  return jnp.abs(outputs[:, 0] - targets)


REGRESSION = Task(squared_error, [Metric('mean_absolute_error', absolute_error, False)])


@pytest.fixture(scope='module')
def regression():
  """A trained study of the digits' labels as numbers: (config, dataset, plan, group, on device)."""
  config = small_config(learning_rates=(0.001,), trials=1, noise_scale__exact_examples=40)
  config.optimizer.momentum = 0.0
  dataset = data.load(config.data, config.seed)
  study, (group,), on_device = trained(config, dataset, model=Line(), task=REGRESSION)
  return config, dataset, study, group, on_device


def of_lane(tree, i):
  return jax.tree.map(lambda x: jnp.asarray(x[i]), tree)


def inputs(dataset, split):
  return stream.normalize(jnp.asarray(split.images), dataset.mean, dataset.std)


def plain_loop(config, dataset, study, lane):
  """Parameters after training one setting on squared errors as anybody would."""
  model, key = Line(), stream.trial_key(config.seed, jnp.int32(lane.trial))
  images, labels = inputs(dataset, dataset.train), jnp.asarray(dataset.train.labels)
  params = model.init(jax.random.fold_in(key, lanes.INIT), images[:1], train=True)['params']
  orders = np.asarray(stream.epoch_orders(key, jnp.int32(0), 3, study.train_examples)).ravel()
  tx = optax.sgd(lane.learning_rate)
  opt_state = tx.init(params)
  for first in range(0, study.total_examples, lane.batch_size):
    batch = orders[first : first + lane.batch_size]

    def loss(params, batch=batch):
      outputs = model.apply({'params': params}, images[batch], train=True)
      return ((outputs[:, 0] - labels[batch]) ** 2).mean()

    updates, opt_state = tx.update(jax.grad(loss)(params), opt_state, params)
    params = optax.apply_updates(params, updates)
  return params


def test_a_regression_trains_as_in_a_plain_loop(regression):
  config, dataset, study, group, _ = regression
  states = group.to_host()
  for i, lane in enumerate(group.group.lanes):
    expected = plain_loop(config, dataset, study, lane)
    assert largest_difference(of_lane(states.params, i), expected) < 1e-5, lane


def test_a_regression_is_evaluated_and_recorded_by_its_own_metric(regression):
  _, dataset, _, group, on_device = regression
  snapshot, states = group.evaluate(on_device)(), group.to_host()
  rates = 1.0, {lane.lane: 0.0 for lane in group.group.lanes}
  place = {'examples': 1, 'epoch': 1.0, 'stage': 0}
  rows = lane_records(group.group.lanes, snapshot, place, rates, probed=(40, 150))
  for i, row in enumerate(rows):
    assert not [name for name in row if 'accuracy' in name or 'class' in name]
    for name, split in (('train', dataset.train), ('val', dataset.validation)):
      outputs = Line().apply({'params': of_lane(states.params, i)}, inputs(dataset, split), False)
      errors = np.asarray(outputs, np.float64)[:, 0] - split.labels
      assert row[f'{name}_loss'] == pytest.approx((errors**2).mean(), rel=1e-4)
      assert row[f'{name}_mean_absolute_error'] == pytest.approx(np.abs(errors).mean(), rel=1e-4)


def test_probe_and_sharpness_measure_the_loss_of_the_task(regression):
  _, dataset, _, group, on_device = regression
  state = of_lane(group.to_host(), 0)
  lane_params = jax.tree.map(lambda x: x[0, 0], group.parts[0].lane_params)
  train = jax.tree.map(lambda x: x[0], on_device.train)
  found = probe.probe(group.spec, 40, 0, state, lane_params, train, jnp.int32(0))
  drawn = probe.chosen(group.spec, 40, lane_params.trial, jnp.int32(0))
  images = stream.normalize(train.images[drawn], group.spec.mean, group.spec.std)
  labels = train.labels[drawn]
  flat = images.reshape(len(images), -1)
  errors = Line().apply({'params': state.params}, images, False)[:, 0] - labels
  norms = (2 * errors) ** 2 * ((flat**2).sum(1) + 1)  # of the gradients, kernel and bias
  squares = sum(found.products[entries.PLAIN].squares.values())
  np.testing.assert_allclose(squares, norms, rtol=1e-3)

  examples = DeviceSplit(jnp.asarray(dataset.train.images), jnp.asarray(dataset.train.labels))
  objective = lane_objective(group.spec, state, examples, 64)
  sums = evaluate.evaluate(group.spec, 64, state, examples, examples).train
  np.testing.assert_allclose(objective.value(state.params), sums.loss / 150, rtol=1e-5)


def test_whole_numbers_are_summed_exactly_and_others_as_they_are():
  ones = Metric('ones', lambda outputs, targets: jnp.ones(len(targets), jnp.int32), False)
  halves = Metric('halves', lambda outputs, targets: jnp.full(len(targets), 0.5), False)
  task = Task(CLASSIFICATION.loss, [ones, halves])
  new = jnp.arange(6) > 0
  sums = evaluate._batch_sums(task, jnp.zeros((6, 2)), jnp.zeros(6, jnp.int32), new)
  assert sums.metrics['ones'].dtype == jnp.int32 and sums.metrics['ones'] == 5
  assert sums.metrics['halves'] == 2.5 and sums.count == 5
  assert sums.class_count is None and sums.class_metrics == {}


def test_of_what_has_positions_those_that_the_mask_leaves_count_alike():
  """A mean of its own for each example: nothing of what is masked, and 0 of one that has none."""

  def by_position(outputs, targets):
    return (outputs - targets) ** 2

  metric = Metric('off_by', lambda outputs, targets: jnp.abs(outputs - targets), False)
  random = np.random.default_rng(0)
  outputs = jnp.asarray(random.normal(size=(3, 2, 4)), jnp.float32)
  targets = jnp.asarray(random.normal(size=(3, 2, 4)), jnp.float32)
  counts = np.ones((3, 2, 4), bool)
  counts[0, 1, 1:], counts[2] = False, False
  masked = Task(by_position, [metric], mask=lambda _: jnp.asarray(counts))
  spoilt = jnp.where(counts, outputs, jnp.inf)  # what is masked may be anything
  for task, kept in ((masked, counts), (Task(by_position, [metric]), np.ones_like(counts))):
    given = spoilt if task is masked else outputs
    for found, power in (task.loss(given, targets), 2), (task.measure('off_by', given, targets), 1):
      off = np.abs(np.asarray(outputs - targets, np.float64)) ** power
      expected = [one[use].mean() if use.any() else 0.0 for one, use in zip(off, kept, strict=True)]
      np.testing.assert_allclose(found, expected, rtol=1e-5)
