"""The end of a training: its summary, what its batch sizes cost alone, its report.

What draws and analyses is imported here and nowhere else in the room, at the end: a training must
not wait for it to start.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console

from bsjax.data import Dataset
from bsjax.plan.lanes import StudyPlan
from bsjax.storage import provenance, records
from bsjax.storage.writers import Mirrors

PRODUCTS = 'report.html', 'report.md', 'methodology.txt'  # what `write_report` writes


def finish(
  config: ConfigDict,
  workdir: Path,
  dataset: Dataset,
  study_plan: StudyPlan,
  hardware: str,
  console: Console,
  mirrors: Mirrors,
) -> Path:
  """Writes what follows from the records of a training that is done, on some hardware.

  Returns the page.
  """
  from bsjax.report.text.results import results

  summary = _write_summary(workdir, json.loads(config.to_json()), hardware)
  mirrors.summary(summary)
  path = complete(config, workdir, dataset, study_plan, console)
  console.print(results(summary))
  return path


def undo(workdir: Path) -> None:
  """Removes what followed from records of which some are computed again."""
  for name in ('summary.json', *PRODUCTS):
    (workdir / name).unlink(missing_ok=True)


def again(workdir: Path) -> Path:
  """Writes anew what follows from the files of a finished study; returns the page."""
  config, old = (records.read_json(workdir / name) for name in ('config.json', 'summary.json'))
  _write_summary(workdir, config, old.get('hardware', ''))
  return write_report(workdir)


def _write_summary(workdir: Path, config: Mapping[str, Any], hardware: str) -> dict[str, Any]:
  from bsjax.report.summaries import summarize

  rows, lanes = records.read_all(workdir), records.read_plan(workdir / 'plan.csv')
  facts, starts = records.read_json(workdir / 'data.json'), provenance.read(workdir)
  summary = summarize(config, lanes, rows, hardware, facts, starts)
  records.write_json(workdir / 'summary.json', summary)
  return summary


def complete(
  config: ConfigDict,
  workdir: Path,
  dataset: Dataset,
  study_plan: StudyPlan,
  console: Console,
) -> Path:
  """Makes what is not there after an interruption, or cannot be read; returns the page."""
  stale = not all((workdir / name).exists() for name in PRODUCTS)
  if not _readable(workdir / 'summary.json'):
    device = [{}, *provenance.read(workdir)][-1].get('device', '')
    _write_summary(workdir, json.loads(config.to_json()), device)
    stale = True
  if config.native_cost.measure and not _readable(workdir / 'native_cost.json'):
    from bsjax.cost import run as native_cost

    cost = native_cost.measure_study(config, dataset, study_plan, say=console.print)
    native_cost.write(workdir, cost)
    stale = True
  return write_report(workdir) if stale else workdir / 'report.html'


def _readable(path: Path) -> bool:
  """Whether a JSON file is there and whole."""
  try:
    records.read_json(path)
    return True
  except (OSError, records.Damaged):
    return False


def write_report(workdir: Path) -> Path:
  """Writes `PRODUCTS` of a study, or of one of arms; returns the page."""
  from bsjax.plan.arms import FOLDER
  from bsjax.report import arms_page, methods, study_page

  path = (arms_page if (workdir / FOLDER).is_dir() else study_page).write(workdir)
  methods.write(workdir)
  return path
