"""What runs are judged by, from what a config stores."""

import math

import pytest

from bsjax.config import metrics


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
