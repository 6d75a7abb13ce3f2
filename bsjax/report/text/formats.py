"""How details of claims and reasons are written: units, and formats that templates name.

A template is a `str.format` one, in which '{sizes:list}' takes a format of `FORMATS` by its name.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bsjax.config.metrics import judged
from bsjax.format import joined, percent, plus_minus
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


def units() -> dict[str, Unit]:
  """By the codes that claims and reasons give."""
  metric, loss = judged().metric, judged().loss
  name, shown, short, scale = metric.unit or metric.title, metric.unit, metric.unit, 1
  if metric.percent:
    shown, short, scale = 'percentage points', 'points', 100

  def of_change(how: str, of: str) -> Unit:
    return Unit(f'{name}, {how} of {of}', f'{shown} {how}'.strip(), f'{short} {how}'.strip(), scale)

  return {
    judged().unit: Unit(name, shown, short, scale),
    'per_doubling': of_change(_SLOPE, 'the batch size'),
    'over_range': of_change(_RANGE, 'batch sizes'),
    judged().loss_unit: Unit(loss.unit or loss.title, loss.unit, loss.unit),
    'exponent': Unit('exponent of the batch size', '', 'exponent'),
    'ratio': Unit('ratio of distances', 'times the distance of two seeds', 'ratio of distances'),
    **LOG_LOSSES,
    'share': Unit('share of the variance', '% of the variance', '% of variance', 100),
    'octaves': Unit(
      f'doublings of the learning rate, {_SLOPE} of the batch size',
      f'doublings {_SLOPE}',
      'doublings',
    ),
  }


# Of tables of others' runs, whose losses are compared by their logarithms.
LOG_POINTS = 'log points'
LOG_POINTS_ARE = (
  'A log point is a hundredth of the natural logarithm of the loss: 1 more is a loss 1% higher, '
  'but 40 more is one 49% higher, and 40 less one 33% lower. The answer on top is in percent.'
)
LOG_LOSSES = {
  'log_loss': Unit('log of the loss', LOG_POINTS, LOG_POINTS, 100),
  **{
    f'log_loss_{code}': Unit(f'log of the loss, {how} of {of}', *[f'{LOG_POINTS} {how}'] * 2, 100)
    for code, how, of in (
      ('per_doubling', _SLOPE, 'the batch size'),
      ('over_range', _RANGE, 'batch sizes'),
    )
  },
}


def nouns() -> dict[str, str]:
  """Quantities as people call them."""
  return {
    'train_loss': 'training loss',
    'val_loss': 'validation loss',
    judged().val: judged().val_title,
    judged().train: judged().train_title,
    judged().val_balanced: f'balanced {judged().val_title}',
    'gap': 'generalization gap',
    'val_error': 'validation error',
  }


RULES = {name: rule.way for name, rule in scaling_rules.RULES.items()}


def points(value: float, scale: int | None = None) -> str:
  """A difference with its sign; without a scale one of the metric, of fractions in points.

  Of these a billionth is a rounding of the machine at hand, and zero.
  """
  scale = units()[judged().unit].scale if scale is None else scale
  shown = round(scale * value, 9) + 0.0 if scale == 100 else value * scale
  return f'{shown:+.3g}'


def change(value: float) -> str:
  """A difference of the metric with its sign; of fractions in points, to a hundredth."""
  return f'{100 * value + 0.0:+.2f}' if judged().metric.percent else f'{value:+.3g}'


def margin_text(margin: float) -> str:
  """'0.5 percentage points', of a difference of the metric; '1 percentage point'."""
  number, points = margin_number(margin), judged().of_points
  singular = judged().metric.percent and number == '1'
  return f'{number}{points.removesuffix("s") if singular else points}'


def margin_number(margin: float) -> str:
  """The same without its unit."""
  return f'{100 * margin:g}' if judged().metric.percent else f'{margin:.3g}'


def value_text(estimate: Mapping[str, Any]) -> str:
  """A value of the metric with half its interval; fractions in percent: '97.3 ± 0.4'."""
  return percent(estimate) if judged().metric.percent else plus_minus(estimate)


def value_head() -> str:
  """What follows the title of the metric on top of such a column: ', %'."""
  unit = '%' if judged().metric.percent else judged().metric.unit
  return f', {unit}' if unit else ''


def points_head() -> str:
  """The same of differences: ', points'."""
  unit = 'points' if judged().metric.percent else judged().metric.unit
  return f', {unit}' if unit else ''


def points_of() -> str:
  """What follows a difference in few words: ' points'."""
  return points_head().replace(',', '', 1)


def in_points() -> str:
  """', in points', of differences."""
  return points_head().replace(',', ', in', 1)


def reached(estimate: Mapping[str, Any]) -> str:
  """'97.3 ± 0.4 % validation accuracy'."""
  if judged().metric.percent:
    return f'{percent(estimate)} % {judged().val_title}'
  unit = f' {judged().metric.unit}' if judged().metric.unit else ''
  return f'a {judged().val_title} of {value_text(estimate)}{unit}'


def named(sizes: Sequence[int]) -> str:
  """'batch size 8', 'batch sizes 8, 16'."""
  return f'batch size{"s" * (len(sizes) > 1)} {", ".join(map(str, sizes))}'


def count(trials: int | None) -> str:
  """'about 7', of trials that would be needed."""
  return f'more than {MOST_TRIALS}' if trials is None else f'at most {trials}'


def _list(items: Sequence[Any]) -> str:
  return ', '.join(map(str, items)) or 'none'


def _either(items: Sequence[Any]) -> str:
  return joined(items, 'or')


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
  'percent': margin_number,
  'share': lambda share: f'{100 * share:.2g}%',
  'count': count,
  'list': _list,
  'either': _either,
  'rule': RULES.__getitem__,
  'rules': _rules,
  'singular': lambda noun: noun.removesuffix('s'),
  'noun': lambda name: nouns().get(name, name.replace('_', ' ')),
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
  return _Words().format(template, *subject, judged=judged(), **details)
