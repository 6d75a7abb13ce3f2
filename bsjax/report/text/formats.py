"""How details of claims and reasons are written: units, and formats that templates name.

A template is a `str.format` one, in which '{sizes:list}' takes a format of `FORMATS` by its name.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any, NamedTuple

from bsjax.config.metrics import TRAIN, TRAIN_TITLE, VAL, VAL_BALANCED, VAL_TITLE
from bsjax.plan import scaling_rules
from bsjax.stats.paired import MOST_TRIALS


class Unit(NamedTuple):
  """The unit of an effect in summary.json, in a sentence and in a table; a number is shown times
  its scale."""

  name: str
  shown: str
  short: str
  scale: int = 1


_SLOPE, _RANGE = 'per doubling', 'over the range'
UNITS = {
  'fraction': Unit('fraction', 'percentage points', 'points', 100),
  'per_doubling': Unit(
    f'fraction, {_SLOPE} of the batch size', f'percentage points {_SLOPE}', f'points {_SLOPE}', 100
  ),
  'over_range': Unit(
    f'fraction, {_RANGE} of batch sizes', f'percentage points {_RANGE}', f'points {_RANGE}', 100
  ),
  'nats': Unit('nats', 'nats', 'nats'),
  'exponent': Unit('exponent of the batch size', '', 'exponent'),
  'loss': Unit('log of the loss', '% of the loss', '%', 100),
  'loss_per_doubling': Unit(
    f'log of the loss, {_SLOPE} of the batch size', f'% of the loss {_SLOPE}', f'% {_SLOPE}', 100
  ),
  'loss_over_range': Unit(
    f'log of the loss, {_RANGE} of batch sizes', f'% of the loss {_RANGE}', f'% {_RANGE}', 100
  ),
  'share': Unit('share of the variance', '% of the variance', '% of variance', 100),
  'octaves': Unit(
    f'doublings of the learning rate, {_SLOPE} of the batch size',
    f'doublings {_SLOPE}',
    'doublings',
  ),
  'ratio': Unit('ratio of distances', 'times the distance of two seeds', 'ratio of distances'),
}
NOUNS = {
  VAL: VAL_TITLE,
  TRAIN: TRAIN_TITLE,
  VAL_BALANCED: f'balanced {VAL_TITLE}',
  'gap': 'generalization gap',
  'train_loss': 'training loss',
  'val_loss': 'validation loss',
  'val_error': 'validation error',
}
RULES = {name: rule.way for name, rule in scaling_rules.RULES.items()}


def points(value: float, scale: int = 100) -> str:
  """A difference with its sign; of fractions, by the usual scale, in percentage points."""
  return f'{scale * value:+.3g}'


def named(sizes: Sequence[int]) -> str:
  """'batch size 8', 'batch sizes 8, 16'."""
  return f'batch size{"s" * (len(sizes) > 1)} {", ".join(map(str, sizes))}'


def count(trials: int | None) -> str:
  """'about 7', of trials that would be needed."""
  return f'more than {MOST_TRIALS}' if trials is None else f'at most {trials}'


def _list(items: Sequence[Any]) -> str:
  return ', '.join(map(str, items)) or 'none'


def _rules(rules: Sequence[str]) -> str:
  return ', '.join(RULES[rule] for rule in rules)


def _by_size(problems: Sequence[Sequence[Any]]) -> str:
  return '; '.join(f'batch size {size}: {problem}' for size, problem in problems)


def _farther(others: Sequence[Sequence[Any]]) -> str:
  return '; '.join(
    f'{RULES[rule]} is farther by {value:.3g} [{low:.3g}, {high:.3g}]'
    for rule, value, low, high in others
  )


FORMATS = {
  'points': points,
  'percent': lambda share: f'{100 * share:g}',
  'share': lambda share: f'{100 * share:.2g}%',
  'count': count,
  'list': _list,
  'rule': RULES.__getitem__,
  'rules': _rules,
  'singular': lambda noun: noun.removesuffix('s'),
  'noun': lambda name: NOUNS.get(name, name.replace('_', ' ')),
  'spaces': lambda name: name.replace('_', ' '),
  'by_size': _by_size,
  'farther': _farther,
}


class _Words(string.Formatter):
  def format_field(self, value: Any, format_spec: str) -> str:
    if format_spec in FORMATS:
      return FORMATS[format_spec](value)
    return super().format_field(value, format_spec)


def filled(template: str, *subject: Any, **details: Any) -> str:
  """The template with its details, each in its format."""
  return _Words().format(template, *subject, **details)
