"""Axes, marks, the map of rates and conditions at their edges: limits, ticks, what is cut off."""

import numpy as np
import pytest
from helpers import synthetic
from helpers.panels import BITS, dots, panel, study, ticks
from matplotlib.figure import Figure

from bsjax.analysis.claims.conditions import Held
from bsjax.analysis.runs import histories
from bsjax.config.metrics import Judged, judging
from bsjax.report.figures import comparisons
from bsjax.report.figures.drawing import lines_of, svg
from bsjax.report.panels import (
  conditions,
  marks,
  noise,
  results,
  style,
)
from bsjax.report.panels.conditions import Conditions
from bsjax.report.panels.source import Source


@pytest.fixture(scope='module')
def known():
  return study()


@pytest.mark.parametrize(
  ('values', 'ends', 'low', 'high'),
  [
    ((2.0, 8.0), (), 2.0, 8.0),
    ((2.0, 8.0, None, 0.0, -1.0), (), 2.0, 8.0),
    ((2.0, 8.0), (2 / 30, 240.0), 2 / 30, 240.0),
    ((2.0, 8.0), (2 / 30.1, 240.1, None), 2.0, 8.0),
    ((2.0, 8.0), (0.0, 1.0), 1.0, 8.0),
  ],
)
def test_limits_lie_around_values_and_ends_that_are_not_too_far(values, ends, low, high):
  assert style.limits(values, ends) == pytest.approx((low / 1.6, high * 1.6))
  assert style.limits([None, 0.0], [1.0]) is None


def test_ticks_of_a_logarithmic_axis():
  axes = panel()
  style.log_axis(axes.yaxis, 'name', (1.0, 299.0))
  assert axes.get_yscale() == 'log' and axes.get_ylim() == (1.0, 299.0)
  assert axes.get_ylabel() == 'name' and axes.get_xscale() == 'linear'
  assert {2.0, 5.0, 10.0, 20.0} <= set(axes.yaxis.get_major_locator().tick_values(1, 299))
  assert ticks(axes.yaxis, 0.0001, 0.00005, 20.0) == ['0.0001', '5e-05', '20']
  style.log_axis(axes.yaxis, 'name', (1.0, 301.0))
  assert 2.0 not in axes.yaxis.get_major_locator().tick_values(1, 301)
  style.log_axis(axes.xaxis, 'name', (1.0, 1001.0))
  assert ticks(axes.xaxis, 2000.0) == ['2k']
  style.log_axis(axes.xaxis, 'name', (1.0, 1000.0))
  assert ticks(axes.xaxis, 2000.0) == ['2000']


def test_axes_of_the_metric():
  axes = panel()
  axes.set_ylim(0.5, 1.2)
  style.accuracy_axis(axes)
  assert axes.get_ylim() == (0.5, 1.005) and ticks(axes.yaxis, 0.975) == ['97.5%']
  axes.set_ylim(0.5, 0.9)
  style.accuracy_axis(axes)
  assert axes.get_ylim() == (0.5, 0.9)
  style.points_axis(axes)
  assert ticks(axes.yaxis, 0.0123) == ['1.23'] and axes.get_ylabel() == 'percentage points'
  style.difference_axis(axes.xaxis)
  assert ticks(axes.xaxis, 0.01, -0.01, 0) == ['+1', '-1', '0']
  style.difference_axis(axes.xaxis, sign='')
  assert ticks(axes.xaxis, 0.01, -0.01, 0) == ['1', '-1', '0']
  style.batch_size_axis(axes, (8, 32), 'title')
  assert axes.get_xlim() == pytest.approx((8 / 2**0.5, 32 * 2**0.5))
  assert [text.get_text() for text in axes.get_xticklabels()] == ['8', '32']
  with judging(BITS):
    axes = panel()
    axes.set_ylim(0.5, 7.0)
    style.accuracy_axis(axes)
    assert axes.get_ylim() == (0.5, 7.0) and axes.get_ylabel() == 'b'
    style.difference_axis(axes.xaxis)
    assert ticks(axes.xaxis, 0.01) == ['+0.01']
    assert style.short('long', 'other') == 'long'
    longer = Judged(BITS.metric._replace(title='bits per x'), BITS.loss, 0.02)
  with judging(longer):
    assert style.short('long', 'other') == 'other'


def test_the_later_part_has_room_and_a_top():
  axes = panel()
  style.later_part(axes, [0.5, 0.9], 0.25)
  assert axes.get_ylim() == pytest.approx((0.4, 1.0))
  style.later_part(axes, [0.5, 0.9], 0.25, 0.95)
  assert axes.get_ylim() == pytest.approx((0.4, 0.95))
  style.later_part(axes, [0.5, 0.5], 0.25)
  assert axes.get_ylim() == pytest.approx((0.49, 0.51))
  style.later_part(axes, [], 0.25)
  assert axes.get_ylim() == pytest.approx((0.49, 0.51))


def test_an_interval_is_cut_at_the_frame_and_none_stands_outside():
  axes = panel()
  axes.set_ylim(1, 100)
  marks.interval(axes, 8, (0.5, 200.0), 'k')
  assert list(axes.lines[0].get_ydata()) == [1, 100]
  marks.interval(axes, 8, (200.0, 300.0), 'k')
  marks.interval(axes, 8, (0.1, 0.5), 'k')
  assert len(axes.lines) == 1
  marks.estimate(axes, 8, None, (2.0, 3.0), 'k')
  assert not dots(axes, 'x')
  marks.estimate(axes, 8, None, (None, None), 'k')
  assert dots(axes, 'x') == [(8.0, 0.04)]
  with pytest.raises(ValueError, match="side is 'up': give one of above, below"):
    marks.arrow(axes, 8, 'k', 'up')


def test_a_curve_ends_in_its_last_interval():
  along = histories.Curve([1, 2], [0.5, 0.6], [0.4, 0.55], [0.6, 0.7])
  marks.curve(axes := panel(), along, 'k', '--', 3)
  line, bar = axes.lines
  assert line.get_linestyle() == '--' and list(line.get_ydata()) == [0.5, 0.6]
  assert bar.get_xydata().tolist() == [[3, 0.55], [3, 0.7]]
  marks.curve(axes := panel(), along, 'k')
  assert len(axes.lines) == 1


def test_colours_go_with_the_batch_size(known):
  rows = [{'batch_size': size, 'learning_rate': None} for size in (32, 8, 16)]
  source = Source({'batch_sizes': rows})
  assert source.sizes == [8, 16, 32] and not source.any_result
  light = [sum(int(source.colours[size][i : i + 2], 16) for i in (1, 3, 5)) for size in (8, 16, 32)]
  assert light == sorted(light) and light[0] < light[2]
  assert known.any_result and known.learning_rates == [0.1, 0.2]


def test_the_map_of_rates_shades_names_and_frames(known):
  means = [0.5, 0.8, 0.9, 0.95, 0.96]
  assert results._shade_floor(means) == pytest.approx(0.96 - 2 * 0.06)
  assert results._shade_floor([0.9, 0.95, 0.96]) == pytest.approx(0.94)
  assert results._shade_floor([0.955, 0.9, 0.96]) == pytest.approx(0.95)
  assert results._shade_floor([0.95, 0.951]) == pytest.approx(0.95)
  assert results._shade_floor([]) == 0.0
  assert results.map_size(known) == (4.6, pytest.approx(2.6))
  source = study(lambda lane: (lane['batch_size'], lane['trial']) == (8, 1), rates=(0.1, 0.2, 0.4))
  results.draw_learning_rates(axes := panel(), source)
  texts = {tuple(text.get_position()): text for text in axes.texts}
  assert [texts[0.5, at + 0.5].get_text() for at in range(3)] == ['diverged'] * 3
  assert texts[0.5, 0.5].get_color() == style.MUTED
  found = {
    setting.learning_rate: float(np.mean(setting.finals('val_accuracy')))
    for setting in source.settings[16]
  }
  assert [texts[1.5, at + 0.5].get_text() for at in range(3)] == [
    f'{100 * found[rate]:.1f}' for rate in (0.1, 0.2, 0.4)
  ]
  best = max(found, key=found.get)
  dark = texts[1.5, source.learning_rates.index(best) + 0.5]
  assert dark.get_color() == style.PAPER
  frames = [patch for patch in axes.patches if not patch.get_fill()]
  (row,) = [row for row in source.summary['batch_sizes'] if row['learning_rate'] is not None]
  (frame,) = frames
  place = source.learning_rates.index(row['learning_rate'])
  assert frame.get_xy() == pytest.approx((1.03, place + 0.05))
  assert frame.get_linestyle() == ('--' if row['at_grid_edge'] else '-')
  assert [label.get_text() for label in axes.get_yticklabels()] == ['0.1', '0.2', '0.4']


def contrast(first, second, effect, size='pooled', verdict='undetermined', **changes):
  row = {'first': first, 'second': second, 'batch_size': size, 'quantity': 'val_accuracy'}
  row |= {'effect': effect, 'ci95': [None if effect is None else effect - 0.01, None]}
  row['ci95'][1] = None if effect is None else effect + 0.01
  row |= {'clock': 'examples', 'verdict': verdict, 'equivalent': None, 'reestimated': None}
  return row | changes


def forest(contrasts, clock='examples', names='abc'):
  source = Conditions({'names': list(names), 'contrasts': contrasts})
  conditions.draw_forest(axes := panel(), source, clock)
  return axes


def test_a_forest_shows_verdicts_margins_and_what_is_re_estimated():
  alike = {'margin': 0.005}
  again = {'effect': -0.02, 'ci95': [-0.03, -0.01]}
  rows = [
    contrast('a', 'b', 0.01, verdict='supported', equivalent=alike, reestimated=again),
    contrast('a', 'b', 0.2, size=8, verdict='refuted', ci95=[-9.0, 9.0]),
    contrast('a', 'c' * 35, None),
  ]
  axes = forest(rows)
  big, small = [line for line in axes.lines if line.get_marker() == 'o']
  assert (big.get_color(), big.get_markersize()) == (conditions.VERDICTS['supported'], 8)
  assert (small.get_color(), small.get_markersize()) == (conditions.VERDICTS['refuted'], 5)
  assert dots(axes, 'D') == [(-0.02, 0.27)] and dots(axes) == [(0.01, 0.0), (0.2, 1.0)]
  assert [text.get_text() for text in axes.get_yticklabels()] == [
    'b − a', 'batch size 8', f'{"c" * 33}… − a',
  ]  # fmt: skip
  (text,) = axes.texts
  assert text.get_text() == ' not compared' and text.get_position() == (0, 2)
  (margin,) = axes.patches
  assert (margin.get_x(), margin.get_width()) == pytest.approx((-0.005, 0.01))
  # Around effects, pooled intervals and margins; a wide one of a single size is cut off.
  room = 0.12 * (0.2 + 0.005)
  assert axes.get_xlim() == pytest.approx((-0.005 - room, 0.2 + room))
  later = [*rows, contrast('a', 'b', 0.1, clock='updates')]
  assert not any(text.get_text() for text in forest(later, 'updates').get_yticklabels())
  assert conditions._cut('c' * 34) == 'c' * 34
  assert conditions._bounds([], []) == (-0.01, 0.01)


def test_of_many_pairs_single_batch_sizes_are_not_drawn():
  def lines(pairs):
    rows = [contrast('a', f'b{i}', 0.1) for i in range(pairs)]
    rows += [contrast('a', f'b{i}', 0.1, size=8) for i in range(pairs)]
    return len(Conditions({'contrasts': rows}).contrasts('examples'))

  assert lines(8) == 16 and lines(9) == 9


def test_conditions_beyond_the_colours_are_dashed():
  found = conditions.looks([str(i) for i in range(25)])
  assert found['0'] == (conditions.COLOURS[0], '-') and found['7'][1] == '-'
  assert found['8'] == (conditions.COLOURS[0], '--') and found['16'][1] == ':'
  assert found['24'] == found['0']
  source = Conditions({'names': ['x' * 16, 'y']})
  legend = conditions.legend(source)
  assert legend['ncols'] == 5 and [line.get_label() for line in legend['handles']] == [
    'x' * 16,
    'y',
  ]


def test_curves_of_all_conditions_lie_inside_the_panel():
  plan = synthetic.plan((8,), (0.1,), 3)
  rows = synthetic.realistic(plan, evaluations=8)

  def held(less):
    lower = [row | {'val_accuracy': row['val_accuracy'] - less} for row in rows]
    return Held({}, {8: histories.settings(plan, lower)[8][0]}, {})

  for apart in ((0.0, 0.3), (0.3, 0.0)):  # whichever comes last
    source = Conditions({'names': ['a', 'b']}, dict(zip('ab', map(held, apart), strict=True)))
    conditions.draw_condition_curves(axes := panel(), source, 8)
    least, most = axes.get_ylim()
    ends = [line.get_ydata()[-1] for line in axes.lines if len(line.get_ydata()) > 4]
    assert len(ends) == 2 and least < min(ends) < max(ends) < most


def test_of_many_batch_sizes_some_get_a_panel():
  def held(sizes):
    chosen = {size: histories.Setting(size, 0.1, ()) for size in sizes}
    return Held({}, chosen, {})

  def sizes(*many):
    return comparisons.panel_sizes(Conditions({}, {str(i): held(m) for i, m in enumerate(many)}))

  assert sizes((16, 8), (8, 32)) == [8, 16, 32]
  assert sizes(range(1, 6)) == [1, 2, 3, 4, 5] and sizes(range(1, 7)) == [1, 2, 3, 4, 5, 6]
  assert sizes(range(1, 12)) == [1, 3, 5, 7, 9, 11]
  first, second, third = noise.draw_late, noise.draw_training, noise.draw_layers
  assert lines_of([first, second, third], 2) == [[first, second], [third]]


def test_a_figure_may_shrink_in_a_page_and_not_grow():
  text = svg(Figure((4, 3)), 'name')
  assert text.startswith('<svg style="max-width:400px"')
  assert 'xmlns' not in text and not text.partition('>')[0].count('pt"')
