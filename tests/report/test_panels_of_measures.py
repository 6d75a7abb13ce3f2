"""Panels of costs, sharpness, noise, targets, stages, rules and audits at their edges."""

import math

import numpy as np
import pytest
from helpers.panels import dots, panel, study
from matplotlib.figure import Figure

from bsjax.report.panels import (
  across_arms,
  audit,
  clocks,
  critical,
  learning_rate,
  native_cost,
  noise,
  scaled_runs,
  sharpness,
  stages,
  style,
)
from bsjax.report.panels.source import Source


@pytest.fixture(scope='module')
def known():
  return study()


def costs(*rows, memory=None):
  return Source({}, native_cost={'rows': list(rows), 'device_memory_gib': memory})


def alone(size, rate, total=2**30, fits=True, stage='', suggestion=None):
  rates = rate and {'median': rate, 'low': rate / 2, 'high': 2 * rate}
  row = {'batch_size': size, 'stage': stage, 'examples_per_second': rates, 'fits': fits}
  return row | {'memory_bytes': total and {'total': total}, 'suggestion': suggestion}


def test_costs_alone_are_hollow_where_they_were_gathered():
  gathered = {'examples_per_second': {'median': 300.0, 'low': 200.0, 'high': 400.0}}
  rows = (
    alone(32, None, 3 * 2**30, False, suggestion=gathered),
    alone(8, 100.0),
    alone(64, None, None),
  )
  native_cost.draw_throughput(axes := panel(), costs(*rows))
  points = [line for line in axes.lines if line.get_marker() == 'o']
  assert dots(axes) == [(8.0, 100.0), (32.0, 300.0)]
  assert [line.get_markerfacecolor() for line in points] == [style.VALIDATION, style.PAPER]
  bars = [line.get_ydata() for line in axes.lines if line.get_marker() == 'None'][1:]
  assert [list(ends) for ends in bars] == [[50.0, 200.0], [200.0, 400.0]]
  assert axes.get_legend() is None
  native_cost.draw_memory(axes := panel(), costs(*rows, memory=2.0))
  points = [line for line in axes.lines if line.get_marker() == 'o']
  assert [line.get_markerfacecolor() for line in points] == [style.VALIDATION, style.PAPER]
  assert dots(axes) == [(8.0, 1024.0), (32.0, 3072.0)]
  assert [text.get_text() for text in axes.texts] == ['there are 2 GiB']
  assert 2048.0 in [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == '--']
  native_cost.draw_memory(axes := panel(), costs(*rows, memory=1e4))
  assert not axes.texts
  native_cost.draw_throughput(axes := panel(), costs(rows[2]))
  assert axes.texts[0].get_text() == 'No batch size was run.'
  native_cost.draw_memory(axes := panel(), costs(rows[2], memory=2.0))
  assert axes.texts[0].get_text() == 'No step could be compiled.'
  staged = [alone(size, 100.0, stage=stage) for size in (8, 16) for stage in ('head', 'tail')]
  native_cost.draw_throughput(axes := panel(), costs(*staged))
  assert [text.get_text() for text in axes.get_legend().get_texts()] == ['head', 'tail']


def test_of_each_lane_the_last_sharpness_is_drawn():
  row = {'lane': 3, 'examples': 20, 'learning_rate_now': 0.1, 'learning_rate': 0.2}
  rows = [row, row | {'examples': 10}, row | {'lane': 1}]
  assert sharpness.latest({'rows': rows}) == [rows[2], rows[0]]
  assert sharpness._rate_key([row]) == 'learning_rate_now'
  assert sharpness._rate_key([row, row | {'learning_rate_now': 0.0}]) == 'learning_rate'


def test_sharpness_that_has_not_converged_is_hollow(known):
  def lane(size, value, converged, threshold=2.0):
    row = {'batch_size': size, 'learning_rate_now': 0.1, 'learning_rate': 0.1, 'sam': 0.5}
    row |= {'lambda_max': value, 'trace': value, 'stability_threshold': threshold}
    row |= {'train_accuracy': 0.9, 'val_accuracy': 0.8}
    return row | {'eigenvalues': [{'converged': converged}]}

  rows = [lane(8, 4.0, True), lane(16, 2.0, False), lane(16, -1.0, True), lane(8, None, True)]
  source = Source(known.summary, sharpness=rows)
  sharpness.draw_lambda_max(axes := panel(), source)
  points = [line for line in axes.lines if line.get_marker() == 'o']
  assert dots(axes) == [pytest.approx((0.088, 4.0)), pytest.approx((0.1 / 0.88, 2.0))]
  assert [line.get_markerfacecolor() for line in points] == [source.colours[8], style.PAPER]
  labels = [text.get_text() for text in axes.get_legend().get_texts()]
  assert labels == ['stability: 2 / learning rate', 'not converged: too low']
  sharpness.draw_trace(axes := panel(), source)
  assert style.PAPER not in [line.get_markerfacecolor() for line in axes.lines]
  mixed = [rows[0], lane(16, 2.0, True, 3.0)]
  sharpness.draw_lambda_max(axes := panel(), Source(known.summary, sharpness=mixed))
  assert axes.get_legend() is None
  unknown = [
    rows[0],
    rows[1] | {'sam': 0.0},
    rows[1] | {'sam': None},
    rows[1] | {'val_accuracy': None},
  ]
  sharpness.draw_sam(axes := panel(), Source(known.summary, sharpness=unknown))
  assert dots(axes) == [(0.5, pytest.approx(0.1))]


@pytest.mark.parametrize(
  ('ends', 'drawn'),
  [
    ([None, None], (math.nan, math.nan)),
    ([0.0, None], (math.nan, math.nan)),
    ([0.0, 9.0], (0.0, 9.0)),
    ([4.0, None], (4.0, math.inf)),
    ([4.0, 9.0], (4.0, 9.0)),
  ],
)
def test_bands_of_the_noise_scale_are_none_where_nothing_is_bounded(ends, drawn):
  value, *found = noise._ends({'value': 5.0, 'ci95': ends})
  assert value == 5.0
  np.testing.assert_equal(tuple(found), drawn)


@pytest.mark.parametrize(
  ('rates', 'name'),
  [
    ({'undefined': 'x'}, None),
    ({'b_learning_rate': None, 'ci95': [None, None]}, None),
    ({'b_learning_rate': None, 'ci95': [0.0, 5.0]}, 'from the best learning rates'),
    ({'b_learning_rate': 3.0, 'ci95': [None, None]}, 'from the best learning rates'),
  ],
)
def test_bands_of_other_measurements_are_those_that_are_known(rates, name):
  summary = {'critical_batch_size': {'b_crit': None}, 'learning_rates': {'noise_scale': rates}}
  assert [band[0] for band in noise._bands(summary)] == ([name] if name else [])
  summary['critical_batch_size'] = {'b_crit': 7.0, 'ci95': [5.0, None]}
  bands = noise._bands(summary)
  assert bands[0] == ('critical batch size', 7.0, [5.0, None], noise.CRITICAL)
  axes = panel()
  axes.set_ylim(1.0, 20.0)
  noise._draw_band(axes, *bands[0][1:])
  (span,) = axes.patches
  assert (span.get_y(), span.get_y() + span.get_height()) == (5.0, 20.0)
  assert axes.lines[0].get_ydata()[0] == 7.0
  noise._draw_band(axes, None, [0.5, 30.0], 'k')
  assert axes.patches[1].get_y() == 1.0 and len(axes.lines) == 1


def test_the_middle_batch_size_is_shown_along_training():
  rows = [{'batch_size': size} for size in (8, 16, 32, 64)]
  assert noise.middle({'noise_scales': rows})['batch_size'] == 32
  assert noise.middle({'noise_scales': rows[:3]})['batch_size'] == 16
  assert noise.middle({'noise_scales': []}) is None


def test_limits_of_targets_suit_those_of_both_losses():
  def entry(*rows):
    return {'targets': [{'b_crit': value, 'ci95': ends} for value, ends in rows]}

  one, other = entry((10.0, [5.0, None])), entry((100.0, [90.0, 200.0]))
  other['targets'].append({'undefined': 'x'})
  assert critical._bounds([one, other]) == pytest.approx((5 / 1.6, 320.0))
  assert critical._bounds([entry((None, [4.0, None]))]) == pytest.approx((2.5, 6.4))
  assert critical._bounds([{'targets': []}]) is None


def test_the_target_of_the_page_is_in_orange():
  rows = [{'target': 0.5, 'b_crit': 10.0, 'ci95': [5.0, 20.0]}, {'target': 0.25, 'undefined': 'x'},
          {'target': 0.125, 'b_crit': 30.0, 'ci95': [5.0, 40.0]}]  # fmt: skip
  entry = {'target': 0.125, 'targets': rows}
  nothing = {'targets': [], 'undefined': 'too few'}
  source = Source({'critical_batch_size': entry | {'validation': nothing}})
  critical.draw_targets(axes := panel(), source, 'training')
  points = [line for line in axes.lines if line.get_marker() == 'o']
  assert [line.get_color() for line in points] == [style.INK, style.BEST]
  assert dots(axes) == [(0.0, 10.0), (2.0, 30.0)] and [x for x, _ in dots(axes, 'x')] == [1.0]
  assert axes.get_xlim() == (-0.5, 2.5)
  critical.draw_targets(axes := panel(), source, 'validation')
  assert axes.texts[0].get_text() == 'Undefined: too few.'


def test_a_curve_has_no_zero_on_a_logarithmic_clock(known):
  for clock, first in (('epochs', 0.0), ('updates', None)):
    clocks.draw_curves(axes := panel(), known, clock, 'val_accuracy')
    begins = axes.lines[0].get_xdata()[0]
    assert begins == first if first is not None else begins > 0
    assert axes.get_xscale() == ('linear' if clock == 'epochs' else 'log')


def test_a_valley_is_of_trials_that_ended(known):
  source = study(lambda lane: (lane['batch_size'], lane['learning_rate']) == (16, 0.2))
  learning_rate.draw_valleys(axes := panel(), source, 'val_error')
  means = {
    (size, setting.learning_rate): 1 - np.mean(setting.finals('val_accuracy'))
    for size, tried in source.settings.items()
    for setting in tried
    if not setting.problem
  }
  assert (
    sorted(dots(axes))
    == [
      pytest.approx((rate, mean))
      for (_, rate), mean in sorted(means.items(), key=lambda x: x[0][1])
    ]
    or len(means) == 3
  )
  assert dots(axes, 'x') == [(0.2, pytest.approx(0.95))] and not dots(axes, '|')


def test_narrow_stages_have_upright_names():
  rows = [
    {'name': 'head', 'start_epoch': 0.0, 'epoch': 1.0},
    {'name': 'tail', 'start_epoch': 1.0, 'epoch': 10.0},
  ]
  stages._mark_stages(axes := panel(), rows)
  assert [line.get_xdata()[0] for line in axes.lines] == [1.0]
  head, tail = axes.texts
  assert (head.get_position()[0], head.get_rotation()) == (0.5, 90)
  assert (tail.get_position()[0], tail.get_rotation()) == (5.5, 0)


def test_what_cannot_be_read_at_an_epoch_is_crossed_out():
  rows = [{'batch_size': 8, 'undefined': 'it is so'}, {'batch_size': 16}]
  stages._why_empty(axes := panel(), {'batch_sizes': rows})
  assert [x for x, _ in dots(axes, 'x')] == [8.0] and not axes.texts
  for at, why in (({'batch_sizes': rows[:1]}, 'it is so'), ({}, 'nothing was read'),
                  ({'undefined': 'too early'}, 'too early')):  # fmt: skip
    stages._why_empty(axes := panel(), at)
    assert axes.texts[0].get_text() == f'Undefined: {why}.'


def way(size, mean, ends, **changes):
  about = {'batch_size': size, 'way': 'sqrt', 'val_accuracy': {'mean': mean, 'ci95': ends}}
  return about | changes


def test_differences_of_scaling_rules_are_cut_where_they_would_press_the_means():
  rows = [way(8, 0.01, [-0.5, 0.02]), way(8, -0.02, [None, None]), way(32, 0.0, [-0.01, 0.01])]
  assert scaled_runs._heights(rows) == [0.0, 1.0, 2.6]
  # At most five times the largest mean or two margins.
  low, high = scaled_runs._reach(rows, 0.005)
  assert (low, high) == pytest.approx((-0.1 - 0.04 * 0.12, 0.02 + 0.04 * 0.12))
  scaled_runs._line(axes := panel(), rows[0], 3.0, 'k', (-0.1, 0.1))
  assert axes.lines[0].get_xydata().tolist() == [[-0.1, 3.0], [0.02, 3.0]]
  assert dots(axes, '<') == [(-0.1, 3.0)] and not dots(axes, '>')
  assert dots(axes, 's') == [(0.01, 3.0)]
  again = way(8, None, [None, None], reestimated_val_accuracy={'mean': 0.1, 'ci95': [0.0, 0.9]})
  scaled_runs._line(axes := panel(), again, 3.0, 'k', (-0.1, 0.5))
  assert dots(axes, 's') == [(0.1, 3.25)] and dots(axes, '>') == [(0.5, 3.25)]
  assert not dots(axes, '<')


def test_losses_side_by_side_have_one_axis():
  first, second, empty = Figure((4, 3)).subplots(1, 3)
  first.plot([1, 2], [0.5, 0.0])
  second.plot([1, 2], [4.0, math.nan])
  scaled_runs.common_height([first, second, empty])
  assert first.get_ylim() == second.get_ylim() == pytest.approx((0.5 / 1.1, 4.4))
  assert (first.get_ylabel(), second.get_ylabel()) == ('training loss', '')
  assert empty.get_yscale() == 'linear'


def test_rules_over_arms_stand_beside_each_other():
  rows = [
    {'arm': arm, 'batch_size': 16, 'rule': rule, 'distance': {'mean': value},
     'val_accuracy': {'mean': -value}}
    for arm, rule, value in (('a', 'sqrt', 0.2), ('a', 'linear', 0.3), ('b', 'sqrt', None))
    if value is not None
  ]  # fmt: skip
  rows.append({'arm': 'b', 'batch_size': 16, 'rule': 'sqrt', 'distance': None,
               'val_accuracy': {'mean': None}})  # fmt: skip
  means = [
    {'batch_size': 16, 'rule': 'linear', 'n': 2, 'mean': 0.1, 'ci95': [0.0, 0.2]},
    {'batch_size': 16, 'rule': 'sqrt', 'n': 1, 'mean': 0.5, 'ci95': [None, None]},
  ]
  across = {'rules': ['none', 'sqrt', 'linear'], 'arms': ['a', 'b'], 'rows': rows}
  across |= {'accuracies': means}
  across_arms.draw_arms(axes := panel(), across, 16, 'distance')
  assert dots(axes) == [(1.0, 0.2), (2.0, 0.3)] and axes.get_yscale() == 'log'
  assert axes.get_xlim() == (-0.4, 2.5)
  across_arms.draw_arms(axes := panel(), across, 16, 'val_accuracy')
  assert dots(axes) == [(1.0, -0.2), (2.0, -0.3), (2.12, 0.1)]
  assert [text.get_text() for text in axes.get_xticklabels()] == ['kept', 'square root', 'linear']


def test_curves_of_others_are_cropped_to_the_better_half():
  def cropped(values, loss_only=False):
    source = audit.AuditSource({'read': {'loss_only': loss_only}}, ())
    axes = panel()
    axes.set_ylim(0, 1)
    audit._crop(axes, values, source)
    return axes.get_ylim()

  assert cropped([0.1, 0.8, 0.9]) == pytest.approx((0.6 - 0.018, 0.9 + 0.018))
  assert cropped([0.85, 0.8, 0.9]) == pytest.approx((0.8 - 0.009, 0.9 + 0.009))
  assert cropped([1.0, 2.0, 9.0], True) == pytest.approx((1.0 - 0.18, 4.0 + 0.18))
  assert cropped([0.5, 0.5]) == pytest.approx((0.5 - 0.0006, 0.5 + 0.0006))
  assert cropped([0.5, math.nan]) == (0, 1)
  assert audit._short('x' * 26) == 'x' * 26 and audit._short('x' * 27) == 'x' * 25 + '…'
