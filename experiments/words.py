"""What the templates of experiments say their numbers with, and what keeps their sentences true.

A template gets all of `FUNCTIONS`, `require` of a `Sentences`, and the JSON files of its folder by
their names without the ending: `summary`, `run`, `config` and what else lies there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bsjax.analysis.claims import causes
from bsjax.format import joined, measured, number, percent, sizes_text
from bsjax.report.text.answer import CONFOUNDS
from bsjax.report.text.results import noise_scale_text
from bsjax.report.text.words import selection

Row = Mapping[str, Any]
Ends = Sequence[float | None]  # low and high of an interval; None bounds nothing


class Unsupported(Exception):
  """A sentence of a README is not what its results show."""


class Sentences:
  """The guarded sentences of one README, in order: whether they hold, and what they say.

  Without `strict` a sentence that does not hold is only noted.
  """

  def __init__(self, strict: bool = True):
    self.strict = strict
    self.said: list[tuple[bool, str]] = []

  def require(self, condition: object, sentence: str = '', caller: Callable[[], str] | None = None):
    """The sentence, where the results show it: `{{ require(condition, 'sentence') }}`.

    `{% call require(condition) %}A sentence with {{ numbers }}.{% endcall %}` takes a longer one,
    and `{% do require(condition, 'what must hold') %}` prints nothing.

    Raises:
      Unsupported: the condition does not hold (names the sentence).
    """
    sentence = ' '.join(caller().split()) if caller else sentence
    self.said.append((bool(condition), sentence))
    if self.strict and not condition:
      raise Unsupported(f'The results do not show: {sentence}')
    return f'{sentence} ' if caller else sentence  # the line end after a block is lost


def one(rows: Iterable[Row], **keys: Any) -> Row:
  """The one row, of claims, contrasts or a table, that has these values; `side` is of its question.

  Raises:
    LookupError: there is none, or several.
  """
  rows = list(rows)
  matching = [row for row in rows if _has(row, keys)]
  if len(matching) != 1:
    raise LookupError(f'{len(matching)} of {len(rows)} rows have {keys}, and not one')
  return matching[0]


def every(rows: Iterable[Row], **keys: Any) -> list[Row]:
  """All rows that have these values, in their order."""
  return [row for row in rows if _has(row, keys)]


def _has(row: Row, keys: Mapping[str, Any]) -> bool:
  values = {**(row.get('question') or {}), **row}
  return all(key in values and values[key] == value for key, value in keys.items())


def less(contrasts: Sequence[Row], second: str, first: str, **keys: Any) -> Row:
  """The contrast of the second less the first, also where it is stored the other way round."""
  keys = {'batch_size': 'pooled', **keys}
  if every(contrasts, first=first, second=second, **keys):
    return one(contrasts, first=first, second=second, **keys)
  row = one(contrasts, first=second, second=first, **keys)
  ends = [None if end is None else -end for end in reversed(row['ci95'])]
  verdict = {'supported': 'refuted', 'refuted': 'supported'}.get(row['verdict'], row['verdict'])
  return {**row, 'effect': -row['effect'], 'ci95': ends, 'verdict': verdict}


def supported(claim: Row) -> bool:
  return claim['verdict'] == 'supported'


def refuted(claim: Row) -> bool:
  return claim['verdict'] == 'refuted'


def undetermined(claim: Row) -> bool:
  return claim['verdict'] == 'undetermined'


def all_undetermined(claims: Sequence[Row]) -> bool:
  """Whether none of these claims, of which there are some, is decided."""
  return bool(claims) and all(map(undetermined, claims))


def above(ends: Ends, value: float = 0.0) -> bool:
  """Whether the whole interval lies above a value."""
  return ends[0] is not None and ends[0] > value


def below(ends: Ends, value: float = 0.0) -> bool:
  """Whether the whole interval lies below a value; one without an upper bound does not."""
  return ends[0] is not None and ends[1] is not None and ends[1] < value


def interval(ends: Ends, scale: float = 1.0, digits: int | None = None) -> str:
  """'[0.23, 2.67]', '[211, ∞]' without an upper bound, a dash where there is none.

  With `digits` that many after the point, else three in all.
  """
  if all(end is None for end in ends):
    return '–'
  low, high = (None if end is None else _shown(end, scale, digits) for end in ends)
  return f'[{low or "−∞"}, {high or "∞"}]'


def fixed(value: float, digits: int, sign: str = '') -> str:
  """So many digits after the point, and never '-0.0'."""
  return f'{round(value, digits) + 0.0:{sign}.{digits}f}'


def _shown(value: float, scale: float, digits: int | None) -> str:
  return number(scale * value) if digits is None else fixed(scale * value, digits)


def points(row: Row, digits: int = 2, sign: str = '+') -> str:
  """An effect of fractions with its interval, in percentage points: '+1.45 [0.23, 2.67]'.

  `row` is a claim, a contrast or a slope. With `sign` '' it is shown turned round where it is
  negative, for sentences that say the direction: 'behind by 0.40 [0.33, 0.46]'.
  """
  effect = row['effect'] if 'effect' in row else row['value']
  ends = row['ci95']
  if effect is None:
    return '–'
  if not sign and effect < 0:
    effect, ends = -effect, [None if end is None else -end for end in reversed(ends)]
  return f'{fixed(100 * effect, digits, sign)} {interval(ends, 100, digits)}'


def with_interval(value: float | None, ends: Ends) -> str:
  """A value to as many digits as its interval has: '167 [145, 193]'."""
  return f'{number(value)} {interval(ends)}'


def rate(row: Row) -> str:
  """The learning rate of a batch size: '0.02', '0.006 (edge)'."""
  return f'{row["learning_rate"]:.4g}' + ' (edge)' * bool(row['at_grid_edge'])


def duration(seconds: float) -> str:
  """'73 s', '17 min 22 s', '1 h 5 min'."""
  if seconds < 120:
    return f'{seconds:.0f} s'
  minutes, rest = divmod(round(seconds), 60)
  if minutes < 60:
    return f'{minutes} min {rest} s' if rest else f'{minutes} min'
  return f'{minutes // 60} h {minutes % 60} min'


def ran(run: Row) -> str:
  """Where and how long a study ran: '2 CPU cores (...), jax 0.10.2: 73 s, alone on the machine'."""
  versions = f'jax {run["jax"]}, Python {run["python"]}'
  return f'{run["hardware"]}, {versions}: {duration(run["seconds"])}, {run["beside"]}'


def evidence(confounds: Iterable[Row]) -> str:
  """What else may make a difference: the confounds that are there, the first ones with evidence."""
  present = [row for row in confounds if row['present'] is True]
  return joined(CONFOUNDS[row['confound']] + _brackets(row) for row in present)


def _brackets(row: Row) -> str:
  if row['confound'] == causes.EDGE:
    return f' ({sizes_text(row["reasons"][0]["sizes"])})'
  if row['confound'] in (causes.UPDATES, causes.STALE):
    sentence = row['evidence'].removesuffix('.')
    return f' ({sentence[0].lower()}{sentence[1:]})'
  return ''


def how_read(batch_sizes: Sequence[Row]) -> str:
  """How the learning rate of each batch size was found, as the report says it."""
  return ' '.join(selection(batch_sizes))


FUNCTIONS: dict[str, Callable[..., Any]] = {
  'above': above,
  'all_undetermined': all_undetermined,
  'below': below,
  'duration': duration,
  'every': every,
  'evidence': evidence,
  'fixed': fixed,
  'how_read': how_read,
  'interval': interval,
  'joined': joined,
  'less': less,
  'measured': measured,
  'noise_scale': noise_scale_text,
  'number': number,
  'one': one,
  'percent': percent,
  'points': points,
  'ran': ran,
  'rate': rate,
  'refuted': refuted,
  'sizes_text': sizes_text,
  'supported': supported,
  'undetermined': undetermined,
  'with_interval': with_interval,
}
