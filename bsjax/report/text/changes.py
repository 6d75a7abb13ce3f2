"""What would change an answer: what settles the confounds that are open, and more trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.claims.causes import (
  DECISIVE,
  EDGE,
  RATES,
  STALE,
  UNDERTRAINED,
  UNKNOWN,
  UPDATES,
)
from bsjax.analysis.claims.claim import SUPPORTED, UNDETERMINED, Kind
from bsjax.config.metrics import judged
from bsjax.report.text.formats import count

REMEDIES = {
  RATES: 'try three or more learning rates at every batch size',
  EDGE: 'widen the grid of learning rates beyond the best one',
  STALE: 're-estimate the BatchNorm statistics before each evaluation',
  UNDERTRAINED: 'train until the slowest batch size has stopped gaining',
  UPDATES: 'run the larger batches for as many updates as the smallest',
}
_SPREAD = 'Repeat each batch size at least three times: one run has no spread.'

Rows = Sequence[Mapping[str, Any]]


def of_audit(answer: Mapping[str, Any], confounds: Rows) -> list[str]:
  """Of an audit's answer: the remedies of what it says is open."""
  open_ = [*answer['open'], *answer['unknown']]
  wanted = _remedies(open_)
  for row in confounds if answer['code'] != 'equivalent' else ():
    if row['confound'] == 'too_few_trials' and row['present'] is True:
      wanted.append(f'Run more trials: {row["evidence"][0].lower()}{row["evidence"][1:]}')
  return wanted


def of_study(summary: Mapping[str, Any]) -> list[str]:
  """Of a study's summary: the same, with the trials that would show the trend that was found."""
  wanted = _remedies(
    row['confound']
    for row in summary['confounds']
    if row['explains'] == UNKNOWN or (row['present'] is True and row['confound'] in DECISIVE)
  )
  trials = [row[judged().val]['n'] for row in summary['batch_sizes'] if judged().val in row]
  if trials and max(trials) < 2:
    return [*wanted, _SPREAD]
  return wanted + _more_trials(summary['claims'])


def _remedies(codes: Any) -> list[str]:
  codes = set(codes)
  return [f'{text[0].upper()}{text[1:]}.' for code, text in REMEDIES.items() if code in codes]


def _more_trials(claims: Rows) -> list[str]:
  """How many trials would tell, where neither the trend at equal epochs nor a pair is shown.

  That two batch sizes are alike shows none.
  """
  pairs = [c for c in claims if c['kind'] == Kind.PAIR and c['question']['margin'] is None]
  if any(claim['verdict'] == SUPPORTED for claim in pairs):
    return []
  for claim in claims:
    asked = (claim['kind'], claim['budget'], claim['quantity'], claim['verdict'])
    if asked == (Kind.TREND, 'epochs', judged().val, UNDETERMINED):
      for reason in claim['reasons']:
        if reason['code'] == 'contains_zero':
          return [
            f'Run more trials: with the spread of these {claim["n"]}, {count(reason["trials"])} '
            'in all would show a trend as large as the one found.'
          ]
  return []
