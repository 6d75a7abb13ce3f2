"""An estimate: a value with its interval, or the reasons, as codes, why it has none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Reason:
  """Why something has no value or no verdict, or what to keep in mind: a code, never a sentence.

  `details` are what its sentence needs (numbers, names, other reasons). The sentences are in
  `report/text/reasons.py`, one for each code.
  """

  code: str
  details: Mapping[str, Any]

  def __init__(self, code: str, **details: Any):
    object.__setattr__(self, 'code', code)
    object.__setattr__(self, 'details', details)

  def __hash__(self) -> int:
    return hash((self.code, repr(self.details)))


@dataclass(frozen=True)
class Estimate:
  """A value with its interval, or the reasons why it, or a bound, is missing.

  `low` and `high` are None where there is no interval or it has no bound on that side; `unbounded`
  says that the data allow any value above `low`. `n` counts what the interval is `over`: 'trials',
  'measurements', 'residuals', 'arms' or 'grid'; `df` are the degrees of freedom of its spread,
  n - 1 where not said.
  """

  value: float | None
  low: float | None = None
  high: float | None = None
  n: int | float = 0
  confidence: float = 0.95
  over: str = 'trials'
  unbounded: bool = False
  reasons: tuple[Reason, ...] = ()
  df: float | None = None

  def map(self, function: Callable[[float], float]) -> Estimate:
    """The estimate of a rising function of the value; what is missing stays missing."""
    ends = (None if x is None else function(x) for x in (self.value, self.low, self.high))
    value, low, high = ends
    return replace(self, value=value, low=low, high=high)

  def negated(self) -> Estimate:
    """The estimate of the value with the other sign."""
    value, low, high = map(minus, (self.value, self.low, self.high))
    return replace(self, value=value, low=high, high=low)

  @property
  def has_interval(self) -> bool:
    """Whether the value is bounded on at least one side."""
    return self.low is not None or self.high is not None

  @property
  def is_finite(self) -> bool:
    """Whether there is a value, and it and its bounds are finite."""
    numbers = [x for x in (self.value, self.low, self.high) if x is not None]
    return self.value is not None and all(map(math.isfinite, numbers))

  def to_json(self, value: str = 'mean') -> dict[str, Any]:
    """As summary.json holds it: the value under its name there, 'ci95' and 'n'."""
    return {value: self.value, 'ci95': [self.low, self.high], 'n': self.n}


def minus(value: float | None) -> float | None:
  """A value with the other sign, never as -0.0; what is missing stays missing."""
  return None if value is None else -value + 0.0


def undefined(code: str, n: int | float = 0, **details: Any) -> Estimate:
  """An estimate without a value, and why."""
  return Estimate(None, n=n, reasons=(Reason(code, **details),))
