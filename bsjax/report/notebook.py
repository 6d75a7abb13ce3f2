"""What a notebook shows of a study: a few lines of HTML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bsjax.analysis.runs import histories
from bsjax.format import joined
from bsjax.plan.arms import FOLDER
from bsjax.storage import records


def html(workdir: Path) -> str:
  """Returns what is planned in a workdir, how far it has come, and the answer if there is one."""
  summary = _json(workdir / 'summary.json')
  if (workdir / FOLDER).is_dir():
    arms = sorted(path.name for path in (workdir / FOLDER).iterdir() if path.is_dir())
    lines = [f'arms {joined(arms)}']
  elif (workdir / 'plan.csv').is_file():
    lines = [_plan(workdir, finished=bool(summary))]
  else:
    lines = ['nothing has begun here']
  answer = summary.get('answer', '')
  lines.append(answer.get('headline', '') if isinstance(answer, Mapping) else answer)
  shown = Markup('<br>').join(filter(None, lines))
  return str(Markup('<p><b>{}</b><br>{}</p>').format(workdir, shown))


def _plan(workdir: Path, finished: bool) -> str:
  plan, path = records.read_plan(workdir / 'plan.csv'), workdir / 'records.jsonl'
  sizes = sorted({row['batch_size'] for row in plan})
  rates = {row['learning_rate'] for row in plan}
  trials = {row['trial'] for row in plan}
  told = (
    f'batch size {joined(map(str, sizes))}, learning rates: {len(rates)}, trials: {len(trials)}'
  )
  rows = records.read(path) if path.is_file() and not finished else []
  done = 1.0 if finished else histories.progress(plan, rows)
  return f'{told}; lanes: {len(plan)}, {done:.0%} done'


def _json(path: Path) -> dict[str, Any]:
  return records.read_json(path) if path.is_file() else {}
