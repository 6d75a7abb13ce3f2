"""The best learning rate of a batch size, and how its runs are read there."""

import itertools
import math

import numpy as np
import pytest
from helpers import curves
from helpers.draws import draws

from bsjax.analysis.runs import budgets
from bsjax.analysis.runs.reading import Reading, Weights, combined
from bsjax.analysis.runs.selection import SelectionKind, Tuned, select, tune
from bsjax.stats.estimate import Reason

RATES = (0.05, 0.1, 0.2, 0.4, 0.8)


def valley(lane, updates, best=0.2, curvature=0.022):
  """A parabola in log rate, moved by the trial, reached at the end."""
  share = updates / lane['updates']
  height = 0.9 - curvature * math.log(lane['learning_rate'] / best) ** 2
  height += 0.002 * lane['trial']
  return {'val_accuracy': share * height, 'train_accuracy': share, 'val_loss': 2 - share * height}


def tried(curve=valley, rates=RATES, trials=3, **kind):
  return curves.study([64], rates, trials, curve, **kind)[64]


def final_only(**values):
  """A curve whose numbers are those given, as functions of the lane."""
  return lambda lane, updates: {name: value(lane) for name, value in values.items()}


def test_the_parabola_is_read_at_its_top_with_the_same_weights_for_every_trial():
  best = tune(tried(lambda lane, updates: valley(lane, updates, best=0.25)))
  assert best.selection == SelectionKind.PARABOLA
  assert best.best_rate == pytest.approx(0.25)
  assert best.learning_rate == 0.2
  assert sum(best.weights) == pytest.approx(1)
  assert [part.learning_rate for part in best.window] == [0.1, 0.2, 0.4]
  values = budgets.at_end(best).values['val_accuracy']
  assert values == pytest.approx([0.9, 0.902, 0.904])


def test_rates_that_fall_short_by_more_than_near_take_no_part():
  def steep(lane, updates):
    return valley(lane, updates, curvature=1.01 * 0.02 / math.log(2) ** 2)

  best = tune(tried(steep))
  assert best.selection == SelectionKind.BEST_RATE
  assert best.weights == (1.0,) and best.learning_rate == best.best_rate == pytest.approx(0.2)


def test_a_window_of_two_is_read_at_the_better_of_both():
  best = tune(tried(lambda lane, updates: valley(lane, updates, best=0.11), rates=(0.1, 0.2)))
  assert best.selection == SelectionKind.BEST_RATE
  assert [(part.learning_rate, weight) for part, weight in best.parts] == [(0.1, 1.0), (0.2, 0.0)]


def test_one_rate_is_said_to_be_one():
  best = tune(tried(rates=(0.1,)))
  assert best.selection == SelectionKind.ONE_RATE
  assert best.parts[0][0].learning_rate == best.learning_rate == pytest.approx(best.best_rate)


def test_a_rate_at_which_a_trial_diverged_is_unsafe_and_takes_no_part():
  def curve(lane, updates):
    bad = (lane['learning_rate'], lane['trial']) == (0.4, 1)
    return valley(lane, updates, best=0.4) | {'diverged': bad}

  best = tune(tried(curve))
  assert best.unsafe == (0.4,)
  assert 0.4 not in [part.learning_rate for part in best.window]
  assert [lane.plan['trial'] for lane in best.lanes] == [0, 1, 2]


def test_the_best_rate_is_no_unsafe_one_though_the_parabola_is_highest_there():
  def curve(lane, updates):
    bad = (lane['learning_rate'], lane['trial']) == (0.2, 1)
    return valley(lane, updates, best=0.21) | {'diverged': bad}

  best = tune(tried(curve, rates=(0.1, 0.14, 0.2, 0.28, 0.4)))
  assert [part.learning_rate for part in best.window] == [0.1, 0.14, 0.28, 0.4]
  assert best.best_rate == best.learning_rate == 0.28


def diverged_at(*rates, best=0.2):
  """A valley too steep for a parabola, with a trial that diverged at each of these rates."""

  def curve(lane, updates):
    bad = lane['trial'] == 1 and any(math.isclose(lane['learning_rate'], rate) for rate in rates)
    steep = 1.01 * 0.02 / math.log(2) ** 2
    return valley(lane, updates, best=best, curvature=steep) | {'diverged': bad}

  return curve


@pytest.mark.parametrize(
  ('unsafe', 'best', 'skipped'),
  [
    ((0.2,), 0.2, (0.2,)),  # the best of all, between 0.1 and 0.4
    ((0.2, 0.4), 0.2, (0.2, 0.4)),
    ((0.4,), 0.2, (0.4,)),
    ((0.4, 0.8), 0.4, ()),  # the limit of the rate
    ((0.05,), 0.05, ()),  # below all that are safe
    ((0.05,), 0.2, ()),
    ((0.05, 0.1), 0.4, ()),
    ((0.1,), 0.8, ()),  # two steps from the best
  ],
)
def test_unsafe_rates_between_safe_ones_next_to_the_best_are_skipped(unsafe, best, skipped):
  assert tune(tried(diverged_at(*unsafe, best=best))).skipped == pytest.approx(skipped)


def test_a_parabola_spans_what_would_be_skipped():
  def curve(lane, updates):
    bad = (lane['learning_rate'], lane['trial']) == (0.2, 1)
    return valley(lane, updates, curvature=0.005) | {'diverged': bad}

  best = tune(tried(curve))
  assert (best.selection, best.unsafe, best.skipped) == (SelectionKind.PARABOLA, (0.2,), ())


def test_no_safe_rate_is_a_reason_and_not_a_result():
  everywhere = tried(lambda lane, updates: valley(lane, updates) | {'diverged': True})
  assert tune(everywhere) == Reason('no_rate_ended_well')
  chosen, failed = select({8: everywhere, 16: tried()})
  assert list(chosen) == [16] and failed == {8: Reason('no_rate_ended_well')}


def without(settings, *lanes):
  """The settings with the lanes of (rate, trial) missing."""
  return [
    Tuned(
      one.batch_size,
      one.learning_rate,
      tuple(x for x in one.lanes if (one.learning_rate, x.plan['trial']) not in lanes),
    )
    for one in settings
  ]


def test_a_rate_that_lacks_a_trial_of_the_others_takes_no_part():
  best = tune(without(tried(), (0.2, 1)))
  assert [part.learning_rate for part in best.window] == [0.1, 0.4]
  assert best.unsafe == ()


def test_rates_of_which_none_has_all_trials_are_not_compared():
  lanes = [(rate, place % 3) for place, rate in enumerate(RATES)]
  assert tune(without(tried(), *lanes)) == Reason('different_trials')


def test_of_equal_accuracies_the_lower_loss_decides():
  alike = final_only(
    val_accuracy=lambda lane: 1.0, val_loss=lambda lane: abs(math.log(lane['learning_rate'] / 0.4))
  )
  best = tune(tried(alike, rates=(0.1, 0.4)))
  assert best.learning_rate == 0.4
  # A difference of rounding is none.
  nearly = final_only(
    val_accuracy=lambda lane: 0.9 + 1e-14 * (lane['learning_rate'] == 0.1),
    val_loss=lambda lane: abs(math.log(lane['learning_rate'] / 0.4)),
  )
  assert tune(tried(nearly, rates=(0.1, 0.4))).learning_rate == 0.4


def test_the_lanes_are_those_of_the_rate_nearest_to_the_top():
  best = tune(tried(lambda lane, updates: valley(lane, updates, best=0.3)))
  assert best.learning_rate == 0.4
  assert {lane.plan['learning_rate'] for lane in best.lanes} == {0.4}


def test_some_trials_alone_keep_window_and_weights():
  best = tune(tried())
  some = best.of_trials([2, 0])
  assert some.weights == best.weights and some.best_rate == best.best_rate
  assert [lane.plan['trial'] for lane in some.lanes] == [2, 0]
  assert all([x.plan['trial'] for x in part.lanes] == [2, 0] for part in some.window)
  values = budgets.at_end(some).values['val_accuracy']
  assert values == pytest.approx(budgets.at_end(best).values['val_accuracy'][[2, 0]])


def test_at_equal_updates_the_window_is_read_and_at_equal_sums_of_rates_one_rate():
  best = tune(tried())
  middle = best.lanes[0].plan['updates'] / 2
  read = budgets.read(best, 'updates', middle)
  assert read.lanes['val_accuracy'].shape == (3, 3)
  assert read.values['val_accuracy'] == pytest.approx([0.45, 0.451, 0.452])
  alone = budgets.read(best, 'learning_rate_updates', middle * best.learning_rate)
  assert alone.lanes['val_accuracy'].shape == (1, 3)
  assert alone.values['updates'] == pytest.approx([middle] * 3)
  assert alone.weights.tolist() == [1.0]


def test_the_winners_curse_is_small_where_all_rates_are_alike():
  # Six equally good rates, four trials, a standard deviation of 2 points: the top of a parabola is
  # too good by less than the best of the means is (1.27 standard errors, 1.27 points).
  rng = np.random.default_rng(1)
  top, best = [], []
  for _ in draws(200):
    noise = rng.normal(0, 0.02, (6, 4))
    rates = [0.1 * 2**place for place in range(6)]

    def curve(lane, updates, noise=noise, rates=rates):
      return {'val_accuracy': 0.8 + noise[rates.index(lane['learning_rate']), lane['trial']]}

    study = tried(curve, rates=rates, trials=4, evaluations=1)
    top.append(budgets.at_end(tune(study)).values['val_accuracy'].mean() - 0.8)
    best.append(noise.mean(axis=1).max())
  assert 0.004 < np.mean(top) < 0.9 * np.mean(best)


def one_reading(values, low, high, between=None):
  """A reading of one quantity."""
  column, low, high = (np.array(part, dtype=np.float64) for part in (values, low, high))
  parts = {'q': column}, {'q': low}, {'q': high}
  return Reading((0, 1), *parts, between, {'q': column[None]})


def test_bounds_between_records_are_those_of_all_corners_also_with_negative_weights():
  rng = np.random.default_rng(0)
  weights = [1.4, -0.6, 0.2]
  ends = np.sort(rng.normal(size=(3, 2, 2)), axis=2)  # reading, trial, (low, high)
  values = ends.mean(axis=2)
  parts = [
    one_reading(v, e[:, 0], e[:, 1], between)
    for v, e, between in zip(values, ends, [(3.0, 4.0), None, (2.0, 3.5)], strict=True)
  ]
  found = combined(parts, Weights(weights))
  corners = np.array(
    [
      [
        np.dot(weights, [ends[i, trial, side] for i, side in enumerate(sides)])
        for trial in range(2)
      ]
      for sides in itertools.product((0, 1), repeat=3)
    ]
  )
  assert found.values['q'] == pytest.approx(np.dot(weights, values))
  assert found.low['q'] == pytest.approx(corners.min(axis=0))
  assert found.high['q'] == pytest.approx(corners.max(axis=0))
  assert found.between == (2.0, 4.0)
  assert found.lanes['q'] == pytest.approx(values)
  assert found.weights == pytest.approx(weights)


def test_readings_on_records_lie_between_none_and_one_alone_is_itself():
  parts = [one_reading([1, 2], [1, 2], [1, 2]), one_reading([3, 4], [3, 4], [3, 4])]
  assert combined(parts, Weights([0.5, 0.5])).between is None
  assert combined(parts[:1], Weights([1.0])) is parts[0]


def test_one_that_cannot_be_read_spoils_the_sum():
  broken = Reading(problem=Reason('diverged'))
  assert combined([one_reading([1, 2], [1, 2], [1, 2]), broken], Weights([0.5, 0.5])) == broken
