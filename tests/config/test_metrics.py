"""What runs are judged by, from what a config stores."""

import math

import pytest

from bsjax.config import metrics
from bsjax.config.errors import ConfigError


@pytest.mark.parametrize(
  'level, margin', [(20.0, 0.2), (-20.0, 0.2), (0.0, 0.01), (math.nan, 0.01)]
)
def test_a_margin_that_nobody_gave_is_a_share_of_a_usual_value_whatever_its_sign(level, margin):
  """Values of a log likelihood lie below zero."""
  entry = metrics.MetricEntry('likelihood', 'likelihood', 'likelihoods', higher_is_better=True)

  def found(metric):
    task = metrics.stored(metric, metrics.CROSS_ENTROPY)
    return metrics.judged_of({'own': {'task': task}}, level).margin

  assert found(entry) == pytest.approx(margin)
  assert found(entry._replace(margin=3.0)) == 3.0


@pytest.mark.parametrize(
  'entry, cost',
  [
    (metrics.ACCURACY, 'val_error'),
    (metrics.MetricEntry('errors', 'errors', 'errors', higher_is_better=False), 'val_errors'),
    (metrics.MetricEntry('score', 'score', 'scores', higher_is_better=True), 'val_loss'),
  ],
)
def test_what_learning_rates_are_best_by_is_the_metric_wherever_less_of_it_can_be_told(entry, cost):
  """What has no upper bound has no error: there it is the loss."""
  assert metrics.Judged(entry).val_cost == cost


@pytest.mark.parametrize(
  'entry, known, none',
  [
    (metrics.ACCURACY, (0.0, 0.5, 1.0), (-1e-9, 1 + 1e-9, math.nan)),  # all wrong, and all right
    (
      metrics.MetricEntry('bits', 'bits', 'bits', higher_is_better=False, lowest=0),
      (0.0, 1e300, math.inf),
      (-1e-9, -math.inf, math.nan),
    ),
  ],
)
def test_the_bounds_of_a_metric_are_values_of_it_and_nothing_beyond_is(entry, known, none):
  assert all(map(entry.allows, known))
  assert not any(map(entry.allows, none))


BITS = metrics.MetricEntry('bits', 'bits', 'bits', higher_is_better=False, lowest=0)
JUDGED = metrics.Judged(BITS, metrics.LossEntry('surprise', lowest=-1.0))


@pytest.mark.parametrize(
  'column, bounds',
  [
    *((name, (0, math.inf)) for name in ('bits', 'val_bits', 'reestimated_val_bits')),
    *((name, (-1.0, math.inf)) for name in ('val_loss', 'train_loss', 'reestimated_val_loss')),
    *(
      (name, (-math.inf, math.inf)) for name in ('rabbits', 'gap_loss', 'loss_val', 'val_bits_gap')
    ),
  ],
)
def test_the_bounds_of_a_column_are_those_of_the_metric_or_the_loss(column, bounds):
  assert JUDGED.bounds(column) == bounds and JUDGED.is_metric(column) == (bounds[0] == 0)
  assert JUDGED.clip(-2.0, column) == max(-2.0, bounds[0]) and JUDGED.clip(3, column) == 3.0


def test_a_value_is_clipped_at_both_ends():
  assert [metrics.USUAL.clip(x, 'val_accuracy') for x in (-0.5, 0.5, 1.5)] == [0.0, 0.5, 1.0]


def test_the_gap_is_how_much_better_training_looks():
  assert metrics.USUAL.gap(0.75, 0.5) == 0.25 and JUDGED.gap(0.75, 0.5) == -0.25
  assert metrics.USUAL.gap_title == 'training minus validation accuracy'
  assert JUDGED.gap_title == 'validation minus training bits'


def test_what_a_metric_costs_and_merits():
  assert metrics.ACCURACY.cost(0.75) == 0.25 and metrics.ACCURACY.merit(0.75) == 0.75
  assert BITS.cost(0.75) == 0.75 and BITS.merit(0.75) == -0.75


def test_units_and_sides_are_those_of_the_metric():
  usual, other = metrics.USUAL, metrics.Judged(BITS._replace(unit='bits per byte'))
  assert (usual.of_points, other.of_points) == (' percentage points', ' bits per byte')
  assert (usual.unit, other.unit) == ('fraction', 'metric') and JUDGED.of_points == ''
  assert (usual.loss_unit, JUDGED.loss_unit) == ('nats', 'loss')
  assert (usual.a_metric, other.a_metric) == ('an accuracy', 'a bits')
  for word, mine, theirs in (
    *(('best_mean', 'highest', 'lowest'), ('better_side', 'above', 'below')),
    *(('worse_side', 'below', 'above'), ('better_than', 'higher', 'lower')),
    ('worse_than', 'lower', 'higher'),
  ):
    assert (getattr(usual, word), getattr(other, word)) == (mine, theirs)


def test_what_is_judged_by_ends_with_the_block_also_where_that_fails():
  with pytest.raises(KeyError), metrics.judging(JUDGED):
    assert metrics.judged() is JUDGED
    raise KeyError
  assert metrics.judged() == metrics.Judged()


@pytest.mark.parametrize(
  'name', ['loss', 'gap', 'error', 'two words', 'Bits', '1bit', 'bits-2', '']
)
def test_a_metric_is_called_as_a_column_can_be(name):
  with pytest.raises(ConfigError, match='a metric is called'):
    metrics.check_name(name)
  for good in ('bits', 'f1_score', 'loss_2'):
    metrics.check_name(good)


def test_what_is_stored_of_a_task_is_read_again():
  task = metrics.stored(BITS, metrics.LossEntry('surprise'))
  assert task['metric'] == {
    **{'name': 'bits', 'title': 'bits', 'plural': 'bits', 'higher_is_better': False},
    **{'unit': '', 'lowest': 0, 'by_class': False},
  }
  found = metrics.judged_of({'own': {'task': task}})
  assert (found.metric, found.loss) == (BITS, metrics.LossEntry('surprise'))
  assert metrics.judged_of({'own': {}}) == metrics.judged_of({}) == metrics.USUAL
