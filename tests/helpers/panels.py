"""A panel to draw into, what was drawn there, and a small made-up study to draw."""

from matplotlib.figure import Figure

from bsjax.analysis.runs import histories
from bsjax.config.metrics import Judged, LossEntry, MetricEntry
from bsjax.report.panels.source import Source
from bsjax.report.summaries import summarize
from helpers import synthetic

BITS = Judged(MetricEntry('bits', 'bits', 'bits', False, 'b'), LossEntry('bits'), 0.02)


def panel():
  return Figure((4, 3)).subplots()


def dots(axes, marker='o'):
  """The points drawn with a marker, in order of drawing."""
  lines = [line for line in axes.lines if line.get_marker() == marker]
  return [(float(x), float(y)) for line in lines for x, y in zip(*line.get_data(), strict=True)]


def ticks(axis, *values):
  """What an axis writes beside values."""
  form = axis.get_major_formatter()
  return [form(value, 0) for value in values]


def study(diverges=lambda lane: False, sizes=(8, 16), rates=(0.1, 0.2)):
  plan = synthetic.plan(sizes, rates, 3)
  rows = synthetic.realistic(plan, evaluations=4, diverges=diverges)
  summary = summarize(synthetic.config(), plan, rows)
  return Source(summary, histories.settings(plan, rows))
