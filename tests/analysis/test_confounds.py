"""What else differs between the runs compared, from readings and settings worked out by hand."""

import numpy as np
import pytest
from helpers import synthetic

from bsjax.analysis.claims import causes, confounds
from bsjax.analysis.claims.causes import UNKNOWN
from bsjax.analysis.claims.claim import Claim, Family, Kind, worse
from bsjax.analysis.runs.histories import LaneHistory, Setting
from bsjax.analysis.runs.reading import of_columns
from bsjax.analysis.runs.selection import Tuned
from bsjax.config.metrics import Judged, MetricEntry, judging
from bsjax.stats.estimate import Estimate, Reason

RATE = 0.1


def tuned(size, rates=(RATE,), at=RATE, updates=(64,)):
  """A batch size and its settings, all with these final updates in their trials."""
  settings = []
  for rate in rates:
    lanes = []
    for trial, count in enumerate(updates):
      plan = synthetic.plan((size,), (rate,), 1)[0] | {'trial': trial}
      lanes.append(LaneHistory(plan, (synthetic.record(plan, 1.0, updates=count),)))
    settings.append(Setting(size, rate, tuple(lanes)))
  nearest = next(one for one in settings if one.learning_rate == at)
  weights = {'window': (nearest,), 'weights': (1.0,), 'best_rate': at}
  return settings, Tuned(size, at, nearest.lanes, **weights)


def test_the_smallest_makes_as_many_times_the_updates_as_its_longest_run_over_the_shortest():
  chosen = {8: tuned(8, updates=(300, 400))[1], 32: tuned(32, updates=(100, 80))[1]}
  (reason,) = confounds.updates(chosen, (8, 32))
  assert reason == Reason('more_updates', small=8, large=32, times=5.0)
  # Where they are read counts, if that is said.
  read = {
    8: of_columns((0, 1), {'updates': [40, 60]}),
    32: of_columns((0, 1), {'updates': [30, 20]}),
  }
  assert confounds.updates(chosen, (8, 32), read)[0].details['times'] == 3.0
  assert confounds.updates(chosen, (8,)) == []
  none = {32: of_columns((0, 1), {'updates': [0, 20]})}
  assert confounds.updates(chosen, (8, 32), none) == []


@pytest.mark.parametrize('apart, other', [(0.04, False), (0.06, True)])
def test_shares_of_the_peak_rate_are_of_one_place_where_a_twentieth_is_between_them(apart, other):
  chosen = {size: tuned(size)[1] for size in (8, 32)}
  read = {
    size: of_columns((0,), {'learning_rate': [RATE * share], 'epoch': [epoch]})
    for size, share, epoch in ((8, 0.5 + apart, 2.0), (32, 0.5, 8.0))
  }
  where = confounds.schedule(chosen, read, (8, 16, 32))
  assert where[0].details['shares'] == pytest.approx([0.5 + apart, 0.5])
  assert where[0].details['epochs'] == [2.0, 8.0]
  assert confounds.other_place(where) is other
  assert confounds.places(where) == ([Reason('other_place_of_schedule')] if other else [])


def test_schedules_that_go_on_by_as_much_in_either_direction_are_cut_short_alike():
  """One has its rate halved yet to come, the other has it risen by as much."""
  settings = [tuned(8)[1], tuned(8)[1]]
  for setting, end in zip(settings, (0.2, 0.8), strict=True):
    setting.lanes[0].rows[0]['learning_rate'] = RATE * end
  read = [of_columns((0,), {'learning_rate': [0.5 * RATE]})] * 2
  assert confounds.cut_short(('a', 'b'), settings, read) == []
  settings[1].lanes[0].rows[0]['learning_rate'] = RATE * 0.56
  (reason,) = confounds.cut_short(('a', 'b'), settings, read)
  assert reason.details['shares'] == pytest.approx([0.5, 0.5])
  assert reason.details['ends'] == pytest.approx([0.2, 0.56])


def test_a_single_rate_has_no_edge_and_the_lowest_and_highest_of_several_are_one():
  rates = (0.05, 0.1, 0.2)
  edges = [confounds.at_edge(*tuned(8, rates, at)) for at in rates]
  assert edges == [True, False, True]
  assert confounds.at_edge(*tuned(8)) is False


LOSS = Judged(MetricEntry('rmse', 'error', 'errors', False, lowest=0), margin=0.1)


@pytest.mark.parametrize(
  'value, higher, lower', [(0.2, 'second', 'first'), (-0.2, 'first', 'second')]
)
def test_what_is_beside_its_best_rates_speaks_of_the_worse_side(value, higher, lower):
  sides = {name: [Reason('best_rates_unsafe', size=name)] for name in ('first', 'second')}
  difference = Estimate(value, value - 0.1, value + 0.1, 3)
  assert confounds.of_worse(difference, *sides.values()) == sides[higher]
  with judging(LOSS):
    assert confounds.of_worse(difference, *sides.values()) == sides[lower]


# What explains an effect.


def trend(verdict, sizes=(8, 32)):
  asked = worse()
  about = Estimate(0.01, 0.005, 0.015, 3)
  family = {'family': Family.HEADLINE}
  return Claim(Kind.TREND, sizes, 'val_accuracy', 'epochs', asked, about, verdict, **family)


def reading(value, updates, again=None, spread=0.001):
  luck = spread * np.array([1.0, -1.0, 0.5, -0.5])
  columns = {'val_accuracy': value + luck, 'updates': np.full(4, updates), 'epoch': np.ones(4)}
  columns |= {'learning_rate': np.full(4, RATE)}
  if again is not None:
    columns |= {'reestimated_val_accuracy': again + np.roll(luck, 1)}
  return of_columns(range(4), columns)


def found(at_epochs, at_updates, verdict, config=None):
  """Code -> confound of batch sizes 8 and 32 that are read at these accuracies."""
  both = dict.fromkeys(('learning_rate_updates', 'epochs'), at_epochs) | {'updates': at_updates}
  pairs = {size: tuned(size, (0.05, 0.1, 0.2)[: 3 if size == 8 else 2]) for size in (8, 32)}
  tried, chosen = ({size: pair[i] for size, pair in pairs.items()} for i in (0, 1))
  config = config or synthetic.config()
  rows = causes.causes(config, tried, chosen, both, [trend(verdict)])
  return {row.code: row for row in rows}


@pytest.mark.parametrize('sign, verdict', [(1, 'supported'), (-1, 'refuted')])
@pytest.mark.parametrize('left, explains', [(0.001, True), (0.008, False), (0.0055, UNKNOWN)])
def test_a_trend_in_either_direction_is_explained_where_less_than_half_of_it_is_left(
  sign, verdict, left, explains
):
  """Of 1.2 points half are 0.6, and what is left is known to 0.09."""
  other = reading(0.9, 16, spread=-3e-4)
  at_epochs = {8: reading(0.9 + sign * 0.012, 64, spread=3e-4), 32: other}
  at_updates = {8: reading(0.9 + sign * left, 16, spread=3e-4), 32: other}
  row = found(at_epochs, at_updates, verdict)['unequal_updates']
  assert (row.present, row.explains) == (True, explains)
  details = row.evidence[1].details
  # The change from the smallest batch size to the largest, two doublings.
  assert details['whole'] == pytest.approx(-sign * 0.012)
  assert details['value'] == pytest.approx(-sign * left)


def test_the_margin_counts_as_nothing_left_of_a_small_effect():
  """0.4 of 0.6 points are more than half of them, but less than the margin of 0.5."""
  at_epochs = {8: reading(0.906, 64), 32: reading(0.9, 16)}
  left = {8: reading(0.904, 16, spread=0.0011), 32: reading(0.9, 16)}
  assert found(at_epochs, left, 'supported')['unequal_updates'].explains is True


def test_what_is_read_of_a_subset_at_equal_updates_is_said():
  at_epochs = {8: reading(0.912, 64), 32: reading(0.9, 16)}
  on_subset = {size: one._replace(subset=(100, 50)) for size, one in at_epochs.items()}
  row = found(at_epochs, on_subset, 'supported')['unequal_updates']
  assert row.evidence[-1] == Reason('on_subset', train=100, val=50)


def test_how_many_rates_were_tried_is_the_fewest_and_the_most_of_all_batch_sizes():
  at_epochs = {8: reading(0.912, 64), 32: reading(0.9, 16)}
  row = found(at_epochs, at_epochs, 'supported')['learning_rate_not_tuned']
  assert row.evidence == (Reason('rates_tried', fewest=2, most=3),)


def test_time_scales_that_differ_by_a_factor_of_one_and_a_half_are_not_alike():
  def scale(*sizes):
    pairs = {size: tuned(size, (0.05, 0.1, 0.2)) for size in sizes}
    tried, chosen = ({size: pair[i] for size, pair in pairs.items()} for i in (0, 1))
    read = {budget: {size: reading(0.9, 16) for size in sizes} for budget in ('epochs', 'updates')}
    rows = causes.causes(synthetic.config(), tried, chosen, read, [])
    return next(row.present for row in rows if row.code == 'momentum_time_scale')

  assert scale(8, 12) is True and scale(9, 13) is False


def test_half_lives_that_a_rule_keeps_in_examples_make_one_time_scale():
  config = synthetic.config()
  config['optimizer'] = {'name': 'adamw', 'b1': 0.9, 'b2': 0.99, 'weight_decay': 0.01}
  config['scaling'] |= {'base_batch_size': 8, 'hyperparameters': 'half_life'}
  read = {8: reading(0.912, 64), 32: reading(0.9, 16)}
  row = found(read, read, 'supported', config)['b2_time_scale']
  assert row.present is False
  # A half-life of 68.97 updates of 8 examples, as the time in which e times less is left.
  assert row.evidence[0].details['scales'] == pytest.approx([-8 / np.log(0.99)] * 2)


@pytest.mark.parametrize(
  'spread, present, explains', [(1e-4, False, False), (0.02, UNKNOWN, UNKNOWN)]
)
def test_a_lag_that_may_be_there_may_explain(spread, present, explains):
  """Running statistics are as good as fresh ones on average, for certain or with much noise."""
  config = synthetic.config('batch')
  rows = {8: reading(0.912, 64, 0.912, spread), 32: reading(0.9, 16, 0.9, spread=-spread / 2)}
  row = found(rows, rows, 'supported', config)['stale_batch_norm']
  assert (row.present, row.explains) == (present, explains)


def test_a_weight_decay_that_a_rule_changes_with_the_batch_size_makes_one_time_scale():
  config = synthetic.config()
  config['optimizer'] = {'name': 'adamw', 'b1': 0.9, 'b2': 0.99, 'weight_decay': 0.01}
  read = {8: reading(0.912, 64), 32: reading(0.9, 16)}
  for rule, present in (('keep', True), ('decay_time', False)):
    config['scaling'] |= {'base_batch_size': 8, 'hyperparameters': rule}
    row = found(read, read, 'supported', config)['weight_decay_time_scale']
    assert row.present is present
    assert row.evidence[0].details['scales'][0] == pytest.approx(8 / (RATE * 0.01))
