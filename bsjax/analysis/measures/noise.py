"""The noise scales of a setting, all beside each other: late in training, and along it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bsjax.analysis.runs.histories import LaneHistory, Row, Setting
from bsjax.noise.entries import EXACT, ONLINE, PLAIN, Exact, Online
from bsjax.noise.pooling import FEWEST_UPDATES, combine_windows, measurement_moments
from bsjax.stats.estimate import Estimate, Reason, undefined
from bsjax.stats.intervals import (
  PairMoments,
  fieller_from_moments,
  harmonic_ratio,
  log_delta_from_moments,
)

NEAR = 1 / 8  # of an epoch: so close to its end the noise scale is not that of the whole epoch


class Late(NamedTuple):
  """What the trials of a setting measured of one noise scale over the last half of training."""

  trials: list[tuple[float, float]]  # the mean trace and the mean |G|^2 of each
  moments: PairMoments  # of the means over all, by the spread of measurements alone
  negative: float  # the share of measurements whose |G|^2 was not above zero
  from_examples: int  # seen where the first of them began
  measurements: int  # of all trials
  examples: int  # that one of them saw, or at least
  caveat: Reason | None


def late(setting: Setting) -> dict[str, Any]:
  """tr(Sigma) / |G|^2 in examples, over the last half of training, of the most exact kind.

  From single examples where they were measured, else from the lane's own batches: `kind` says
  which, by its name in `noise_scales`.
  """
  for measure, entry in ((_late_exact, EXACT[PLAIN]), (_late_online, ONLINE[PLAIN])):
    if measured := measure(setting, entry):
      return _late_scale(measured, 'b_simple') | {'kind': entry.name}
  return nothing(Reason('no_late_measurement'))


def _late_scale(measured: Late, value: str) -> dict[str, Any]:
  """Of the trials, each with its mean numerator and denominator: one over their mean reciprocal.

  Its interval is over trials (`harmonic_ratio`); of a single trial it is the measurement's
  (Fieller's), which is given beside it anyway: how well these very runs were measured.
  """
  n, over_trials = len(measured.trials), harmonic_ratio(*np.transpose(measured.trials))
  within, delta = fieller_from_moments(measured.moments), log_delta_from_moments(measured.moments)
  ratio = over_trials if n > 1 else within
  result = {
    value: ratio.value,
    'ci95': [ratio.low, ratio.high],
    'unbounded': ratio.unbounded,
    'interval_over': 'trials' if n > 1 else 'measurements of one trial',
    'measurement': {
      'ci95': [within.low, within.high],
      'unbounded': within.unbounded,
      'log_delta_ci95': [delta.low, delta.high],
      'negative': measured.negative,
    },
    'from_examples': measured.from_examples,
    'measurements': measured.measurements,
    'examples': measured.examples,
    'n': n,
  }
  result |= {'reason': ratio.reasons} if ratio.reasons else {}
  return result | ({'caveat': measured.caveat} if measured.caveat else {})


def nothing(reason: Reason) -> dict[str, Any]:
  """The noise scale where there is none."""
  return {'b_simple': None, 'ci95': [None, None], 'unbounded': False, 'n': 0, 'reason': reason}


def late_windows(lane: LaneHistory, column: str = 'noise') -> list[tuple[int, Row]]:
  """The stretches between records in the last half of training, or the last one if none fits in it.

  Each comes as the examples seen at its start, and its `column`; those without a measurement stay
  out.
  """
  stretches = _stretches(lane, column)
  late = [stretch for stretch in stretches if 2 * stretch[0] >= lane.plan['examples']]
  return late or stretches[-1:]


def _stretches(lane: LaneHistory, column: str) -> list[tuple[int, Row]]:
  return [
    (before['examples'], row[column])
    for before, row in itertools.pairwise(lane.rows)
    if column in row and row[column]['count']
  ]


def _late_online(setting: Setting, entry: Online) -> Late | None:
  """From the lanes' own batches: of updates early in epochs, if enough of these were measured."""
  lanes = [(lane, late_windows(lane, entry.window)) for lane in setting.lanes]
  lanes = [(lane, windows) for lane, windows in lanes if windows]
  if not lanes:
    return None
  early = [
    [stretch for stretch in _stretches(lane, entry.early) if stretch[0] >= windows[0][0]]
    for lane, windows in lanes
  ]
  caveat, stretches = _caveat(lanes[0][0], entry, early), early
  if caveat:
    stretches = [windows for _, windows in lanes]
  windows = [window for lane in stretches for _, window in lane]
  counts = [window['count'] for window in windows]
  trials = (combine_windows([window for _, window in lane]) for lane in stretches)
  return Late(
    trials=[(trial.mean_a, trial.mean_b) for trial in trials],
    moments=measurement_moments(windows),
    negative=float(np.average([window['negative'] for window in windows], weights=counts)),
    from_examples=min(lane[0][0] for lane in stretches),
    measurements=sum(counts),
    examples=setting.batch_size,
    caveat=caveat,
  )


def _caveat(
  lane: LaneHistory, entry: Online, early: Sequence[Sequence[tuple[int, Row]]]
) -> Reason | None:
  """Why updates of whole epochs must do, whose later examples the parameters know less than all."""
  if not any(entry.early in row for row in lane.rows):
    return Reason('no_early_windows')
  fewest = min(sum(window['count'] for _, window in stretches) for stretches in early)
  return Reason('few_early_updates', measured=fewest) if fewest < FEWEST_UPDATES else None


def _late_exact(setting: Setting, entry: Exact) -> Late | None:
  """From single examples: each trial's means over its records of the last half."""
  kind = next(kind for kind, exact in EXACT.items() if exact is entry)
  lanes = [
    [
      row
      for row in lane.rows
      if 2 * row['examples'] >= lane.plan['examples'] and kind in row.get('exact', {})
    ]
    for lane in setting.lanes
  ]
  lanes = [rows for rows in lanes if rows]
  if not lanes:
    return None
  probes = [[row['exact'][kind] for row in rows] for rows in lanes]
  pooled = [probe for trial in probes for probe in trial]
  at_ends = all(abs(row['epoch'] - round(row['epoch'])) < NEAR for rows in lanes for row in rows)
  return Late(
    trials=[
      tuple(float(np.mean(_numbers(trial, name))) for name in ('trace', 'grad_sq'))
      for trial in probes
    ],
    moments=_pooled(pooled),
    negative=float(np.mean(_numbers(pooled, 'grad_sq') <= 0)),
    from_examples=min(rows[0]['examples'] for rows in lanes),
    measurements=len(pooled),
    examples=lanes[0][0]['exact']['examples'],
    caveat=Reason('probes_at_epoch_ends', probes=len(lanes[0])) if at_ends else None,
  )


def beside(setting: Setting) -> dict[str, Any]:
  """Every noise scale measured of a setting: late in training, and at each record.

  'late' has them with intervals over trials; 'training' rows have the trials pooled, with the
  interval of the measurement. Names are those of the entries: `ONLINE` from the lane's own batches
  since the record before, and `EXACT` from single examples at the record.
  """
  kinds = [(_late_online, entry) for entry in ONLINE.values()]
  kinds += [(_late_exact, entry) for entry in EXACT.values()]
  measured = {entry.name: measure(setting, entry) for measure, entry in kinds}
  return {
    'batch_size': setting.batch_size,
    'learning_rate': setting.learning_rate,
    'late': {name: _late_scale(kind, 'value') for name, kind in measured.items() if kind},
    'training': [
      _moment(rows)
      for rows in zip(*(lane.rows for lane in setting.lanes), strict=False)
      if len({row['examples'] for row in rows}) == 1
    ],
  }


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
    probes = [row.get('exact', {}).get(kind) for row in rows]  # lanes that are out have none
    if all(probes):
      at[entry.name] = _pool(probes, _pooled)
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
