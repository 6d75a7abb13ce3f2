"""When targets are reached, which are chosen, and what bounds B_crit, at the edges by hand."""

import math

import numpy as np
import pytest
from helpers import synthetic

from bsjax.analysis.measures.critical_batch_size import (
  at_target,
  critical_batch_size,
  middle_target,
  within,
)
from bsjax.analysis.runs.histories import settings
from bsjax.analysis.runs.targets import choose_targets, first_reach, problem, soonest, trials
from bsjax.stats.estimate import Estimate, Reason
from bsjax.stats.tobit import AT_LEAST, AT_MOST, EXACT

SIZES = np.array([8, 16, 32])
B_CRIT = Estimate(40.0, 30.0, 60.0, 3)


def study(losses, trials=1, key='val_loss', **more):
  """Settings with records every 100 examples; `losses[size, rate]` one list, or one a trial."""
  plan, rows = [], []
  for (size, rate), curves in losses.items():
    curves = curves if isinstance(curves[0], list) else [curves] * trials
    for trial, curve in enumerate(curves):
      (lane,) = synthetic.plan((size,), (rate,), 1, examples=100 * (len(curve) - 1))
      plan.append(lane | {'lane': len(plan), 'trial': trial})
      for i, loss in enumerate(curve):
        row = synthetic.record(plan[-1], 0.0, **{key: loss})
        rows.append(row | {'examples': 100 * i, 'updates': 100 * i // size} | more)
  return settings(plan, rows)


def ends_at(end, start=2.0, first=1.0):
  """Losses that fall to their end in four records."""
  return [start, first, 0.9, 0.8, end]


def by_ends(*ends, **more):
  """Batch sizes 8, 16, ... of one rate that end at these losses."""
  return study({(8 * 2**i, 0.1): ends_at(end) for i, end in enumerate(ends)}, **more)


def test_targets_go_as_far_as_two_thirds_of_batch_sizes_rounded_up_and_three_at_least():
  ends = 0.1, 0.2, 0.3, 0.4, 0.5, 0.6
  for count, floor in ((3, 0.3), (4, 0.3), (5, 0.4), (6, 0.4)):
    levels = choose_targets(by_ends(*ends[:count]), 'val_loss')
    assert levels == pytest.approx(np.geomspace(1.0, floor, 7)[1:-1].tolist())


def test_targets_begin_below_all_that_is_known_at_the_first_evaluation():
  lucky = {(8 * 2**i, 0.1): ends_at(0.2) for i in range(3)}
  lucky[8, 0.2] = ends_at(0.5, start=0.7)  # an untrained network that happens to be good
  assert choose_targets(study(lucky), 'val_loss')[0] == pytest.approx(0.7 * (0.2 / 0.7) ** (1 / 6))
  flat = study({(8 * 2**i, 0.1): [1.0, 0.5, 0.5, 0.5] for i in range(3)})
  why = choose_targets(flat, 'val_loss')
  assert why == Reason('no_target_between', quantity='val_loss', needed=3)


def test_of_an_even_number_of_trials_half_must_reach_a_level():
  losses = {(8 * 2**i, 0.1): [ends_at(0.1), ends_at(0.4)] for i in range(3)}
  levels = choose_targets(study(losses), 'val_loss')
  assert levels == pytest.approx(np.geomspace(1.0, 0.4, 7)[1:-1].tolist())


def test_a_target_met_exactly_is_reached_and_a_loss_of_zero_is_one():
  lane = study({(8, 0.1): [2.0, 1.0, 0.5, 0.5, 0.4]})[8][0].lanes[0]
  assert first_reach(lane, 'val_loss', 0.5)[:2] == (200.0, EXACT)
  assert problem(study({(8, 0.1): [2.0, 1.0, 0.0]}), 'val_loss') is None


def test_a_run_that_ends_without_a_metric_never_reaches_what_it_passed():
  tried = study({(8, 0.1): ends_at(0.2)})
  lane = tried[8][0].lanes[0]
  lane.rows[-1]['val_accuracy'] = None
  assert first_reach(lane, 'val_loss', 0.85) == (400.0, AT_LEAST, None, math.inf)


def test_what_is_evaluated_only_before_training_or_in_stages_has_no_target():
  only = study({(8, 0.1): [2.0, 1.0], (16, 0.1): [2.0, 1.0]})
  lane = only[8][0].lanes[0]
  cut = {8: [type(only[8][0])(8, 0.1, (type(lane)(lane.plan, lane.rows[:1]),))], 16: only[16]}
  assert problem(cut, 'val_loss').code == 'no_record_after_start'
  staged = study({(8, 0.1): [2.0, 1.0, 0.5]})
  staged[8][0].lanes[0].rows[-1]['stage'] = 1
  assert problem(staged, 'val_loss') == Reason('training_in_stages')


def test_trials_that_some_setting_lacks_count_nowhere():
  losses = {
    (8, 0.1): [ends_at(0.2), ends_at(0.5)],
    (8, 0.2): [ends_at(0.4)],
    (8, 0.4): [ends_at(0.6)],
  }
  tried = study(losses)
  assert trials(tried) == [0]
  # 0.7 lies at log(0.8 / 0.7) / log(0.8 / end) of the last stretch; trial 1 counts for no rate.
  point = soonest(tried[8], 'val_loss', 0.7, [0])
  assert point.learning_rate == 0.1 and len(point.reaches) == 1
  assert point.reaches[0].examples == pytest.approx(300 + 100 * math.log(8 / 7) / math.log(4))


@pytest.mark.parametrize('best, edge', [(0.1, True), (0.2, False), (0.4, True)])
def test_the_lowest_and_the_highest_rate_are_the_edge_also_where_none_gets_there(best, edge):
  losses = {(8, rate): ends_at(0.5 if rate == best else 0.6) for rate in (0.1, 0.2, 0.4)}
  reached = soonest(study(losses)[8], 'val_loss', 0.7, [0])
  assert (reached.learning_rate, reached.at_grid_edge) == (best, edge)
  never = soonest(study(losses)[8], 'val_loss', 0.4, [0])
  assert (never.learning_rate, never.at_grid_edge) == (None, edge)
  assert never.reaches[0].lowest == 0.5


@pytest.mark.parametrize(
  'best, other, skipped',
  [
    ((200, 700), (400, 400), ()),  # in the geometric mean slower, by the sum of examples sooner
    ((400, 400), (200, 700), (0.2,)),
    ((300, 400), (300, 400), ()),
  ],
)
def test_a_rate_that_lost_a_trial_by_accident_may_have_been_sooner(best, other, skipped):
  def reaches(at):
    return [2.0, *(1.0 if i < at // 100 else 0.2 for i in range(1, 8))]

  losses = {(8, 0.1): [*map(reaches, best), reaches(300)]}
  losses[8, 0.2] = [*map(reaches, other), reaches(300)]
  losses[8, 0.4] = [[2.0, *[1.0] * 7]] * 3
  tried = study(losses)
  tried[8][1].lanes[2].rows[-1]['diverged'] = True
  point = soonest(tried[8], 'val_loss', 0.2, [0, 1, 2])
  assert (point.learning_rate, point.skipped) == (0.1, skipped)


# The critical batch size.


def hyperbola(b_crit=40.0, sizes=(8, 16, 32, 64, 128), trials=2, wiggle=0.01):
  """Losses that reach any level after 1 + B / B_crit times the examples; 0.2 is the best rate."""
  losses = {}
  for size in sizes:
    for rate in (0.1, 0.2, 0.4):
      curves = []
      for trial in range(trials):
        slow = (1 + size / b_crit) * (1 if rate == 0.2 else 1.6)
        slow *= math.exp(wiggle * math.sin(size + 3 * trial))
        curves.append([2 / (1 + 0.8 * i / slow) for i in range(33)])
      losses[size, rate] = curves
  return study(losses)


def test_of_an_even_number_of_targets_the_harder_of_the_two_middle_ones_is_on_top():
  found = critical_batch_size(hyperbola(), targets=[0.3, 0.7, 0.4, 0.5])
  assert [one['target'] for one in found['targets']] == [0.7, 0.5, 0.4, 0.3]
  assert found['target'] == 0.4 and found['targets_chosen'] is False
  levels = choose_targets(hyperbola(), 'val_loss')
  assert middle_target(hyperbola(), 'val_loss') == sorted(levels)[2]
  assert middle_target({}, 'val_loss') == Reason('no_trial_of_all')


@pytest.mark.parametrize(
  'quantity, target, refused',
  [
    ('val_loss', 0.0, True),
    ('val_loss', 7.0, False),
    ('val_loss', math.inf, True),
    ('val_accuracy', 0.0, True),
    ('val_accuracy', 1.0, False),
    ('val_accuracy', 1.01, True),
  ],
)
def test_targets_out_of_range_are_refused(quantity, target, refused):
  tried = by_ends(0.1, 0.2, 0.3)
  if refused:
    with pytest.raises(ValueError, match='above 0 and at most'):
      critical_batch_size(tried, quantity, [target])
  else:
    assert critical_batch_size(tried, quantity, [target])['quantity'] == quantity


def largest(examples, known=None):
  """Of batch sizes 8, 16 and 32, from examples by trial."""
  examples = np.array(examples, dtype=np.float64).T
  known = np.full(examples.shape, EXACT) if known is None else np.array(known).T
  return within(SIZES, examples, known, B_CRIT)


def test_the_largest_batch_size_within_a_fifth_more_examples():
  """In the first trial 16 needs 1.1 and 32 1.3 times the fewest, in the second 1.0 and 1.5."""
  found = largest([[100, 110, 130], [120, 100, 150]])
  first = 16 * 2 ** (math.log(1.2 / 1.1) / math.log(1.3 / 1.1))
  second = 16 * 2 ** (math.log(1.2) / math.log(1.5))
  assert found['batch_size'] == pytest.approx(math.sqrt(first * second))
  assert (found['tried'], found['n'], found['at_least']) == (16, 2, None)
  assert found['fitted'] == pytest.approx(8.0) and found['fitted_ci95'] == pytest.approx(
    [6.0, 12.0]
  )


def test_a_lower_bound_is_one_where_no_trial_ends_within_what_was_tried():
  both = largest([[100, 110, 115], [100, 100, 110]])
  assert (both['at_least'], both['tried']) == (32, 32)
  one = largest([[100, 110, 115], [100, 110, 130]])
  assert one['at_least'] is None and one['reason'] == Reason('largest_is_within', batch_size=32)
  # What the next batch size missed says nothing of how far it is.
  missed = largest([[100, 110, 400]], [[EXACT, EXACT, AT_LEAST]])
  assert missed['reason'] == Reason('next_missed_target', batch_size=32)
  assert (missed['at_least'], missed['tried']) == (None, 16)


def test_one_that_was_there_before_its_first_evaluation_may_be_the_fastest():
  early = largest([[100, 110, 130]], [[AT_MOST, EXACT, EXACT]])
  assert early['tried'] is None
  assert early['reason'] == Reason('target_before_first_evaluation')


def test_the_stretch_in_which_interpolation_may_err_is_the_longest():
  found = at_target(hyperbola(), 'val_loss', 0.5)
  stretches = [
    math.log(math.ceil(crossing) / math.floor(crossing))
    for size in (8, 16, 32, 64, 128)
    for trial in range(2)
    for crossing in [3 / 0.8 * (1 + size / 40) * math.exp(0.01 * math.sin(size + 3 * trial))]
  ]
  assert found['resolution'] == pytest.approx(max(stretches)) != pytest.approx(min(stretches))


def test_how_many_batch_sizes_reach_a_target_is_said_where_they_are_too_few():
  few = at_target(hyperbola(sizes=(8, 16), trials=1), 'val_loss', 0.5)
  assert few['undefined'] == Reason('few_reach_target', reached=2, batch_sizes=2, early=[])
  three = at_target(hyperbola(sizes=(8, 16, 32), trials=1), 'val_loss', 0.5)
  assert three['b_crit'] == pytest.approx(40, rel=0.1)


def test_where_larger_batches_gain_nothing_it_is_not_bounded_below():
  """Examples in proportion to the batch size, but for some noise."""
  losses = {}
  for size in (8, 16, 32, 64, 128):
    for rate in (0.1, 0.2, 0.4):
      slow = 3 * size / 8 * (1 if rate == 0.2 else 1.6)
      slow = [slow * math.exp(0.1 * math.sin(size + 3 * trial)) for trial in range(2)]
      losses[size, rate] = [[2 / (1 + 0.8 * i / one) for i in range(65)] for one in slow]
  found = at_target(study(losses), 'val_loss', 1.5)
  assert found['ci95'][0] == 0 and found['ci95'][1] < 8
  assert Reason('not_bounded_below') in found['note']


def test_some_trial_that_was_early_names_its_batch_size():
  losses = {}
  for rate in (0.1, 0.4):
    losses |= {(size, rate): [[2.0, 1.0, 0.9, 0.8]] * 2 for size in (8, 16)}
  losses[8, 0.2] = [[2.0, 0.4, 0.3, 0.2], [2.0, 0.6, 0.4, 0.2]]
  losses[16, 0.2] = [[2.0, 1.0, 0.6, 0.4]] * 2
  found = at_target(study(losses), 'val_loss', 0.5)
  assert found['undefined'] == Reason('few_reach_target', reached=2, batch_sizes=2, early=[8])
  assert 'best_rates_dropped' not in found
  assert (found['at_grid_edge'], found['best_rates_unsafe']) == ([], [])


def test_at_the_edge_of_the_grid_all_trials_must_have_been_early_to_know_enough():
  losses = {(8, 0.1): [[2.0, 0.4, 0.3], [2.0, 0.6, 0.4]], (8, 0.2): [[2.0, 1.0, 0.9]] * 2}
  losses |= {(16, 0.1): [[2.0, 0.4, 0.3]] * 2, (16, 0.2): [[2.0, 1.0, 0.9]] * 2}
  found = at_target(study(losses), 'val_loss', 0.5)
  assert found['at_grid_edge'] == [8]
  assert found['undefined'].details['at_grid_edge'] == [8]
