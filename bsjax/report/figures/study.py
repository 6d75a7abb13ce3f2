"""The figures of a study, in the order of its page."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from matplotlib.axes import Axes

from bsjax.config.metrics import judged
from bsjax.report.figures.drawing import Drawing, Panel, batch_sizes
from bsjax.report.panels import (
  by_class,
  clocks,
  critical,
  learning_rate,
  native_cost,
  noise,
  results,
  sharpness,
)
from bsjax.report.panels.source import Source


def _optimum(source: Source) -> list[list[Panel]]:
  training = learning_rate.by_training(source.summary)
  both = training, training['validation']
  return [
    [partial(learning_rate.draw_optimum, entry=entry) for entry in both],
    [partial(learning_rate.draw_valleys, merit=entry['merit']) for entry in both],
  ]


def _by_part(source: Source) -> list[list[Panel]]:
  measured = any(map(noise.layers, source.chosen.values()))
  return [[noise.draw_noise_curves, *[noise.draw_layers] * measured]]


def _clocks(draw: Panel, quantities: Iterable[str]) -> list[list[Panel]]:
  return [
    [partial(draw, clock=clock, quantity=quantity) for clock in clocks.CLOCKS]
    for quantity in quantities
  ]


STUDY = (
  Drawing(
    '{metric.name}',
    lambda _: [[results.draw_accuracy]],
    size=(5.6, 3.7),
    wide=False,
    caption="""Final validation and training {{ metric.title }} against batch size, as in the table
    of results: mean, 95% Student interval and the single trials as faint dots; {{ over }}.
    Differences are judged within trials: do not read them off the overlap. {{ setup }}""",
  ),
  Drawing(
    'gap',
    lambda _: [[results.draw_gap]],
    size=(5.6, 3.7),
    wide=False,
    caption="""{{ judged.gap_title[0] | upper }}{{ judged.gap_title[1:] }} against batch size,
    paired within the trial: mean, 95% Student interval and the single trials; {{ over }}.
    {{ setup }}""",
  ),
  Drawing(
    'learning_rates',
    lambda _: [[results.draw_learning_rates]],
    size=results.map_size,
    caption="""Mean final validation {{ metric.title }} of every learning rate and batch size;
    {{ 'n = %d trials a cell' % trials if trials > 1 else 'one trial a cell' }}, no intervals.
    Framed: the best of each batch size over all trials, dashed where it lies at the edge of the
    grid. Settings far {{ judged.worse_side }} the best share the
    lightest shade. A setting with a diverged trial
    cannot be chosen. {{ setup }}""",
  ),
  Drawing(
    'optimum',
    _optimum,
    size=(11, 9),
    legend=batch_sizes,
    caption="""Above: the learning rate of lowest final training loss (left) and {{ cost_noun }}
    (right), between the points of the grid (grey ticks), with its 95% interval, {{ over }}; arrows
    have no bound on that side, a bar that ends at the frame goes on. Curves are published rules
    with one factor fitted, those that do not (or may not) apply dashed, their bands those of the
    interval of the noise scale{% if words.of_rules %} ({{ words.of_rules }}){% endif %}.
    {% for rate in words.rates if rate.undetermined %}By {{ rate.merit }} not found between the
    points: {{ rate.undetermined | join('; ') }}. {% endfor %}Below: means over trials, no
    intervals; a cross at the top is a learning rate with a trial that diverged
    {{- ', an upright stroke one that was dropped' if summary.dropped is defined }}. {{ setup }}""",
  ),
  Drawing(
    'critical_batch_size',
    lambda _: [
      [
        critical.draw_hyperbola,
        partial(critical.draw_targets, loss='training'),
        partial(critical.draw_targets, loss='validation'),
      ]
    ],
    size=(11, 4.4),
    subplots={'width_ratios': (1.7, 1, 1)},
    legend=batch_sizes,
    caption="""Left: updates and examples at the learning rate that reaches the target soonest, one
    for all trials: the geometric mean of the trials, which are faint; hollow are runs that never
    reached it, or did before their first evaluation, with an arrow to where they may lie; a batch
    size with such a run has no mean. The orange stretch holds the interval of the critical batch
    size, dotted lines are the fewest updates and examples. Right: the critical batch size with its
    95% interval at every target, that of the left panel in orange; arrows have no bound, crosses no
    value. {{ over }}. {{ setup }}""",
  ),
  Drawing(
    'noise_scale',
    lambda _: [[noise.draw_late, noise.draw_training]],
    size=(11, 4.6),
    legend=noise.legend,
    caption="""{% set open = rows | selectattr('noise_scale.unbounded')
    | map(attribute='batch_size') | join(', ') %}
    {%- set undefined = rows | selectattr('noise_scale.b_simple', 'none') | list %}
    Noise scales in examples, at the learning rate shown in the table. Left: means over the last
    half of training, as far as evaluations divide it, with the 95% interval over trials
    (Student's of the reciprocal), {{ over }}{% if open %}; an arrow marks an interval without an
    upper bound ({{ words.noise_kind }}: batch size {{ open }}){% endif %}{% if undefined %}; no
    estimate {{ words.noise_kind }} for
    {%- for row in undefined %} batch size {{ row.batch_size }} ({{ row.noise_scale.reason }})
    {{- ',' if not loop.last }}{% endfor %}{% endif %}. Bands cover the 95% intervals of the
    critical batch size and of what the best learning rates show, where there are any. Right:
    {% if words.middle %}the same kinds at batch size {{ words.middle }}{% else %}nothing
    {%- endif %}, trials pooled, those from the batches of whole epochs, bands the interval of the
    measurement and not of trials, none where nothing is bounded; a missing point had a mean that is
    not above zero. {{ setup }}""",
  ),
  Drawing(
    'noise_by_part',
    _by_part,
    size=(11, 4.2),
    legend=batch_sizes,
    caption="""The noise scale from the batches of each stretch between evaluations, of whole
    epochs, trials pooled, no intervals; a missing point had a mean |G|² that is not above zero, or
    no measurement. Where single examples were measured, beside it each layer's noise scale at the
    last evaluation: a ratio of means over trials, no intervals; a cross at the right: not above
    zero. {{ setup }}""",
  ),
  Drawing(
    'equal_clocks',
    lambda _: _clocks(clocks.draw_clock, (judged().val, 'gap')),
    size=(11.4, 6.6),
    legend=clocks.series_legend,
    caption="""Validation {{ metric.title }} and generalization gap where all batch sizes have made
    as many epochs{% if words.meeting.epochs is not none %} ({{ words.meeting.epochs | number }})
    {%- endif %}, updates{% if words.meeting.updates is not none %}
    ({{ words.meeting.updates | number }}){% endif %}, or updates weighted by their learning rate
    {%- if words.meeting.learning_rate_updates is not none %} (sum
    {{ words.meeting.learning_rate_updates | number }}){% endif %}: means with 95% Student
    intervals, {{ over }}, straight lines between evaluations.
    {% if 'learning_rate' in words.common_rate %}One learning rate for all:
    {{ '%.4g' % words.common_rate.learning_rate }}.{% else %}No learning rate for all:
    {{ words.common_rate.undefined }}.{% endif %}{% for clock, lines in words.not_at_clock.items()
    if lines %} Crosses, at equal {{ clock }}: {{ lines | join('; ') }}.{% endfor %}
    {{ setup }}""",
  ),
  Drawing(
    'curves',
    lambda _: _clocks(clocks.draw_curves, clocks.quantities()),
    size=(11.4, 9.4),
    legend=batch_sizes,
    caption="""Validation {{ metric.title }}, training loss and generalization gap at each batch
    size's learning rate, against epochs, updates and updates weighted by learning rate:
    {{ 'mean over n = %d trials with the 95%% interval at the end' % trials if trials > 1
    else 'one trial' }}{{ '; dashed with BatchNorm statistics re-estimated' if reestimated }}. The
    steep start, and intervals that go far off the means, are cut off. {{ setup }}""",
  ),
  Drawing(
    'sharpness',
    lambda _: [[sharpness.draw_lambda_max, sharpness.draw_trace, sharpness.draw_sam]],
    size=(11.4, 4.2),
    legend=batch_sizes,
    applies=lambda source: bool(source.sharpness),
    caption="""Sharpness of single lanes at their last measured checkpoint, in evaluation mode on
    {{ sharpness[0].examples_used }} training examples. Never compare it at unequal training loss or
    learning rate: it shrinks with the loss of a network that fits, and large steps keep out of
    sharp places. Both stand beside it in the table below. {{ setup }}""",
  ),
)

BY_CLASS = (
  Drawing(
    'by_class_figure',
    lambda _: [[by_class.draw_groups, by_class.draw_classes]],
    size=(11.4, 4.4),
    legend=batch_sizes,
    applies=lambda source: 'batch_sizes' in source.summary.get('by_class', {}),
    caption="""Left: mean validation {{ metric.title }} over the rare, medium and frequent classes
    and over all, against batch size, with 95% Student intervals, {{ over }}. Right: the
    {{ metric.title }} of each class against its training examples, a colour each batch size,
    beside each other. {{ setup }}""",
  ),
)

NATIVE_COST = (
  Drawing(
    'native_cost',
    lambda _: [[native_cost.draw_throughput, native_cost.draw_memory]],
    size=(11, 3.9),
    applies=lambda source: bool(source.native_cost),
    caption="""One setting at a time on {{ cost.hardware }}, by batch size. Left: the median of
    repetitions, bars from the lowest to the highest. Right: the memory of a step on the whole
    batch. Hollow: does not fit whole; its examples per second are those of micro-batches gathered
    as suggested in the table. <span class="setup">{{ model.name }},
    {{ '{:,}'.format(cost.parameters) }} parameters.</span>""",
  ),
)


def _noise_with_legend(axes: Axes, source: Source) -> None:
  noise.draw_late(axes, source)
  below = {'loc': 'upper center', 'bbox_to_anchor': (0.5, -0.14), 'ncols': 2, 'fontsize': 9}
  axes.legend(handles=noise.legend(source)['handles'], **below)


OVERVIEW = Drawing(
  'overview',
  lambda _: [
    [results.draw_accuracy, results.draw_learning_rates],
    [partial(clocks.draw_curves, clock='updates', quantity=judged().val), _noise_with_legend],
  ],
  size=(11.5, 8.6),
  legend=batch_sizes,
)
