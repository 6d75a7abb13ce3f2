"""The main figure of a study as an image file, for a slide or a README."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from bsjax.config.metrics import judged_of, judging
from bsjax.plan.arms import FOLDER
from bsjax.report import stored_study, study_page
from bsjax.report.figures import scaling, study
from bsjax.report.figures.comparisons import FOREST, at_epochs
from bsjax.report.figures.drawing import draw
from bsjax.report.panels.conditions import Conditions
from bsjax.storage import records


def save(workdir: Path, path: Path) -> None:
  """Writes the image of a study whose report is written; the name's ending says the format."""
  drawn = (
    _of_arms(workdir) if (workdir / FOLDER).is_dir() else _of_study(stored_study.load(workdir))
  )
  drawn.savefig(path, dpi=110)


def _of_arms(workdir: Path) -> Figure:
  """Differences between arms."""
  compared = records.read_json(workdir / 'summary.json')['conditions']
  with judging(judged_of(records.read_json(workdir / 'config.json'))):
    return draw(FOREST, Conditions(compared))


def _of_study(stored: stored_study.StoredStudy) -> Figure:
  """Of stages: batch sizes where they are compared; of several scaling rules: the rules."""
  with judging(stored.judged):
    return _draw(stored)


def _draw(stored: stored_study.StoredStudy) -> Figure:
  source, summary = study_page.source_of(stored), stored.summary
  if 'stages' in summary:
    first = summary.get('branch', '')
    rows = [row for row in summary['stages']['at'] if row['branch'] == first]
    return draw(at_epochs('overview', first, rows, 'epochs'), source)
  return draw(scaling.ACCURACIES if 'scaling_rules' in summary else study.OVERVIEW, source)
