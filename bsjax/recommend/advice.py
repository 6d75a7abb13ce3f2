"""Which batch sizes a noise scale and the speed of steps speak for, with what the intervals allow.

To come to a loss at batch size B takes (1 + B / N) times the fewest examples, N being the noise
scale (McCandlish et al. 2018, "An empirical model of large-batch training", eq. 2.11), so the time
it takes is in proportion to (1 + B / N) t(B), with t(B) the seconds per example of a step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bsjax.analysis.runs.histories import Setting
from bsjax.noise.entries import EXACT, ONLINE, PLAIN
from bsjax.stats.estimate import Estimate, undefined
from bsjax.stats.intervals import harmonic_ratio, mean_interval

Row = Mapping[str, Any]
ALIKE = 0.1  # batch sizes whose time is longer than the least by this share are as good
OVERHEAD = 0.2  # more examples than the fewest, of a batch size that wastes few


def seconds_per_example(cost: Row) -> dict[int, float]:
  """Batch size -> seconds per example of a step on a whole batch, of native_cost.json.

  Where it does not fit, those of the micro-batches that gather it; nothing where neither ran.
  """
  result = {}
  for row in cost['rows']:
    rates = row['examples_per_second'] or (row['suggestion'] or {}).get('examples_per_second')
    if rates:
      result[row['batch_size']] = 1 / rates['median']
  return result


class Measured(NamedTuple):
  """A noise scale where it was measured: its value with 95% over trials, infinite if unbounded."""

  epoch: float
  kind: str  # of `KINDS`
  value: float
  low: float
  high: float


class NoiseScales(NamedTuple):
  """The noise scale along a run, and how many times the first one the last is, over trials."""

  path: list[Measured]
  growth: Estimate


def noise_scales(setting: Setting) -> NoiseScales:
  """The noise scale at every record after the start, each over the trials of a setting."""
  path, trials = [], []
  for rows in zip(*(lane.rows for lane in setting.lanes), strict=False):
    kind, pairs = _pairs(rows)
    if kind and rows[0]['updates']:
      ratio = harmonic_ratio(*np.transpose(pairs))
      ends = (math.inf if end is None else end for end in (ratio.value, ratio.low, ratio.high))
      path.append(Measured(rows[0]['epoch'], kind, *ends))
      trials.append([trace / grad_sq for trace, grad_sq in pairs])
  if len(path) < 2 or path[0].kind != path[-1].kind:
    return NoiseScales(path, undefined('one_measurement'))
  first, last = np.array([trials[0], trials[-1]])
  if not (np.minimum(first, last) > 0).all():
    return NoiseScales(path, undefined('not_positive'))
  return NoiseScales(path, mean_interval(np.log(last / first)).map(math.exp))


def _pairs(rows: Sequence[Row]) -> tuple[str, list[tuple[float, float]]]:
  """(tr(Sigma), |G|^2) of each trial at a record, of the better kind that all of them have."""
  for kind, of in ((EXACT[PLAIN].name, _exact), (ONLINE[PLAIN].name, _online)):
    moments = [pair for row in rows if (pair := of(row)) and None not in pair]
    if len(moments) == len(rows):
      return kind, moments
  return '', []


def _exact(row: Row) -> tuple[float, float] | None:
  probe = row.get('exact', {}).get(PLAIN)
  return (probe['trace'], probe['grad_sq']) if probe else None


def _online(row: Row) -> tuple[float, float] | None:
  window = row.get(ONLINE[PLAIN].window)
  return (window['trace'], window['grad_sq']) if window and window['count'] else None


def fastest(seconds: Mapping[int, float], noise_scale: float) -> int:
  """The batch size that comes to a loss in the least time."""
  return min(seconds, key=lambda size: relative_time(size, seconds, noise_scale))


def relative_time(size: int, seconds: Mapping[int, float], noise_scale: float) -> float:
  """(1 + B / N) t(B), in seconds per example that the smallest batches would need; N above 0."""
  return (1 + size / noise_scale) * seconds[size]


def advise(setting: Setting, cost: Row) -> dict[str, Any]:
  """The content of recommend.json, from the trials of a short run and the native cost.

  {'noise_scale': {'kind', 'epoch', 'value', 'ci95', 'n'}, 'growth': {'value', 'ci95'}, 'fastest',
  'as_good': [least, most], 'over_interval': [at the low end, at the high end], 'few_examples',
  'at_edge', 'ramp': null or [{'epoch', 'noise_scale', 'batch_size'}, ...], 'rows': [{'batch_size',
  'examples', 'updates', 'examples_per_second', 'time'}]}, or {'undefined': code}. 'examples' are a
  multiple of the fewest, 'updates' of those at unlimited batch size, 'time' of the fastest.
  """
  seconds, scales = seconds_per_example(cost), noise_scales(setting)
  if not seconds:
    return {'undefined': 'no_step_ran'}
  if not scales.path:
    return {'undefined': 'no_noise_scale'}
  last = scales.path[-1]
  if not 0 < last.value < math.inf:
    return {'undefined': 'noise_scale_unknown'}
  best = fastest(seconds, last.value)
  least = relative_time(best, seconds, last.value)
  times = {size: relative_time(size, seconds, last.value) / least for size in sorted(seconds)}
  good = [size for size, time in times.items() if time <= 1 + ALIKE]
  frugal = [size for size in times if size <= OVERHEAD * last.value]
  growth = scales.growth
  return {
    'noise_scale': {
      **{'kind': last.kind, 'epoch': last.epoch, 'value': last.value},
      **{'ci95': [last.low, _finite(last.high)], 'n': len(setting.lanes)},
    },
    'growth': {'value': growth.value, 'ci95': [growth.low, growth.high]},
    'fastest': best,
    'as_good': [min(good), max(good)],
    'over_interval': [
      fastest(seconds, end) if end > 0 else min(seconds) for end in (last.low, last.high)
    ],
    'few_examples': max(frugal, default=None),
    'at_edge': best in (min(seconds), max(seconds)),
    'ramp': ramp(scales, seconds),
    'rows': [_row(size, last.value, seconds, time) for size, time in times.items()],
  }


def _row(size: int, noise: float, seconds: Mapping[int, float], time: float) -> dict[str, Any]:
  return {
    'batch_size': size,
    'examples': 1 + size / noise,
    'updates': 1 + noise / size,
    'examples_per_second': 1 / seconds[size],
    'time': time,
  }


def ramp(scales: NoiseScales, seconds: Mapping[int, float]) -> list[dict[str, Any]] | None:
  """Batch sizes that follow a noise scale that grows, or None where it is not shown to.

  It is shown where the last one is above the first with 95% over trials. Each size holds from its
  epoch on.
  """
  if scales.growth.low is None or scales.growth.low <= 1:
    return None
  known = [one for one in scales.path if 0 < one.value < math.inf]
  growing = np.maximum.accumulate([one.value for one in known])  # a ramp does not turn back
  steps: list[dict[str, Any]] = []
  for one, value in zip(known, growing, strict=True):
    size = fastest(seconds, float(value))
    if not steps or size > steps[-1]['batch_size']:
      steps.append({'epoch': one.epoch, 'noise_scale': float(value), 'batch_size': size})
  return steps if len(steps) > 1 else None


def _finite(value: float) -> float | None:
  return value if math.isfinite(value) else None
