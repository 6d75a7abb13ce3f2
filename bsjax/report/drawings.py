"""The figures of a study's page as objects of matplotlib."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bsjax.analysis.claims.conditions import Condition, hold, of_study
from bsjax.plan.arms import FOLDER
from bsjax.report import arms_page, stored_study, study_page
from bsjax.report.figures import drawing
from bsjax.report.figures.comparisons import CONDITIONS, stage_figures
from bsjax.report.figures.scaling import ACROSS
from bsjax.report.panels.conditions import Conditions
from bsjax.storage import records

Drawn = dict[str, tuple[drawing.Drawing, Any]]  # by name, with what it is drawn from


class Drawings:
  """The figures of the page of a workdir, which is read once; each is drawn when asked for."""

  def __init__(self, workdir: Path):
    """Raises FileNotFoundError where no study has begun, or no arm has ended."""
    self._drawn = _of_arms(workdir) if (workdir / FOLDER).is_dir() else _of_study(workdir)

  @property
  def names(self) -> list[str]:
    """Those that the page shows; none before there is any result."""
    return list(self._drawn)

  def draw(self, name: str) -> Figure:
    """Returns a figure; raises ValueError, with all names, for one that the page does not show."""
    if name not in self._drawn:
      raise ValueError(f'no figure {name!r}; this study has {", ".join(self.names) or "none yet"}')
    return drawing.draw(*self._drawn[name])


def _of_study(workdir: Path) -> Drawn:
  study = stored_study.load(workdir)
  source, summary = study_page.source_of(study), study.summary
  shown: Drawn = {}
  for drawings in study_page.FIGURES.values() if source.any_result else ():
    shown |= _applying(drawings, source)
  if 'stages' in summary and source.any_result:
    shown |= _applying(stage_figures(summary), source)
  if 'conditions' in summary:
    branches = of_study(study.config, study.plan, study.rows)
    shown |= _of_conditions(summary['conditions'], branches)
  return shown


def _of_arms(workdir: Path) -> Drawn:
  summary = records.read_json(workdir / 'summary.json')
  arms = {arm['name']: stored_study.load(workdir / arm['workdir']) for arm in summary['arms']}
  rules = summary.get('scaling_rules')
  shown = _applying([ACROSS], rules) if rules else {}
  return shown | _of_conditions(summary['conditions'], arms_page.conditions(arms))


def _of_conditions(compared: Any, conditions: Iterable[Condition]) -> Drawn:
  if all('reason' in row for row in compared['table']):
    return {}
  source = Conditions(compared, {condition.name: hold(condition) for condition in conditions})
  return _applying(CONDITIONS, source)


def _applying(drawings: Iterable[drawing.Drawing], source: Any) -> Drawn:
  return {each.name: (each, source) for each in drawings if each.applies(source)}
