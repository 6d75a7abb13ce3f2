"""Records as runs: where a run ends, what is wrong with it, how far a study is, in any order."""

import math

import numpy as np
import pytest
from helpers import synthetic

from bsjax.analysis.runs.curve_distance import against_seeds, curves
from bsjax.analysis.runs.diverged import diverged
from bsjax.analysis.runs.dropped import trained
from bsjax.analysis.runs.histories import by_branch, noise_curve, progress, provisional, settings
from bsjax.analysis.runs.judging import judged_by
from bsjax.stats.estimate import Reason

PLAN = synthetic.plan((8,), (0.1,), 2, examples=800, epochs=2.0)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def records(plan=PLAN, shares=SHARES, **values):
  return [synthetic.record(lane, share, **values) for lane in plan for share in shares]


def lane_of(rows, plan=PLAN):
  return settings(plan, rows)[8][0].lanes[0]


def test_a_run_ends_at_its_last_planned_example_and_later_records_are_none_of_it():
  later = synthetic.record(PLAN[0], 1.25, train_loss=0.3)
  rows = [later, *reversed(records())]
  lane = lane_of(rows)
  assert lane.final['examples'] == 800
  assert [row['examples'] for row in lane.rows] == [0, 200, 400, 600, 800, 1000]
  assert [row['examples'] for row in lane.planned_rows] == [0, 200, 400, 600, 800]
  assert [row['examples'] for row in lane.trained_rows] == [0, 200, 400, 600, 800]
  past = [row for row in records() if row['examples'] < 800] + [later]
  assert lane_of(past).final is not None and lane_of(past).trained_rows[-1]['examples'] == 1000


def test_trials_of_a_setting_stand_in_order_whatever_that_of_the_plan():
  plan = [PLAN[1], PLAN[0]]
  (setting,) = settings(plan, records())[8]
  assert [lane.plan['trial'] for lane in setting.lanes] == [0, 1]


@pytest.mark.parametrize(
  'changes, code',
  [
    ({}, None),
    ({'val_accuracy': None}, 'no_metric'),
    ({'train_accuracy': None}, 'no_metric'),
    ({'dropped': True}, None),  # at its end
    ({'diverged': True}, 'diverged'),
  ],
)
def test_what_is_wrong_at_the_end_of_a_run(changes, code):
  rows = records()
  rows[4] |= changes
  problem = lane_of(rows).problem
  assert (problem and problem.code) == code and lane_of(rows).dropped is None


def test_a_run_that_was_not_finite_in_between_has_diverged_though_it_ends_with_numbers():
  rows = records()
  rows[2]['diverged'] = True
  assert lane_of(rows).problem == Reason('diverged')


def test_a_setting_of_which_a_later_trial_was_dropped_was_dropped():
  rows = records()
  rows[7]['dropped'] = True  # the second trial, at half
  cut = [row for row in rows if row['lane'] == 0 or row['examples'] <= 400]
  (setting,) = settings(PLAN, cut)[8]
  assert setting.dropped == 400
  assert setting.lanes[1].problem == Reason('dropped', epoch=1.0, epochs=2.0)


def test_accuracies_out_of_range_cost_nothing_that_compares():
  rows = records()
  for row, value in zip(rows, (0.25, 1.25, -0.5, None, 1.0), strict=False):
    row['val_accuracy'] = value
  costs = lane_of(rows).costs('val_accuracy')
  assert (costs[0], costs[4]) == (0.75, 0.0)
  assert all(math.isnan(cost) for cost in costs[1:4])


def noisy(trace, grad_sq):
  window = synthetic.noise(4, trace, grad_sq)
  plan = PLAN[:1]
  return settings(plan, records(plan, (0.0, 1.0), noise=window))[8][0]


@pytest.mark.parametrize(
  'trace, grad_sq, value',
  [(6.0, 2.0, 3.0), (0.0, 2.0, 0.0), (-1.0, 2.0, None), (6.0, 0.0, None), (-6.0, -2.0, None)],
)
def test_the_noise_scale_of_a_stretch_needs_a_gradient_and_no_negative_trace(trace, grad_sq, value):
  examples, values = noise_curve(noisy(trace, grad_sq))
  assert examples == [400]
  assert math.isnan(values[0]) if value is None else values == [value]


def test_progress_is_the_share_of_examples_seen_whatever_the_order_of_records():
  rows = records(shares=(0.0, 0.5, 0.25))
  assert progress(PLAN, rows) == 0.5
  assert progress(PLAN, [*records(), synthetic.record(PLAN[0], 1.5)]) == 1.0
  half = [*records(PLAN[:1], (1.5,)), *records(PLAN[1:], (0.5,))]
  assert progress(PLAN, half) == 0.75
  lost = records(shares=(0.0, 0.5))
  lost[1]['diverged'] = True
  assert progress(PLAN, lost) == 0.5
  lost[3]['diverged'] = True
  assert progress(PLAN, lost) == 1.0


def test_an_unfinished_study_ends_where_all_lanes_have_been_but_those_that_were_dropped():
  rows = records(PLAN[:1], (0.5, 0.0, 0.25, 0.75)) + records(PLAN[1:], (0.25, 0.0, 0.5))
  reached = provisional(PLAN, rows)
  assert [(row['examples'], row['updates'], row['epochs']) for row in reached] == [
    (400, 50, 1.0)
  ] * 2
  rows[-3] |= {'dropped': True}  # at a quarter
  rows = [row for row in rows if row['lane'] == 0 or row['examples'] <= 200]
  reached = provisional(PLAN, rows)
  assert [(row['examples'], row['epochs']) for row in reached] == [(600, 1.5)] * 2
  # The first record is made before training.
  assert provisional(PLAN, records(shares=(0.0,))) == PLAN


def test_branches_stand_in_the_order_of_their_lanes():
  plan = [PLAN[0] | {'branch': 'keep'}, PLAN[1] | {'branch': 'grow'}]
  found = by_branch(plan[::-1], records())
  assert list(found) == ['keep', 'grow']
  assert [row['lane'] for row in found['keep'][1]] == [0] * 5


def test_what_a_dropped_lane_is_trained_on_is_no_more_than_a_shorter_plan():
  rows = records()
  rows[3]['dropped'] = True  # at 600 of 800
  assert trained(PLAN, rows) == 600 + 800
  assert trained([row | {'examples': 400} for row in PLAN], rows) == 800


def test_runs_that_were_lost_stand_with_the_first_record_that_found_them():
  rows = [row for row in records() if row['lane'] == 1]
  for row, cause in zip(rows, (None, None, 'loss', 'loss', 'loss'), strict=True):
    row |= {'diverged': cause is not None}
  rows[2] |= {'diverged_at': 333, 'diverged_because': 'loss'}
  first = records(PLAN[:1])
  first[4]['diverged'] = True
  found = diverged(PLAN[::-1], [*rows[::-1], *first])
  assert [(row['lane'], row['examples'], row['code']) for row in found] == [
    (0, 800, None),
    (1, 333, 'loss'),
  ]
  assert [row['because'] for row in found] == [Reason('cause_not_recorded'), Reason('loss')]


# Training curves.


def test_curves_are_compared_from_the_first_update_to_the_planned_end():
  rows = records(train_loss=2.0)
  rows.append(synthetic.record(PLAN[0], 1.25, train_loss=1.0))
  rows.append(synthetic.record(PLAN[1], 1.25, train_loss=1.0))
  rows.append(synthetic.record(PLAN[1], 0.9, train_loss=1.0))  # of one alone
  (setting,) = settings(PLAN, rows)[8]
  assert list(curves(setting.lanes).by_examples) == [200, 400, 600, 800]
  for value in (0.0, -1.0, math.inf, None, math.nan):
    rows[2]['train_loss'] = value
    (setting,) = settings(PLAN, rows)[8]
    why = curves(setting.lanes).reason
    assert why.code == 'loss_without_log' and why.details['examples'] == 400


def test_seeds_that_do_not_differ_make_no_ratio():
  same = np.zeros((3, 4))
  assert against_seeds(same, same + 0.1).log.value is None


# By what runs are judged.

SCORE = {'name': 'score', 'title': 'score', 'plural': 'scores', 'higher_is_better': True}


def margin_of(rows):
  config = synthetic.config() | {'own': {'task': {'metric': SCORE, 'loss': {'title': 'loss'}}}}
  return judged_by(config, rows).margin


def score(lane, share, value, **more):
  plan = {'lane': lane, 'examples': 800, 'updates': 100, 'epochs': 2.0, 'learning_rate': 0.1}
  return synthetic.record(plan, share, val_score=value, **more)


def test_a_margin_is_a_hundredth_of_the_middle_of_the_last_sound_values():
  ends = [score(lane, 1.0, value) for lane, value in enumerate((10.0, 20.0, 90.0))]
  before = [score(lane, share, 500.0) for lane in range(3) for share in (0.0, 0.5)]
  assert margin_of(before + ends) == pytest.approx(0.2)
  assert margin_of(ends + before) == pytest.approx(0.2)  # whatever their order
  # A lane of which only the untrained network was evaluated says nothing,
  assert margin_of([*ends, score(3, 0.0, 900.0)]) == pytest.approx(0.2)
  # nor one that diverged, is not finite or was dropped.
  for more in ({'diverged': True}, {'dropped': True}):
    assert margin_of([*ends, score(3, 1.0, 900.0, **more)]) == pytest.approx(0.2)
  for value in (None, math.nan, math.inf):
    assert margin_of([*ends, score(3, 1.0, value)]) == pytest.approx(0.2)
  assert margin_of([*ends, score(3, 1.0, 900.0)]) == pytest.approx(0.55)
