"""How wide the range of good learning rates is at each batch size, and whether it narrows."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from bsjax.analysis.runs.histories import Tried
from bsjax.config.metrics import USUAL
from bsjax.stats.estimate import Reason
from bsjax.stats.paired import slope_weights

GOOD = 0.01  # of the metric (of a loss: of its log): rates that lack no more of the best are good
FEWEST_RATES, FEWEST_SIZES = 4, 3


def narrowing(tried: Tried) -> tuple[Float[np.ndarray, ' trial'] | Reason, list[Reason]]:
  """The change of the width, in doublings of the rate, per doubling of the batch size, by trial.

  Batch sizes whose range leaves the grid in any trial take no part, and are named: there it is not
  known how wide it is. A Reason where fewer than three are left.
  """
  widths, out = {}, []
  for size, settings in tried.items():
    # Unsafe rates stay in, as ones that are no good.
    values = np.array([[_merit(lane) for lane in s.lanes] for s in settings]).T
    rates = np.log2([setting.learning_rate for setting in settings])
    if len(rates) < FEWEST_RATES:
      continue
    of_trials = [width(rates, row) for row in values]
    if None in of_trials:
      out.append(size)
    else:
      widths[size] = of_trials
  reasons = [Reason('good_range_leaves_grid', sizes=out)] if out else []
  if len(widths) < FEWEST_SIZES:
    return Reason('too_few_ranges', known=len(widths), out=out), []
  reasons.insert(0, Reason('good_means', margin=GOOD, sizes=list(widths)))
  return np.array(list(widths.values())).T @ slope_weights(list(widths)), reasons


def width(rates: Float[np.ndarray, ' rate'], merits: Float[np.ndarray, ' rate']) -> float | None:
  """The width of the range around the best rate in which no more than GOOD is lost.

  Rates in ascending log2; merits, of which more is better, are linear between them, and minus
  infinity where a run diverged: the range then ends half way. None where the range leaves the grid.
  """
  best = int(np.argmax(merits))
  level = merits[best] - GOOD
  ends = []
  for step in (-1, 1):
    at = best
    while 0 <= at + step < len(rates) and merits[at + step] >= level:
      at += step
    if not 0 <= at + step < len(rates):
      return None
    fall = merits[at] - merits[at + step]
    share = (merits[at] - level) / fall if np.isfinite(fall) else 0.5
    ends.append(rates[at] + share * (rates[at + step] - rates[at]))
  return float(ends[1] - ends[0])


def _merit(lane: object) -> float:
  if lane.problem:
    return -np.inf
  return USUAL.metric.merit(lane.final[USUAL.val])
