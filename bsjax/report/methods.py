"""methodology.txt: the paragraph on method of a workdir, of one study or of several arms."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from pathlib import Path

from bsjax.config.metrics import judging
from bsjax.plan.arms import FOLDER
from bsjax.report import stored_study
from bsjax.report.text.methodology import Joined, as_text, joined_arms, topics
from bsjax.storage import records

FILE = 'methodology.txt'
_WIDTH = 100


def write(workdir: str | os.PathLike) -> Path:
  """Writes methodology.txt from the files of `workdir` and returns its path.

  Raises:
    FileNotFoundError: the directory holds neither a study nor arms (names what is missing).
  """
  path = Path(workdir) / FILE
  arms = of_arms(path.parent)
  text = as_text(arms) if arms else ' '.join(_topics(stored_study.load(path.parent)).values())
  lines = [
    textwrap.fill(
      line, _WIDTH, subsequent_indent='  ' * line.startswith('- '), break_on_hyphens=False
    )
    for line in text.splitlines()
  ]
  records.write_text(path, '\n'.join(lines) + '\n')
  return path


def of_arms(workdir: Path) -> Joined | None:
  """The methods of the arms of a workdir brought together, or None where it has none.

  Arms that have not started are left out; the order is that of `arms.order` in its config.
  """
  folders = {path.parent.name for path in (workdir / FOLDER).glob('*/records.jsonl')}
  if not folders:
    return None
  config = workdir / 'config.json'
  order = records.read_json(config).get('arms', {}).get('order', []) if config.is_file() else []
  names = [name for name in order if name in folders] or sorted(folders)
  return of_studies({name: stored_study.load(workdir / FOLDER / name) for name in names})


def of_studies(studies: Mapping[str, stored_study.StoredStudy]) -> Joined:
  """The methods of several studies brought together."""
  return joined_arms({name: _topics(study) for name, study in studies.items()})


def _topics(study: stored_study.StoredStudy) -> dict[str, str]:
  with judging(study.judged):
    return topics(study.config, study.plan, study.summary, study.native_cost)
