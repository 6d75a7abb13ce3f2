"""Learning rates around the best one: what surrounds it, what is to be tried, what more trials get.

By hand: grids are widened by half as much again as their last step, by a factor of 3 to 10.
"""

import math
from dataclasses import replace

import pytest
from helpers import curves

from bsjax.analysis.decide.rates import around, kept, rates_of
from bsjax.analysis.runs.histories import LaneHistory, Setting
from bsjax.analysis.runs.selection import SelectionKind, tune
from bsjax.stats.estimate import Reason


@pytest.mark.parametrize(
  'rates, at, state, add',
  [
    ((0.1, 0.2, 0.4), 1, 'bracketed', ()),
    ((0.1, 0.3, 0.6), 1, 'coarse', (0.173,)),
    ((0.1, 0.2, 0.6), 1, 'coarse', (0.346,)),
    ((0.1, 0.3, 0.9), 1, 'coarse', (0.173, 0.52)),
    # A step of a factor of 2 is widened by 3 at least.
    ((0.1, 0.2, 0.4), 0, 'edge', (0.0111, 0.0333)),
    ((0.1, 0.2, 0.4), 2, 'edge', (1.2, 3.6)),
    # One of 4 by 8, whatever the rest of the grid.
    ((0.1, 0.4, 40.0), 0, 'edge', (0.00156, 0.0125)),
    ((0.001, 0.1, 0.4), 2, 'edge', (3.2, 25.6)),
    # One of 8 by 10 at most.
    ((0.1, 0.8, 1.6), 0, 'edge', (0.001, 0.01)),
    ((0.1,), 0, 'edge', (0.0333, 0.3)),
  ],
)
def test_a_best_rate_is_surrounded_or_others_are_to_be_tried(rates, at, state, add):
  assert around([math.log(rate) for rate in rates], at) == (state, add)


def valley(curvature, best=0.15, diverged=()):
  def curve(lane, updates):
    rate = lane['learning_rate']
    value = 0.9 - curvature * math.log(rate / best) ** 2 + 0.001 * lane['trial']
    bad = updates > 0 and lane['trial'] == 1 and any(math.isclose(rate, one) for one in diverged)
    return {'val_accuracy': value, 'train_accuracy': value, 'diverged': bad}

  return curve


def tried(rates, *about, **more):
  return curves.study([64], rates, 3, valley(*about, **more), evaluations=1)[64]


def test_a_parabola_over_coarse_rates_is_surrounded_and_a_single_best_rate_is_not():
  rates = (0.05, 0.15, 0.45)
  flat, steep = tried(rates, 0.005), tried(rates, 0.05)
  assert tune(flat).selection == SelectionKind.PARABOLA
  assert rates_of(flat, tune(flat)) == ('bracketed', ())
  assert tune(steep).selection == SelectionKind.BEST_RATE
  assert rates_of(steep, tune(steep)) == ('coarse', (0.0866, 0.26))
  edge = tried(rates, 0.001, best=0.01)
  assert tune(edge).selection == SelectionKind.PARABOLA
  assert rates_of(edge, tune(edge)).state == 'edge'


def test_lower_rates_are_tried_only_where_every_rate_diverged():
  lost = tried((0.1, 0.2), 0.05, diverged=(0.1, 0.2))
  assert rates_of(lost, tune(lost)) == ('edge', (0.0111, 0.0333))
  cut = [LaneHistory(lane.plan, lane.rows[:1]) for lane in lost[0].lanes]
  unfinished = [Setting(64, 0.1, tuple(cut)), lost[1]]
  assert tune(unfinished) == Reason('no_rate_ended_well')
  assert rates_of(unfinished, tune(unfinished)) == ('none', ())


def test_more_trials_go_to_the_best_rate_and_its_safe_neighbours():
  rates = (0.05, 0.1, 0.2, 0.4, 0.8)
  steep = tried(rates, 0.1, best=0.2)
  assert kept(steep, tune(steep)) == (0.1, 0.2, 0.4)
  beside = tried(rates, 0.1, best=0.2, diverged=(0.4,))
  assert kept(beside, tune(beside)) == (0.1, 0.2, 0.8)
  first = tried(rates, 0.1, best=0.05)
  assert kept(first, tune(first)) == (0.05, 0.1)
  flat = tried(rates, 0.005, best=0.2)
  assert kept(flat, tune(flat)) == rates


def test_beside_a_dropped_rate_halves_of_the_step_to_it_are_tried_on_both_sides():
  settings = tried((0.05, 0.1, 0.2, 0.4, 0.8), 0.1, best=0.2)
  beside = replace(tune(settings), dropped_beside=(0.1, 0.4))
  # 0.2 times or divided by the square root of 2, and by its cube.
  assert rates_of(settings, beside) == ('edge', (0.0707, 0.141, 0.283, 0.566))


@pytest.mark.parametrize('lost, state', [(True, 'bracketed'), (False, 'edge')])
def test_a_dropped_rate_surrounds_the_best_one_only_where_it_diverged(lost, state):
  low, best, high = tried((0.1, 0.2, 0.4), 0.1, best=0.2)
  lanes = [
    LaneHistory(lane.plan, ({**lane.rows[0], 'examples': 2048, 'dropped': True, 'diverged': lost},))
    for lane in high.lanes
  ]
  settings = [low, best, Setting(64, 0.4, tuple(lanes))]
  assert rates_of(settings, tune(settings)).state == state
