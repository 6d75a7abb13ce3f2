"""Reads a workdir: its config, plan and records, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsjax.analysis.runs import histories
from bsjax.analysis.runs.judging import judged_by
from bsjax.config.metrics import Judged
from bsjax.report.summaries import summarize
from bsjax.storage import provenance, records, shards, sound


@dataclass(frozen=True)
class StoredStudy:
  """What a workdir holds; `plan` ends where the summary was taken.

  `sharpness` is sharpness.json and `native_cost` native_cost.json, None where nothing was measured;
  `starts` are those of provenance.json, `doubts` the sentences of data.json on what may be wrong
  with the data.
  `outdated` says that the study is finished and its summary.json, if any, of another analysis.
  """

  config: Mapping[str, Any]
  plan: list[histories.Row]
  rows: list[histories.Row]
  summary: Mapping[str, Any]
  progress: float
  sharpness: Mapping[str, Any] | None = None
  native_cost: Mapping[str, Any] | None = None
  starts: Sequence[Mapping[str, Any]] = ()
  doubts: Sequence[str] = ()
  outdated: bool = False

  @property
  def judged(self) -> Judged:
    """By what its runs are judged: whoever writes about them does it inside `judging`."""
    return judged_by(self.config, self.rows)

  @property
  def first(self) -> tuple[list[histories.Row], list[histories.Row]]:
    """Plan and records of the first branch, of which the page is but for what compares branches."""
    return next(iter(histories.by_branch(self.plan, self.rows).values()))


def load(workdir: Path) -> StoredStudy:
  """Reads a study; an unfinished one is summarized as of the last evaluation of all lanes."""
  divided = _is_divided(workdir)
  config = records.read_json(workdir / 'config.json')
  plan = records.read_plan(workdir / 'plan.csv')
  path = workdir / (shards.FOLDER if divided else 'records.jsonl')
  rows = shards.rows(workdir) if divided else records.read_all(workdir)
  sound.check(histories.whole(rows), plan, path)
  progress = histories.progress(plan, rows)
  starts = provenance.read(workdir)
  facts = _json(workdir / 'data.json')  # None: by an older version
  beside = _json(workdir / 'sharpness.json'), _json(workdir / 'native_cost.json')
  beside += starts, (facts or {}).get('doubts', ())
  if progress == 1:
    kept = _json(workdir / 'summary.json') or {}
    # Of a summary by an older version only the hardware cannot be found again from the records.
    current = 'validation' in kept.get('learning_rates', {})
    current &= all('kind' in claim for claim in kept.get('claims', ()))
    current &= 'confounds' in kept
    current &= 'differs' in kept.get('decision', {'differs': None})
    current &= 'stages' in kept or not config.get('stages', {}).get('order')
    hardware = kept.get('hardware') or shards.hardware(workdir)
    summary = kept if current else summarize(config, plan, rows, hardware, facts, starts)
    return StoredStudy(config, plan, rows, summary, progress, *beside, outdated=not current)
  reached = histories.provisional(plan, rows)
  summary = summarize(config, reached, rows, facts=facts, starts=starts)
  return StoredStudy(config, reached, rows, summary, progress, *beside)


def _is_divided(workdir: Path) -> bool:
  """Whether the records are still those of shards; raises FileNotFoundError where files lack."""
  divided = not (workdir / 'records.jsonl').is_file() and bool(shards.begun(workdir))
  if divided and (without := shards.without_records(workdir)):
    raise FileNotFoundError(
      f'{workdir} has no records yet of the shards {", ".join(map(str, without))}: run each '
      f'(python -m bsjax.main --config=... --workdir={workdir} --shard={without[0]}).'
    )
  needed = 'config.json', 'plan.csv', *(() if divided else ('records.jsonl',))
  missing = [name for name in needed if not (workdir / name).is_file()]
  if missing:
    raise FileNotFoundError(
      f'{workdir} lacks {", ".join(missing)}: give the workdir of a study that has started '
      f'(python -m bsjax.main --config=... --workdir={workdir}).'
    )
  return divided


def has_records(workdir: Path) -> bool:
  """Whether a study, or every shard of it, has evaluated."""
  divided = shards.begun(workdir) and not shards.without_records(workdir)
  return bool(divided) or (workdir / 'records.jsonl').is_file()


def _json(path: Path) -> dict[str, Any] | None:
  return records.read_json(path) if path.is_file() else None
