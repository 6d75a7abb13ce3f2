"""The report's headline, the sentence behind it, and remarks; none claims more than is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bsjax.analysis.claims import causes
from bsjax.analysis.claims.claim import REFUTED, SUPPORTED, UNDETERMINED, Kind, better, worse
from bsjax.analysis.runs.histories import Row
from bsjax.config.metrics import judged
from bsjax.format import joined
from bsjax.report.text import decision
from bsjax.report.text.dropped import remarks as dropped
from bsjax.report.text.formats import change, reached
from bsjax.report.text.remarks import limits, of_results, rare_classes
from bsjax.report.text.words import selection

UNDECIDED = 'No batch size is shown to be better.'
INCOMPARABLE = 'The batch sizes cannot be compared.'
# What a confound is called, and of those that runs can tell to be the cause, with the verb.
CONFOUNDS = {
  causes.UPDATES: 'the number of updates',
  causes.RATES: 'a learning rate that was not tuned',
  causes.EDGE: 'a learning rate at the edge of the grid',
  causes.STALE: 'stale BatchNorm statistics',
  'momentum_time_scale': 'momentum over other numbers of examples',
  'b1_time_scale': 'an average of gradients over other numbers of examples',
  'b2_time_scale': 'a second moment over other numbers of examples',
  causes.WEIGHT_DECAY: 'a weight decay over other numbers of examples',
}
AT_UPDATES = {
  SUPPORTED: 'smaller batches do better',
  REFUTED: 'larger batches do better',
  UNDETERMINED: 'neither smaller nor larger batches are shown to do better',
}
EXPLAINS = {
  causes.UPDATES: 'the number of updates explains',
  causes.STALE: 'stale BatchNorm statistics explain',
}


class Answer(NamedTuple):
  """A headline, the sentence that backs it, and what to keep in mind."""

  headline: str
  detail: str
  remarks: list[str]


def answer(summary: Mapping[str, Any], brief: bool = False) -> Answer:
  """The answer to 'which batch size?' by the validation metric.

  It rests on the claims 'batch size X beats Y' and on the trend, with intervals that hold for all
  at once, and with BatchNorm by both kinds of statistics. What explains it, as far as the runs can
  tell, stands in it. `brief` leaves out what a page has beside its results: how these are read, and
  the noise scale.
  """
  answered = _answer(summary, brief)
  if 'decision' in summary:
    answered = _decided(summary, answered)
  remarks = [*limits(summary), *rare_classes(summary), *dropped(summary), *answered.remarks]
  if 'branch' not in summary:
    return answered._replace(remarks=remarks)
  headline = answered.headline[0].lower() + answered.headline[1:]
  return Answer(f'In the branch {summary["branch"]}, {headline}', answered.detail, remarks)


def _decided(summary: Mapping[str, Any], found: Answer) -> Answer:
  """The answer to the question that rounds were planned for, in the place of that to the usual one.

  Causes are those of a difference: they are told only where the question has found one.
  """
  asked, open_causes = summary['decision'], _open_causes(summary['confounds'])
  headline, differs = decision.headline(asked), asked['differs']
  if differs and asked['decided']:
    headline = _explained(headline, summary['confounds'], 'the difference')
  others = [remark for remark in found.remarks if remark not in open_causes]
  remarks = [*open_causes, *others] if differs else others
  return Answer(headline, decision.detail(asked), remarks)


def _answer(summary: Mapping[str, Any], brief: bool) -> Answer:
  remarks = of_results(summary['batch_sizes'], brief)
  rows = [row for row in summary['batch_sizes'] if row['learning_rate'] is not None]
  if not rows:
    detail = 'None has a learning rate at which every trial reached the end.'
    return Answer('No batch size has a result.', detail, remarks)
  best = max(rows, key=lambda row: judged().metric.merit(row[judged().val]['mean']))
  size, final = best['batch_size'], best[judged().val]
  how = [] if brief else selection(rows)
  if len(rows) == 1:
    detail = ' '.join([f'At learning rate {best["learning_rate"]:.4g}, n = {final["n"]}.', *how])
    remarks.insert(0, 'Only one batch size has a result, so there is nothing to compare it with.')
    return Answer(f'Batch size {size} reaches {reached(final)}.', detail, remarks)
  if final['n'] < 2:
    first = f'The {judged().best_mean} mean is that of batch size {size}: {reached(final)}'
    detail = f'{first}. One trial has no spread, so no difference can be shown.'
    detail = ' '.join([detail, *how])
    return Answer('One trial cannot tell the batch sizes apart.', detail, remarks)
  headline, text = _compare(rows, summary['claims'])
  better, trend = _trend(summary['claims'])
  if better and headline == UNDECIDED:
    headline = f'{better} batches do better at equal epochs; no two are told apart.'
  shown = headline not in (UNDECIDED, INCOMPARABLE)
  if shown:
    headline = _qualified(headline, summary['confounds'])
    remarks = [*_open_causes(summary['confounds']), *remarks]
  return Answer(headline, ' '.join(filter(None, (text, trend, *how))), remarks)


def _qualified(headline: str, confounds: Sequence[Mapping[str, Any]]) -> str:
  """The headline with what limits it and what explains it."""
  by_code = {row['confound']: row for row in confounds}
  if any(by_code[code]['present'] is True for code in (causes.RATES, causes.EDGE)):
    headline = f'At the rates tried, {headline[0].lower()}{headline[1:]}'
  return _explained(headline, confounds)


def _explained(headline: str, confounds: Sequence[Mapping[str, Any]], what: str = 'it') -> str:
  explained = [EXPLAINS[row['confound']] for row in confounds if row['explains'] is True]
  return f'{headline[:-1]}; {joined(explained)} {what}.' if explained else headline


def _open_causes(confounds: Sequence[Mapping[str, Any]]) -> list[str]:
  """What may explain the difference, and what was ruled out by the runs."""
  unknown = [CONFOUNDS[row['confound']] for row in confounds if row['explains'] == causes.UNKNOWN]
  ruled_out = [
    CONFOUNDS[row['confound']] for row in confounds if row['present'] and row['explains'] is False
  ]
  remarks = []
  if unknown:
    remarks.append(f'Not ruled out as a cause of the difference: {joined(unknown)}.')
  if ruled_out:
    remarks.append(f'Shown not to be the cause of the difference: {joined(ruled_out)}.')
  return remarks


def _trend(claims: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
  """'Smaller' or 'Larger' if the metric is shown to go with batch size, and a sentence on it."""
  asked = Kind.TREND, judged().val, worse().side
  by_budget = {
    claim['budget']: claim
    for claim in claims
    if (claim['kind'], claim['quantity'], claim['question']['side']) == asked
  }
  at_epochs, at_updates = by_budget.get('epochs'), by_budget.get('updates')
  if not at_epochs or at_epochs['verdict'] not in (SUPPORTED, REFUTED):
    return '', ''
  better = 'Smaller' if at_epochs['verdict'] == SUPPORTED else 'Larger'
  effect, low, high = (change(x) for x in (at_epochs['effect'], *at_epochs['ci95']))
  text = (
    f'At equal epochs {judged().val_title} changes by {effect} [{low}, {high}]'
    f'{judged().of_points} per doubling of the batch size'
  )
  if at_updates:
    text += f'; at equal updates {AT_UPDATES[at_updates["verdict"]]}'
  return better, f'{text}.'


def _verdicts(claims: Sequence[Mapping[str, Any]]) -> dict[tuple[int, int], str]:
  """(best, other) -> the verdict that the best beats the other."""
  return {
    tuple(claim['subject']): claim['verdict']
    for claim in claims
    if (claim['kind'], claim['question']['side']) == (Kind.PAIR, better().side)
  }


def _compare(rows: Sequence[Row], claims: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
  """Headline and detail where several batch sizes have results of several trials."""
  if not (verdicts := _verdicts(claims)):
    return INCOMPARABLE, 'Fewer than two of them have a value for every trial.'
  size = next(iter(verdicts))[0]
  beaten = [other for (_, other), verdict in verdicts.items() if verdict == SUPPORTED]
  level = [other for (_, other), verdict in verdicts.items() if verdict != SUPPORTED]
  best = next(row for row in rows if row['batch_size'] == size)[judged().val]
  text = f'At equal epochs the {judged().best_mean} mean is that of batch size {size}: '
  text += f'{reached(best)} (95% interval).'
  shown = [f'it is shown to be {better().side} {joined(beaten)}'] if beaten else []
  shown += [f'no difference from {joined(level)} is shown'] if level else []
  text += f' At 95% for all pairs and the trend at once, {"; ".join(shown)}'
  text += f' (n = {best["n"]}).'
  apart = {row['batch_size'] for row in rows} - {size, *beaten, *level}
  if apart:
    text += f' Not compared, for want of a value in every trial: {joined(sorted(apart))}.'
  if (bound := _largest(claims, level)) is not None:
    these = 'this one' if len(level) == 1 else 'these'
    text += f' From {these} it may still differ by up to {bound:.2g}{judged().of_points}.'
  return _headline(size, beaten, level), text


def _headline(size: int, beaten: Sequence[int], level: Sequence[int]) -> str:
  if not beaten:
    return UNDECIDED
  if not level:
    return f'Batch size {size} does best.'
  return f'Batch size {size} beats {joined(beaten)}, not {joined(level, "or")}.'


def _largest(claims: Sequence[Mapping[str, Any]], level: Sequence[int]) -> float | None:
  """The largest difference that their intervals leave between the best and any of these."""
  ends = [
    end
    for claim in claims
    if (claim['kind'], claim['question']['side']) == (Kind.PAIR, better().side)
    and claim['subject'][1] in level
    for end in (*claim['ci95'], *claim['ci95_interpolation'])
  ]
  if not ends or None in ends:
    return None
  return (100 if judged().metric.percent else 1) * max(map(abs, ends))
