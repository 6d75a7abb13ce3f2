"""The words of a question that rounds are to decide: answer, cost, what more it would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.claims.claim import REFUTED, SUPPORTED, worse
from bsjax.analysis.runs.histories import Row
from bsjax.config.decide_keys import BEST, BEST_RATE, CRITICAL, EQUIVALENT, TREND
from bsjax.config.metrics import judged
from bsjax.format import joined, number
from bsjax.report.text.formats import change, margin_text

ASKED = {
  BEST: 'which batch size is best',
  EQUIVALENT: 'whether two batch sizes are equivalent',
  TREND: 'whether results change with batch size',
  BEST_RATE: 'where the best learning rates lie',
  CRITICAL: 'where larger batches stop paying (the critical batch size)',
}
WHY = {
  'first': 'the grid of the config',
  'rates': 'learning rates',
  'trials': 'trials',
  'sizes': 'a batch size',
}
STATES = {
  'decided': 'decided',
  'open': 'the next round is yet to come',
  'budget': 'the next round would take more than the budget leaves',
  'most_trials': 'no setting may have more trials',
  'no_rates': 'what is left open has no learning rate to go on with',
}


def headline(decision: Mapping[str, Any]) -> str:
  """The answer in the words of the question, or what keeps it open."""
  of_kind = {BEST: _best, EQUIVALENT: _equivalent, TREND: _trend}
  of_kind |= {BEST_RATE: _rates, CRITICAL: _critical}
  said = of_kind[decision['kind']](decision)
  if decision['decided']:
    return f'{said[0].upper()}{said[1:]}.'
  return f'Not decided: {said or _nothing(decision)}.'


def _nothing(decision: Mapping[str, Any]) -> str:
  """Why no round has said anything."""
  if all(one['error'] is None for one in decision['rounds']):
    return 'there was no look at the question yet'
  return _unread(decision, decision['sizes']) or 'no batch sizes could be compared'


def _unread(decision: Mapping[str, Any], sizes: Sequence[int]) -> str:
  """Which of these batch sizes have no best learning rate that looks could take."""
  states: dict[str, str] = {}
  for one in decision['rounds']:
    states |= one['rates']
  lost = [size for size in sizes if states.get(str(size), 'bracketed') != 'bracketed']
  return f'no learning rate of {joined(lost)} is surrounded by worse ones' if lost else ''


def detail(decision: Mapping[str, Any]) -> str:
  """What was asked, what the rounds took, with what error, and what a decision would take."""
  rounds, margin = decision['rounds'], margin_clause(decision)
  seconds = [one['seconds'] for one in rounds if one['seconds']]
  took = f'{len(rounds)} round{"s" * (len(rounds) > 1)}, {sum(r["lanes"] for r in rounds)} runs, '
  took += f'{number(sum(one["lane_examples"] for one in rounds))} examples'
  part = '' if len(seconds) == len(rounds) else f' for {len(seconds)} of the rounds'
  took += f', {number(sum(seconds) / 60)} minutes{part}' if seconds else ''
  text = f'Asked: {ASKED[decision["kind"]]}, where {margin}. It took {took}. Intervals are those '
  text += 'of repeated looks: what is said at any of them, all together, is wrong in at most '
  text += f'{100 * decision["error"]:g}% of studies.'
  return text if decision['decided'] else f'{text} {more(decision)}'


def more(decision: Mapping[str, Any]) -> str:
  """Why no further round is there, and a bound on what a decision would take."""
  bound, text = decision['next'], STATES[decision['state']]
  text = f'{text[0].upper()}{text[1:]}'
  if bound['most_trials_needed'] is None:
    return f'{text}; what a decision would take is not known.'
  return (
    f'{text}. At most {bound["most_trials_needed"]} trials in all of each setting that is left, '
    f'{number(bound["most_examples_needed"])} examples more, would decide it if the means stay '
    'where they are: a bound, from the upper end of what the spread may be.'
  )


def margin_clause(decision: Mapping[str, Any]) -> str:
  if decision['kind'] == CRITICAL:
    return f'a factor of {decision["margin"]:g} between the ends of its interval does not matter'
  if decision['kind'] == BEST_RATE:
    return f'a factor of {decision["margin"]:g} does not matter'
  return f'less than {margin_text(decision["margin"])} does not matter'


def _best(decision: Mapping[str, Any]) -> str:
  best = decision['best']
  if best is None:
    return ''
  of_state: dict[str, list[Row]] = {'alike': [], 'worse': [], 'open': [], 'apart': []}
  for one in decision['shown']:
    state = 'apart' if one['state'] == 'open' and one['best'] != best else one['state']
    of_state[state].append(one)
  alike, left, apart = (
    [one['batch_size'] for one in of_state[state]] for state in ('alike', 'open', 'apart')
  )
  margin, said = margin_text(decision['margin']), []
  if len(alike) == 1:
    said.append(f'{joined(sorted([best, *alike]))} are equivalent within {margin}')
  elif alike:
    said.append(f'{joined(alike)} are each equivalent to {best} within {margin}')
  than = None if apart and not said and not left else best
  lower = [_lower(one, than, not said and not i) for i, one in enumerate(of_state['worse'])]
  if not said and lower and not left and not apart:
    said.append(f'batch size {best} does best')
  said += [joined(lower)] if lower else []
  if left:
    each, verb = (' each', 'are') if len(left) > 1 else ('', 'is')
    text = f'{joined(left)} {verb}{each} not told apart from {best}, nor shown to be within '
    said.insert(0, f'{text}{margin} of it')
  if apart:
    verb = 'are' if len(apart) > 1 else 'is'
    text = f'{joined(apart)} {verb} not compared with {best}'
    said.append(', as '.join(filter(None, (text, _unread(decision, apart)))))
  return '; '.join(said)


def _lower(one: Row, named: int | None, first: bool) -> str:
  """By how much one is worse, than which batch size where that is not the one just named."""
  unit = judged().of_points if first else ''
  than = '' if one['best'] == named else f' than {one["best"]}'
  return f'{one["batch_size"]} is {change(abs(one["effect"]))[1:]}{unit} worse{than}'


def _equivalent(decision: Mapping[str, Any]) -> str:
  within = [row for row in decision['claims'] if row['question']['side'] == 'within']
  if not within or None in within[0]['ci95']:
    return ''
  claim, margin = within[0], margin_text(decision['margin'])
  (first, second), by = claim['subject'], change(abs(claim['effect'] or 0.0))[1:]
  if claim['verdict'] == SUPPORTED:
    return f'{joined(sorted((first, second)))} are equivalent within {margin}'
  if claim['verdict'] == REFUTED:
    return f'{first} is {by}{judged().of_points} better than {second}, more than {margin}'
  low, high = (change(end) for end in claim['ci95'])
  return f'{first} less {second} lies between {low} and {high}{judged().of_points}'


def _trend(decision: Mapping[str, Any]) -> str:
  if not decision['claims'] or None in decision['claims'][-1]['ci95']:
    return ''
  sign, none = decision['claims']
  if not decision['decided']:
    low, high = (change(end) for end in none['ci95'])
    first, *_, last = none['subject']
    text = f'from {first} to {last} the change lies between {low} and {high}{judged().of_points}'
    return '; '.join(filter(None, (text, _unread(decision, decision['sizes']))))
  if sign['verdict'] in (SUPPORTED, REFUTED):
    size = 'smaller' if (sign['verdict'] == SUPPORTED) else 'larger'
    by = f'{change(sign["effect"])}{judged().of_points} per doubling'
    return f'{size} batches do better ({by})'
  return f'results change by less than {margin_text(decision["margin"])} over the batch sizes'


def _rates(decision: Mapping[str, Any]) -> str:
  known = [f'{one["rate"]["mean"]:.3g} at {one["batch_size"]}' for one in decision['rates']]
  if not known:
    return ''
  if decision['decided']:
    return (
      f'the best learning rates are, within a factor of {decision["margin"]:g}: {joined(known)}'
    )
  left = [str(one['batch_size']) for one in decision['rates'] if not one['known']]
  text = f'the best learning rate of {joined(left)} is known less well' if left else ''
  return '; '.join(filter(None, (text, _unread(decision, decision['sizes']))))


def _critical(decision: Mapping[str, Any]) -> str:
  critical = decision['critical']
  if not critical or critical['target'] is None:
    return ''
  low, high = critical['low'], critical['high']
  if critical['factor'] is not None:
    ends = f'{number(low)} and {number(high)} examples'
  elif high is None and low:
    ends = f'{number(low)} examples and any larger size'
  elif high is not None:
    ends = f'zero and {number(high)} examples'
  else:
    ends = 'zero and any larger size'
  if critical['why'] and low is None and high is None:
    return ''
  at = f'a training loss of {critical["target"]:.3g}'
  return f'the critical batch size, to {at}, lies between {ends}'


def rounds(decision: Mapping[str, Any]) -> list[dict[str, Any]]:
  """A row for each round: what was added, what it took, and what it said."""
  return [_row(i, one, decision) for i, one in enumerate(decision['rounds'], 1)]


def _row(i: int, one: Row, decision: Mapping[str, Any]) -> dict[str, Any]:
  unclear = [size for size, state in one['rates'].items() if state != 'bracketed']
  if one['error'] is None:
    said = f'no look: best rates are not surrounded at {joined(unclear)}' if unclear else 'no look'
    if one['behind']:
      said = f'no look: fewer trials at {joined(one["behind"])}'
  else:
    said = '; '.join(_said(one, decision)) or 'nothing to compare'
  seconds = one['seconds']
  return {
    'number': i,
    'why': WHY[one['why']],
    'sizes': joined(sorted({size for box in one['boxes'] for size in box[0]})),
    'trials': one['trials'],
    'runs': one['lanes'],
    'examples': number(one['lane_examples']),
    'minutes': number(seconds / 60) if seconds else '–',
    'error': '–' if one['error'] is None else f'{100 * one["error"]:.2g}%',
    'said': said,
  }


def _said(one: Row, decision: Mapping[str, Any]) -> list[str]:
  """Each interval of a look once, with what it shows."""
  if decision['kind'] == CRITICAL:
    return [said] if (said := _critical({'critical': one['critical']})) else []
  if decision['kind'] == BEST_RATE:
    known = [row for row in one['known'] if row['factor']]
    return [f'{row["batch_size"]} within a factor of {row["factor"]:.2g}' for row in known]
  pairs: dict[tuple, list[Row]] = {}
  for row in one['intervals']:
    pairs.setdefault(tuple(row['subject']), []).append(row)
  return [_interval(subject, rows) for subject, rows in pairs.items()]


def _interval(subject: tuple, rows: Sequence[Row]) -> str:
  row = rows[-1]
  first, last = (subject[0], subject[-1]) if row['kind'] == 'pair' else (subject[-1], subject[0])
  who = f'{first} less {last}'
  if row['effect'] is None:
    return f'{who}: no value'
  low, high = (None if end is None else change(end) for end in row['ci95'])
  shown = [one['side'] for one in rows if one['verdict'] == SUPPORTED]
  word = ', alike' if 'within' in shown else ', better' if shown and row['kind'] == 'pair' else ''
  if row['kind'] != 'pair' and worse().side in shown:
    word = ', falls'
  return f'{who} {change(row["effect"])} [{low}, {high}]{word}'
