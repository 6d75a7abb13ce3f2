"""Edges of what is asked for, told and undefined in measurements of sharpness."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small import small_config

from bsjax import data
from bsjax.config.errors import ConfigError
from bsjax.engine import lanes
from bsjax.engine.evaluate import Sums
from bsjax.engine.spec import lane_spec
from bsjax.plan import plan
from bsjax.sharpness import rows, run, spectrum, study
from bsjax.sharpness.hessian import curvature_along
from bsjax.sharpness.lane import Options, in_float32
from bsjax.sharpness.spectrum import Ritz
from bsjax.storage.position import Position


@pytest.fixture(scope='module')
def untrained():
  """A study of four lanes in two groups as it is read back: (study, its weights by group)."""
  config = small_config(
    batch_sizes=(8, 16), learning_rates=(0.1, 0.2), trials=1, micro_batch='batch'
  )
  dataset = data.load(config.data, config.seed)
  first = plan.make_plan(config, len(dataset.train)).first
  spec = lane_spec(config, dataset, first, first.groups[0])
  state = jax.jit(
    lambda: lanes.init(spec, lanes.LaneParams(0.1, 1, jnp.int32(0)), dataset.image_shape)
  )()
  groups = [
    jax.tree.map(
      lambda x, first=2 * group: np.stack([x + first, x + first + 1]),
      {'params': state.params, 'batch_stats': {}},
    )
    for group in range(2)
  ]
  return study.StudyToMeasure(config, first, dataset, spec), groups


def weights_at(untrained, monkeypatch, groups=None, **position):
  found, own = untrained
  values = {'examples': 64, 'evaluated': 64, 'ticks': [8, 2], 'data': found.dataset.fingerprint()}
  at = Position.from_json({'stage': 0, **values, **position})
  monkeypatch.setattr(study.checkpoint, 'restore_weights', lambda *_: (groups or own, at))
  return study.weights_at(None, 0, found)


def first_weight(weights):
  return weights['params']['Dense_0']['bias'][:, 0].tolist()


def test_weights_of_all_groups_come_in_order_with_what_each_lane_has_seen(untrained, monkeypatch):
  """An interruption left the second group behind: two ticks of sixteen examples."""
  weights, seen = weights_at(untrained, monkeypatch)
  assert first_weight(weights) == [0, 1, 2, 3] and seen == [64, 64, 32, 32]


def test_lanes_that_were_left_before_this_moment_have_no_weights(untrained, monkeypatch):
  lost = {'diverged': [[0, 16, 'loss_not_finite', True]], 'given_up': [[1, 64], [3, 48]]}
  weights, seen = weights_at(untrained, monkeypatch, ticks=[8, 4], **lost)
  known = [not np.isnan(value) for value in first_weight(weights)]
  assert known == [False, True, True, False]  # lane 1 was given up just here
  assert seen == [64, 64, 64, 48]


def test_another_model_or_other_data_are_refused(untrained, monkeypatch):
  with pytest.raises(ConfigError, match='trained on other images or labels'):
    weights_at(untrained, monkeypatch, data='0')
  _, groups = untrained
  for changed in (
    [{**one, 'params': {**one['params'], 'Dense_2': {'bias': np.ones((2, 3))}}} for one in groups],
    [jax.tree.map(lambda x: x[:1], one) for one in groups],
    [jax.tree.map(lambda x: x[..., :3], one) for one in groups],
  ):
    with pytest.raises(ConfigError, match='holds another model'):
      weights_at(untrained, monkeypatch, changed)


@pytest.mark.parametrize(
  ('wanted', 'chosen'),
  [('all', [0, 1, 2, 3]), ('3', [3]), ('3,0', [3, 0]), ('0,1,2,3', [0, 1, 2, 3])],
)
def test_lanes_are_chosen_by_number(untrained, wanted, chosen):
  assert study.chosen_lanes(untrained[0].plan, wanted) == chosen


@pytest.mark.parametrize('wanted', ['4', '-1', '1,4', '', '0,', 'x'])
def test_lanes_that_are_none_are_refused(untrained, wanted):
  with pytest.raises(ConfigError, match='from 0 to 3'):
    study.chosen_lanes(untrained[0].plan, wanted)


def test_checkpoints_are_chosen_by_examples():
  kept = {0: 3, 160: 5, 304: 4}  # by examples, the step
  assert study.chosen_steps(kept, 'all') == [3, 5, 4]
  assert study.chosen_steps(kept, 'latest') == [5]
  assert study.chosen_steps(kept, '304') == [4] and study.chosen_steps(kept, '0') == [3]
  for wanted in ('5', '-160', 'first'):
    with pytest.raises(ConfigError, match='checkpoints at 0, 160, 304 examples'):
      study.chosen_steps(kept, wanted)
  with pytest.raises(ConfigError, match='no checkpoint yet'):
    study.chosen_steps({}, 'all')


def test_all_examples_are_taken_where_as_many_are_asked_for(untrained):
  dataset = untrained[0].dataset
  for asked in (0, 150, 151):
    assert study.subset(dataset, asked, 0) is dataset.train
  assert len(study.subset(dataset, 149, 0).labels) == 149
  assert len(study.subset(dataset, 1, 0).labels) == 1


@pytest.mark.parametrize(
  ('name', 'bad', 'good'),
  [
    ('examples', (-1,), (0, 1)),
    *((name, (0, -1), (1,)) for name in ('chunk', 'steps', 'starts', 'probes', 'eigenvalues')),
    *((name, (0.0, -1.0, float('inf'), float('nan')), (1e-9,)) for name in ('rho', 'adaptive_rho')),
  ],
)
def test_options_are_refused_beyond_their_bounds(name, bad, good):
  for value in bad:
    (problem,) = Options(**{name: value}).problems()
    assert problem.startswith(f'--{name}={value} must be')
  for value in good:
    assert Options(**{name: value}).problems() == []


def test_two_lanes_are_interpolated_between_by_their_numbers(monkeypatch, tmp_path):
  """Of a study that has two, too."""
  two = SimpleNamespace(plan=SimpleNamespace(lanes=[0, 1]))
  monkeypatch.setattr(run.studies, 'load', lambda *_: two)
  monkeypatch.setattr(run.studies, 'chosen_lanes', lambda plan, wanted: [0, 1])
  with pytest.raises(ConfigError, match='interpolate=all: give two lanes'):
    run.measure_study(tmp_path, Options(), interpolate='all')


def test_a_line_between_two_lanes_begins_with_the_one_that_is_named_first(monkeypatch):
  monkeypatch.setattr(run, '_where', lambda runner, lane, examples: {'lane': lane})
  monkeypatch.setattr(run.Runner, 'between', lambda self, weights, first, second: [(first, second)])
  runner = object.__new__(run.Runner)  # of no study, which neither needs
  found = run._interpolation(runner, {'batch_stats': {}}, [0] * 18, [17, 3])
  assert found['lanes'] == [{'lane': 17}, {'lane': 3}] and found['points'] == [(17, 3)]


def test_lanes_in_other_arithmetic_are_measured_in_float32(untrained):
  spec = untrained[0].spec
  coarse = spec.model.clone(dtype=jnp.bfloat16, precision=jax.lax.Precision.DEFAULT)
  exact = in_float32(dataclasses.replace(spec, model=coarse)).model
  assert exact.dtype == jnp.float32 and exact.precision == jax.lax.Precision.HIGHEST


@pytest.mark.parametrize(
  ('rise', 'loss', 'told'),
  [
    (4e-6, 1.0, True),
    (2.9e-6, 1.0, False),  # of single examples the loss is known to 2^-24
    (2.9e-6, 1e-3, False),
    (-4e-6, 1.0, True),  # a step may go down
    (-2.9e-6, 1.0, False),
    (2e-4, 100.0, True),
    (0.9e-4, 100.0, False),  # a millionth of the loss
  ],
)
def test_rises_that_are_rounding_are_not_told(rise, loss, told):
  value, why = rows._rise(rise, loss, 'not finite')
  assert value == (rise if told else None) and ('float32' in why) != told


def test_a_ratio_takes_a_smallest_eigenvalue_that_is_not_zero():
  def ratio(value, residual):
    return rows._ratio({'value': 6.0}, {'value': value, 'residual': residual})

  assert ratio(-2.0, 0.1) == (-3.0, '') and ratio(2.0, 1.9) == (3.0, '')
  for value, residual in ((0.0, 0.0), (0.1, 0.1), (-0.1, 0.2)):
    assert ratio(value, residual)[0] is None


def test_thresholds_follow_the_optimizer():
  optimizer = small_config(optimizer__momentum=0.0).optimizer
  assert rows.stability_threshold(optimizer, 0.1) == (2.0, '')
  optimizer.momentum = 0.5
  assert rows.stability_threshold(optimizer, 0.1) == (3.0, '')
  optimizer.nesterov = True
  assert rows.stability_threshold(optimizer, 0.1) == (1.5, '')
  assert rows.stability_threshold(optimizer, 0.0) == (None, 'the learning rate is 0 here')


def sums(loss, count=4, right=3):
  return Sums(np.float32(loss), {'accuracy': np.int32(right)}, np.int32(count), {}, None)


def test_means_of_a_point_are_undefined_where_its_loss_is():
  found = rows.means({'train': sums(8.0), 'val': sums(np.nan)})
  assert found == {
    'train_loss': 2.0,
    'train_accuracy': 0.75,
    'val_loss': None,
    'val_accuracy': None,
  }


def row_of(**changes):
  eigenvalue = {'value': 2.5, 'residual': 0.25, 'converged': True}
  row = {'lane': 0, 'batch_size': 8, 'trial': 1, 'examples': 64, 'train_loss': 0.5}
  row |= {'train_accuracy': 0.75, 'learning_rate_now': 0.1, 'eigenvalues': [eigenvalue]}
  row |= {'lambda_max': 2.5, 'lambda_max_times_learning_rate': 0.25, 'stability_threshold': 3.8}
  row |= {'trace': 12.0, 'trace_standard_error': 0.34, 'sam': None, 'keskar_0.001': 7.0}
  return row | changes


def test_the_table_says_what_has_not_converged_and_what_is_undefined():
  rough = [{'value': 2.5, 'residual': 0.25, 'converged': False}]
  table = rows.table(
    [row_of(), row_of(eigenvalues=rough, trace_standard_error=None), row_of(lambda_max=None)]
  )
  cells = {column.header: list(column.cells) for column in table.columns}
  assert cells['lambda_max'] == ['2.5', '~2.5 ±0.2', 'undefined']
  assert cells['trace'] == ['12 ±0.3', '12', '12 ±0.3']
  assert cells['SAM'] == ['undefined'] * 3 and cells['keskar 0.001'] == ['7'] * 3
  assert cells['x rate'] == ['0.25'] * 3 and cells['threshold'] == ['3.8'] * 3
  assert cells['rate now'] == ['0.1'] * 3 and cells['train loss'] == ['0.5'] * 3


def test_eigenvalues_have_converged_next_to_the_largest_of_any_sign():
  """One in a thousand of 100, which is below zero."""
  values = Ritz(np.array([1.0, -100.0]), np.array([0.1, 0.11]), np.array([0.5, 0.5]))
  found = [spectrum.eigenvalue(values, place) for place in (0, -1)]
  assert [one['converged'] for one in found] == [True, False]
  assert [one['value'] for one in found] == [1.0, -100.0]
  assert len(spectrum.top_eigenvalues(values, 5)) == 2
  assert spectrum.top_eigenvalues(values, 1) == found[:1]


def test_the_error_of_a_trace_takes_two_probes():
  assert spectrum.mean_and_standard_error(np.array([3.0])) == (3.0, None)
  mean, error = spectrum.mean_and_standard_error(np.array([1.0, 3.0]))
  assert (mean, error) == (2.0, pytest.approx(1.0))


def test_there_is_no_curvature_along_a_gradient_of_zeros():
  def twice(vector):
    return jax.tree.map(lambda x: 2 * x, vector)

  assert np.isnan(curvature_along(twice, {'a': jnp.zeros(3)}))
  assert curvature_along(twice, {'a': jnp.full(3, 5.0)}) == pytest.approx(2.0)
