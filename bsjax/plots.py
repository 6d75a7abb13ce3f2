"""Figures of a study: for the report, and for a README (`overview(...).savefig('study.png')`)."""

from __future__ import annotations

import io
import re

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bsjax import panels
from bsjax.panels import Settings, Summary

THEME = {
  'font.size': 10,
  'text.color': panels.INK,
  'axes.edgecolor': '#b4bac7',
  'axes.labelcolor': panels.MUTED,
  'axes.titlecolor': panels.INK,
  'axes.titlelocation': 'left',
  'axes.titlesize': 11,
  'axes.titleweight': 'bold',
  'axes.titlepad': 10,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.axisbelow': True,
  'axes.grid': True,
  'axes.grid.axis': 'y',
  'grid.color': panels.GRID,
  'grid.linewidth': 0.9,
  'xtick.color': '#b4bac7',
  'ytick.color': '#b4bac7',
  'xtick.labelcolor': panels.MUTED,
  'ytick.labelcolor': panels.MUTED,
  'ytick.major.size': 0,
  'ytick.minor.size': 0,
  'legend.frameon': False,
  'legend.labelcolor': panels.INK,
  'legend.handlelength': 1.4,
  'figure.constrained_layout.h_pad': 0.1,
  'figure.constrained_layout.w_pad': 0.1,
  'figure.facecolor': panels.PAPER,
  'savefig.facecolor': panels.PAPER,
  'savefig.dpi': 160,
}
themed = matplotlib.rc_context(THEME)


@themed
def overview(summary: Summary, settings: Settings) -> Figure:
  """The study in four panels: accuracy, learning rates, curves and noise scale."""
  figure = Figure(figsize=(11.5, 8), layout='constrained')
  (accuracy_axes, rates_axes), (curves_axes, noise_axes) = figure.subplots(2, 2)
  panels.draw_accuracy(accuracy_axes, summary, settings)
  panels.draw_learning_rates(rates_axes, summary, settings)
  panels.draw_curves(curves_axes, summary, settings, 'updates', 'val_accuracy')
  panels.draw_noise_scale(noise_axes, summary)
  _batch_size_legend(figure, summary)
  return figure


@themed
def accuracy(summary: Summary, settings: Settings) -> Figure:
  """Validation and training accuracy against batch size."""
  figure = Figure(figsize=(5.6, 3.7), layout='constrained')
  panels.draw_accuracy(figure.subplots(), summary, settings)
  return figure


@themed
def gap(summary: Summary, settings: Settings) -> Figure:
  """Generalization gap against batch size."""
  figure = Figure(figsize=(5.6, 3.7), layout='constrained')
  panels.draw_gap(figure.subplots(), summary, settings)
  return figure


@themed
def noise_scale(summary: Summary, settings: Settings) -> Figure:
  """Noise scale against batch size, and along training."""
  figure = Figure(figsize=(11, 4.2), layout='constrained')
  against_size, along_training = figure.subplots(1, 2)
  panels.draw_noise_scale(against_size, summary)
  panels.draw_noise_curves(along_training, summary, settings)
  _batch_size_legend(figure, summary)
  return figure


@themed
def learning_rates(summary: Summary, settings: Settings) -> Figure:
  """Heat map of learning rate and batch size."""
  rows = len({setting.learning_rate for tried in settings.values() for setting in tried})
  figure = Figure(figsize=(2.4 + 1.1 * len(settings), 1.5 + 0.55 * rows), layout='constrained')
  panels.draw_learning_rates(figure.subplots(), summary, settings)
  return figure


@themed
def curves(summary: Summary, settings: Settings) -> Figure:
  """Validation accuracy and training loss, against epochs and against updates."""
  figure = Figure(figsize=(11, 7.6), layout='constrained')
  for row, quantity in zip(figure.subplots(2, 2), ('val_accuracy', 'train_loss'), strict=True):
    for axes, clock in zip(row, ('epoch', 'updates'), strict=True):
      panels.draw_curves(axes, summary, settings, clock, quantity)
  _batch_size_legend(figure, summary)
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


def _batch_size_legend(figure: Figure, summary: Summary) -> None:
  lines = [
    Line2D([], [], color=colour, linewidth=3, label=str(size))
    for size, colour in panels.colours(summary).items()
  ]
  title = Line2D([], [], linestyle='', label='batch size')
  place = {'loc': 'outside upper left', 'ncols': len(lines) + 1}
  figure.legend(handles=[title, *lines], handletextpad=0.5, columnspacing=1.2, **place)
