"""Distance of the training curves by rule and batch size: a column of panels per architecture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rebuild import summary_of

from bsjax.plan.arms import FOLDER
from bsjax.report.arms_page import arm_names
from bsjax.report.figures.drawing import Drawing, draw
from bsjax.report.panels import scaled_runs
from bsjax.report.panels.source import Source

TITLES = {'cnn': 'CNN', 'resnet8': 'ResNet-8'}
KEPT = 'answer', 'batch_sizes', 'confounds'  # of the summary of an arm


def figures(data: Mapping[str, Any]) -> dict[str, Figure]:
  arms = data['arms']
  rates = [arm['scaling_rules']['rates'] for arm in arms.values()]
  panels = [
    [partial(_distances, arm=name, rate=rate) for name, rate in zip(arms, line, strict=True)]
    for line in zip(*rates, strict=True)
  ]
  drawing = Drawing(
    'rules',
    lambda _: panels,
    size=(8.2, 10),
    legend=lambda all_arms: scaled_runs.rule_legend(Source(next(iter(all_arms.values())))),
  )
  return {'rules.png': draw(drawing, arms)}


def _distances(axes: Axes, arms: Mapping[str, Any], arm: str, rate: Mapping[str, Any]) -> None:
  scaled_runs.draw_distances(axes, Source(arms[arm]), rate)
  axes.set_title(f'{TITLES[arm]}, base learning rate {rate["learning_rate"]:g}')


def data_of(workdir: Path) -> dict[str, Any]:
  """What each arm shows of the rules, and what its batch sizes cost alone."""
  folders = {name: workdir / FOLDER / name for name in arm_names(workdir)}
  return {
    'summary.json': summary_of(workdir),
    'arms.json': {name: _kept(summary_of(folder)) for name, folder in folders.items()},
    'native_cost.json': {
      name: json.loads((folder / 'native_cost.json').read_text())
      for name, folder in folders.items()
    },
  }


def _kept(summary: Mapping[str, Any]) -> dict[str, Any]:
  """Without the comparisons at equal updates, where schedules stand at different places."""
  rules = {key: value for key, value in summary['scaling_rules'].items() if key != 'ways'}
  pairs = [claim for claim in summary['claims'] if claim['kind'] == 'pair']
  return {key: summary[key] for key in KEPT} | {'scaling_rules': rules, 'claims': pairs}
