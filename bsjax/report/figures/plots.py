"""Figures of a study: for the report, and for a README (`overview(...).savefig('study.png')`)."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bsjax.analysis.measures.gap import curves as gap_curves
from bsjax.analysis.runs.histories import Row
from bsjax.report.panels import by_class as classes
from bsjax.report.panels import clocks, critical, learning_rate, noise, results, style
from bsjax.report.panels import native_cost as cost_panels
from bsjax.report.panels import sharpness as sharp
from bsjax.report.panels.style import Settings, Summary

THEME = {
  'font.size': 10,
  'text.color': style.INK,
  'axes.edgecolor': '#b4bac7',
  'axes.labelcolor': style.MUTED,
  'axes.titlecolor': style.INK,
  'axes.titlelocation': 'left',
  'axes.titlesize': 11,
  'axes.titleweight': 'bold',
  'axes.titlepad': 10,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.axisbelow': True,
  'axes.grid': True,
  'axes.grid.axis': 'y',
  'grid.color': style.GRID,
  'grid.linewidth': 0.9,
  'xtick.color': '#b4bac7',
  'ytick.color': '#b4bac7',
  'xtick.labelcolor': style.MUTED,
  'ytick.labelcolor': style.MUTED,
  'ytick.major.size': 0,
  'ytick.minor.size': 0,
  'legend.frameon': False,
  'legend.labelcolor': style.INK,
  'legend.handlelength': 1.4,
  'figure.constrained_layout.h_pad': 0.1,
  'figure.constrained_layout.w_pad': 0.1,
  'figure.facecolor': style.PAPER,
  'savefig.facecolor': style.PAPER,
  'savefig.dpi': 160,
}
themed = matplotlib.rc_context(THEME)


@themed
def overview(summary: Summary, settings: Settings) -> Figure:
  """The study in four panels: accuracy, learning rates, curves and noise scale."""
  figure = Figure(figsize=(11.5, 8.6), layout='constrained')
  (accuracy_axes, rates_axes), (curves_axes, noise_axes) = figure.subplots(2, 2)
  results.draw_accuracy(accuracy_axes, summary, settings)
  results.draw_learning_rates(rates_axes, summary, settings)
  lines = gap_curves(style.chosen(summary, settings))['updates']
  clocks.draw_curves(curves_axes, summary, lines, 'updates', 'val_accuracy')
  noise.draw_late(noise_axes, summary)
  below = {'loc': 'upper center', 'bbox_to_anchor': (0.5, -0.14), 'ncols': 2, 'fontsize': 9}
  noise_axes.legend(handles=noise.legend(summary), **below)
  batch_size_legend(figure, summary)
  return figure


@themed
def accuracy(summary: Summary, settings: Settings) -> Figure:
  """Validation and training accuracy against batch size."""
  figure = Figure(figsize=(5.6, 3.7), layout='constrained')
  results.draw_accuracy(figure.subplots(), summary, settings)
  return figure


@themed
def gap(summary: Summary, settings: Settings) -> Figure:
  """Generalization gap against batch size."""
  figure = Figure(figsize=(5.6, 3.7), layout='constrained')
  results.draw_gap(figure.subplots(), summary, settings)
  return figure


@themed
def learning_rates(summary: Summary, settings: Settings) -> Figure:
  """Heat map of learning rate and batch size."""
  rows = len({setting.learning_rate for tried in settings.values() for setting in tried})
  # Wide enough for the title of a study of one batch size.
  figure = Figure(
    figsize=(max(4.6, 2.4 + 1.1 * len(settings)), 1.5 + 0.55 * rows), layout='constrained'
  )
  results.draw_learning_rates(figure.subplots(), summary, settings)
  return figure


@themed
def optimum(summary: Summary, settings: Settings) -> Figure:
  """The best learning rate against batch size with the rules, and what it is read from."""
  figure = Figure(figsize=(11, 9), layout='constrained')
  training = learning_rate.by_training(summary)
  both = training, training['validation']
  for (above, below), found in zip(figure.subplots(2, 2).T, both, strict=True):
    learning_rate.draw_optimum(above, summary, settings, found)
    learning_rate.draw_valleys(below, summary, settings, found['merit'])
  batch_size_legend(figure, summary)
  return figure


@themed
def critical_batch_size(summary: Summary, settings: Settings) -> Figure:
  """Updates against examples to a target, and the critical batch size at every target."""
  figure = Figure(figsize=(11, 4.4), layout='constrained')
  hyperbola, training, validation = figure.subplots(1, 3, width_ratios=(1.7, 1, 1))
  critical.draw_hyperbola(hyperbola, summary)
  found = summary['critical_batch_size']
  both = found, found['validation']
  bounds = critical.target_bounds(*both)
  panels = zip((training, validation), both, ('Training loss', 'Validation loss'), strict=True)
  for axes, entry, title in panels:
    critical.draw_targets(axes, entry, title, bounds)
  batch_size_legend(figure, summary)
  return figure


@themed
def noise_scale(summary: Summary, settings: Settings) -> Figure:
  """All noise scales beside each other: against batch size, and along training."""
  figure = Figure(figsize=(11, 4.6), layout='constrained')
  against_size, along_training = figure.subplots(1, 2)
  noise.draw_late(against_size, summary)
  noise.draw_training(along_training, summary)
  figure.legend(handles=noise.legend(summary), loc='outside upper left', ncols=3)
  return figure


@themed
def noise_by_part(summary: Summary, settings: Settings) -> Figure:
  """The noise scale along training for every batch size, and by layer where that was measured."""
  found = [noise.layers(setting) for setting in style.chosen(summary, settings).values()]
  figure = Figure(figsize=(11, 4.2), layout='constrained')
  if any(found):
    along, by_layer = figure.subplots(1, 2)
    noise.draw_layers(by_layer, summary, settings)
  else:
    along = figure.subplots()
  noise.draw_noise_curves(along, summary, settings)
  batch_size_legend(figure, summary)
  return figure


@themed
def equal_clocks(summary: Summary, settings: Settings) -> Figure:
  """Accuracy and gap against batch size at equal epochs, updates and weighted updates."""
  figure = Figure(figsize=(11.4, 6.6), layout='constrained')
  grid = figure.subplots(2, 3)
  for row, quantity in zip(grid, ('val_accuracy', 'gap'), strict=True):
    for axes, clock in zip(row, clocks.CLOCKS, strict=True):
      clocks.draw_clock(axes, summary, clock, quantity)
  handles = [
    Line2D([], [], linestyle='', color=colour, marker=marker, label=label)
    for (part, prefix), (label, colour, marker) in clocks.SERIES.items()
    if clocks.has_series(summary, part, prefix)
  ]
  figure.legend(handles=handles, loc='outside upper left', ncols=3)
  return figure


@themed
def curves(summary: Summary, settings: Settings) -> Figure:
  """Validation accuracy, training loss and gap against every clock."""
  figure = Figure(figsize=(11.4, 9.4), layout='constrained')
  lines = gap_curves(style.chosen(summary, settings))
  for row, quantity in zip(figure.subplots(3, 3), clocks.NAMES, strict=True):
    for axes, clock in zip(row, clocks.CLOCKS, strict=True):
      clocks.draw_curves(axes, summary, lines[clock], clock, quantity)
  batch_size_legend(figure, summary)
  return figure


@themed
def sharpness(summary: Summary, rows: Sequence[Row]) -> Figure:
  """The largest eigenvalue and the trace against the learning rate, and the gap against SAM."""
  figure = Figure(figsize=(11.4, 4.2), layout='constrained')
  draws = sharp.draw_lambda_max, sharp.draw_trace, sharp.draw_sam
  for axes, draw in zip(figure.subplots(1, 3), draws, strict=True):
    draw(axes, summary, rows)
  batch_size_legend(figure, summary)
  return figure


@themed
def by_class(summary: Summary) -> Figure:
  """Accuracy of rare, medium and frequent classes against batch size, and that of every class."""
  figure = Figure(figsize=(11.4, 4.4), layout='constrained')
  groups, each = figure.subplots(1, 2)
  classes.draw_groups(groups, summary)
  classes.draw_classes(each, summary)
  batch_size_legend(figure, summary)
  return figure


@themed
def native_cost(cost: Mapping[str, Any]) -> Figure:
  """Throughput and memory of batch sizes run alone; `cost` is native_cost.json."""
  figure = Figure(figsize=(11, 3.9), layout='constrained')
  throughput, memory = figure.subplots(1, 2)
  cost_panels.draw_throughput(throughput, cost)
  cost_panels.draw_memory(memory, cost)
  return figure


def svg(figure: Figure, name: str) -> str:
  """The figure as SVG to stand inside a page: scalable, text as text, ids apart by `name`."""
  file = io.StringIO()
  nothing = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
  with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name}):
    figure.savefig(file, format='svg', metadata=nothing)
  text = file.getvalue()
  text = text[text.index('<svg') :]
  # Inside a page the namespaces are known; it shrinks the figure, but must not blow it up.
  text = re.sub(r' xmlns(:xlink)?="[^"]*"', '', text, count=2)
  width = f' style="max-width:{100 * figure.get_figwidth():.0f}px"'
  return re.sub(r' (width|height)="[^"]*pt"', '', text, count=2).replace('<svg', f'<svg{width}', 1)


def batch_size_legend(figure: Figure, summary: Summary) -> None:
  """The colours of the batch sizes, above a figure."""
  lines = [
    Line2D([], [], color=colour, linewidth=3, label=str(size))
    for size, colour in style.colours(summary).items()
  ]
  title = Line2D([], [], linestyle='', label='batch size')
  place = {'loc': 'outside upper left', 'ncols': len(lines) + 1}
  figure.legend(handles=[title, *lines], handletextpad=0.5, columnspacing=1.2, **place)
