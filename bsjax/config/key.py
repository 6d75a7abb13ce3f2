"""What a configuration key is: its default and its other properties, in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Key:
  """One key of a configuration, such as 'data.crop'.

  The type of `default` is that of the key; of a tuple, bounds and `item` are those of each item,
  and `fewest` says how many there must be. `object` as `item` takes a value of any type.
  """

  name: str
  default: Any
  doc: str  # what it means, but for what `remedy` says of 0
  unit: str = ''
  low: int | float | None = None  # the least value
  above: int | float | None = None  # a bound that is itself out, in place of `low`
  high: int | float | None = None  # the greatest value
  below: int | float | None = None  # a bound that is itself out, in place of `high`
  choices: tuple[Any, ...] = ()  # where these are all there are, whatever else is installed
  item: type | None = None  # of a tuple that is empty by default
  fewest: int = 0
  twice: str = ''  # what to say of a tuple that has an item twice, where that is wrong
  remedy: str = ''  # what to give instead of a wrong value
  computes: bool = True  # whether it changes what is computed, and not how, or what is shown
  before: Any = None  # what studies did that were begun before there was the key; None: `default`
  # What the paragraph on method says where the value is not the default, {} being the value; by
  # value where that says more. Keys without it are in sentences of report/text/method_*.py.
  method: str | Mapping[Any, str] = ''

  @property
  def kind(self) -> type:
    """The type of a value, or of each item of a tuple."""
    if self.item:
      return self.item
    several = isinstance(self.default, tuple)
    return type(self.default[0] if several and self.default else self.default)


def zero(meaning: str) -> dict[str, Any]:
  """Returns the bound and the remedy of a key of 0 or more, where 0 has a meaning of its own."""
  return {'low': 0, 'remedy': f'0: {meaning}'}
