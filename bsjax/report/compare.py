"""compare.html and compare.md: several studies or audits on one page, and what they say together.

  bsjax compare A B C --out=DIR         or python -m bsjax.report --compare A B C --out=DIR

Each may be the workdir of a finished study or of a study of arms, whose arms then are studies each,
or what `python -m bsjax.audit --out` wrote, whose cells are. Studies are the sample.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from bsjax import cli
from bsjax.analysis.claims.causes import DECISIVE
from bsjax.analysis.claims.claim import Claim, Kind, Question
from bsjax.analysis.claims.conditions import Condition, differences
from bsjax.analysis.claims.pooling import asked, overall, pooled
from bsjax.config.errors import ConfigError
from bsjax.config.metrics import judged, judging
from bsjax.console import printable
from bsjax.report import audit_page, page
from bsjax.report.compared import Compared, Refused, read_all
from bsjax.report.panels import style
from bsjax.report.panels.audit import AuditSource
from bsjax.report.text import audit_answer
from bsjax.report.text.claim_blocks import block
from bsjax.report.text.formats import LOG_POINTS_ARE, units, value_text
from bsjax.report.text.rendered import rendered
from bsjax.stats.estimate import Estimate
from bsjax.storage import records, workdirs

KINDS = (Kind.TREND, Kind.EXPONENT, Kind.AUDIT, Kind.CURVE)  # that may be asked of any study
MOST_KEYS = 60


def write(paths: Sequence[str | Path], out: str | Path) -> Path:
  """Writes compare.html, compare.md and compare.json into a directory; returns the page's path.

  Raises:
    Refused: they cannot be compared.
    FileNotFoundError: one of them holds neither a study nor an audit.
  """
  studies = read_all(paths)
  folder = Path(out).expanduser()
  folder.mkdir(parents=True, exist_ok=True)
  with judging(studies[0].judged):
    result = together(studies)
    context = _context(result, studies)
    records.write_json(folder / 'compare.json', result)
    records.write_text(folder / 'compare.md', page.render('compare.md', **context))
    records.write_text(folder / 'compare.html', page.render('compare.html', **context))
  return folder / 'compare.html'


def together(studies: Sequence[Compared]) -> dict[str, Any]:
  """The content of compare.json: {'answer', 'claims', 'studies', 'differs'}.

  'differs' holds {'key', 'values': one for each study} of what the configurations differ in.
  """
  of_all = pooled([_claims(study) for study in studies], 'studies')
  present = {
    row['confound'] for study in studies for row in study.confounds if row['present'] is True
  }
  codes = {'code': 'cells', 'cells': len(studies), 'best': None, 'over': 'studies'}
  codes |= {'open': [code for code in DECISIVE if code in present], **overall(of_all)}
  said = audit_answer.sentence(codes, studies[0].loss_only)
  keep = 'name', 'answer', 'claims', 'confounds', 'batch_sizes'
  return {
    'answer': said._asdict() | codes,
    'claims': rendered(of_all),
    'studies': [{key: getattr(study, key) for key in keep} for study in studies],
    'differs': _differs(studies),
  }


def _claims(study: Compared) -> list[Claim]:
  """The claims that may be asked of any study, from the rows of a file."""
  return [_claim(row) for row in study.claims if row['kind'] in KINDS]


def _claim(row: Mapping[str, Any]) -> Claim:
  return Claim(
    row['kind'],
    tuple(row['subject']),
    row['quantity'],
    row['budget'],
    Question(**row['question']),
    Estimate(row['effect'], *row['ci95'], n=row['n']),
    row['verdict'],
    unit={unit.name: code for code, unit in units().items()}[row['unit']],
  )


def _differs(studies: Sequence[Compared]) -> list[dict[str, Any]]:
  conditions = [Condition(study.name, study.config, (), ()) for study in studies]
  by_study = differences(conditions)
  keys = sorted({key for changed in by_study.values() for key in changed})
  first = {key: changed[key][0] for changed in by_study.values() for key in changed}
  return [
    {'key': key, 'values': [by_study.get(s.name, {}).get(key, [0, first[key]])[1] for s in studies]}
    for key in keys
  ]


def _context(result: Mapping[str, Any], studies: Sequence[Compared]) -> dict[str, Any]:
  loss_only = studies[0].loss_only
  cells = [{'cell': study.name, 'claims': study.claims} for study in studies]
  source = AuditSource(
    {'cells': cells, 'claims': result['claims'], 'read': {'loss_only': loss_only}}, ()
  )
  known = [row for row in audit_page.in_order(result['claims']) if row['effect'] is not None]
  codes = list(dict.fromkeys(row['confound'] for study in studies for row in study.confounds))
  return {
    'answer': result['answer'],
    'studies': studies,
    'shared': block('', known).notes,
    'log_points': LOG_POINTS_ARE if loss_only else '',
    'value': _value,
    'count': _count,
    'more_keys': max(0, len(result['differs']) - MOST_KEYS),
    'claims': [
      (row, [(study.name, _same(claim, study)) for study in studies])
      for claim, row in zip(known, block('', known).rows, strict=True)
    ],
    'confounds': [
      (audit_answer.NAMES[code], [_present(code, s) for s in studies]) for code in codes
    ],
    'differs': result['differs'][:MOST_KEYS],
    'top': page.figures([audit_page.STUDIES], source, {})[0],
    'spectrum': [style.VALIDATION],
  }


def _value(study: Compared, row: Mapping[str, Any]) -> str:
  """What a batch size reached, of a study or of an audit."""
  if 'value' in row:
    return audit_page.value_text(row['value'], study.loss_only)
  return value_text(row[judged().val]) if judged().val in row else row['reason']


def _count(row: Mapping[str, Any]) -> int:
  return row['trials'] if 'trials' in row else row.get(judged().val, {}).get('n', 0)


def _same(claim: Mapping[str, Any], study: Compared) -> list[Mapping[str, Any]]:
  """The rows of a study that ask what a claim over studies does."""
  return [
    row
    for row in study.claims
    if row['kind'] in KINDS and asked(_claim(row)) == asked(_claim(claim))
  ]


def _present(code: str, study: Compared) -> Any:
  return next((row['present'] for row in study.confounds if row['confound'] == code), None)


def main(argv: list[str]) -> None:
  """The command: the folders of studies or audits, and --out."""
  if not flags.FLAGS.out:
    raise app.UsageError('Say where the page is written: --out=DIR')
  try:
    written = write(argv[1:], workdirs.on_disk(flags.FLAGS.out, '--out'))
  except (ConfigError, FileNotFoundError, records.Damaged, Refused) as error:
    raise SystemExit(printable(f'Error: {error}', sys.stderr.encoding)) from error
  print(printable(str(written), sys.stdout.encoding))


def define_flags() -> None:
  flags.DEFINE_string('out', None, 'Where compare.html, compare.md and compare.json are written.')


if __name__ == '__main__':
  define_flags()
  app.run(main, flags_parser=cli.parse_flags)
