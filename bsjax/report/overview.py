"""The main figure of a study as an image file, for a slide or a README."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure

from bsjax.analysis.runs import histories
from bsjax.plan.arms import FOLDER
from bsjax.report import stored_study
from bsjax.report.figures import comparison_plots, plots, scaling_plots


def save(workdir: Path, path: Path) -> None:
  """Writes the image of a study whose report is written; the name's ending says the format."""
  drawn = (
    _of_arms(workdir) if (workdir / FOLDER).is_dir() else _of_study(stored_study.load(workdir))
  )
  drawn.savefig(path, dpi=110)


def _of_arms(workdir: Path) -> Figure:
  """Differences between arms."""
  return comparison_plots.forest(json.loads((workdir / 'summary.json').read_text())['conditions'])


def _of_study(study: stored_study.StoredStudy) -> Figure:
  """Of stages: batch sizes where they are compared; of several scaling rules: the rules."""
  if 'stages' in study.summary:
    first = study.summary.get('branch', '')
    rows = [row for row in study.summary['stages']['at'] if row['branch'] == first]
    return comparison_plots.at_epochs(study.summary, rows, 'epochs')
  settings = histories.settings(*study.first)
  if 'scaling_rules' in study.summary:
    return scaling_plots.accuracies(study.summary, settings)
  return plots.overview(study.summary, settings)
