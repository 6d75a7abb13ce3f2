"""The noise scales of a setting, all beside each other: late in training, and along it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bsjax.analysis.runs.histories import LaneHistory, Row, Setting
from bsjax.noise.entries import EXACT, ONLINE
from bsjax.noise.pooling import combine_windows, measurement_moments
from bsjax.stats.estimate import Estimate, undefined
from bsjax.stats.intervals import (
  PairMoments,
  fieller,
  fieller_from_moments,
  log_delta_from_moments,
)


def late(setting: Setting, column: str = 'noise') -> dict[str, Any]:
  """tr(Sigma) / |G|^2 in examples, over the last half of training.

  A ratio of means throughout: each trial gives its mean numerator and mean denominator over all
  measurements of its windows, and only the means over trials are divided (Fieller's interval).
  The interval is over trials; of a single trial it is the measurement's, which is given beside it
  anyway: how well these runs were measured, whatever others would have shown.
  """
  windows = [late_windows(lane, column) for lane in setting.lanes]
  trials = [combine_windows([noise for _, noise in lane]) for lane in windows if lane]
  if not trials:
    return nothing('no noise scale was measured in the last half of training')
  moments = measurement_moments([noise for lane in windows for _, noise in lane])
  measured, delta = fieller_from_moments(moments), log_delta_from_moments(moments)
  over_trials = fieller([trial.mean_a for trial in trials], [trial.mean_b for trial in trials])
  ratio = over_trials if len(trials) > 1 else measured
  result = {
    'b_simple': ratio.value,
    'ci95': [ratio.low, ratio.high],
    'unbounded': ratio.unbounded,
    'interval_over': 'trials' if len(trials) > 1 else 'measurements of one trial',
    'measurement': {
      'ci95': [measured.low, measured.high],
      'unbounded': measured.unbounded,
      'log_delta_ci95': [delta.low, delta.high],
      'negative': _negative([noise for lane in windows for _, noise in lane]),
    },
    'from_examples': min(lane[0][0] for lane in windows if lane),
    'n': len(trials),
  }
  return result | ({'reason': ratio.reasons} if ratio.reasons else {})


def _negative(windows: Sequence[Row]) -> float:
  """The share of measurements whose estimate of |G|^2 was not above zero."""
  counts = [window['count'] for window in windows]
  share = sum(n * window['negative'] for n, window in zip(counts, windows, strict=True))
  return share / sum(counts)


def nothing(reason: str) -> dict[str, Any]:
  """The noise scale where there is none."""
  return {'b_simple': None, 'ci95': [None, None], 'unbounded': False, 'n': 0, 'reason': reason}


def late_windows(lane: LaneHistory, column: str = 'noise') -> list[tuple[int, Row]]:
  """The stretches between records in the last half of training, or the last one if none fits in it.

  Each comes as the examples seen at its start, and its `column`; those without a measurement stay
  out.
  """
  stretches = [
    (before['examples'], row[column])
    for before, row in itertools.pairwise(lane.rows)
    if column in row and row[column]['count']
  ]
  late = [stretch for stretch in stretches if 2 * stretch[0] >= lane.plan['examples']]
  return late or stretches[-1:]


def beside(setting: Setting) -> dict[str, Any]:
  """Every noise scale measured of a setting: late in training, and at each record.

  'late' has them with intervals over trials; 'training' rows have the trials pooled, with the
  interval of the measurement. Names are those of the entries: `ONLINE` from the lane's own batches
  since the record before, and `EXACT` from single examples at the record.
  """
  late_values = {entry.name: _renamed(late(setting, entry.window)) for entry in ONLINE.values()}
  late_values |= {entry.name: _late_exact(setting, kind) for kind, entry in EXACT.items()}
  return {
    'batch_size': setting.batch_size,
    'learning_rate': setting.learning_rate,
    'late': {name: value for name, value in late_values.items() if value['n']},
    'training': [
      _moment(rows)
      for rows in zip(*(lane.rows for lane in setting.lanes), strict=False)
      if len({row['examples'] for row in rows}) == 1
    ],
  }


def _renamed(scale: dict[str, Any]) -> dict[str, Any]:
  return {'value' if key == 'b_simple' else key: value for key, value in scale.items()}


def _late_exact(setting: Setting, kind: str) -> dict[str, Any]:
  """The same from single examples: each trial's means over its records of the last half."""
  pairs = []
  for lane in setting.lanes:
    rows = [row for row in lane.rows if 2 * row['examples'] >= lane.plan['examples']]
    probes = [row['exact'][kind] for row in rows if kind in row.get('exact', {})]
    if probes:
      pairs.append([np.mean(_numbers(probes, name)) for name in ('trace', 'grad_sq')])
  if not pairs:
    return {'n': 0}
  ratio = fieller(*np.transpose(pairs))
  if len(pairs) == 1:
    ratio = fieller_from_moments(_pooled(probes))
  over = 'trials' if len(pairs) > 1 else 'measurements of one trial'
  return _as_json(ratio) | {'interval_over': over, 'n': len(pairs)}


def _moment(rows: Sequence[Row]) -> dict[str, Any]:
  """What all trials' records at one position say together."""
  first = rows[0]
  at = {name: first[name] for name in ('examples', 'epoch', 'updates')}
  at['train_loss'] = _mean([row['train_loss'] for row in rows])
  for entry in ONLINE.values():
    windows = [row[entry.window] for row in rows if entry.window in first]
    if windows and all(window['count'] for window in windows):
      at[entry.name] = _pool(windows, measurement_moments)
  for kind, entry in EXACT.items():
    if kind in first.get('exact', {}):
      at[entry.name] = _pool([row['exact'][kind] for row in rows], _pooled)
  return at


def _pool(
  measured: Sequence[Mapping], moments: Callable[[Sequence[Mapping]], PairMoments]
) -> dict[str, Any]:
  if any(window.get('trace') is None for window in measured):
    return _as_json(undefined('not_measured'))
  return _as_json(fieller_from_moments(moments(measured)))


def _pooled(probes: Sequence[Mapping]) -> PairMoments:
  """The moments of the mean over independent probes, from the spread inside each."""
  n, *columns = (_numbers(probes, k) for k in ('n', 'trace_var', 'grad_sq_var', 'cov'))
  degrees = 1 + float((n - 1).sum())
  variances = [float((column / n).sum()) / len(n) ** 2 * degrees for column in columns]
  means = [float(_numbers(probes, name).mean()) for name in ('trace', 'grad_sq')]
  return PairMoments(*means, *variances, n=degrees)


def _numbers(probes: Sequence[Mapping], name: str) -> np.ndarray:
  """NaN where a probe found nothing finite, for the interval to report."""
  return np.array([probe.get(name) for probe in probes], dtype=np.float64)


def _as_json(ratio: Estimate) -> dict[str, Any]:
  plain = {'value': ratio.value, 'ci95': [ratio.low, ratio.high], 'unbounded': ratio.unbounded}
  return plain | ({'reason': ratio.reasons} if ratio.reasons else {})


def _mean(values: Sequence[float | None]) -> float | None:
  finite = all(value is not None and math.isfinite(value) for value in values)
  return sum(values) / len(values) if finite else None
