"""borrowed_rates: the best rate of a noisy batch size is drawn towards what the others say."""

import math

import numpy as np
import pytest
from helpers.curves import study

from bsjax.analysis.claims.pairs import rank
from bsjax.analysis.measures.borrowed_rates import Valley, borrowed_rates
from bsjax.analysis.recommend import recommendation
from bsjax.analysis.runs.budgets import at_end
from bsjax.analysis.runs.selection import select
from bsjax.config.metrics import Judged, MetricEntry, judging
from bsjax.report.text.rendered import rendered
from bsjax.stats.shrinkage import shrunk

SIZES, RATES, TRIALS = (8, 16, 32, 64, 128), (0.01, 0.03, 0.1, 0.3, 1.0), 4
NO_TARGET = {'undefined': 'no target'}


def tuned(best_rate, noise, seed=0, rates=RATES, lift=lambda size: 0.0, sizes=SIZES):
  """All rates tried and the batch sizes tuned; 0.2 points per squared unit off the best rate."""
  random = np.random.default_rng(seed)
  drawn = {}

  def curve(lane, updates):
    off = math.log(lane['learning_rate'] / best_rate(lane['batch_size']))
    if lane['lane'] not in drawn:
      drawn[lane['lane']] = noise(lane['batch_size']) * random.standard_normal()
    value = 0.9 + lift(lane['batch_size']) - 0.002 * off**2 + drawn[lane['lane']]
    return {'val_accuracy': value, 'train_accuracy': value}

  tried = study(sizes, rates, TRIALS, curve, evaluations=1)
  return tried, select(tried).chosen


def steady(size):
  return 0.1


def noisy(size):
  return 0.015 if size == 32 else 0.002


def test_a_noisy_batch_size_is_drawn_to_the_power_of_the_others():
  """On average over studies it lies nearer to the truth than its own parabola's top."""

  def scales(size):
    return 0.03 * math.sqrt(size / 8)

  own, drawn = [], []
  for seed in range(20):
    _, chosen = tuned(scales, noisy, seed)
    rates = borrowed_rates(chosen)
    if 32 in rates:
      own.append(abs(math.log(chosen[32].best_rate / scales(32))))
      drawn.append(abs(math.log(rates[32] / scales(32))))
  assert len(own) >= 15 and np.mean(drawn) < 0.5 * np.mean(own)
  assert np.mean(drawn) < 0.35


def test_precise_batch_sizes_keep_rates_that_follow_no_power():
  factors = {8: 1.0, 16: 3.0, 32: 0.4, 64: 3.0, 128: 1.0}

  def jumps(size):
    return 0.1 * factors[size]

  _, chosen = tuned(jumps, lambda size: 0.0003)
  rates = borrowed_rates(chosen)
  assert list(rates) == list(SIZES)
  for size, rate in rates.items():
    assert rate == pytest.approx(jumps(size), rel=0.1)


def test_where_nothing_shows_a_valley_nothing_is_borrowed():
  _, chosen = tuned(steady, lambda size: 0.002, rates=(0.1, 0.3))
  assert borrowed_rates(chosen) == {}  # two rates are no parabola
  _, chosen = tuned(steady, noisy, sizes=(8, 16))
  assert borrowed_rates(chosen) == {}  # two batch sizes show no power
  # Rates so close together that the metric is flat over them.
  _, chosen = tuned(steady, lambda size: 0.002, rates=(0.098, 0.099, 0.1, 0.101, 0.102))
  assert borrowed_rates(chosen) == {}
  _, chosen = tuned(steady, lambda size: 0.0)
  assert borrowed_rates(chosen) == {}  # no spread, no precision


def recommended(tried, chosen):
  read = {size: at_end(one) for size, one in chosen.items()}
  return rendered(recommendation(chosen, rank(read), NO_TARGET, tried)[0])


def test_the_recommended_rate_is_that_of_all_and_says_so():
  """The noisy batch size is the best, and luck moved its top."""
  moved = 0
  for seed in range(12):
    tried, chosen = tuned(steady, noisy, seed, lift=lambda size: 0.03 * (size == 32))
    row = recommended(tried, chosen)
    own = chosen[row['batch_size']].learning_rate
    why = [reason for reason in row['reasons'] if reason['code'] == 'rate_of_others']
    assert bool(why) == (row['learning_rate'] != own)
    if why:
      moved += 1
      assert why[0]['own'] == own and why[0]['rate'] == row['learning_rate']
      assert row['learning_rate'] in [part.learning_rate for part in chosen[32].window]
      assert 'by its own runs alone it would be' in row['why']
      off = abs(math.log(row['learning_rate'] / 0.1))
      assert off < abs(math.log(own / 0.1))
      edge = any(reason['code'] == 'chosen_at_grid_edge' for reason in row['reasons'])
      assert edge == (row['learning_rate'] in (RATES[0], RATES[-1]))
  assert moved >= 2


def test_shrunk_estimates_by_hand():
  ones = np.ones((3, 1))
  # Apart by no more than their variances: all are the weighted mean.
  alike = shrunk(np.array([0.0, 1.0, 0.5]), np.array([1.0, 1.0, 4.0]), ones)
  assert alike.between == 0.0 and alike.values == pytest.approx([0.5] * 3)
  # Of equal variances the one between is that of the estimates less their own.
  estimates, own = np.array([0.0, 3.0, 6.0]), 1.0
  apart = shrunk(estimates, np.full(3, own), ones)
  assert apart.between == pytest.approx(estimates.var(ddof=1) - own)
  assert apart.values == pytest.approx(3 + (estimates - 3) * 8 / 9)
  assert apart.line == pytest.approx([3.0] * 3)
  # Two estimates and two terms leave nothing to draw towards.
  line = np.array([[1.0, 0.0], [1.0, 1.0]])
  exact = shrunk(np.array([1.0, 5.0]), np.array([1.0, 9.0]), line)
  assert exact.values == pytest.approx([1.0, 5.0])


def test_three_batch_sizes_are_enough_and_must_share_several_trials():
  _, chosen = tuned(steady, lambda size: 0.0003, sizes=(8, 16, 32))
  rates = borrowed_rates(chosen)
  assert list(rates) == [8, 16, 32]
  assert list(rates.values()) == pytest.approx([0.1] * 3, rel=0.1)
  others = dict(chosen)
  others[32] = others[32].of_trials((0, 1, 2))
  assert borrowed_rates(others) == {}
  assert borrowed_rates({size: one.of_trials((0,)) for size, one in chosen.items()}) == {}


def test_a_valley_that_noise_may_have_made_is_none():
  """Curved by less than two standard errors of what lanes scatter."""
  found = 0
  for seed in range(6):
    flat = (0.07, 0.085, 0.1, 0.115, 0.13)
    _, chosen = tuned(steady, lambda size: 0.002, seed, rates=flat, sizes=(8, 16, 32))
    found += bool(borrowed_rates(chosen))
  assert found <= 1


def test_of_a_metric_of_which_less_is_better_a_valley_is_one_that_opens_upward():
  rmse = MetricEntry('rmse', 'error', 'errors', False, lowest=0)

  def curve(lane, updates):
    off = math.log(lane['learning_rate'] / 0.1)
    value = 0.1 + 0.002 * off**2 + 3e-4 * math.sin(7 * lane['lane'])
    return {'val_rmse': value, 'train_rmse': value}

  with judging(Judged(rmse, margin=0.005)):
    chosen = select(study((8, 16, 32), RATES, TRIALS, curve, evaluations=1)).chosen
    rates = borrowed_rates(chosen)
    for one in chosen.values():
      # Where a trial is worse below the best rate, its own best one lies above.
      assert one.best_rate == pytest.approx(0.1, rel=0.2)
  assert list(rates.values()) == pytest.approx([0.1] * 3, rel=0.1)


def test_the_doubt_about_a_top_is_that_of_its_slope_over_twice_the_curvature():
  valley = Valley(np.array([-1.0, 0.0, 1.0]), np.array([1.0, 2.0, 2.0]), 0.03)
  # The slope is 1/2, of a variance of 0.03 / 2.
  top, variance = valley.top(-0.5)
  assert top == pytest.approx(0.5) and variance == pytest.approx(0.03 / 2 / (2 * 0.5) ** 2)
  assert valley.curvature == pytest.approx((-0.5, 0.03 * 1.5))
