"""Figures of a study of several scaling rules, for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from bsjax.report.figures.plots import themed
from bsjax.report.panels import scaled_runs
from bsjax.report.panels.style import Settings, Summary


@themed
def curves(summary: Summary, settings: Settings) -> Figure:
  """Loss curves of all batch sizes in examples, a panel a scaling rule."""
  rules = summary['scaling_rules']['rules']
  figure = Figure(figsize=(11.4, 3.9), layout='constrained')
  panels = list(figure.subplots(1, len(rules), squeeze=False)[0])
  for axes, rule in zip(panels, rules, strict=True):
    scaled_runs.draw_curves(axes, summary, settings, rule)
  scaled_runs.common_height(panels)
  handles = scaled_runs.curve_legend(summary)
  figure.legend(handles=handles, loc='outside upper left', ncols=len(handles))
  return figure


@themed
def distances(summary: Summary, settings: Settings) -> Figure:
  """Distances of loss curves against those of two seeds, a panel a learning rate of the grid."""
  rates = summary['scaling_rules']['rates']
  across = min(len(rates), 3)
  down = -(-len(rates) // across)
  figure = Figure(figsize=(11.4, 0.6 + 3.3 * down), layout='constrained')
  panels = list(figure.subplots(down, across, squeeze=False).flat)
  for axes, rate in zip(panels, rates, strict=False):
    scaled_runs.draw_distances(axes, summary, rate)
  for axes in panels[len(rates) :]:
    axes.set_axis_off()
  handles = scaled_runs.rule_legend(summary)
  figure.legend(handles=handles, loc='outside upper left', ncols=len(handles))
  return figure


@themed
def accuracies(summary: Summary, settings: Settings) -> Figure:
  """Differences of accuracy to the base batch size: rate fixed, scaled and tuned, by clock."""
  rows = summary['scaling_rules']['ways'].get('rows', ())
  figure = Figure(figsize=(11.4, 1.5 + 0.17 * max(len(rows), 8)), layout='constrained')
  for axes, clock in zip(figure.subplots(1, 2), ('epochs', 'updates'), strict=True):
    scaled_runs.draw_forest(axes, summary, clock)
  return figure


@themed
def across(found: Mapping[str, Any]) -> Figure:
  """Distances and accuracies of each rule, a line an arm, a column of panels each batch size."""
  sizes = sorted({row['batch_size'] for row in found['rows']})
  figure = Figure(figsize=(11.4, 7.0), layout='constrained')
  grid = figure.subplots(2, len(sizes), squeeze=False, sharey='row')
  for column, size in enumerate(sizes):
    scaled_runs.draw_arms(grid[0][column], found, size, 'distance')
    scaled_runs.draw_arms(grid[1][column], found, size, 'val_accuracy')
  handles, labels = grid[0][0].get_legend_handles_labels()
  figure.legend(handles, labels, loc='outside upper left', ncols=6)
  return figure


FIGURES = {
  'scaling_curves': curves,
  'scaling_distances': distances,
  'scaling_accuracies': accuracies,
}
