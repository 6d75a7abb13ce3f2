"""Figures: the numbers drawn are those of the summary, and unusual studies can be drawn."""

import copy
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from helpers import synthetic, training_times
from helpers.panels import dots, panel

from bsjax.analysis.measures.critical_batch_size import critical_batch_size
from bsjax.analysis.runs import histories
from bsjax.report.figures.drawing import Drawing, draw, svg
from bsjax.report.figures.study import OVERVIEW, STUDY
from bsjax.report.panels import (
  clocks,
  critical,
  learning_rate,
  marks,
  noise,
  results,
  sharpness,
  style,
)
from bsjax.report.panels.source import Source
from bsjax.report.summaries import summarize
from bsjax.report.text.rendered import rendered

SIZES = (8, 16, 32)


def study(sizes=SIZES, rates=(0.05, 0.1, 0.2), trials=3, normalization='group', **options):
  """What the figures of a made-up study are drawn from."""
  plan = synthetic.plan(sizes, rates, trials)
  rows = synthetic.realistic(plan, **options)
  if normalization == 'batch':
    for row in rows:
      keys = 'val_accuracy', 'train_accuracy', 'val_loss', 'train_loss'
      row |= {f'reestimated_{key}': row[key] for key in keys}
  summary = summarize(synthetic.config(normalization), plan, rows)
  return Source(summary, histories.settings(plan, rows))


@pytest.fixture(scope='module')
def known():
  return study()


@pytest.mark.parametrize(
  'options',
  [
    {'trials': 1},
    {'sizes': (32,)},
    {'rates': (0.1,)},
    {'normalization': 'batch'},
    {'diverges': lambda lane: lane['batch_size'] == 8},
    {'diverges': lambda lane: True},
  ],
)
def test_every_figure_can_be_drawn_of_unusual_studies(options):
  source = study(**options)
  for drawing in (*STUDY, OVERVIEW):
    if drawing.applies(source):
      assert draw(drawing, source).axes


def shown(drawing, source):
  """(title, label below, numbers of bars and dots) of each panel, in reading order."""
  axes = draw(drawing, source).axes
  return [(each.get_title(loc='left'), each.get_xlabel(), each) for each in axes]


def of_name(name):
  (drawing,) = [drawing for drawing in STUDY if drawing.name == name]
  return drawing


TITLES = {
  'accuracy': ['Accuracy at the best learning rates'],
  'gap': ['Generalization gap: training minus validation accuracy'],
  'learning_rates': ['Validation accuracy (%) of every setting'],
  'optimum': [
    'Best learning rate by training loss',
    'Best learning rate by validation error',
    'Training loss at the end',
    'Validation error at the end',
  ],
  'critical_batch_size': ['What it takes', 'Training loss', 'Validation loss'],
  'noise_scale': ['Noise scale, late in training', 'Along training, batch size 16'],
  'noise_by_part': ['From the batches, along training'],
  'equal_clocks': [
    f'{quantity}, equal {clock}'
    for quantity in ('Accuracy', 'Gap')
    for clock in ('epochs', 'updates', 'weighted updates')
  ],
  'curves': [
    name
    for name in ('Validation accuracy', 'Training loss', 'Generalization gap')
    for _ in range(3)
  ],
}


def test_panels_of_a_figure_stand_in_the_order_of_its_caption(known):
  assert [drawing.name for drawing in STUDY] == [*TITLES, 'sharpness']
  for name, titles in TITLES.items():
    panels = shown(of_name(name), known)
    for (title, _, _), begins in zip(panels, titles, strict=True):
      assert title.startswith(begins), name
  below = [label.removesuffix(' (logarithmic)') for _, label, _ in shown(of_name('curves'), known)]
  assert [label for label in below if label] == ['epochs', 'updates'] * 3


def test_panels_show_the_quantity_that_they_are_named_after(known):
  rows = {row['batch_size']: row for row in known.summary['batch_sizes']}

  def means(axes, colour):
    lines = [line for line in axes.lines if line.get_marker() == 'o' and line.get_color() == colour]
    return [float(y) for line in lines for y in line.get_ydata()]

  ((*_, accuracy),), ((*_, gap),) = (shown(of_name(name), known) for name in ('accuracy', 'gap'))
  for axes, colour, key in (
    (accuracy, style.VALIDATION, 'val_accuracy'),
    (accuracy, style.TRAINING, 'train_accuracy'),
    (gap, style.INK, 'generalization_gap'),
  ):
    assert means(axes, colour) == [rows[size][key]['mean'] for size in SIZES]
  chosen = known.summary['generalization_gap']['chosen']
  asked = [(clock, key) for key in ('val_accuracy', 'gap') for clock in clocks.CLOCKS]
  for (clock, key), (*_, axes) in zip(asked, shown(of_name('equal_clocks'), known), strict=True):
    read = [row[key]['mean'] for row in chosen[clock]['batch_sizes'] if key in row]
    assert means(axes, style.VALIDATION) == read
  asked = [(clock, key) for key in clocks.quantities() for clock in clocks.CLOCKS]
  for (clock, key), (*_, axes) in zip(asked, shown(of_name('curves'), known), strict=True):
    for size, along in known.curves[clock][key].items():
      drawn = [
        line.get_ydata()[-1]
        for line in axes.lines
        if line.get_color() == known.colours[size] and len(line.get_ydata())
      ]
      assert not along.x or drawn[0] == along.mean[-1]


def test_the_targets_of_either_loss_stand_below_their_panel(known):
  runs = training_times.settings(np.random.default_rng(1), b_crit=20.0, sizes=SIZES)
  train = critical_batch_size(runs, 'train_loss')
  validation = critical_batch_size(runs, 'train_loss', targets=[0.4, 0.2])
  both = rendered({**train, 'validation': validation})
  source = replace(known, summary={**known.summary, 'critical_batch_size': both})
  drawn = shown(of_name('critical_batch_size'), source)[1:]
  for entry, (*_, axes) in zip((both, both['validation']), drawn, strict=True):
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == [f'{row["target"]:.2g}' for row in entry['targets']]
    assert len(labels) == (2 if entry is both['validation'] else 5)


def test_a_mean_stands_at_its_batch_size_between_the_ends_of_its_interval():
  rows = [
    {'batch_size': 8, 'gap': {'mean': 0.2, 'ci95': [0.1, 0.4], 'n': 3}},
    {'batch_size': 16, 'gap': {'mean': 0.3, 'ci95': [None, None], 'n': 1}},
    {'batch_size': 32, 'gap': {'mean': None, 'ci95': [None, None], 'n': 0}},
    {'batch_size': 64, 'undefined': 'made up'},
  ]
  axes = panel()
  assert marks.estimates(axes, rows, 'gap', 'k', shift=2, label='its label')
  assert dots(axes) == [(16.0, 0.2), (32.0, 0.3)]
  joined, marked, bar = axes.lines
  assert joined.get_xydata().tolist() == marked.get_xydata().tolist()
  assert bar.get_xydata().tolist() == [[16.0, 0.1], [16.0, 0.4]]
  axes = panel()
  assert not marks.estimates(axes, rows[2:], 'gap', 'k')
  assert not axes.lines
  marks.bar(axes, 5, (1.0, 3.0), 'k', lying=True)
  assert axes.lines[0].get_xydata().tolist() == [[1.0, 5.0], [3.0, 5.0]]


def test_faint_dots_are_the_trials_behind_the_mean(known):
  axes = panel()
  results.draw_gap(axes, known)
  for row in known.summary['batch_sizes']:
    trials = [y for x, y in dots(axes, '.') if x == row['batch_size']]
    assert len(trials) == 3
    assert np.mean(trials) == pytest.approx(row['generalization_gap']['mean'], abs=1e-12)


def test_an_interval_without_a_bound_ends_in_an_arrow_and_a_bound_in_none():
  axes = panel()
  axes.set_yscale('log')
  axes.set_ylim(1, 100)
  marks.interval(axes, 8, (2.0, None), 'k')
  assert dots(axes, '^') == [(8.0, 1.0)] and not dots(axes, 'v')
  assert list(axes.lines[0].get_ydata()) == [2.0, 100.0]
  axes = panel()
  axes.set_ylim(1, 100)
  marks.interval(axes, 8, (0.0, 1e4), 'k')
  assert dots(axes, 'v') == [(8.0, 0.0)] and not dots(axes, '^')
  axes = panel()
  axes.set_ylim(1, 100)
  marks.interval(axes, 8, (None, None), 'k')
  assert not axes.lines


def test_learning_rates_can_be_rendered_where_every_run_diverged():
  (optimum,) = [drawing for drawing in STUDY if drawing.name == 'optimum']
  draw(optimum, study(diverges=lambda lane: True)).draw_without_rendering()


def test_optima_are_drawn_by_state():
  ends = {'n': 3, 'interval_over': 'trials', 'interpolation_error': None, 'reason': 'made up'}
  found = {
    'merit': 'train_loss',
    'exponent': {'undefined': 'made up'},
    'rules': [],
    'optimum': [
      ends
      | {'batch_size': 8, 'state': 'at_grid_edge', 'learning_rate': None}
      | {'ci95': [None, None], 'bound': {'above': 0.1}},
      ends
      | {'batch_size': 16, 'state': 'next_to_divergence', 'learning_rate': 0.1}
      | {'ci95': [0.05, 0.2], 'bound': None},
      ends
      | {'batch_size': 32, 'state': 'undetermined', 'learning_rate': None}
      | {'ci95': [None, None], 'bound': None},
    ],
  }
  axes = panel()
  learning_rate.draw_optimum(axes, study(), found)
  assert [x for x, _ in dots(axes, '^')] == [8.0] and [x for x, _ in dots(axes, 'x')] == [32.0]
  (mark,) = [line for line in axes.lines if line.get_marker() == 'o']
  assert mark.get_xydata().tolist() == [[16.0, 0.1]] and mark.get_markerfacecolor() == style.PAPER


def test_rules_that_do_not_apply_are_dashed():
  curve = {'batch_size': [8, 32], 'learning_rate': [0.1, 0.2], 'low': None, 'high': None}
  rule = {'rms_log_misfit': 0.1, 'curve': curve}
  rules = [rule | {'rule': 'linear', 'applies': True}, rule | {'rule': 'surge', 'applies': False}]
  axes = panel()
  learning_rate._draw_rules(axes, {'rules': rules, 'exponent': {'undefined': 'made up'}})
  assert [line.get_linestyle() for line in axes.lines] == ['-', '--']


def hyperbola(fewest=1000.0, shortest=50.0, sizes=(5, 20, 80)):
  """An entry of a critical batch size whose points lie on the curve; B_crit is 20."""
  points = []
  for size in sizes:
    examples = [fewest * (1 + size * shortest / fewest)] * 2
    points.append({'batch_size': size, 'examples': examples, 'bounds': [None, None]})
    points[-1]['status'] = ['reached', 'reached']
  entry = {'quantity': 'train_loss', 'target': 0.1, 'b_crit': fewest / shortest, 'points': points}
  entry |= {'ci95': [10.0, 40.0], 'examples_min': fewest, 'updates_min': shortest}
  return entry | {'unbounded': False, 'n': 2}


def source_with(critical_entry):
  sizes = [point['batch_size'] for point in critical_entry['points']]
  rows = [{'batch_size': size} for size in sizes]
  return Source({'batch_sizes': rows, 'critical_batch_size': critical_entry})


def test_the_hyperbola_passes_through_its_points_and_is_marked_at_b_crit():
  axes = panel()
  critical.draw_hyperbola(axes, source_with(hyperbola()))
  means = dots(axes)
  assert means == [pytest.approx((50 * (1 + 20 / b), 1000 * (1 + b / 20))) for b in (5, 20, 80)]
  (curve,) = [line for line in axes.lines if line.get_label() == 'fitted hyperbola']
  updates, examples = curve.get_data()
  np.testing.assert_allclose((updates / 50 - 1) * (examples / 1000 - 1), 1, rtol=1e-9)
  assert dots(axes, '*') == [(100.0, 2000.0)]


def test_a_run_that_never_arrives_is_an_arrow_and_takes_the_mean_away():
  entry = hyperbola()
  entry['points'][2] |= {'examples': [5000.0, None], 'bounds': [None, 9000.0]}
  entry['points'][2]['status'] = ['reached', 'never']
  axes = panel()
  critical.draw_hyperbola(axes, source_with(entry))
  hollow = [line for line in axes.lines if line.get_markerfacecolor() == style.PAPER]
  assert [line.get_xydata().tolist() for line in hollow] == [[[9000 / 80, 9000.0]]]
  assert len(dots(axes)) == 2 + 1 and len(axes.texts) == 1
  assert axes.texts[0].get_position() == (17, 17)  # of the tip: more updates, more examples


def test_noise_scales_stand_where_the_summary_has_them(known):
  summary = copy.deepcopy(known.summary)
  summary['noise_scales'] = [
    {'batch_size': 8, 'late': {'exact': {'value': 30.0, 'ci95': [20.0, None], 'n': 3}}},
    {'batch_size': 16, 'late': {'exact': {'value': None, 'ci95': [None, None], 'n': 3}}},
  ]
  axes = panel()
  noise.draw_late(axes, Source(summary))
  assert [pair for pair in dots(axes, 's') if not math.isnan(pair[1])] == [(8.0, 30.0)]
  assert dots(axes, '^') == [(8.0, 1.0)] and [x for x, _ in dots(axes, 'x')] == [16.0]


def test_layers_are_ratios_of_means_over_trials():
  def lane(trace, grad_sq):
    probe = {'layers': {'Dense_0': {'trace': trace, 'grad_sq': grad_sq}}}
    return histories.LaneHistory({'trial': 0}, ({'exact': {'plain': probe}},))

  setting = histories.Setting(8, 0.1, (lane(3.0, 0.1), lane(1.0, 0.3)))
  assert noise.layers(setting) == {'Dense_0': pytest.approx(10.0)}
  assert noise.layers(histories.Setting(8, 0.1, (lane(3.0, 0.1), lane(1.0, -0.3)))) == {
    'Dense_0': None
  }
  assert noise.layers(histories.Setting(8, 0.1, (lane(3.0, None),))) == {'Dense_0': None}
  assert (
    noise.layers(histories.Setting(8, 0.1, (histories.LaneHistory({}, ({'examples': 0},)),))) == {}
  )


def test_equal_clocks_show_the_gap_of_the_summary_and_cross_out_the_rest(known):
  axes = panel()
  clocks.draw_clock(axes, known, 'updates', 'gap')
  rows = known.summary['generalization_gap']['chosen']['updates']['batch_sizes']
  means = [row['gap']['mean'] for row in rows if 'gap' in row]
  assert [y for _, y in dots(axes)] == means and means
  assert len(dots(axes, 'x')) == len(rows) - len(means)
  clocks.draw_clock(axes := panel(), known, 'learning_rate_updates', 'gap')
  assert not axes.lines and 'no learning_rate_sum' in axes.texts[0].get_text().replace('\n', ' ')


def test_the_stability_threshold_is_drawn_for_the_rate_that_it_belongs_to(known):
  row = {'lane': 0, 'batch_size': 8, 'learning_rate': 0.1, 'learning_rate_now': 0.05, 'examples': 9}
  row |= {'lambda_max': 40.0, 'eigenvalues': [{'converged': True}], 'stability_threshold': 2.0}
  sharpness.draw_lambda_max(axes := panel(), Source(known.summary, sharpness=[row]))
  (line,) = [line for line in axes.lines if line.get_linestyle() == '--']
  rates, thresholds = line.get_data()
  np.testing.assert_allclose(rates * thresholds, 2.0)
  still = [row | {'learning_rate_now': 0.0}]
  sharpness.draw_lambda_max(axes := panel(), Source(known.summary, sharpness=still))
  assert not [line for line in axes.lines if line.get_linestyle() == '--']


def test_names_are_drawn_as_they_stand_and_not_as_formulas():
  def panel(axes, source):
    axes.plot([1, 2, 3], [1, 10, 1e5], label='a$b^ </text>')
    axes.set(title='$a^$', yscale='log')
    axes.set_xticks([1, 2], ['$x_', '$y_1$'])
    axes.legend()

  text = svg(draw(Drawing('odd', lambda source: [[panel]], (4, 3)), None), 'odd')
  for name in ('a$b^ &lt;/text&gt;', '$a^$', '$x_', '$y_1$'):
    assert f'>{name}</text>' in text
  assert 'mathdefault' not in re.sub('<!--.*?-->', '', text)
