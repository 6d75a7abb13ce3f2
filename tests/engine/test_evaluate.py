"""Evaluation: sums over whole splits against numpy, whatever the evaluation batch."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.small import small_config, trained

from bsjax import data, models
from bsjax.data import stream
from bsjax.engine import evaluate
from bsjax.engine.device_data import DeviceSplit
from bsjax.engine.lanes import Weights
from bsjax.engine.own import Own
from bsjax.engine.spec import lane_spec
from bsjax.models import convolution
from bsjax.models.own import adapted
from bsjax.noise import estimators
from bsjax.plan import plan
from bsjax.train.rows import lane_records, why_diverged


def outputs(config, dataset, split, params, batch_stats):
  """Logits of a whole split at once."""
  model = models.create(config.model, dataset.num_classes, conv=convolution.conv('native'))
  images = stream.normalize(jnp.asarray(split.images), dataset.mean, dataset.std)
  return model.apply({'params': params, 'batch_stats': batch_stats}, images, train=False)


@pytest.mark.parametrize('batch_size', [1, 7, 64, 1000])
def test_sums_of_ragged_batches_equal_the_whole(batch_size):
  config = small_config(evaluation__batch_size=batch_size, trials=1)
  dataset = data.load(config.data, config.seed)
  _, (group,), on_device = trained(config, dataset, examples=96)
  found, states = group.evaluate(on_device)().evaluation, group.to_host()
  for i in (0, 5):
    params = jax.tree.map(lambda x, i=i: x[i], states.params)
    for split, sums in ((dataset.train, found.train), (dataset.validation, found.validation)):
      logits = outputs(config, dataset, split, params, {})
      losses = optax.softmax_cross_entropy_with_integer_labels(logits, split.labels)
      assert sums.count[i] == len(split.labels)
      assert sums.metrics['accuracy'][i] == (np.argmax(logits, -1) == split.labels).sum()
      np.testing.assert_allclose(sums.loss[i], np.sum(losses, dtype=np.float64), rtol=1e-5)
      right = split.labels[np.argmax(logits, -1) == split.labels]
      np.testing.assert_array_equal(sums.class_count[i], np.bincount(split.labels, minlength=10))
      np.testing.assert_array_equal(
        sums.class_metrics['accuracy'][i], np.bincount(right, minlength=10)
      )
  assert found.finite.all()
  assert found.reestimated == {}


@pytest.mark.parametrize('batch_size', [50, 1000])
def test_reestimated_batch_norm_statistics_are_those_of_the_training_split(batch_size):
  """The first normalization sees inputs that depend on no other statistics: check it by hand."""
  config = small_config(
    model__normalization='batch', evaluation__batch_size=batch_size, trials=1, epochs=1.0
  )
  dataset = data.load(config.data, config.seed)
  _, (group,), on_device = trained(config, dataset)
  states = jax.tree.map(lambda x: jnp.asarray(x[0]), group.to_host())
  own = jax.tree.map(lambda x: x[0], on_device.train)
  found = jax.jit(lambda state: evaluate.reestimate(group.spec, state, own, batch_size))(states)
  images = stream.normalize(jnp.asarray(dataset.train.images), dataset.mean, dataset.std)
  dense = states.params['Dense_0']
  hidden = images.reshape(len(images), -1) @ dense['kernel'] + dense.get('bias', 0.0)
  (layer,) = found.values()
  np.testing.assert_allclose(layer['mean'], hidden.mean(0), atol=1e-5)
  np.testing.assert_allclose(layer['var'], hidden.var(0), rtol=1e-3)
  running = next(iter(states.batch_stats.values()))
  assert np.abs(running['var'] - layer['var']).max() > 0.01  # running averages are not the same


def test_both_kinds_of_batch_norm_statistics_are_evaluated():
  config = small_config(model__normalization='batch', trials=1, epochs=1.0)
  dataset = data.load(config.data, config.seed)
  _, (group,), on_device = trained(config, dataset)
  found, states = group.evaluate(on_device)().evaluation, group.to_host()
  state = jax.tree.map(lambda x: jnp.asarray(x[0]), states)
  own = jax.tree.map(lambda x: x[0], on_device.train)
  fresh = evaluate.reestimate(group.spec, state, own, config.evaluation.batch_size)
  for statistics, sums in ((state.batch_stats, found.train), (fresh, found.reestimated['train'])):
    logits = outputs(config, dataset, dataset.train, state.params, statistics)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, dataset.train.labels)
    np.testing.assert_allclose(sums.loss[0], np.sum(losses, dtype=np.float64), rtol=1e-4)
  assert abs(found.train.loss[0] / found.reestimated['train'].loss[0] - 1) > 0.01


def test_rows_divide_once_and_name_what_is_undefined():
  config = small_config(trials=1)
  _, (group,), on_device = trained(config, examples=96)
  snapshot = group.evaluate(on_device)()
  found = snapshot.evaluation
  position = {'examples': 96, 'epoch': 0.64, 'stage': 0}
  rate_sums = {lane.lane: 10.0 / lane.batch_size for lane in group.group.lanes}
  rows = lane_records(group.group.lanes, snapshot, position, (0.5, rate_sums), probed=(0, 150))
  for i, (row, lane) in enumerate(zip(rows, group.group.lanes, strict=True)):
    assert row['updates'] == 96 // lane.batch_size
    assert row['learning_rate'] == lane.learning_rate / 2
    assert row['learning_rate_sum'] == rate_sums[lane.lane]
    assert row['batch_size'] == lane.batch_size
    assert row['train_accuracy'] == found.train.metrics['accuracy'][i] / 150
    sums = found.validation
    recall = sums.class_metrics['accuracy'][i] / sums.class_count[i]
    assert row['val_class_accuracy'] == recall.tolist()
    assert row['val_balanced_accuracy'] == pytest.approx(recall.mean(), abs=1e-15)
    recall = found.train.class_metrics['accuracy'][i] / found.train.class_count[i]
    assert row['train_balanced_accuracy'] == pytest.approx(recall.mean(), abs=1e-15)
    assert row['val_loss'] == pytest.approx(float(found.validation.loss[i]) / len_val(found, i))
    ratio = estimators.b_simple(row['noise']['trace'], row['noise']['grad_sq'])
    assert row['b_simple'] == ratio
    assert not row['diverged']


def test_a_class_that_a_split_lacks_has_no_accuracy_and_no_part_in_the_mean():
  by_class = {'accuracy': np.array([3, 0, 2])}
  sums = evaluate.Sums(1.0, {'accuracy': 5}, 10, by_class, np.array([4, 0, 6]))
  row = evaluate.means('val', sums)
  assert row['val_class_accuracy'] == [0.75, None, pytest.approx(1 / 3)]
  assert row['val_balanced_accuracy'] == pytest.approx((0.75 + 1 / 3) / 2)
  assert row['val_accuracy'] == 0.5
  for name, told in (('reestimated_val', True), ('averaged_val', True), ('train', False)):
    assert (f'{name}_class_accuracy' in evaluate.means(name, sums)) == told


def len_val(found, i):
  return int(found.validation.count[i])


def test_learning_rates_are_summed_over_the_updates_of_each_batch_size():
  config = small_config(trials=1, schedule__name='cosine', schedule__warmup_epochs=0.3)
  study = trained(config, examples=96)[0]
  for position in (0, 96, study.total_examples):
    _, (group,), _ = trained(config, examples=position)
    factor, sums = group.rates()
    assert factor == pytest.approx(float(group.spec.schedule(jnp.int32(position))))
    for lane in group.group.lanes:
      starts = range(0, position, lane.batch_size)
      expected = sum(float(group.spec.schedule(jnp.int32(start))) for start in starts)
      assert sums[lane.lane] == pytest.approx(lane.learning_rate * expected, abs=1e-5)


@pytest.mark.parametrize(
  ('loss', 'finite', 'classes', 'lost'),
  [
    (2.3, True, 10, False),
    (2.0e6, True, 10, False),
    (2.4e6, True, 10, True),
    (6.9e5, True, 1, False),  # of one class it is that of two
    (7.0e5, True, 1, True),
    (2.3, False, 10, True),
    (np.inf, True, 10, True),
    (np.nan, True, 10, True),
    (1e30, True, None, False),  # without classes the loss of guessing is not known
    (np.nan, True, None, True),
  ],
)
def test_a_lane_is_lost_where_its_loss_is_a_million_times_that_of_guessing(
  loss, finite, classes, lost
):
  counts = None if classes is None else np.full(classes, 10, np.int32)
  sums = evaluate.Sums(np.float32(50 * loss), {}, np.int32(50), {}, counts)
  evaluation = evaluate.Evaluation(sums, sums, {}, np.bool_(finite))
  assert bool(why_diverged(evaluation)) == lost


class Slow(nn.Module):
  """A model from outside, whose running averages hardly follow."""

  @nn.compact
  def __call__(self, x, train):
    x = nn.BatchNorm(use_running_average=not train, momentum=0.99)(x.reshape(len(x), -1))
    return nn.Dense(10)(x)


def test_statistics_of_a_model_from_outside_are_those_of_the_split_too():
  config = small_config()
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train)).first
  spec = lane_spec(config, dataset, study, study.groups[0], own=Own(model=adapted(Slow())))
  images = jnp.asarray(dataset.train.images[:10])
  weights = Weights(**spec.model.init(jax.random.key(0), images[:1] / 1.0))
  split = DeviceSplit(images, jnp.asarray(dataset.train.labels[:10]))
  (layer,) = evaluate.reestimate(spec, weights, split, 4).values()
  used = stream.normalize(images[:8], spec.mean, spec.std).reshape(8, -1)  # two whole batches
  np.testing.assert_allclose(layer['mean'], used.mean(0), atol=1e-4)
  np.testing.assert_allclose(layer['var'], used.var(0), atol=1e-3)


def test_no_variance_is_below_zero_by_rounding():
  sums = {'norm': {'mean': jnp.array([6.0, 2.0]), 'var': jnp.array([17.9, 4.0])}}
  np.testing.assert_allclose(evaluate.statistics_of(sums, 2)['norm']['var'], [0.0, 1.0])
