"""The learning rate in summary.json: optima, their scaling with the batch size, and the rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bsjax.analysis.measures.exponent import Points, exponent, points, saturation
from bsjax.analysis.measures.learning_rate_laws import predictions
from bsjax.analysis.measures.optimum import as_json, optimum_of
from bsjax.analysis.runs.histories import Setting

NO_NOISE_SCALE = {'b_simple': None, 'ci95': [None, None], 'unbounded': False}


def learning_rates(
  by_size: Mapping[int, Sequence[Setting]],
  optimizer: str,
  noise_scale: Mapping[str, Any] = NO_NOISE_SCALE,
  objective: str = 'val_loss',
) -> dict[str, Any]:
  """What the runs say about the learning rate; by_size: from `histories.settings`.

  optimizer: its name in the config, which decides what rules apply.
  noise_scale: {'b_simple', 'ci95', 'unbounded'}, one for all batch sizes, for the rules.
  objective: what is lowest at the optimum, at the end of training ('val_loss', 'val_error', ...).

  `rms_log_noise` is the `rms_log_misfit` to expect of a true rule, from the spread over trials:
  rules whose misfits are about it are not told apart.
  """
  optima = {size: optimum_of(tried, objective) for size, tried in by_size.items()}
  given = points(optima)
  return {
    'merit': objective,
    'optimum': [as_json(size, best) for size, best in optima.items()],
    'exponent': exponent(given),
    'noise_scale': saturation(given),
    'rules': predictions(given, noise_scale, optimizer),
    'rms_log_noise': _noise(given),
  }


def _noise(given: Points) -> float | None:
  """Root mean square standard error of the trials' mean log optima about their common factor."""
  if not given.log_rates.size or len(given.log_rates) < 2:
    return None
  free = given.log_rates - given.log_rates.mean(axis=1, keepdims=True)
  return math.sqrt(np.mean(free.var(axis=0, ddof=1)) / len(free))
