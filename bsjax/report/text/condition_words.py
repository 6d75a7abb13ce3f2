"""What a comparison of conditions says, in sentences that claim no more than the intervals show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.claims.claim import REFUTED, SUPPORTED
from bsjax.analysis.claims.condition_contrasts import POOLED
from bsjax.analysis.runs.histories import Row
from bsjax.config.metrics import judged
from bsjax.format import by_reason, joined, sizes_text
from bsjax.report.text.answer import Answer
from bsjax.report.text.claim_blocks import effect_text
from bsjax.report.text.formats import margin_number, points_of

MOST_TOLD = 3  # pairs, in a sentence
UNDECIDED = 'No condition is shown to be better.'


def condition_answer(compared: Mapping[str, Any]) -> Answer:
  """The answer to 'which condition?' by the validation metric at equal examples.

  It rests on the contrasts pooled over batch sizes, whose intervals hold for all pairs at once.
  """
  rows = pooled(compared)
  known = [row for row in rows if row['effect'] is not None]
  remarks = _remarks(compared, rows)
  if len(compared['names']) < 2:
    return Answer('There is one condition, and nothing to compare it with.', '', remarks)
  if not known:
    detail = 'No two of them have a value in every trial of a batch size that they share.'
    return Answer('The conditions cannot be compared.', detail, remarks)
  if max(row['n'] for row in known) < 2:
    detail = 'One trial has no spread, so no difference can be shown.'
    return Answer('One trial cannot tell the conditions apart.', detail, remarks)
  lead = compared['baseline'] if compared['pairs'] != 'all' else _best(compared['names'], known)
  headline = (_of_best if compared['pairs'] == 'all' else _of_baseline)(
    lead, compared['names'], known
  )
  return Answer(headline, _detail(compared, known, lead), remarks)


def pooled(compared: Mapping[str, Any], quantity: str = '', clock: str = 'examples') -> list[Row]:
  """The contrasts that are averaged over batch sizes, one row per pair.

  They are those of a quantity, by default the validation metric, at a clock.
  """
  place = POOLED, quantity or judged().val, clock
  return [
    row
    for row in compared['contrasts']
    if (row['batch_size'], row['quantity'], row['clock']) == place
  ]


def _beats(rows: Sequence[Row]) -> set[tuple[str, str]]:
  """(better, worse) for every pair that is told apart."""
  sides = {SUPPORTED: ('second', 'first'), REFUTED: ('first', 'second')}
  keys = [(row, sides[row['verdict']]) for row in rows if row['verdict'] in sides]
  return {(row[better], row[worse]) for row, (better, worse) in keys}


def _best(names: Sequence[str], rows: Sequence[Row]) -> str:
  """The condition whose mean is above most others; of several, by the sum of its differences.

  Not by its own mean: conditions need not share all of their batch sizes.
  """
  merit: dict[str, tuple[int, float]] = {}
  for row in rows:
    second = judged().metric.merit(row['effect'])
    for name, effect in ((row['second'], second), (row['first'], -second)):
      wins, total = merit.get(name, (0, 0.0))
      merit[name] = wins + (effect > 0), total + effect
  return max(merit, key=lambda name: (*merit[name], -names.index(name)))


def _of_best(best: str, names: Sequence[str], rows: Sequence[Row]) -> str:
  """The headline where all pairs are compared."""
  beats = _beats(rows)
  compared = [name for name in names if any(name in (row['first'], row['second']) for row in rows)]
  others = [name for name in compared if name != best]
  beaten = [name for name in others if (best, name) in beats]
  level = [name for name in others if name not in beaten]
  if not level:
    return f'{best} does best' + ('.' if len(compared) == len(names) else ' of those compared.')
  if beaten and len(level) > MOST_TOLD:
    return f'{best} beats {joined(beaten)}; the other {len(level)} are not told apart from it.'
  if beaten:
    return f'{best} beats {joined(beaten)}, not {joined(level, "or")}.'
  if beats:
    told = [f'{better} beats {worse}' for better, worse in sorted(beats)[:MOST_TOLD]]
    return f'{joined(told)}; none is shown to be best.'
  alike = [row['equivalent'] for row in rows]
  if all(each and each['verdict'] == SUPPORTED for each in alike):
    margin = margin_number(alike[0]['margin'])
    return f'{joined(compared)} differ by less than {margin}{points_of()}.'
  return UNDECIDED


def _of_baseline(baseline: str, _: Sequence[str], rows: Sequence[Row]) -> str:
  """The headline where each condition is compared with the baseline only."""
  beats = _beats(rows)
  better = [better for better, worse in sorted(beats) if worse == baseline]
  worse = [worse for better, worse in sorted(beats) if better == baseline]
  if not better and not worse:
    return f'None is shown to differ from {baseline}.'
  texts = []
  if better:
    texts.append(f'{joined(better)} beat{"s" * (len(better) == 1)} {baseline}')
  if worse:
    texts.append(f'{baseline} beats {joined(worse)}')
  return '; '.join(texts) + '.'


def _detail(compared: Mapping[str, Any], rows: Sequence[Row], lead: str) -> str:
  family = 'all pairs' if compared['pairs'] == 'all' else 'all comparisons with the baseline'
  counts = sorted({row['n'] for row in rows})
  text = (
    f'{judged().val_title.capitalize()} at equal examples, compared within trials and averaged '
    f'over the batch sizes that two share, at 95% for {family} at once '
    f'(n = {joined(counts, "to")}): {_told(rows, lead)}.'
  )
  updates = [row for row in pooled(compared, clock='updates') if row['effect'] is not None]
  return f'{text} At equal updates: {_told(updates, lead)}.' if updates else text


def _told(rows: Sequence[Row], lead: str) -> str:
  """The largest differences of the leading condition to others, or if it has none, of any."""
  of_lead = [row for row in rows if lead in (row['first'], row['second'])] or rows
  told = sorted(of_lead, key=lambda row: -abs(row['effect']))[:MOST_TOLD]
  more = len(of_lead) - len(told)
  return joined(_less(row, lead) for row in told) + (f', and {more} more below' if more else '')


def _less(row: Row, lead: str) -> str:
  if row['first'] != lead:
    return f'{row["second"]} less {row["first"]} {effect_text(row)}'
  low, high = row['ci95']
  ends = [None if end is None else -end for end in (high, low)]
  return (
    f'{lead} less {row["second"]} {effect_text({**row, "effect": -row["effect"], "ci95": ends})}'
  )


def _remarks(compared: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
  """The conditions without a result, and where statistics of BatchNorm turn a verdict."""
  remarks = []
  for name in compared['names']:
    reasons = {
      row['batch_size']: row['reason'] for row in compared['failed'] if row['condition'] == name
    }
    remarks += [f'{name} has no result at {line}.' for line in by_reason(reasons)]
  known = [row for row in compared['table'] if 'reason' not in row]
  for key, text in (
    (
      'at_grid_edge',
      'The best learning rate is at the edge of the grid, so a better may lie outside: {}.',
    ),
    ('note', 'Only one learning rate was tried, so a difference may be one of tuning: {}.'),
  ):
    where: dict[str, list[int]] = {}
    for row in known:
      if row.get(key):
        where.setdefault(row['condition'], []).append(row['batch_size'])
    if where:
      told = joined(f'{name} at {sizes_text(sizes)}' for name, sizes in where.items())
      if all(row.get(key) for row in known):
        told = 'this holds for every condition and batch size'
      remarks.append(text.format(told))
  apart = [f'{row["second"]} and {row["first"]}' for row in rows if row['effect'] is None]
  if apart:
    remarks.append(f'Not compared, for want of a batch size with both: {joined(apart)}.')
  return remarks
