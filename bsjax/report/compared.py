"""Studies and audits to be compared, read from their files; what cannot be is refused in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bsjax.config.metrics import Judged, judging
from bsjax.plan.arms import FOLDER
from bsjax.report import arms_page, stored_study
from bsjax.report.text.answer import answer
from bsjax.storage import buckets, records, workdirs


class Refused(ValueError):
  """Studies that cannot be compared; the message says which, why, and what to do."""


class Compared(NamedTuple):
  """A study, or an audit's cell: its answer, claims and confounds as its own files hold them."""

  name: str
  judged: Judged
  loss_only: bool
  config: Mapping[str, Any]
  answer: Mapping[str, Any]
  claims: Sequence[Mapping[str, Any]]
  confounds: Sequence[Mapping[str, Any]]
  batch_sizes: Sequence[Mapping[str, Any]]


def read_all(paths: Sequence[str | Path]) -> Sequence[Compared]:
  """The studies of all directories.

  Raises:
    Refused: they cannot be compared.
    FileNotFoundError: one of them holds neither a study nor an audit.
  """
  return _checked([study for path in _apart(paths) for study in read(path)])


def _apart(paths: Sequence[str | Path]) -> list[Path]:
  folders = [buckets.fetch(workdirs.local(path, 'compare')).resolve() for path in paths]
  for folder in folders:
    if folders.count(folder) > 1:
      raise Refused(f'{folder} is given twice: it would count twice. Give it once.')
  return folders


def read(folder: Path) -> list[Compared]:
  """The studies that a directory holds."""
  if (folder / 'audit.json').is_file():
    return _audited(folder)
  if (folder / FOLDER).is_dir():
    arms = arms_page.arm_names(folder)
    return [_study(folder / FOLDER / arm, f'{folder.name}/{arm}') for arm in arms]
  return [_study(folder, folder.name)]


def _study(folder: Path, name: str) -> Compared:
  stored = stored_study.load(folder)
  if stored.progress < 1:
    raise Refused(
      f'{folder} is {100 * stored.progress:.0f}% done, and unfinished studies are not compared: '
      'finish it, or leave it out.'
    )
  summary = stored.summary
  with judging(stored.judged):
    said = answer(summary, brief=True)
  doubts = [f'Data: {doubt}.' for doubt in stored.doubts]
  shown = said._replace(remarks=said.remarks + doubts)._asdict()
  parts = summary['claims'], summary['confounds'], summary['batch_sizes']
  return Compared(name, stored.judged, False, stored.config, shown, *parts)


def _audited(folder: Path) -> list[Compared]:
  result = records.read_json(folder / 'audit.json')
  cells = result['cells'] or [{**result, 'cell': ''}]
  read_ = result['read']
  config = {'train_examples': read_['train_examples'], 'files': read_['files']}
  return [
    Compared(
      '/'.join(filter(None, (folder.name, cell['cell']))),
      Judged(),
      read_['loss_only'],
      config,
      *(cell[name] for name in ('answer', 'claims', 'confounds', 'batch_sizes')),
    )
    for cell in cells
  ]


def _checked(studies: Sequence[Compared]) -> Sequence[Compared]:
  if len(studies) < 2:
    raise Refused('There is one study, and nothing to compare it with: give two or more.')
  names = [study.name for study in studies]
  if len(set(names)) < len(names):
    studies = [study._replace(name=f'{i} {study.name}') for i, study in enumerate(studies, 1)]
  first = studies[0]
  for study in studies[1:]:
    mine, other = _measure(first), _measure(study)
    if mine != other:
      raise Refused(
        f'{first.name} is judged by {mine[0]} and {study.name} by {other[0]}: their effects '
        'have no common unit. Compare those of one metric.'
      )
  effects: dict[tuple, str] = {}
  for study in studies:
    same = tuple((row['claim'], row['effect']) for row in study.claims)
    if same and same in effects and any(effect is not None for _, effect in same):
      raise Refused(
        f'{effects[same]} and {study.name} hold the same results: one study would count twice. '
        'Leave one of them out.'
      )
    effects[same] = study.name
  return studies


def _measure(study: Compared) -> tuple[str, str, bool]:
  metric = study.judged.metric
  if study.loss_only:
    return 'validation loss', 'log', False
  return study.judged.val_title, metric.unit, metric.higher_is_better
