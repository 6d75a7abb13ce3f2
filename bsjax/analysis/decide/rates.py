"""Whether the learning rates of a batch size surround its best one, or which are to be tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from bsjax.analysis.runs import dropped
from bsjax.analysis.runs.histories import Setting
from bsjax.analysis.runs.selection import SelectionKind, Tuned, diverged
from bsjax.stats.estimate import Reason

FEWEST_STEP, MOST_STEP = math.log(3.0), math.log(10.0)  # in which a grid is widened
GROWTH = 1.5  # of a step to the one before, so that a far optimum takes few rounds
COARSE = math.log(2.1)  # neighbours of the best rate that are further away leave much between them
DIGITS = 3  # of new learning rates


class Rates(NamedTuple):
  """`state` is 'bracketed', 'edge', 'coarse' or 'none'; `add` are the learning rates to try next.

  'bracketed': there are a lower and a higher rate, which end worse or diverge; 'edge' also where
  one was dropped before its end, and none beyond it ended. 'none': no rate
  ended well and none is known to be too high.
  """

  state: str
  add: tuple[float, ...] = ()


def rates_of(tried: Sequence[Setting], best: Tuned | Reason) -> Rates:
  """What a batch size with these runs lacks; `best` is what `selection.tune` makes of them."""
  logs = sorted(math.log(setting.learning_rate) for setting in tried)
  if isinstance(best, Reason):
    unsafe = [setting for setting in tried if diverged(setting)]
    return _widened(logs, low=True) if len(unsafe) == len(tried) else Rates('none')
  if near := best.dropped_beside:
    return _past(math.log(best.learning_rate), [math.log(rate) for rate in near])
  logs = sorted(math.log(one.learning_rate) for one in tried if not dropped.unknown(one))
  at = min(range(len(logs)), key=lambda i: abs(logs[i] - math.log(best.learning_rate)))
  bracket = around(logs, at)
  parabola = best.selection == SelectionKind.PARABOLA
  return Rates('bracketed') if parabola and bracket.state == 'coarse' else bracket


def _past(best: float, near: Sequence[float]) -> Rates:
  """On both sides of each log rate that was dropped beside the best one, to be trained to the end.

  In halves of the step to it, where no rate of an even grid is.
  """
  return Rates('edge', _rounded([best + x * (log - best) for log in near for x in (0.5, 1.5)]))


def around(logs: Sequence[float], at: int) -> Rates:
  """What a best one of ascending log rates lacks: others beyond it, or between its neighbours."""
  ends = [end for end, is_end in ((True, at == 0), (False, at == len(logs) - 1)) if is_end]
  if ends:
    added = [rate for low in ends for rate in _widened(logs, low, 3 - len(ends)).add]
    return Rates('edge', tuple(sorted(added)))
  gaps = [(logs[at], logs[at + side]) for side in (-1, 1)]
  between = [(a + b) / 2 for a, b in gaps if abs(a - b) > COARSE]
  return Rates('coarse', _rounded(between)) if between else Rates('bracketed')


def kept(tried: Sequence[Setting], best: Tuned) -> tuple[float, ...]:
  """The learning rates that more trials are worth: those read, and the safe neighbours of the best.

  What is left out was further below the best than rates that are read together may be.
  """
  rates = [setting.learning_rate for setting in tried if not setting.problem]
  at = rates.index(best.learning_rate)
  near = set(rates[max(0, at - 1) : at + 2])
  return tuple(sorted(near | {part.learning_rate for part in best.window}))


def _widened(logs: Sequence[float], low: bool, count: int = 2) -> Rates:
  """Beyond an end of the grid, in steps larger than its own there."""
  edge, gap = (logs[0], logs[1:2]) if low else (logs[-1], logs[-2:-1])
  step = GROWTH * abs(edge - gap[0]) if gap else 0.0
  step = min(max(step, FEWEST_STEP), MOST_STEP)
  return Rates('edge', _rounded([edge + (-step if low else step) * i for i in range(1, count + 1)]))


def _rounded(logs: Sequence[float]) -> tuple[float, ...]:
  return tuple(float(f'{math.exp(log):.{DIGITS}g}') for log in sorted(logs))
