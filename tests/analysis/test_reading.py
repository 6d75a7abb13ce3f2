"""What is read between learning rates stays within its bounds, and knows how unsure the rate is."""

import math

import numpy as np
import pytest
from helpers import curves
from helpers.draws import draws

from bsjax.analysis.measures.batch_size_contrasts import Comparison
from bsjax.analysis.measures.contrast import difference
from bsjax.analysis.measures.gap import curve, estimate
from bsjax.analysis.runs import budgets
from bsjax.analysis.runs.reading import Weights, combined, of_columns
from bsjax.analysis.runs.selection import tune
from bsjax.config.metrics import Judged, LossEntry, MetricEntry, judged_of, judging, stored

RATES = (0.05, 0.1, 0.2, 0.4, 0.8)
WEIGHTS = (-0.4, 0.7, 0.9, -0.2)
RMSE = MetricEntry('rmse', 'error', 'errors', False, lowest=0)
LIKELIHOOD = MetricEntry('likelihood', 'log likelihood', 'log likelihoods', True, highest=0)
LOSS = LossEntry('loss')  # of which nothing is known


def read(values, name, weights=WEIGHTS):
  """The reading of one quantity whose lanes have these values."""
  values = np.array(values)
  readings = [of_columns(range(values.shape[1]), {name: row}) for row in values]
  return combined(readings, Weights(weights))


@pytest.mark.parametrize(
  'name, metric, side',
  [
    ('train_loss', None, 1),
    ('val_loss', None, 1),
    ('reestimated_val_loss', None, 1),
    ('val_rmse', RMSE, 1),
    ('val_likelihood', LIKELIHOOD, -1),
  ],
)
def test_what_is_bounded_on_one_side_is_never_read_beyond_its_bound(name, metric, side):
  rng = np.random.default_rng(0)
  for _ in draws(100):
    lanes = side * np.exp(rng.normal(scale=3, size=(4, 3)))
    with judging(Judged(metric) if metric else Judged()):
      reading = read(lanes, name)
      at, low, high = (getattr(reading, part)[name] for part in ('values', 'low', 'high'))
      assert (side * at > 0).all()
      assert at == pytest.approx(side * np.exp(WEIGHTS @ np.log(side * lanes)))
      assert low == pytest.approx(at) and high == pytest.approx(at)
      shown = estimate(at, name)
      assert min(side * x for x in (shown['mean'], *shown['ci95'])) >= 0
      assert shown['mean'] == pytest.approx(at.mean())
  assert (WEIGHTS @ lanes < 0).any() or side < 0  # what a plain sum makes of it


def test_values_between_records_stay_within_their_bounds_too():
  readings = [
    of_columns([0], {'val_loss': [0.1 * place]})._replace(
      low={'val_loss': np.array([0.05 * place])}, high={'val_loss': np.array([0.2 * place])}
    )
    for place in (1, 2, 3, 4)
  ]
  found = combined(readings, Weights(WEIGHTS))
  low, at, high = (getattr(found, part)['val_loss'][0] for part in ('low', 'values', 'high'))
  assert high / at == pytest.approx(2 ** np.abs(WEIGHTS).sum()) == pytest.approx(at / low)


@pytest.mark.parametrize('name, by', [('val_accuracy', Judged()), ('val_loss', Judged(loss=LOSS))])
def test_what_has_both_bounds_or_none_is_a_plain_sum(name, by):
  lanes = np.random.default_rng(1).uniform(0.9, 1, (4, 3))
  with judging(by):
    reading = read(lanes, name)
    assert reading.values[name] == pytest.approx(WEIGHTS @ lanes, abs=1e-15)
    assert (reading.lanes[name] == lanes).all()
    assert estimate([0.99, 1.03], 'val_accuracy')['ci95'][1] == 1


def test_a_value_on_its_bound_has_no_log_and_a_sum_ends_there():
  assert read([[0.5], [0.1], [0.0], [0.2]], 'train_loss').values['train_loss'] == 0
  assert read([[0.0], [0.1], [0.1], [0.0]], 'train_loss').values['train_loss'] == pytest.approx(
    0.16
  )


def test_intervals_and_bands_of_losses_begin_at_zero():
  assert estimate([1e-4, 2e-4, 9e-4], 'train_loss')['ci95'][0] == 0
  assert estimate([1e-4, 2e-4, 9e-4], 'loss_gap')['ci95'][0] < 0

  def drawn(lane, updates):
    return {
      'val_loss': 10.0 ** -(2 + lane['trial']),
      'val_accuracy': 0.99 + 0.01 * (lane['trial'] > 0),
    }

  setting = curves.study([8], [0.1], 3, drawn)[8][0]
  assert min(curve(setting, 'epoch', 'val_loss').low) == 0
  assert max(curve(setting, 'epoch', 'val_accuracy').high) == 1


def test_what_is_said_of_a_loss_is_kept_with_a_study():
  said = stored(RMSE, LossEntry('squared error', lowest=0))
  assert said['loss'] == {'title': 'squared error', 'unit': '', 'lowest': 0}
  assert judged_of({'own': {'task': said}}).bounds('train_loss') == (0, math.inf)
  assert stored(RMSE, LOSS)['loss'] == {'title': 'loss', 'unit': ''}
  assert judged_of({'own': {'task': stored(RMSE, LOSS)}}).bounds('val_loss') == (
    -math.inf,
    math.inf,
  )


def lucky(rng, trials=3, steepness=1.0):
  """A tuned batch size: a valley of accuracy, and losses that fall with the rate through it."""
  luck, lane_luck = rng.normal(0, 0.003, trials), rng.normal(0, 0.003, (len(RATES), trials))
  errors = rng.normal(0, 0.03, trials) + rng.normal(0, 0.03, (len(RATES), trials))

  def values(lane, updates):
    place, trial = RATES.index(lane['learning_rate']), lane['trial']
    x = math.log(RATES[place] / 0.2)
    accuracy = 0.9 - 0.004 * x * x + luck[trial] + lane_luck[place, trial]
    loss = 0.02 * math.exp(errors[place, trial] - steepness * x)
    return {'val_accuracy': accuracy, 'train_accuracy': 0.9 + 0.05 * x, 'val_loss': loss}

  return tune(curves.study([64], RATES, trials, values, evaluations=1)[64])


def test_alike_losses_that_change_with_the_rate_are_told_apart_no_more_often_than_said():
  rng = np.random.default_rng(0)
  held = known = 0
  for _ in draws(200):
    pair = [budgets.at_end(lucky(rng)) for _ in range(2)]
    interval = difference(*pair, 'val_loss').interval
    held += interval.low <= 0 <= interval.high
    fixed = difference(*(reading._replace(moved={}) for reading in pair), 'val_loss').interval
    known += fixed.low <= 0 <= fixed.high
    assert interval.value == pytest.approx(fixed.value, abs=1e-12)
  assert held >= 182 and known < 160  # 95% less twice its error


def test_the_doubt_about_rates_counts_where_lanes_tell_the_spread():
  rng = np.random.default_rng(1)
  read_ = {size: budgets.at_end(lucky(rng, trials=5)) for size in (8, 16, 32)}
  known = {size: reading._replace(moved={}) for size, reading in read_.items()}
  for quantity, wider in (('train_accuracy', True), ('gap', True), ('val_accuracy', False)):
    both = [Comparison(part, quantity).slope().interval for part in (read_, known)]
    assert both[0].value == pytest.approx(both[1].value, abs=1e-12)
    widths = [interval.high - interval.low for interval in both]
    assert (widths[0] > 1.1 * widths[1]) == wider
    assert wider or widths[0] == pytest.approx(widths[1], rel=1e-9)


def test_a_flat_valley_moves_by_no_more_than_its_window():
  flat = tune(
    curves.study(
      [64],
      RATES,
      3,
      lambda lane, _: {
        'val_accuracy': 0.9
        - 1e-9 * math.log(lane['learning_rate'] / 0.2) ** 2
        + 1e-3
        * math.sin(7 * lane['trial'] * RATES.index(lane['learning_rate']))
        * (lane['trial'] - 1)
      },
      evaluations=1,
    )[64]
  )
  width = math.log(flat.window[-1].learning_rate / flat.window[0].learning_rate)
  error = np.std(list(flat.shifts.values()), ddof=1) / math.sqrt(3)
  assert error <= 1.0001 * width / math.sqrt(12)
