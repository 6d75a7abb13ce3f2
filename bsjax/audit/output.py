"""What an audit leaves: audit.json, the page, audit.md and CSVs; and the table that is printed."""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from bsjax.audit.judgement import Cell, Judged
from bsjax.report import audit_page
from bsjax.report.panels.audit import AuditSource
from bsjax.report.text import audit_answer
from bsjax.report.text.changes import of_audit
from bsjax.report.text.claim_blocks import effect_text
from bsjax.report.text.reasons import full_sentence
from bsjax.report.text.rendered import rendered
from bsjax.storage import records

_CSVS = 'claims', 'confounds', 'batch_sizes'
_LIBRARIES = 'bsjax', 'numpy', 'scipy', 'pandas'


class Audit:
  """What stands on somebody's curves; `result` is the content of audit.json."""

  def __init__(self, judged: Judged):
    self.judged = judged

  @cached_property
  def result(self) -> dict[str, Any]:
    """Plain values: answer, claims, confounds, batch sizes, recommendation, what was read and how.

    Of several cells the claims and confounds are those over cells, and 'cells' holds those of each.
    """
    judged, cells = self.judged, [self._cell(cell) for cell in self.judged.cells]
    confounds = rendered(judged.confounds)
    single = cells[0] if len(cells) == 1 else None
    claims = rendered(judged.claims)
    answer = self._answer(judged.answer, confounds)
    if not single:
      answer['remarks'] += audit_answer.decided(claims)
    return {
      'answer': answer,
      'claims': claims,
      'confounds': confounds,
      'recommendation': single['recommendation'] if single else [],
      'batch_sizes': single['batch_sizes'] if single else [],
      'cells': [] if single else cells,
      'read': {
        'files': judged.files,
        'runs': sum(len(s.lanes) for c in judged.cells for t in c.given.tried.values() for s in t),
        'train_examples': judged.facts.train_examples,
        'loss_only': judged.loss_only,
        'notes': [f'{text[0].upper()}{text[1:]}.' for text in rendered(judged.notes)],
      },
      'versions': {name: version(name) for name in _LIBRARIES},
    }

  def _answer(self, found: Any, confounds: list[dict[str, Any]]) -> dict[str, Any]:
    codes = rendered(found)
    said = audit_answer.sentence(codes, self.judged.loss_only)
    change = of_audit(codes, confounds)
    careful = [note for note in self.judged.notes if note.code == 'other_settings']
    remarks = [*said.remarks, *map(full_sentence, careful)]
    return said._asdict() | {'remarks': remarks, 'changes': change} | codes

  def _cell(self, cell: Cell) -> dict[str, Any]:
    confounds = rendered(cell.confounds)
    rows = cell.rows
    if not self.judged.rate_given:
      rows = [row | {'learning_rate': None} for row in rows]
    return {
      'cell': cell.name,
      'answer': self._answer(cell.answer, confounds),
      'claims': rendered(cell.claims),
      'confounds': confounds,
      'recommendation': self._goals(cell),
      'batch_sizes': rendered(rows),
    }

  def _goals(self, cell: Cell) -> list[dict[str, Any]]:
    goals = rendered(cell.recommendation)
    return goals if self.judged.rate_given else [g | {'learning_rate': None} for g in goals]

  def write(self, out: str | Path) -> Path:
    """Writes all files into a directory and returns the path of the page."""
    folder = Path(out).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    records.write_json(folder / 'audit.json', self.result)
    for name in _CSVS:
      self._frame(name).to_csv(folder / f'{name}.csv', index=False)
    source = AuditSource(self.result, [cell.given for cell in self.judged.cells])
    records.write_text(folder / 'audit.md', audit_page.markdown(self.result))
    page = folder / 'audit.html'
    records.write_text(page, audit_page.render(self.result, source))
    return page

  def _frame(self, name: str) -> pd.DataFrame:
    """The rows of a table, those of all cells with their name."""
    result = self.result
    parts = [{'cell': 'all', **row} for row in result[name]]
    parts += [{'cell': cell['cell'], **row} for cell in result['cells'] for row in cell[name]]
    flat = [{key: value for key, value in row.items() if not isinstance(value, dict | list)}
            | _ends(row) for row in parts]  # fmt: skip
    return pd.DataFrame(flat)

  def table(self) -> Group:
    """What is printed: the answer, then claims and confounds."""
    answer = self.result['answer']
    said = Text(answer['headline'], style='bold')
    parts = [
      said,
      Text(answer['detail']),
      *(Text(f'- {x}') for x in answer['changes']),
      _claims(self),
    ]
    confounds = Table(
      box=box.SIMPLE_HEAD, pad_edge=False, title='What else may make the difference'
    )
    for column in ('confound', 'present', 'evidence'):
      confounds.add_column(column)
    for row in self.result['confounds']:
      present = {True: 'yes', False: 'no'}.get(row['present'], row['present'])
      confounds.add_row(audit_answer.NAMES[row['confound']], present, row['evidence'])
    notes = [Text(note, style='dim') for note in self.result['read']['notes']]
    return Group(*parts, confounds, *notes)


def _claims(audit: Audit) -> Table:
  table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title='Claims')
  for column in ('verdict', 'claim', 'effect, interval', 'n'):
    table.add_column(column)
  for row in audit_page.in_order(audit.result['claims']):
    table.add_row(row['verdict'], row['claim'], effect_text(row), str(row['n']))
  return table


def _ends(row: dict[str, Any]) -> dict[str, Any]:
  """The ends of an interval, or of those of estimates, as columns of their own."""
  flat = {}
  if 'ci95' in row:
    flat |= dict(zip(('low', 'high'), row['ci95'], strict=True))
  for name, value in row.items():
    if isinstance(value, dict) and 'mean' in value:
      low, high = value['ci95']
      flat |= {name: value['mean'], f'{name}_low': low, f'{name}_high': high}
  return flat
