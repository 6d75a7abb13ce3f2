"""The one sentence of an audit, what backs it, and what would change it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.claims.claim import UNDETERMINED
from bsjax.config.metrics import judged
from bsjax.format import joined
from bsjax.report.text.answer import CONFOUNDS, EXPLAINS, Answer
from bsjax.report.text.claim_blocks import verdict_text

NAMES = CONFOUNDS | {
  'undertrained': 'training that was cut off early',
  'too_few_trials': 'too few trials',
  'dropped_examples': 'examples dropped at the end of each epoch',
  'winners_curse': 'the best of several, reported on what chose it',
  'time_scales': 'warm-up, decays and averages not held in examples',
  'budget_in_epochs': 'a budget in epochs only',
  'metric_smoothed': 'a smoothed metric',
  'test_set_used': 'test data used to choose',
  'training_mode_metric': 'a training metric taken in training mode',
}
MOST_TOLD = 6  # claims on the first screen
MOST_LOG = 700.0  # of which there is still an exponential
# Where a difference is mostly gone that a cause explains.
_WITHOUT = {
  'unequal_updates': 'At equal updates',
  'stale_batch_norm': 'With statistics estimated afresh',
}
_BETTER = {'smaller': 'Smaller batches do better', 'larger': 'Larger batches do better'}


def sentence(answer: Mapping[str, Any], loss_only: bool) -> Answer:
  """Headline, detail and remarks of an answer in codes."""
  code, size = answer['code'], answer['best']
  what = 'validation loss' if loss_only else judged().val_title
  if code == 'cells':
    return _of_cells(answer, what, loss_only)
  if code == 'nothing_to_compare':
    return Answer('The batch sizes cannot be compared.', _whole(answer['why']), [])
  if code == 'one_trial':
    detail = (
      f'The best is that of batch size {size}. One run of each has no spread, so none of the '
    )
    detail += 'differences can be told from luck: repeat each batch size at least three times.'
    return Answer('One run of each cannot tell the batch sizes apart.', detail, [])
  if code in ('equivalent', 'undetermined'):
    return _not_shown(answer, what, loss_only)
  if answer['running']:
    start = _BETTER[answer['better']]
    headline = f'{start} with running BatchNorm statistics only, which are stale.'
    detail = 'With statistics estimated afresh, no difference between batch sizes is shown.'
    return Answer(headline, detail, [])
  shown = _shown(answer)
  detail = (
    f'{_told(answer, what, loss_only)} This holds for all pairs and the trend at once, at 95%.'
  )
  if answer['causes']:
    for cause in answer['causes']:
      if cause in _WITHOUT:
        detail += f' {_WITHOUT[cause]} less than half of the difference is left.'
    headline = f'{shown}, and {joined(EXPLAINS[code] for code in answer["causes"])} it.'
  elif answer['open']:
    headline = f'{shown}, but {joined([NAMES[code] for code in answer["open"]], "or")} may be why.'
  else:
    headline = f'{shown}.'
  return Answer(headline, detail, _remarks(answer))


def _shown(answer: Mapping[str, Any]) -> str:
  best, beaten, level = answer['best'], answer['beaten'], answer['level']
  if not beaten:
    return f'{_BETTER[answer["better"]]} at equal epochs'
  if level:
    return f'Batch size {best} beats {joined(beaten)}, not {joined(level, "or")}'
  return f'Batch size {best} does best'


def _told(answer: Mapping[str, Any], what: str, loss_only: bool) -> str:
  best, beaten, level = answer['best'], answer['beaten'], answer['level']
  unit = _unit(loss_only)
  if not beaten:
    return (
      f'{what[0].upper()}{what[1:]} changes by {_slope(answer, loss_only)} per doubling of the '
      f'batch size; no two batch sizes are told apart (the best mean is that of {best}).'
    )
  # Of losses they are differences of minus their logarithms, the best's less another's.
  low, high = (_two_digits(-_percent(-x) if loss_only else 100 * x) for x in answer['by'])
  by = f'{low}{unit}' if low == high else f'{low} to {high}{unit}'
  side = 'below' if loss_only else 'above'
  text = f'At equal epochs, batch size {best} is {by} {side} {joined(beaten)} in {what}'
  return f'{text}; no difference from {joined(level)} is shown.' if level else f'{text}.'


def _slope(answer: Mapping[str, Any], loss_only: bool) -> str:
  """'-0.31 [-0.38, -0.24] percentage points'."""
  scale = 100 if judged().metric.percent else 1
  value, low, high = (
    None if x is None else _two_digits(_percent(x) if loss_only else scale * x, '+')
    for x in answer['slope']
  )
  interval = '' if None in (low, high) else f' [{low}, {high}]'
  return f'{value}{interval}{_unit(loss_only)}'


def _percent(log: float) -> float:
  """The change of a loss in percent, of that of its logarithm."""
  return 100 * math.expm1(min(log, MOST_LOG))


def _two_digits(value: float, sign: str = '') -> str:
  return f'{float(f"{value:.2g}"):{sign}g}'


def _unit(loss_only: bool) -> str:
  return '%' if loss_only else judged().of_points


def _not_shown(answer: Mapping[str, Any], what: str, loss_only: bool) -> Answer:
  largest = answer['largest']
  bound = ''
  if largest is not None:
    number = _percent(largest) if loss_only else 100 * largest
    bound = f'{_two_digits(number)}{_unit(loss_only)}'
  if answer['code'] == 'equivalent':
    detail = f'At equal epochs no two of them differ by more than {bound} in {what}, '
    detail += 'at 95% for all pairs at once.'
    return Answer(f'The batch sizes are equivalent, within {bound}.', detail, _hiding(answer))
  detail = f'The best mean is that of batch size {answer["best"]}.'
  if bound:
    detail += (
      f' Differences of up to {bound} in {what} are not ruled out: this does not show that '
      'there is none.'
    )
  return Answer('No batch size is shown to be better.', detail, _hiding(answer))


def _of_cells(answer: Mapping[str, Any], what: str, loss_only: bool) -> Answer:
  over = answer.get('over', 'cells')
  cells, better = f'{answer["cells"]} {over}', answer['better']
  start = f'{_BETTER[better]} at equal epochs' if better else 'No trend with batch size is shown'
  headline = f'{start}, over {cells}.'
  if better and answer['open']:
    named = joined([NAMES[code] for code in answer['open']], 'or')
    headline = f'{start}, over {cells}; in some {named} may be why.'
  slope = ''
  if answer['slope'][0] is not None:
    change = _slope(answer, loss_only)
    slope = f'{what[0].upper()}{what[1:]} changes by {change} per doubling of the batch size. '
  detail = (
    f'{slope}{answer["shown"]} of {answer["asked"]} claims over the {over} '
    f'{"is" if answer["shown"] == 1 else "are"} decided. '
    f'{over.capitalize()} are the sample: what is shown is shown of {over} like these.'
  )
  return Answer(headline, detail, [])


def decided(claims: Sequence[Mapping[str, Any]]) -> list[str]:
  """What of claims over cells, as they are rendered, is decided: which, how, and by how much."""
  told = [claim for claim in claims if claim['verdict'] != UNDETERMINED]
  return [verdict_text(claim) for claim in told[:MOST_TOLD]]


def _remarks(answer: Mapping[str, Any]) -> list[str]:
  remarks = []
  if answer['unknown']:
    remarks.append(f'Not ruled out as a cause of the difference: {_named(answer["unknown"])}.')
  if answer['ruled_out']:
    remarks.append(f'Shown not to be the cause of the difference: {_named(answer["ruled_out"])}.')
  return remarks


def _hiding(answer: Mapping[str, Any]) -> list[str]:
  """What may hide a difference, or make one that is not of the batch size."""
  return (
    [f'May hide a difference, or make one: {_named(answer["open"])}.'] if answer['open'] else []
  )


def _named(codes: Sequence[str]) -> str:
  return joined(NAMES[code] for code in codes)


def _whole(text: str) -> str:
  return f'{text[0].upper()}{text[1:]}.' if text else ''
