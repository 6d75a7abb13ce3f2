"""Late online noise scales, early in epochs and of whole epochs, against the exact ones of lanes.

  python -m bsjax.main --config=configs/digits.py --config.trials=15 --config.evaluations=42 \
    --config.batch_sizes=8,16,32 --config.learning_rates=0.01,0.03 --workdir=A
  (the same with batch sizes 64,128,256 and learning rates 0.1,0.3, into B)
  python experiments/noise_scale/late_on_digits.py A B

writes late_on_digits.json beside itself. Evaluations must not fall at ends of epochs only.
"""

import math
import sys
from pathlib import Path

import numpy as np

from bsjax.analysis.measures import noise
from bsjax.analysis.runs.histories import settings
from bsjax.noise.pooling import combine_windows
from bsjax.stats.intervals import fieller, harmonic_ratio
from bsjax.storage import records

HERE = Path(__file__).parent
GROUP = 3  # trials of a study of the usual size
NEAR = 1 / 8  # of an epoch, from its end
COLUMNS = {'early in epochs': 'noise_early', 'whole epochs': 'noise'}


def exact(lane, near_ends=False):
  """The mean trace and |G|^2 over a lane's probes of the last half of training."""
  rows = [row for row in lane.rows if 2 * row['examples'] >= lane.plan['examples']]
  if near_ends:
    rows = [row for row in rows if abs(row['epoch'] - round(row['epoch'])) < NEAR]
  return [np.mean([row['exact']['plain'][name] for row in rows]) for name in ('trace', 'grad_sq')]


def online(lane, column):
  """The same from the lane's own batches."""
  return combine_windows([window for _, window in noise.late_windows(lane, column)])[:2]


def over(estimates, truths):
  """A noise scale over another one of the same trials: the ratio of harmonic means, paired."""
  (a, b), (c, d) = np.transpose(estimates), np.transpose(truths)
  found = fieller(d / c, b / a)
  return {'value': found.value, 'ci95': [found.low, found.high], 'n': found.n}


def held(estimates, truths):
  """Of groups of trials: how many intervals hold those trials' exact noise scale, or are open."""
  counts = {'groups': 0, 'hold': 0, 'unbounded': 0}
  for first in range(0, len(truths) - GROUP + 1, GROUP):
    a, b = np.transpose(estimates[first : first + GROUP])
    c, d = np.transpose(truths[first : first + GROUP])
    interval, truth = harmonic_ratio(a, b), 1 / np.mean(d / c)
    high = math.inf if interval.high is None else interval.high
    counts['groups'] += 1
    counts['hold'] += interval.low is not None and bool(interval.low <= truth <= high)
    counts['unbounded'] += interval.unbounded
  return counts


def main(workdirs):
  rows, totals = [], {name: [] for name in COLUMNS}
  for workdir in workdirs:
    plan, lines = records.read_plan(workdir / 'plan.csv'), records.read(workdir / 'records.jsonl')
    for setting in (setting for tried in settings(plan, lines).values() for setting in tried):
      truths = [exact(lane) for lane in setting.lanes]
      row = {'batch_size': setting.batch_size, 'learning_rate': setting.learning_rate}
      row['exact'] = 1 / np.mean([grad_sq / trace for trace, grad_sq in truths])
      row['exact, near ends'] = over([exact(lane, True) for lane in setting.lanes], truths)
      for name, column in COLUMNS.items():
        estimates = [online(lane, column) for lane in setting.lanes]
        row[name] = over(estimates, truths)
        totals[name].append(held(estimates, truths))
      rows.append(row)
  sums = {
    name: {key: sum(counts[key] for counts in parts) for key in parts[0]}
    for name, parts in totals.items()
  }
  records.write_json(HERE / 'late_on_digits.json', {'settings': rows, f'groups of {GROUP}': sums})


if __name__ == '__main__':
  main([Path(argument) for argument in sys.argv[1:]])
