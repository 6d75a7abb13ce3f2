"""Values, curves and best rates of settings at their edges: what is not finite, lost or tied."""

import math
from dataclasses import replace

import numpy as np
import pytest
from helpers import curves, synthetic

from bsjax.analysis.measures import gap
from bsjax.analysis.runs import budgets, dropped
from bsjax.analysis.runs.histories import LaneHistory, Setting, settings
from bsjax.analysis.runs.reading import Weights, combined, of_columns
from bsjax.analysis.runs.selection import SelectionKind, tune
from bsjax.config.metrics import Judged, MetricEntry, judging
from bsjax.stats.estimate import Reason

RATES = (0.05, 0.1, 0.2, 0.4, 0.8)


def rows_of(*trials, rate=0.1):
  """A setting of which each trial has records (examples, validation loss, diverged)."""
  plan = synthetic.plan((8,), (rate,), len(trials), examples=400, epochs=4.0)
  rows = [
    synthetic.record(lane, seen / 400, val_loss=loss, diverged=diverged)
    for lane, records in zip(plan, trials, strict=True)
    for seen, loss, diverged in records
  ]
  return settings(plan, rows)[8][0]


def sound(*losses, start=0):
  return [(100 * (start + i), loss, False) for i, loss in enumerate(losses)]


def test_a_curve_is_drawn_from_where_the_last_trial_begins_to_where_the_first_ends():
  both = rows_of(sound(4.0, 3.0, 2.0, 1.0, 0.5), sound(2.0, 1.0, 1.0, start=1))
  drawn = gap.curve(both, 'examples', 'val_loss')
  assert (drawn.x, drawn.mean) == ([100, 200, 300], [2.5, 1.5, 1.0])
  # Numbers of a run that has diverged are none, nor those after one that is missing.
  lost = rows_of(sound(4.0, 3.0, 2.0), [(0, 2.0, False), (100, 1.0, True), (200, 1.0, False)])
  assert gap.curve(lost, 'examples', 'val_loss').x == [0]
  gone = rows_of(sound(4.0, 3.0, 2.0), sound(2.0, None, 1.0))
  assert gap.curve(gone, 'examples', 'val_loss').x == [0]
  never = rows_of(sound(4.0, 3.0, 2.0), sound(None, 1.0))
  assert gap.curve(never, 'examples', 'val_loss') == ((), (), (), ())


def test_a_mean_needs_a_value_of_every_trial():
  nothing = {'mean': None, 'ci95': [None, None], 'n': 0}
  for values in ([], [0.5, math.nan], [0.5, None], [math.inf, 0.5]):
    assert gap.estimate(values) == nothing
  assert gap.estimate([0.5, 0.5])['n'] == 2


def test_batch_sizes_stand_in_order_whatever_has_no_learning_rate():
  tried = curves.study((8, 16, 64), (0.1,), 2, lambda lane, _: {})
  chosen = {size: tune(tried[size]) for size in (64, 16)}
  found = gap.at_clock(chosen, 'epochs', {8: Reason('no_learning_rate')})
  assert [row['batch_size'] for row in found['batch_sizes']] == [8, 16, 64]
  assert 'subset' not in found


def test_what_is_read_on_a_subset_says_so_though_another_batch_size_cannot_be_read():
  def part(size):
    plan = synthetic.plan((size,), (0.1,), 2, examples=512)
    counts = {'train_examples': 100, 'val_examples': 50}
    rows = [synthetic.record(lane, share, **counts) for lane in plan for share in (0.0, 0.5, 1.0)]
    rows += [synthetic.record(lane, share) for lane in plan for share in (0.0, 1.0)]
    return settings(plan, rows)[size][0].on_subset()

  broken = part(8)
  broken.lanes[0].rows[2]['updates'] = None
  found = gap.at_clock({8: broken, 16: part(16)}, 'updates', value=32)
  assert 'undefined' in found['batch_sizes'][0] and found['subset'] == [100, 50]


# The best rate.


def valley(best=0.2, curvature=0.022, shift=(0.0, 0.0, 0.0)):
  """Accuracies of which each trial is best a bit further up."""

  def height(lane):
    off = math.log(lane['learning_rate'] / best) - shift[lane['trial']]
    return 0.9 - curvature * off**2

  return height


def tuned(height, rates=RATES, **values):
  def curve(lane, updates):
    found = height(lane)
    row = {'val_accuracy': found, 'train_accuracy': found}
    return row | {key: value(lane) for key, value in values.items()}

  return tune(curves.study((64,), rates, 3, curve, 1)[64])


SHIFT = (0.1, -0.05, 0.01)


def test_trials_move_the_best_rate_by_where_their_own_is():
  found = tuned(valley(shift=SHIFT)).shifts
  assert list(found.values()) == pytest.approx(np.array(SHIFT) - np.mean(SHIFT), abs=1e-6)
  rmse = MetricEntry('rmse', 'error', 'errors', False, lowest=0)
  height = valley(shift=SHIFT)
  with judging(Judged(rmse, margin=0.005)):
    turned = tuned(
      height,
      val_rmse=lambda lane: 1 - height(lane),
      train_rmse=lambda lane: 0.1,
    )
  assert turned.shifts == pytest.approx(found)


def test_some_trials_alone_move_it_about_their_own_mean():
  steep = tuned(valley(best=0.25, shift=SHIFT), train_loss=lambda lane: lane['learning_rate'])
  moved = budgets.at_end(steep.of_trials((2, 0))).moved['train_loss']
  # The loss goes as the rate, and the rates of both are 0.045 to either side of their mean.
  assert moved == pytest.approx(0.25 * np.array([-0.045, 0.045]), rel=0.05)


def test_a_rate_without_a_number_at_its_end_is_unsafe():
  def gone(lane):
    return lane['trial'] == 1 and math.isclose(lane['learning_rate'], 0.4)

  height = valley()
  lost = tuned(lambda lane: height(lane), train_accuracy=lambda lane: None if gone(lane) else 0.9)
  assert lost.unsafe == (0.4,) and 0.4 not in [part.learning_rate for part in lost.window]


def test_an_unsafe_rate_far_from_the_top_leaves_it_between_the_rates():
  def bad(lane):
    return lane['trial'] == 1 and math.isclose(lane['learning_rate'], 0.8)

  found = tuned(valley(best=0.25), diverged=bad)
  assert found.unsafe == (0.8,) and found.learning_rate == 0.2
  assert found.best_rate == pytest.approx(0.25)


def test_of_two_rates_tried_one_that_is_left_is_not_the_only_one():
  found = tuned(valley(), (0.1, 0.2), diverged=lambda lane: lane['learning_rate'] == 0.1)
  assert (found.selection, found.learning_rate) == (SelectionKind.BEST_RATE, 0.2)
  assert tuned(valley(), (0.2,)).selection == SelectionKind.ONE_RATE


def test_of_equal_metrics_a_rate_without_a_loss_is_not_the_better_one():
  def lost(lane):
    return None if lane['learning_rate'] == 0.1 and lane['trial'] == 2 else 5.0

  assert tuned(lambda lane: 0.5, (0.1, 0.2), val_loss=lost).learning_rate == 0.2


# Rates that were dropped.


def lanes_of(rate, end='whole'):
  """A setting whose second trial ends so."""
  whole, half = sound(2.0, 1.5, 1.0, 0.8, 0.5), sound(2.0, 1.5, 1.0)
  found = rows_of(whole if end == 'whole' else half, whole if end == 'whole' else half, rate=rate)
  last = found.lanes[1].rows[-1]
  last |= {'dropped': True} if end.startswith('dropped') else {}
  last |= {'diverged': True} if end.endswith('diverged') else {}
  return found


@pytest.mark.parametrize(
  'below, above, beside',
  [
    (('whole',), ('dropped',), (0.4,)),
    (('whole',), ('dropped', 'dropped'), (0.4,)),
    (('whole',), ('dropped', 'whole'), ()),  # what lies beyond ended, and worse
    (('whole',), ('dropped', 'dropped', 'whole'), ()),
    (('whole',), ('whole', 'dropped'), ()),
    (('dropped',), ('dropped',), (0.1, 0.4)),
    (('whole',), ('dropped diverged',), ()),  # there a limit is known
    (('whole',), ('dropped', 'dropped diverged'), (0.4,)),
  ],
)
def test_a_dropped_rate_beside_the_best_may_be_better_where_none_beyond_it_ended(
  below, above, beside
):
  grid = [lanes_of(0.1 / 2 ** (len(below) - 1 - i), end) for i, end in enumerate(below)]
  grid += [lanes_of(0.2)]
  grid += [lanes_of(0.4 * 2**i, end) for i, end in enumerate(above)]
  assert dropped.beside(grid, 0.2) == pytest.approx(beside)


# Readings of several rates.


def test_a_loss_that_may_lie_on_its_bound_between_records_is_no_log():
  parts = [of_columns([0], {'val_loss': [value]}) for value in (0.2, 0.1)]
  parts[1] = parts[1]._replace(low={'val_loss': np.array([0.0])})
  found = combined(parts, Weights((1.5, -0.5)))
  assert found.values['val_loss'] == pytest.approx([0.25])
  assert found.low['val_loss'] == pytest.approx([0.25])
  assert found.high['val_loss'] == pytest.approx([0.3])


def test_what_several_rates_are_read_on_is_said_of_them_together():
  parts = [
    of_columns([0], {'val_loss': [value]})._replace(subset=(100, 50)) for value in (0.2, 0.1)
  ]
  assert combined(parts, Weights((0.5, 0.5))).subset == (100, 50)


def test_a_setting_of_several_rates_is_read_at_the_end_of_each_of_them():
  both = [rows_of(sound(2.0, value), rate=rate) for rate, value in ((0.1, 1.0), (0.2, 0.25))]
  ended = [
    Setting(
      8,
      one.learning_rate,
      tuple(LaneHistory(x.plan | {'examples': 100}, x.rows) for x in one.lanes),
    )
    for one in both
  ]
  best = replace(tuned(valley()), window=tuple(ended), weights=(0.5, 0.5), lanes=ended[0].lanes)
  best = replace(best, slope=(0.0, 0.0), shifts={})
  assert budgets.at_end(best).values['val_loss'] == pytest.approx([0.5])  # of logs the mean
