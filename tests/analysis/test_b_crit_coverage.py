"""Whole studies with a planted critical batch size: how often its interval holds it.

docs/analysis.md has the shares in 200 studies of each kind, old and new; this is a part of that.
"""

import math

import numpy as np
import pytest
from helpers import training_times
from helpers.draws import draws

from bsjax.analysis.measures.critical_batch_size import at_target
from bsjax.analysis.runs.targets import choose_targets

# Every batch size has its best rate at B, and rates end below what most need.
NARROW = {'b_crit': math.inf, 'b_rate': 1e9, 'best': 0.6e9 / 79, 'highest': 0.8}


def results(studies, seed=7, **world):
  """The entry of summary.json of each study, at the target on top."""
  random = np.random.default_rng(seed)
  for _ in draws(studies):
    by_size = training_times.settings(random, **world)
    targets = sorted(choose_targets(by_size, 'train_loss'), reverse=True)
    yield at_target(by_size, 'train_loss', targets[len(targets) // 2])


def covers(low, high, truth):
  return (low or 0.0) <= truth <= (math.inf if high is None else high)


@pytest.mark.parametrize('trials', [3, 5])
def test_a_planted_critical_batch_size_is_covered_though_rates_lie_a_factor_of_3_apart(trials):
  entries = list(results(100, trials=trials, factor=3.2))
  assert 0.93 <= np.mean([covers(*entry['ci95'], 200.0) for entry in entries]) <= 0.99
  # What is off by the rate grid is so in every trial, and their spread knows nothing of it.
  assert np.mean([covers(*entry['ci95_over_trials'], 200.0) for entry in entries]) < 0.88
  width = np.median([math.log(entry['ci95'][1] / entry['ci95'][0]) for entry in entries])
  assert width < 1.1 and not any(entry['unbounded'] for entry in entries)


def test_a_rate_grid_too_narrow_for_large_batch_sizes_does_not_bound_what_is_infinite():
  entries = list(results(40, trials=3, **NARROW))
  known = [entry for entry in entries if 'undefined' not in entry]
  assert len(known) >= 20 and all(entry['unbounded'] for entry in known)
  codes = {entry['undefined'].code for entry in entries if 'undefined' in entry}
  assert codes <= {'few_inside_grid'}
  assert all(512 in entry['at_grid_edge'] for entry in entries)
