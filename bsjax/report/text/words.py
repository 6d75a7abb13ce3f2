"""Sentences about critical batch sizes, learning rates and noise scales, each with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bsjax.analysis.runs.histories import Row
from bsjax.analysis.runs.selection import SelectionKind
from bsjax.format import by_reason, joined, measured, number, sizes_text
from bsjax.report.text.formats import nouns

RULES = {
  'linear': 'linear',
  'square_root': 'square root',
  'mccandlish': 'McCandlish',
  'mccandlish_adam': 'McCandlish for Adam',
  'surge': 'surge',
}
_POWERS = {'linear': 'linear (1)', 'square_root': 'square root (0.5)', 'none': 'no growth (0)'}


def loss_text(entry: Mapping[str, Any]) -> str:
  """The target of a critical batch size, such as 'a training loss of 0.1'."""
  return f'a {nouns()[entry["quantity"]]} of {entry["target"]:.3g}'


def undetermined(entry: Mapping[str, Any]) -> list[str]:
  """The batch sizes without a best learning rate between grid points, by reason."""
  rows = entry['optimum']
  return by_reason({row['batch_size']: row['reason'] for row in rows if row['state'] != 'found'})


def critical_batch_size(entry: Mapping[str, Any]) -> list[str]:
  """What is known of it: the value, what it means, how it moves with the target."""
  if 'undefined' in entry:
    return [f'Undefined, because {entry["undefined"]}.']
  low, high = entry['ci95']
  b_crit = entry['b_crit']
  value = 'no value' if b_crit is None else f'{measured(b_crit, low, high)} examples'
  over = f'over {entry["interval_over"]}, n = {entry["n"]}'
  sentences = [f'To {loss_text(entry)}: {value}, {_interval(low, high)} ({over}).']
  if b_crit is not None:
    examples, updates = (measured(entry[key], low, high) for key in ('examples_min', 'updates_min'))
    sentences.append(
      f'At that batch size a run needs twice the fewest examples ({examples}) and twice the fewest '
      f'updates ({updates}), by the fitted hyperbola.'
    )
  if without := entry.get('without_largest'):  # not in a summary.json of an older version
    sentences.append(_without_largest(without))
  sentences += [f'{note[0].upper()}{note[1:]}.' for note in [entry['note']] if note]
  sentences.append(_within(entry['within_20_percent']))
  return [*sentences, _all_targets(entry['targets'])]


def exponent(entry: Mapping[str, Any]) -> list[str]:
  """The power of the batch size with which the best learning rate grows."""
  if 'undefined' in entry:
    return [f'Undefined, because {entry["undefined"]}.']
  low, high = entry['ci95']
  sizes = f'{len(entry["batch_sizes"])} batch sizes, n = {entry["n"]}'
  sentences = [f'{entry["value"]:.2f}, {_interval(low, high)} ({sizes}).']
  inside = [_POWERS[name] for name, lies in entry['rules'].items() if lies]
  if low is not None:
    lies = f'holds {joined(inside)}' if inside else 'holds neither linear nor square root nor none'
    sentences.append(f'The interval {lies}.')
  if entry['power_law_rejected']:
    sentences.append('The upper half of the batch sizes has another exponent: no power law.')
  if entry['left_out']:
    sentences.append(f'Left out: {"; ".join(by_reason(entry["left_out"]))}.')
  return sentences


def rate_noise_scale(entry: Mapping[str, Any], exponent: Mapping[str, Any]) -> list[str]:
  """The noise scale that the best learning rates themselves show."""
  if 'undefined' in entry:
    if entry['undefined'] == exponent.get('undefined'):
      return ['Undefined, for the same reason as the exponent.']
    return [f'Undefined, because {entry["undefined"]}.']
  value = entry['b_learning_rate']
  text = 'No value' if value is None else f'{number(value)} examples'
  reason = f' {entry["reason"][0].upper()}{entry["reason"][1:]}.' if entry.get('reason') else ''
  return [f'{text}, {_interval(*entry["ci95"])} (n = {entry["n"]}).{reason}']


def rules(entry: Mapping[str, Any]) -> list[str]:
  """Each rule that can be drawn, whether it applies here, and what its misfit compares with."""
  states = {True: 'applies', False: 'does not apply', None: 'may not apply'}
  drawn = [rule for rule in entry['rules'] if 'undefined' not in rule]
  lines = []
  for rule in drawn:
    misfit = f'misfit {100 * rule["rms_log_misfit"]:.0f}%'
    why = f' ({rule["why"]})' if rule['why'] else ''
    name, state = RULES[rule['rule']], states[rule['applies']]
    lines.append(f'{name[0].upper()}{name[1:]}: {misfit}; {state}{why}. {rule["source"]}.')
  if drawn and entry['rms_log_noise'] is not None:
    noise = f'{100 * entry["rms_log_noise"]:.0f}%'
    lines.append(f'The spread over trials alone makes a misfit of about {noise} for a true rule.')
  return lines or ['No rule can be drawn: too few batch sizes have a best learning rate.']


# How results are read, by the kind of selection.
HOW = {
  SelectionKind.PARABOLA: 'results are read at the top of a parabola in the log of the learning '
  'rate, through the rates that come close to the best, the same for all trials',
  SelectionKind.BEST_RATE: 'fewer than three learning rates come close to the best, so results are '
  'those of the best rate, and a little too good',
  SelectionKind.ONE_RATE: 'one learning rate was tried',
}


def selection(rows: Sequence[Row]) -> list[str]:
  """How batch sizes are read at their best learning rates, and which rates are unsafe."""
  rows = [row for row in rows if row['learning_rate'] is not None]
  by_kind = {kind: [row['batch_size'] for row in rows if row['selection'] == kind] for kind in HOW}
  known = {kind: sizes for kind, sizes in by_kind.items() if sizes}
  sentences = []
  for kind, sizes in known.items():
    where = f'At {sizes_text(sizes)}, ' if len(known) > 1 else ''
    sentences.append(f'{where}{HOW[kind] if where else HOW[kind][0].upper() + HOW[kind][1:]}.')
  unsafe = by_reason(
    {
      row['batch_size']: ', '.join(f'{rate:.4g}' for rate in row['unsafe_rates'])
      for row in rows
      if row['unsafe_rates']
    }
  )
  if unsafe:
    named = [line[0].lower() + line[1:] for line in unsafe]
    sentences.append(f'Learning rates at which a trial diverged are not chosen: {joined(named)}.')
  return sentences


def _interval(low: float | None, high: float | None) -> str:
  if low is None:
    return 'without an interval'
  if low == 0 and high is None:
    return '95% interval without a bound on either side'
  upper = measured(high, low, high) if high is not None else 'no upper bound'
  lower = '0 (no lower bound)' if low == 0 else measured(low, low, high)
  return f'95% interval {lower} to {upper}'


def _without_largest(entry: Mapping[str, Any]) -> str:
  start = f'Without batch size {entry["batch_size"]}'
  if 'undefined' in entry:
    return f'{start}: undefined, because {entry["undefined"]}.'
  (low, high), b_crit = entry['ci95'], entry['b_crit']
  value = 'no value' if b_crit is None else measured(b_crit, low, high)
  return f'{start}: {value}, {_interval(low, high)}.'


def _within(entry: Mapping[str, Any]) -> str:
  """The largest batch size that costs at most 20% more examples."""
  ways = []
  if entry['tried'] is not None:
    ways.append(f'{entry["tried"]} of those tried, by the means')
  if entry['batch_size'] is not None:
    low, high = entry['ci95']
    ends = f', {measured(low, low, high)} to {measured(high, low, high)}' if low is not None else ''
    ways.append(f'{measured(entry["batch_size"], low, high)} between them{ends}')
  elif entry['at_least'] is not None:
    ways.append(f'at least {entry["at_least"]}, the largest tried')
  if entry['fitted'] is not None:
    low, high = entry['fitted_ci95']
    ways.append(f'{measured(entry["fitted"], low, high)} by the fit, {_interval(low, high)}')
  if not ways:
    return 'Which batch sizes stay within 20% of the fewest examples is unknown.'
  return f'Within 20% of the fewest examples: up to {"; ".join(ways)}.'


def _all_targets(targets: Iterable[Mapping[str, Any]]) -> str:
  values = []
  for each in targets:
    if each.get('b_crit') is None:
      values.append('undefined' if 'undefined' in each else 'no value')
    else:
      value = measured(each['b_crit'], *each['ci95'])
      values.append(value + ' (without an upper bound)' * each['unbounded'])
  return f'At all targets, from easy to hard: {", ".join(values)}.'
