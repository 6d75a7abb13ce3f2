"""Rows of records.jsonl from what an evaluation finds of lanes: plain numbers."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int, PyTree

from bsjax.config.metrics import judged
from bsjax.engine.device_lanes import Snapshot
from bsjax.engine.evaluate import Evaluation, means
from bsjax.engine.probe import Probe
from bsjax.noise import entries, online
from bsjax.noise.exact import from_curvature, from_products, ratio, spread
from bsjax.plan.lanes import Lane
from bsjax.report.text.rendered import rendered
from bsjax.stats.estimate import Reason
from bsjax.stats.intervals import PairMoments
from bsjax.storage.position import Divergence

GROWN = 1e6
SHORT = {'train': 'train', 'validation': 'val'}  # of splits, in the names of columns


def columns(probe: Probe, examples: int, population: int, updates: int) -> dict[str, Any]:
  """What a lane's record says of a probe: noise scales with intervals, whole and by layer.

  `examples` of the `population` were measured, after so many `updates` of the lane.
  """
  row: dict[str, Any] = {'examples': examples}
  for kind, (squares, with_mean) in probe.products.items():
    if kind == entries.PRECONDITIONED and not updates:
      row[kind] = {'noise_scale': None, 'reason': Reason('no_gradient_seen')}
      continue
    whole = [sum(np.asarray(x, np.float64) for x in part.values()) for part in (squares, with_mean)]
    layers = {
      layer: ratio(from_products(squares[layer], with_mean[layer], 1, population))
      for layer in squares
    }
    moments = from_products(*whole, 1, population)
    row[kind] = ratio(moments) | spread(moments) | {'layers': layers}
  if probe.curvature is not None:
    size = examples // len(probe.curvature)
    moments = from_curvature(probe.curvature, size, population)
    row['curvature'] = _curvature_columns(moments, row[entries.PLAIN]['grad_sq'])
  return row


def _curvature_columns(moments: PairMoments, grad_sq: float | None) -> dict[str, Any]:
  """The Hessian-weighted noise scale, and the learning rate at which a noiseless step is best.

  B_noise = tr(H Sigma) / G' H G and epsilon_max = |G|^2 / G' H G (McCandlish et al. 2018, eqs. 2.6
  and 2.8). Both are about a minimum along the gradient: there is one only where it curves upwards.
  """
  row = ratio(moments) | spread(moments)
  along, weighted = moments.mean_b, moments.mean_a
  if math.isfinite(along) and math.isfinite(weighted) and min(along, weighted) <= 0:
    row |= {'noise_scale': None, 'ci95': [None, None], 'unbounded': False}
    row['reason'] = Reason(
      'curvature_along_gradient' if along <= 0 else 'curvature_weighted_by_noise'
    )
  positive = along > 0 and grad_sq is not None and grad_sq > 0
  return row | {'largest_learning_rate': grad_sq / along if positive else None}


def why_diverged(evaluation: Evaluation, guessing: float | None = None) -> str:
  """Why a lane is lost: numbers that are not finite, or a loss far above that of guessing; or ''.

  `guessing` is what it costs; None: log C among C classes. A mean loss `GROWN` times that has no
  way back, even where it stays finite; where it is not known or 0, only what is not finite is.
  """
  sums = evaluation.train
  if not evaluation.finite:
    return 'parameter_not_finite'
  if not np.isfinite(sums.loss):
    return 'loss_not_finite'
  if guessing is None and sums.class_count is not None:
    guessing = math.log(max(2, len(sums.class_count)))
  if not guessing:
    return ''
  return 'loss_grown' if float(sums.loss) / int(sums.count) > GROWN * guessing else ''


def _divergence(
  known: Divergence | None,
  evaluation: Evaluation,
  position: Mapping[str, Any],
  guessing: float | None,
) -> dict[str, Any]:
  """The columns that say whether a lane is lost; one that ever was stays so."""
  if known is None:
    because = why_diverged(evaluation, guessing)
    if not because:
      return {'diverged': False}
    known = Divergence(-1, position['examples'], because, frozen=False)
  return {
    'diverged': True,
    'diverged_at': known.examples,
    'diverged_because': known.because,
  }


def lane_records(
  lanes: Sequence[Lane],
  snapshot: Snapshot,
  position: dict[str, Any],
  rates: tuple[float, Mapping[int, float]],
  probed: tuple[int, int],
  diverged: Mapping[int, Divergence] | None = None,
  guessing: float | None = None,
) -> list[dict[str, Any]]:
  """Returns the rows of records.jsonl for lanes at one position (`examples`, `epoch`, `stage`).

  `rates` are the factor now on learning rates, and each lane's sum of rates over all its updates so
  far (`Lanes.rates`). `probed` counts the examples that a probe measured, and those there are.
  `diverged` are the lanes known to be lost by then; their rows, and no others, say when and why.
  `guessing` is as in `why_diverged`.
  """
  rows = []
  fields = [getattr(snapshot, field.name) for field in dataclasses.fields(snapshot)]
  for lane, one in zip(lanes, _by_lane(fields), strict=False):  # the last may be idle
    evaluation, windows, early, updates, probe, out = one
    row = {
      **_place(lane, position, updates, rates),
      **means('train', evaluation.train),
      **means('val', evaluation.validation),
      **_divergence((diverged or {}).get(lane.lane), evaluation, position, guessing),
      **online.columns(windows, early),
    }
    row |= _other_weights(evaluation)
    if probe and not out:
      row['exact'] = rendered(columns(probe, *probed, row['updates']))
    rows.append(row)
  return rows


def subset_records(
  lanes: Sequence[Lane],
  evaluation: Evaluation,
  updates: Int[np.ndarray, ' lane'],
  position: dict[str, Any],
  rates: tuple[float, Mapping[int, float]],
  diverged: Mapping[int, Divergence] | None = None,
  guessing: float | None = None,
) -> list[dict[str, Any]]:
  """Returns the rows of subset_records.jsonl, which count the examples of each split they are of.

  Arguments as in `lane_records`; `evaluation` holds arrays `[lane, ...]`.
  """
  rows = []
  for lane, one, made in zip(lanes, _by_lane(evaluation), updates, strict=False):
    rows.append(
      {
        **_place(lane, position, made, rates),
        'train_examples': int(one.train.count),
        'val_examples': int(one.validation.count),
        **means('train', one.train),
        **means('val', one.validation),
        **_divergence((diverged or {}).get(lane.lane), one, position, guessing),
        **_other_weights(one),
      }
    )
  return rows


def _by_lane(tree: PyTree) -> Iterator[PyTree]:
  """What each lane has of a tree of arrays `[lane, ...]`; the tree is walked once for all."""
  leaves, structure = jax.tree.flatten(tree)
  return map(structure.unflatten, zip(*leaves, strict=True))


def _place(
  lane: Lane,
  position: dict[str, Any],
  updates: np.integer,
  rates: tuple[float, Mapping[int, float]],
) -> dict[str, Any]:
  """Where a lane stands, as rows begin."""
  factor, rate_sums = rates
  return {
    'lane': lane.lane,
    **position,
    'updates': int(updates),
    'batch_size': lane.batch_size,
    'learning_rate': lane.learning_rate * factor,
    'learning_rate_sum': rate_sums[lane.lane],
  }


def _other_weights(evaluation: Evaluation) -> dict[str, Any]:
  """The columns of re-estimated BatchNorm statistics and of averaged weights, if there are any."""
  row: dict[str, Any] = {}
  for prefix in ('reestimated', 'averaged'):
    for name, sums in getattr(evaluation, prefix).items():
      row |= means(f'{prefix}_{SHORT[name]}', sums)
  return row


def best_line(rows: list[dict[str, Any]], lanes: Sequence[Lane]) -> str:
  """The lane that is best at an evaluation, for a log line."""
  known = [row for row in rows if row[judged().val] is not None and not row['diverged']]
  if not known:
    return 'all lanes have diverged'
  best = max(known, key=lambda row: judged().metric.merit(row[judged().val]))
  lane = next(lane for lane in lanes if lane.lane == best['lane'])
  return (
    f'best at {best["examples"]:,} examples: {judged().val_title} {best[judged().val]:.4g}, batch '
    f'size {best["batch_size"]}, learning rate {lane.learning_rate:.4g}'
  )
