"""Results of functions called with drawn arrays, the odd ones too; `test_kept.py` keeps them."""

from __future__ import annotations

import dataclasses
import math
import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import bsjax
from bsjax.stats import intervals, tobit
from bsjax.stats.estimate import Estimate, Reason
from helpers.draw import Draw
from helpers.kept import Kept
from helpers.kept_drawn import sums

ROOM = str(Path(bsjax.__file__).parent)
LONG = 8  # numbers of a list, of which the sum is kept instead
Calls = Mapping[str, Callable[[Draw], Any]]


def kept_calls(calls: Calls, times: int) -> Kept:
  """What each function gives for so many draws; an error's sentence where it is one of bsjax."""
  found = {}
  for name, call in calls.items():
    for at in range(times):
      with warnings.catch_warnings(), np.errstate(all='ignore'):
        warnings.simplefilter('ignore')
        try:
          result = plain(call(Draw((zlib.crc32(name.encode()), at))))
        except (ValueError, KeyError, ZeroDivisionError, IndexError, OverflowError) as error:
          result = _said(error)
      found[f'{name} {at}'] = result
  return Kept(found, {})


def _said(error: Exception) -> str:
  """The type of an error, and its sentence where bsjax raised it, as others' words change."""
  last = error.__traceback__
  while last is not None and last.tb_next:
    last = last.tb_next
  ours = last is not None and last.tb_frame.f_code.co_filename.startswith(ROOM)
  return f'{type(error).__name__}: {error if ours and isinstance(error, ValueError) else ""}'


def plain(value: Any) -> Any:
  """As JSON has it."""
  if isinstance(value, Reason):
    return [value.code, plain(value.details)]
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
  if hasattr(value, '_asdict'):
    return plain(value._asdict())
  if isinstance(value, Mapping):
    return {str(key): plain(item) for key, item in value.items()}
  if isinstance(value, np.ndarray | np.generic):
    return plain(value.tolist())
  if isinstance(value, list | tuple):
    items = [plain(item) for item in value]
    numbers = all(isinstance(item, int | float) for item in items)
    return sums(items) if numbers and len(items) > LONG else items
  return value


def numbers(draw: Draw, *shape: int) -> np.ndarray:
  """Numbers of one sort: plain, few different ones, equal ones, or with one that is odd."""
  sort = draw.one('plain', 'plain', 'plain', 'ties', 'same', 'above', 'zeros', 'nan', 'inf')
  found = draw.random.normal(draw.one(0.0, 0.0, 1.0, -2.0), draw.one(0.1, 1.0, 30.0), shape)
  if sort == 'ties':
    return np.round(found)
  if sort == 'same':
    return np.full(shape, draw.one(0.0, 0.25, -1.5))
  if sort == 'above':
    return np.exp(found / 10)
  if sort in ('zeros', 'nan', 'inf') and found.size:
    odd = {'zeros': 0.0, 'nan': math.nan, 'inf': draw.one(math.inf, -math.inf)}[sort]
    found.flat[draw.random.integers(found.size)] = odd
  return found


def few(draw: Draw) -> int:
  return draw.one(0, 1, 2, 2, 3, 3, 4, 5, 9)


def confidence(draw: Draw) -> float:
  return draw.one(0.95, 0.95, 0.5, 0.99, 0.8, 1.0)


def estimate(draw: Draw) -> Estimate:
  """An interval of a few numbers, or one that lacks something."""
  found = intervals.mean_interval(numbers(draw, draw.one(1, 2, 3, 3, 5, 8)), draw.one(0.95, 0.8))
  if draw.chance(0.2):
    found = dataclasses.replace(found, low=draw.one(None, -math.inf, found.low))
  if draw.chance(0.2):
    found = dataclasses.replace(found, high=None, unbounded=True)
  return dataclasses.replace(found, df=draw.one(2.5, 7.0)) if draw.chance(0.3) else found


def sizes_of(draw: Draw, count: int) -> np.ndarray:
  found = draw.one([4, 8, 16, 32, 64, 128], [3, 6, 24, 30, 96, 480], [64, 32, 16, 8, 4, 2])
  return np.array(found[:count])


def moments(draw: Draw) -> intervals.PairMoments:
  mean = draw.one(-1.0, 0.0, 0.5, 3.0), draw.one(-1.0, 0.0, 1e-3, 0.5, 2.0)
  spread = draw.one(0.0, 0.1, 4.0), draw.one(0.0, 0.1, 4.0, math.nan)
  together = draw.one(0.0, 0.5, -0.5) * math.sqrt(spread[0] * spread[1])
  return intervals.PairMoments(*mean, *spread, together, draw.one(0, 1, 2, 3.5, 9, 40))


def updates(draw: Draw) -> dict[str, Any]:
  """Updates to a target about a hyperbola, of which some are only bounds."""
  sizes = sizes_of(draw, draw.one(2, 3, 4, 5, 6))
  trials, b_crit = draw.one(1, 2, 3, 4), draw.one(1e-3, 5.0, 20.0, 60.0, 1e5)
  error = draw.random.normal(0, draw.one(0.01, 0.1, 0.4), (len(sizes), trials))
  shared = draw.random.normal(0, draw.one(0.0, 0.2), len(sizes))[:, None]
  values = 50 * (1 + b_crit / sizes)[:, None] * np.exp(error + shared)
  known = np.zeros(values.shape, int)
  if draw.chance(0.5):
    bounded = draw.random.random(values.shape) < 0.2
    known[bounded] = draw.one(tobit.AT_LEAST, tobit.AT_LEAST, tobit.AT_MOST)
  if draw.chance(0.1):
    values[0, 0] = draw.one(0.0, -1.0, math.nan, math.inf)
  return {'batch_sizes': sizes, 'updates': values, 'known': known}
