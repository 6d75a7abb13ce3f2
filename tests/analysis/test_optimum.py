"""The best rate between the points of a grid: which points are fitted and checked, by hand."""

import math

import numpy as np
import pytest
from helpers import curves

from bsjax.analysis.measures.exponent import exponent, points, saturation
from bsjax.analysis.measures.learning_rate import learning_rates
from bsjax.analysis.measures.learning_rate_laws import predictions
from bsjax.analysis.measures.optimum import Optimum, optimum, optimum_of
from bsjax.analysis.runs.histories import LaneHistory, Setting
from bsjax.config.metrics import Judged, MetricEntry, judging
from bsjax.config.own import OWN
from bsjax.stats.estimate import Estimate, Reason

RATES = 0.1 * 2.0 ** np.arange(5)
X = np.log(RATES / 0.4)
JITTER = np.array([[0.004, -0.003, 0.001, 0.002, -0.004], [-0.002, 0.004, -0.003, 0.001, 0.002]])


def valley(best, skew=0.0, base=1.0):
  """A cubic in the log of the rate with its minimum at a place of x."""
  off = X - best
  return base + 0.3 * off**2 + skew * off**3


def both(curve, jitter=1e-4):
  return np.stack([curve + jitter * one for one in JITTER / 0.004])


def test_the_fourth_point_stands_on_the_side_to_which_the_minimum_leans():
  """Where it does not, the curve is another one: a bump there moves the optimum, here not."""
  curve = valley(0.2)
  assert curve.argmin() == 2 and curve[1] > curve[3]  # leans to higher rates
  one = optimum(RATES, np.exp(curve[None])).rate.value
  assert one == pytest.approx(0.4 * math.exp(0.2), rel=1e-6)
  away, near = curve.copy(), curve.copy()
  away[0] += 0.2
  near[4] += 0.2
  assert optimum(RATES, np.exp(away[None])).rate.value == pytest.approx(one, rel=1e-6)
  assert abs(math.log(optimum(RATES, np.exp(near[None])).rate.value / one)) > 0.01


def test_a_fourth_point_that_diverged_is_none_and_the_other_side_serves():
  curve = valley(0.2)
  losses = both(curve)
  whole = optimum(RATES, np.exp(losses))
  cut = np.exp(losses)
  cut[0, 4] = math.inf
  found = optimum(RATES, cut)
  assert found.state == 'found' and found.rate.value == pytest.approx(whole.rate.value, rel=1e-3)
  # Of the three in the middle alone it is a parabola, which nothing checks.
  cut[1, 0] = math.inf
  alone = optimum(RATES, cut)
  assert alone.state == 'found' and alone.interpolation is None


def test_at_an_end_of_the_grid_the_fourth_point_stands_on_the_other_side():
  """The best is the second of four, and leans to the end."""
  rates, curve = RATES[:4], valley(-0.8)[:4]
  assert curve.argmin() == 1 and curve[0] < curve[2]
  value = optimum(rates, np.exp(curve[None])).rate.value
  assert value == pytest.approx(0.4 * math.exp(-0.8), rel=1e-6)


def test_what_is_fitted_holds_the_best_points_of_all_trials():
  """Of one trial the second rate is the best, of the other the fourth."""
  losses = np.exp(np.stack([valley(-0.6), valley(0.6)]))
  found = optimum(RATES, losses)
  assert found.state == 'found'
  assert np.exp(found.log_rates) == pytest.approx(0.4 * np.exp([-0.6, 0.6]), rel=1e-6)


def test_a_loss_of_zero_is_fitted_as_it_is():
  curve = np.maximum(valley(0.0, base=0.0), 0.0)
  assert curve.min() == 0
  found = optimum(RATES, np.stack([curve, curve + 0.01]))
  assert found.state == 'found' and found.rate.value == pytest.approx(0.4, rel=1e-6)


RMSE = MetricEntry('sum_error', 'error', 'errors', False, lowest=0)


def tried(values, **more):
  """Settings whose trials end with `values(lane)`."""
  return curves.study((8,), RATES.tolist(), 2, lambda lane, _: values(lane), 2, **more)[8]


def place(lane):
  return round(math.log2(lane['learning_rate'] / 0.1))


def test_a_metric_of_which_less_is_better_is_its_own_objective_though_called_an_error():
  with judging(Judged(RMSE, margin=0.1)):
    found = optimum_of(
      tried(
        lambda lane: {
          'val_sum_error': float(np.exp(valley(0.1)[place(lane)])),
          'train_sum_error': 1.0,
        }
      ),
      'val_sum_error',
    )
  assert found.rate.value == pytest.approx(0.4 * math.exp(0.1), rel=1e-6)


def test_runs_that_diverged_or_end_without_a_number_are_infinitely_bad():
  """Whatever numbers stand in the record of the end; a run that stopped as it diverged, too."""

  def ends(lane):
    high = lane['learning_rate'] > 1
    return {
      'val_loss': 1e-3 if high else float(np.exp(valley(-0.1)[place(lane)])),
      'diverged': high,
    }

  lost = tried(ends)
  found = optimum_of(lost)
  assert found.state == 'found' and found.rate.value == pytest.approx(
    0.4 * math.exp(-0.1), rel=0.02
  )
  cut = [LaneHistory(lane.plan, lane.rows[:2]) for lane in lost[-1].lanes]
  stopped = [*lost[:-1], Setting(8, lost[-1].learning_rate, tuple(cut))]
  assert optimum_of(stopped) == found
  # Nor is one without a number at its end, here of the lowest rate.
  nothing = tried(lambda lane: ends(lane) | ({} if place(lane) else {'val_loss': math.nan}))
  assert optimum_of(nothing).state == 'found'


def test_settings_of_other_trials_have_no_common_optimum():
  some = tried(lambda lane: {'val_loss': float(np.exp(valley(0.1)[place(lane)]))})
  fewer = [*some[:-1], Setting(8, some[-1].learning_rate, some[-1].lanes[:1])]
  assert optimum_of(fewer).rate.reasons == (Reason('different_trials'),)


# How it grows with batch size.

SIZES = np.array([8.0, 16.0, 32.0, 64.0, 128.0])


def optima(log_rates, sizes=SIZES, slack=0.0):
  return points(
    {
      int(size): Optimum('found', Estimate(1.0, n=len(column)), tuple(column), slack)
      for size, column in zip(sizes, np.asarray(log_rates, float).T, strict=True)
    }
  )


def test_halves_of_an_odd_number_of_batch_sizes_share_the_middle_one():
  """The rate doubles with the batch size up to the middle one, and stays."""
  bent = np.log(np.minimum(SIZES, 32.0))
  found = exponent(optima(bent[None]))
  assert found['lower_half']['value'] == pytest.approx(1)
  assert found['upper_half']['value'] == pytest.approx(0)
  assert found['change']['value'] == pytest.approx(-1) and found['power_law_rejected'] is None
  three = exponent(optima(bent[None, :3], SIZES[:3]))
  assert three['value'] == pytest.approx(1) and 'undefined' not in three


def test_growth_in_either_direction_rejects_a_power_law():
  steps = np.array([[0.0], [0.01], [0.02]])
  for sign in (1, -1):
    bend = sign * np.log(SIZES / 32) ** 2
    found = exponent(optima(bend[None] + steps * np.log(SIZES)))
    assert found['power_law_rejected'] is True
  line = 0.5 * np.log(SIZES) + steps * np.log(SIZES) + 0.01 * np.array([[1], [-1], [1]]) * bend
  assert exponent(optima(line))['power_law_rejected'] is False


@pytest.mark.parametrize(
  'power, code', [(0.0, 'no_scaling_fits_best'), (1.0, 'linear_scaling_fits_best')]
)
def test_a_noise_scale_at_its_limit_is_called_by_what_fits_best(power, code):
  jitter = 0.02 * np.sin(np.outer([1.0, 2.0, 3.0], SIZES))
  exact = power * np.log(SIZES)
  found = saturation(optima(exact[None] + jitter - jitter.mean(axis=0)))
  codes = [reason.code for reason in found['reason']]
  assert found['b_learning_rate'] is None and codes[0] == code
  assert ('linear_scaling_fits' in codes) == found['unbounded'] == (power == 1.0)


def test_the_ends_of_a_noise_scale_lie_one_step_of_its_grid_outwards():
  """Of trials that agree, which accept the value alone, on a grid of 2,001 steps in the log."""
  law = np.log(0.3 / (1 + 60 / SIZES))
  found = saturation(optima(np.stack([law] * 3)))
  step = (math.log(128 / 8) + 2 * math.log(1e3)) / 2000
  low, high = (abs(math.log(end / 60)) for end in found['ci95'])
  assert step / 2 < low < 1.6 * step and step / 2 < high < 1.6 * step


def test_one_trial_tells_no_noise_of_optima():
  def noise(trials):
    values = {rate: float(np.exp(valley(0.1)[i])) for i, rate in enumerate(RATES.tolist())}
    return learning_rates(
      curves.study(
        (8, 16, 32),
        RATES.tolist(),
        trials,
        lambda lane, _: {
          'val_loss': values[lane['learning_rate']] * (1 + 0.01 * math.sin(lane['lane']))
        },
        2,
      ),
      'sgd',
    )['rms_log_noise']

  assert noise(1) is None and 0 < noise(2) < 0.1


# Rules drawn through them.

GIVEN = optima(np.log(SIZES)[None])


def rules(optimizer='sgd', b_simple: float | None = 60.0, ci95=(30.0, 200.0), unbounded=False):
  noise = {'b_simple': b_simple, 'ci95': list(ci95), 'unbounded': unbounded}
  return {row['rule']: row for row in predictions(GIVEN, noise, optimizer, SIZES)}


def test_a_rule_for_sizes_below_the_noise_scale_does_not_hold_at_it():
  for scale, above in ((64.0, 64), (65.0, 128)):
    row = rules(b_simple=scale)['linear']
    assert row['applies'] is False
    assert row['why'] == (Reason('only_below_noise_scale', batch_size=above),)
  assert rules(b_simple=129.0)['linear']['applies'] is True


def test_what_does_not_apply_for_another_reason_is_not_unknown_without_a_noise_scale():
  unknown = rules('adam', b_simple=None, ci95=(None, None))
  assert unknown['linear']['applies'] is False and unknown['square_root']['applies'] is None
  own = rules(OWN)
  assert own['mccandlish']['applies'] is None
  assert own['mccandlish']['why'] == (Reason('optimizer_from_outside'),)


def band(rule='mccandlish', **more):
  curve = rules(**more)[rule]['curve']
  return curve['low'], curve['high']


def test_a_band_goes_to_the_limit_where_an_interval_is_open_or_begins_at_zero():
  """Far below all batch sizes the rule is constant, and far above linear."""
  low, high = band(ci95=(0.0, 200.0))
  flat = math.exp(np.log(SIZES).mean())
  assert high[0] == pytest.approx(flat, rel=1e-4) and low[-1] == pytest.approx(flat, rel=1e-4)
  low, high = band(ci95=(30.0, None), unbounded=True)
  assert low[0] == pytest.approx(SIZES[0], rel=1e-4)
  assert band(ci95=(30.0, None)) == band(ci95=(None, None)) == (None, None)
  assert band(ci95=(30.0, math.inf)) == (None, None)


def test_a_band_holds_the_curve_also_where_the_interval_leaves_out_the_value():
  curve = rules(ci95=(100.0, 200.0))['mccandlish']['curve']
  assert all(a <= b for a, b in zip(curve['low'], curve['learning_rate'], strict=True))
  assert all(a <= b for a, b in zip(curve['learning_rate'], curve['high'], strict=True))
  # An interval that ends below what stands for nothing is of that alone.
  low, high = band(ci95=(0.0, 0.0))
  assert np.isfinite(low).all() and np.isfinite(high).all()
