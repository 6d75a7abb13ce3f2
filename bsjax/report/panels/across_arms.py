"""Scaling rules over arms: what each arm shows, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bsjax.config.metrics import judged
from bsjax.report.panels import marks, style
from bsjax.report.panels.conditions import looks
from bsjax.report.panels.scaled_runs import WAYS
from bsjax.report.panels.style import INK

_ARM = {'marker': 'o', 'markersize': 5, 'linewidth': 1.4}


def draw_arms(axes: Axes, across: Mapping[str, Any], size: int, quantity: str) -> None:
  """A quantity by rule at one batch size: one line per arm, and of accuracies their mean.

  `across` is what arms say together of the rules.
  """
  rules = across['rules']
  for arm, (colour, _) in looks(across['arms']).items():
    rows = [r for r in across['rows'] if (r['arm'], r['batch_size']) == (arm, size) and r[quantity]]
    known = [row for row in rows if row[quantity]['mean'] is not None]
    x, y = [rules.index(row['rule']) for row in known], [row[quantity]['mean'] for row in known]
    axes.plot(x, y, color=colour, **_ARM)
  if quantity == 'distance':
    axes.set(yscale='log', title=f'Distance of curves, batch size {size}')
  else:
    axes.set_title(f'Final {judged().metric.title}, batch size {size}')
    marks.zero(axes)
    style.difference_axis(axes.yaxis)
    axes.set_ylabel(judged().of_points.strip())
    of_size = [row for row in across[judged().metric.plural] if row['batch_size'] == size]
    means = [row for row in of_size if row['n'] > 1]
    rows = [{'at': rules.index(row['rule']) + 0.12, 'mean': row} for row in means]
    marks.estimates(axes, rows, 'mean', INK, x='at', dashes='')
  axes.set_xticks(range(len(rules)), [WAYS[rule][0] for rule in rules])
  axes.set_xlim(-0.4, len(rules) - 0.5)


def arm_legend(across: Mapping[str, Any]) -> dict[str, Any]:
  """The colours of the arms."""
  arms = looks(across['arms']).items()
  handles = [Line2D([], [], color=colour, label=arm, **_ARM) for arm, (colour, _) in arms]
  return {'handles': handles, 'ncols': 6}
