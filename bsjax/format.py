"""Numbers and lists as people read them; nothing here knows what they are about."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

MIB, GIB = 2**20, 2**30  # bytes


def number(value: int | float | None) -> str:
  """Three digits, thousands with commas."""
  if value is None:
    return '–'
  # From here on three digits are those of 1,000.
  return f'{value:,.0f}' if abs(value) >= 999.5 else f'{value:.3g}'


def measured(value: float | None, low: float | None, high: float | None) -> str:
  """A number to the digits that its interval leaves it: two, or three where it is within 10%."""
  if not value:
    return number(value)
  digits = 3 if low and high and high < 1.1 * low else 2
  return number(round(value, digits - 1 - math.floor(math.log10(abs(value)))))


def percent(estimate: Mapping[str, Any]) -> str:
  """A fraction with its interval, in percent: '97.3 ± 0.4'."""
  mean, (low, high) = estimate['mean'], estimate['ci95']
  if mean is None:
    return '–'
  if low is None:
    return f'{100 * mean:.1f}'
  return f'{100 * mean:.1f} ± {50 * (high - low):.1f}'


def plus_minus(estimate: Mapping[str, Any]) -> str:
  """A number with its interval, to the digits that this leaves it: '0.0123 ± 0.0004'."""
  mean, (low, high) = estimate['mean'], estimate['ci95']
  if mean is None:
    return '–'
  half = 0.0 if low is None else (high - low) / 2
  largest = max(abs(mean), half)
  if not half or not 1e-4 <= largest < 1e6:
    return f'{mean:.4g}' if low is None else f'{mean:.4g} ± {half:.2g}'
  decimals = min(max(0, 1 - math.floor(math.log10(half))), 8)
  return f'{mean:,.{decimals}f} ± {half:,.{decimals}f}'


def from_to(counts: Iterable[int]) -> str:
  """'3', or '3 to 8' where some have fewer than others."""
  every = {*counts}
  low, high = min(every), max(every)
  return f'{low}' if low == high else f'{low} to {high}'


def joined(items: Iterable[Any], last: str = 'and') -> str:
  """'8', '8 and 16', '8, 16 and 32'."""
  words = [str(item) for item in items]
  return f' {last} '.join([', '.join(words[:-1]), words[-1]] if len(words) > 1 else words)


def sizes_text(sizes: Iterable[Any]) -> str:
  """'batch size 8', 'batch sizes 8 and 16'."""
  sizes = list(sizes)
  return f'batch size{"s" * (len(sizes) > 1)} {joined(sizes)}'


def by_reason(reasons: Mapping[Any, str]) -> list[str]:
  """One line for each reason, with all batch sizes that have it."""
  return [f'{sizes_text(sizes)}: {reason}' for reason, sizes in together(reasons.items()).items()]


def together(reasons: Iterable[Iterable[Any]]) -> dict[Any, list[Any]]:
  """Reason -> all that have it, from pairs of what has a reason and the reason."""
  grouped: dict[Any, list[Any]] = {}
  for name, reason in reasons:
    grouped.setdefault(reason, []).append(name)
  return grouped


def bytes_text(size: int | None) -> str:
  """Bytes in the unit that a person reads: '12.3 MiB', or a dash."""
  if size is None:
    return '–'
  unit, name = (GIB, 'GiB') if size >= GIB else (MIB, 'MiB')
  return f'{number(size / unit)} {name}'
