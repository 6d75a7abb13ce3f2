"""The level at which contrasts hold together: between none and Bonferroni's, and Tukey's."""

import itertools

import numpy as np
import pytest
from scipy.special import stdtr, stdtrit
from scipy.stats import studentized_range

from bsjax.stats.joint import Family
from bsjax.stats.paired import simultaneous, slope_weights

DIFFERENCE = np.array([[1.0, -1.0]])


def pairs(count):
  rows = np.eye(count)
  return np.array([rows[a] - rows[b] for a, b in itertools.combinations(range(count), 2)])


def with_slope(count):
  sizes = [2 ** (3 + place) for place in range(count)]
  return np.vstack([pairs(count), slope_weights(sizes)])


@pytest.mark.parametrize('count', [3, 4, 6])
def test_pairs_of_equal_variances_hold_together_at_tukeys_level(count):
  family = Family(pairs(count), np.full(count, 2.0), np.full(count, 1e6))
  tukey = studentized_range.ppf(0.95, count, np.inf) / np.sqrt(2)
  level = 1 - family.confidence()
  assert -stdtrit(1e9, level / 2) == pytest.approx(tukey, abs=0.04)


def test_few_degrees_of_freedom_come_close_to_games_howell():
  # With equal variances of 6 degrees each, a pair has 12; Tukey's of 12 is that of Games-Howell.
  family = Family(pairs(5), np.ones(5), np.full(5, 6.0))
  mine = -stdtrit(12, (1 - family.confidence()) / 2)
  assert mine == pytest.approx(studentized_range.ppf(0.95, 5, 12) / np.sqrt(2), rel=0.06)


@pytest.mark.parametrize('variances', [(1, 1, 1, 1), (1, 1, 1, 25), (25, 1, 25, 1)])
@pytest.mark.parametrize('df', [4, 8, 1000])
def test_the_level_lies_between_no_correction_and_bonferroni(variances, df):
  family = Family(with_slope(4), np.array(variances, dtype=float), np.full(4, float(df)))
  confidence = family.confidence()
  assert 0.95 <= confidence <= simultaneous(7) + 0.002
  assert family.false(1 - confidence) <= 0.05
  assert family.false(1.1 * (1 - confidence)) > 0.045


def test_unrelated_contrasts_come_close_to_bonferroni():
  weights = np.kron(np.eye(4), np.array([1.0, -1.0]))
  family = Family(weights, np.ones(8), np.full(8, 1e6))
  assert 1 - family.confidence() == pytest.approx(1 - 0.95 ** (1 / 4), rel=0.12)


def test_the_slope_costs_less_than_one_more_pair_would():
  variances, dfs = np.ones(6), np.full(6, 12.0)
  alone, both = (Family(w(6), variances, dfs).confidence() for w in (pairs, with_slope))
  assert alone < both < alone + 0.05 / 15


def test_one_contrast_is_students():
  family = Family(DIFFERENCE, np.array([2.0, 2.0]), np.array([50.0, 50.0]))
  for level in (0.01, 0.05, 0.3):
    assert family.false(level) == pytest.approx(level, abs=4 * np.sqrt(level / 1e4))
  assert family.confidence() == pytest.approx(0.95, abs=0.007)


@pytest.mark.parametrize('dfs, most', [((40.0, 30.0), 0.953), ((2.0, 20.0), 0.985)])
def test_of_unequal_variances_it_is_welchs_and_makes_up_for_what_is_approximate_in_it(dfs, most):
  variances, dfs = np.array([1.0, 1.0]), np.array(dfs)
  confidence = Family(DIFFERENCE, variances, dfs).confidence()
  rng = np.random.default_rng(9)
  drawn = variances * rng.chisquare(dfs, (100_000, 2)) / dfs
  error = drawn.sum(axis=1)
  df = error**2 / (drawn**2 / dfs).sum(axis=1)
  t = np.abs(rng.normal(size=(100_000, 2)) @ DIFFERENCE[0]) / np.sqrt(error)
  assert (2 * stdtr(df, -t) <= 1 - confidence).mean() == pytest.approx(0.05, abs=0.008)
  assert 0.944 < confidence < most


def test_the_same_question_has_the_same_answer():
  make = Family(with_slope(4), np.arange(1.0, 5), np.full(4, 6.0))
  again = Family(with_slope(4), np.arange(1.0, 5), np.full(4, 6.0))
  assert make.confidence() == again.confidence()
  scaled = Family(with_slope(4), 7.0 * np.arange(1.0, 5), np.full(4, 6.0))
  assert scaled.confidence() == pytest.approx(make.confidence(), abs=1e-5)


def test_together_they_err_as_often_as_stated():
  rng = np.random.default_rng(3)
  weights, sds, df, studies = with_slope(5), np.array([1, 1, 2, 1, 3.0]), 8, 4000
  means = rng.normal(size=(studies, 5)) * sds
  variances = np.square(sds) * rng.chisquare(df, (studies, 5)) / df
  parts = np.square(weights) * variances[:, None]
  t = np.abs(means @ weights.T) / np.sqrt(parts.sum(axis=2))
  degrees = np.square(parts.sum(axis=2)) / (np.square(parts) / df).sum(axis=2)
  p = 2 * stdtr(degrees, -t)
  level = 1 - Family(weights, np.square(sds), np.full(5, float(df))).confidence()
  false = (p <= level).any(axis=1).mean()
  assert false == pytest.approx(0.05, abs=0.013)
