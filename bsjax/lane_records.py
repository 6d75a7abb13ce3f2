"""What is known of lanes at an evaluation, as rows of records.jsonl: plain numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from bsjax import exact_noise, lane_noise, noise_scale, plan
from bsjax.evaluate import Sums
from bsjax.noise_windows import measured_interval
from bsjax.program import Look

# The names, in a record, of the noise scale and of what it was computed from.
NOISE_COLUMNS = {
  lane_noise.PLAIN: ('b_simple', 'noise'),
  lane_noise.PRECONDITIONED: ('b_preconditioned', 'preconditioned_noise'),
}


def lane_records(
  lanes: Sequence[plan.Lane],
  look: Look,
  position: dict[str, Any],
  rates: tuple[float, Mapping[int, float]],
  probed: tuple[int, int],
) -> list[dict[str, Any]]:
  """Returns the rows of records.jsonl for lanes at one position (`examples`, `epoch`, `stage`).

  `rates` are the factor now on learning rates, and each lane's sum of rates over all its updates so
  far (`GroupRun.rates`). `probed` counts the examples that a probe measured, and those there are.
  """
  rows = []
  for i, lane in enumerate(lanes):
    found, windows, updates, probe = (
      jax.tree.map(lambda x, i=i: x[i], part)
      for part in (look.evaluation, look.noise, look.updates, look.probe)
    )
    factor, rate_sums = rates
    row = {
      'lane': lane.lane,
      **position,
      'updates': int(updates),
      'batch_size': lane.batch_size,
      'learning_rate': lane.learning_rate * factor,
      'learning_rate_sum': rate_sums[lane.lane],
      **_means('train', found.train),
      **_means('val', found.validation),
      'diverged': not (found.finite and np.isfinite(found.train.loss)),
      **_noise_columns(windows),
    }
    for name, sums in found.reestimated.items():
      row |= _means({'train': 'reestimated_train', 'validation': 'reestimated_val'}[name], sums)
    if probe:
      row['exact'] = exact_noise.columns(probe, *probed, row['updates'])
    rows.append(row)
  return rows


def _noise_columns(windows: dict[str, noise_scale.Window]) -> dict[str, Any]:
  """The noise scale since the last record, as it is and as the optimizer scales gradients."""
  columns = {}
  for kind, window in windows.items():
    scale, measured = NOISE_COLUMNS[kind]
    summary = noise_scale.window_summary(window)
    interval = measured_interval([summary])
    columns[scale] = noise_scale.b_simple(summary['trace'], summary['grad_sq'])
    columns[f'{scale}_ci95'] = [interval.low, interval.high]
    columns[f'{scale}_unbounded'] = interval.unbounded
    columns[measured] = summary
  return columns


def _means(name: str, sums: Sums) -> dict[str, Any]:
  """Loss and accuracies; the balanced one is the mean over the classes that the split has."""
  count = int(sums.count)
  class_count = np.asarray(sums.class_count)
  present = class_count > 0
  recall = np.asarray(sums.class_correct, np.float64) / np.maximum(class_count, 1)
  columns = {
    f'{name}_loss': float(sums.loss) / count,
    f'{name}_accuracy': int(sums.correct) / count,
    f'{name}_balanced_accuracy': float(recall[present].mean()),
  }
  if name.endswith('val'):
    by_class = zip(recall, present, strict=True)
    columns[f'{name}_class_accuracy'] = [
      float(value) if there else None for value, there in by_class
    ]
  return columns
