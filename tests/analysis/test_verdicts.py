"""Verdicts of whole made-up studies: no false headline, what is there is found, the cause named.

A small version of experiments/verdicts/measure.py, with bounds that let good luck and bad luck of
so few studies pass, and not the analysis that chose the rate of each trial on the other trials.
"""

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

MEASURE = Path(__file__).parents[2] / 'experiments' / 'verdicts' / 'measure.py'
# Cells that the tests share: world, trials and studies. Of 40 studies that err in 5%, more than 4
# err with a probability of 5%; of those that err in 25%, as few do with 2%.
NO_EFFECT, REAL_EFFECT = ('no_effect', 5, 40), ('real_effect', 3, 12)
ONLY_UPDATES, DIVERGED = ('only_updates', 3, 12), ('diverged_lane', 5, 6)
NARROW, REAL_NULL = ('b_crit_grid_too_narrow', 3, 6), ('real_null', 5, 40)


@functools.cache
def cell(world, trials, studies):
  """What `measure` finds, in a process of its own, in which no type is checked: half the time."""
  with tempfile.TemporaryDirectory() as folder:
    out = Path(folder) / 'cell.json'
    flags = f'--worlds={world} --trials={trials} --studies={studies} --seed=7 --out={out}'
    subprocess.run([sys.executable, MEASURE, *flags.split()], check=True, capture_output=True)
    (result,) = json.loads(out.read_text())['cells']
  assert result['studies'] == studies
  return result


@pytest.mark.slow
def test_where_there_is_no_effect_headlines_name_none():
  measured = cell(*NO_EFFECT)
  assert measured['false_headline']['count'] <= 4
  assert measured['false_pair']['count'] <= 4
  assert measured['false_trend']['count'] <= 4


@pytest.mark.slow
def test_between_real_runs_of_one_batch_size_headlines_name_no_difference():
  # None of these 40 err; with each trial read at the rate that the other trials chose, 3 do.
  assert cell(*REAL_NULL)['false_headline']['count'] <= 2


@pytest.mark.slow
def test_truly_worse_batch_sizes_are_shown_to_be_worse():
  # Where 80% are shown, fewer than two in three of 36 are with a probability of 2%.
  assert cell(*REAL_EFFECT)['shown_worse']['rate'] >= 2 / 3


def test_what_is_shown_where_batch_sizes_differ_is_true():
  measured = cell(*REAL_EFFECT)
  assert measured['false_headline']['count'] <= 2
  assert measured['false_alike']['count'] <= 2


def test_following_the_recommendation_costs_little():
  measured = cell(*REAL_EFFECT)
  assert measured['recommendation_given']['rate'] == 1
  assert measured['regret']['mean'] <= 0.1
  assert measured['recommended_set_covers']['count'] >= 11


def test_updates_are_named_where_they_are_the_only_cause():
  assert cell(*ONLY_UPDATES)['cause_named']['rate'] >= 0.75


def test_updates_are_not_named_where_they_are_no_cause():
  assert cell(*REAL_EFFECT)['updates_named']['count'] <= 1


def test_a_diverged_lane_takes_no_batch_size_out_of_the_comparison():
  assert cell(*DIVERGED)['lost_sizes']['count'] == 0


def test_a_critical_batch_size_that_the_rate_grid_hides_is_not_bounded():
  # Most have too few batch sizes with a best rate inside the grid to say anything.
  measured = cell(*NARROW)
  assert measured['studies'] == 6 and 'count' in measured['b_crit_given']
  assert measured.get('b_crit_bounded', {'count': 0})['count'] == 0
