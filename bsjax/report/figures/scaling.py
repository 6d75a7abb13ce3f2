"""Figures of a study of several scaling rules, and of arms that compare several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from bsjax.config.metrics import judged
from bsjax.report.figures.drawing import Drawing, Panel, lines_of
from bsjax.report.panels import across_arms, scaled_runs
from bsjax.report.panels.source import Source


def _compared(source: Source) -> bool:
  return 'rates' in source.summary.get('scaling_rules', {})


def _distances(source: Source) -> list[Sequence[Panel]]:
  rates = source.summary['scaling_rules']['rates']
  return lines_of([partial(scaled_runs.draw_distances, rate=rate) for rate in rates], 3)


def _forest_size(source: Source) -> tuple[float, float]:
  rows = source.summary['scaling_rules']['ways'].get('rows', ())
  return 11.4, 1.5 + 0.17 * max(len(rows), 8)


def _across(across: Mapping[str, Any]) -> list[list[Panel]]:
  sizes = sorted({row['batch_size'] for row in across['rows']})
  return [
    [partial(across_arms.draw_arms, size=size, quantity=quantity) for size in sizes]
    for quantity in ('distance', judged().val)
  ]


CURVES = Drawing(
  'scaling_curves',
  lambda source: [
    [
      partial(scaled_runs.draw_curves, rule=rule)
      for rule in source.summary['scaling_rules']['rules']
    ]
  ],
  size=(11.4, 3.9),
  legend=scaled_runs.curve_legend,
  applies=_compared,
  finish=scaled_runs.common_height,
  caption="""Training loss, whole training set in evaluation mode, against examples seen: geometric
  mean over trials, no intervals. Dashed in every panel: batch size {{ base }} at the learning rate
  of the grid that gives it the {{ judged.best_mean }} mean validation
  {{ metric.title }}, its trials
  in grey. Of the other batch sizes the same rate, scaled by the rule of the panel.
  {{ over }}. {{ setup }}""",
)
DISTANCES = Drawing(
  'scaling_distances',
  _distances,
  size=lambda source: (11.4, 0.6 + 3.3 * len(_distances(source))),
  legend=scaled_runs.rule_legend,
  applies=_compared,
  caption="""Mean absolute difference of log training loss to batch size {{ base }}, over the
  evaluations after the start, paired within the trial: mean with its 95% interval, trials as faint
  dots; a cross has no distance (a run diverged). Dashed line and band: the same between two trials
  of batch size {{ base }}, with its 95% interval. Below the line runs differ less than two seeds
  do; whether that is shown, the table says. {{ over }}. {{ setup }}""",
)
ACCURACIES = Drawing(
  'scaling_{metric.plural}',
  lambda _: [[partial(scaled_runs.draw_forest, clock=clock) for clock in ('epochs', 'updates')]],
  size=_forest_size,
  applies=lambda source: _compared(source) and 'rows' in source.summary['scaling_rules']['ways'],
  caption="""Validation {{ metric.title }} of batch size {{ base }} less that of each other, paired
  within the trial, the learning rate kept, scaled, or tuned for the batch size itself; on the
  {{ 'right' if metric.higher_is_better else 'left' }} of zero {{ base }} is better.
  Rates are chosen for each trial on the others. Intervals of a panel
  hold together with 95%; an arrowhead is one that goes on. Grey: within {{ margin | margin }}
  {{- points_of }}.
  {{- ' Pale: BatchNorm statistics re-estimated.' if config.model.normalization == 'batch' }}
  At equal updates both are read where that with fewer ends, or where they were last evaluated at as
  many before, wherever that is in a schedule. {{ over }}. {{ setup }}""",
)
SCALING = CURVES, DISTANCES, ACCURACIES

ACROSS = Drawing(
  'rules_figure',
  _across,
  size=(11.4, 7.0),
  subplots={'sharey': 'row'},
  legend=across_arms.arm_legend,
  caption="""Above: distance of the log training loss from that of batch size {{ base }}, in
  examples seen, by how the learning rate was carried over; a line an arm, mean over trials. Below:
  final validation {{ metric.title }} less that of batch size {{ base }}; black: mean and 95%
  Student interval over arms.""",
)
