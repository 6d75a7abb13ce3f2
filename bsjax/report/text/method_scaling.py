"""Base batch size and scaling rule in sentences, with the reasons that the runs give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.claims.claim import REFUTED, SUPPORTED, UNDETERMINED
from bsjax.analysis.claims.tuned_runs import TUNED
from bsjax.analysis.runs.histories import Row
from bsjax.config.metrics import judged
from bsjax.format import joined, sizes_text
from bsjax.plan import hyperparameters
from bsjax.plan.scaling_rules import RULES, names
from bsjax.report.text.formats import change, in_points, margin_number, points_of


def sentences(config: Mapping[str, Any], sizes: Sequence[int], summary: Mapping[str, Any]) -> str:
  """What was done, and why as far as summary['scaling_rules'] shows it."""
  scaling = config.get('scaling', {})
  rules, base = names(scaling.get('rule', 'none')), scaling.get('base_batch_size')
  others = [size for size in sizes if size != base]
  if 'rule' not in scaling or not others or (rules != ['none'] and base is None):
    return ''
  if rules == ['none']:
    return 'The same learning rates were tried at every batch size.' if len(sizes) > 1 else ''
  if len(rules) == 1:
    return (
      f'Learning rates are those at batch size {base}, {RULES[rules[0]].method} the batch size at '
      f'{joined(others)}. No other rule was run, so these runs do not show whether this one is the '
      'better choice.'
    )
  compared = summary.get('scaling_rules', {})
  done = (
    f'Batch size {base} is the base: its learning rates were carried to '
    f'{sizes_text(others)} in {len(rules)} ways, {joined(RULES[rule].title for rule in rules)}.'
  )
  ways = compared.get('ways', {})
  if why := compared.get('undefined') or ways.get('undefined'):
    return f'{done} The rules could not be compared: {why}.'
  rows = [row for row in ways.get('rows', []) if row['clock'] == 'epochs']
  reasons = [_rule(rule, rows, compared) for rule in rules]
  meaning = (
    f'In brackets: {judged().val_title} less that of batch size {base}{in_points()}, at equal '
    'epochs unless another clock is named.'
  )
  return ' '.join([done, *reasons, _closest(compared), _base(ways, base), meaning])


def hyperparameter_rules(config: Mapping[str, Any], plan_rows: Sequence[Row]) -> str:
  """What became of the optimizer's hyperparameters at other batch sizes; kept, it is not said."""
  names = hyperparameters.rules(config)
  if names == ['keep'] or not plan_rows:
    return ''
  base = config['scaling']['base_batch_size']
  ways = [
    joined(hyperparameters.RULES[part].method for part in hyperparameters.parts(name))
    for name in names
  ]
  if len(ways) == 1:
    return f'Hyperparameters of the optimizer are those at batch size {base}; elsewhere, {ways[0]}.'
  return (
    f'Hyperparameters of the optimizer are those at batch size {base}, and were carried to others '
    f'in {len(ways)} ways: {"; ".join(ways)}.'
  )


def _rule(rule: str, rows: Sequence[Row], compared: Mapping[str, Any]) -> str:
  """Where a rule kept the accuracy of the base batch size, lost it, or the runs do not decide."""
  mine = [row for row in rows if row['way'] == rule]
  margin = f'{margin_number(compared["margin"])}{points_of()}'
  texts = {
    SUPPORTED: f'kept {judged().val_title} within {margin} at',
    REFUTED: f'moved {judged().val_title} by more than {margin} at',
    UNDETERMINED: f'is neither shown to keep within {margin} nor to leave them at',
  }
  parts = [
    f'{text} {joined(_difference(row) for row in own)}'
    for verdict, text in texts.items()
    if (own := [row for row in mine if row.get('keeps', {}).get('verdict') == verdict])
  ]
  parts += [
    f'has no result at {row["batch_size"]} ({row["undefined"]})'
    for row in mine
    if 'undefined' in row
  ]
  name = RULES[rule].title
  return f'{name[0].upper()}{name[1:]} {"; it ".join(parts)}.'


def _difference(row: Row) -> str:
  """The accuracy of the other batch size less that of the base, in points."""
  accuracy, (low, high) = row[judged().val], row[judged().val]['ci95']
  if accuracy['mean'] is None:
    return f'batch size {row["batch_size"]}'
  ends = f' [{change(-high)}, {change(-low)}]' if low is not None else ', no interval'
  return f'batch size {row["batch_size"]} ({change(-accuracy["mean"])}{ends}, n = {accuracy["n"]})'


def _closest(compared: Mapping[str, Any]) -> str:
  """Which rule's training loss is closest, where that is shown."""
  rate = compared['rates'][compared['shown']]
  shown = [row for row in rate['closest'] if row['rule'] is not None]
  unknown = [row['batch_size'] for row in rate['closest'] if row['rule'] is None]
  by_rule = {rule: [row['batch_size'] for row in shown if row['rule'] == rule] for rule in RULES}
  texts = [f'with {RULES[rule].title} at {sizes_text(at)}' for rule, at in by_rule.items() if at]
  text = f'The curve of training loss was closest to that of the base {joined(texts)}'
  if not shown:
    return f'Which rule keeps the training loss closest is not shown at {sizes_text(unknown)}.'
  return f'{text}; not shown at {sizes_text(unknown)}.' if unknown else f'{text}.'


def _base(ways: Mapping[str, Any], base: int) -> str:
  """What the choice of the base rests on: the others with their learning rate tuned."""
  words = {
    SUPPORTED: f'{judged().better_than} than',
    REFUTED: f'{judged().worse_than} than',
    UNDETERMINED: 'not told apart from',
  }
  texts = []
  for clock in ('epochs', 'updates'):
    rows = [
      row
      for row in ways['rows']
      if row['way'] == TUNED and row['clock'] == clock and 'undefined' not in row
    ]
    each = [
      f'{words[verdict]} that of {joined(_difference(row) for row in own)}'
      for verdict in words
      if (own := [row for row in rows if row['better']['verdict'] == verdict])
    ]
    texts += [f'at equal {clock} {joined(each)}'] if each else []
  if not texts:
    return f'Whether batch size {base} is better than a tuned one is unknown.'
  return (
    f'With learning rates tuned for each batch size, the {judged().val_title} of batch size {base} '
    f'was {"; ".join(texts)}.'
  )
