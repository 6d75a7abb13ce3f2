"""What 1,911 language-model runs say of the best learning rate: python experiments/step_law/run.py

Reads the public table of the Step Law runs, as `python -m bsjax.audit` does, and writes
`results.json` beside this file: the pooled claims, each cell's numbers, and what they rest on.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bsjax.analysis.measures.optimum import optimum_of  # noqa: E402
from bsjax.audit import audit, good_rates  # noqa: E402
from bsjax.audit.claims import whole_settings  # noqa: E402
from bsjax.stats.intervals import mean_interval  # noqa: E402

COLUMNS = 'batch_size=bs,learning_rate=lr,val_loss={loss},updates=ti,cell=N+D'


def over(values):
  """Mean and 95% Student interval over cells."""
  found = mean_interval(values)
  ends = {'mean': found.value, 'low': found.low, 'high': found.high}
  return {key: round(value, 4) for key, value in ends.items()} | {'n': len(values)}


def optima(tried):
  """Batch size -> log of the best rate, where it lies inside the grid."""
  found = {size: optimum_of(rates, 'val_loss') for size, rates in whole_settings(tried).items()}
  return {size: one.log_rates[0] for size, one in found.items() if one.state == 'found'}


def shape(points):
  """Slope and curvature of the log best rate in the log batch size, of three sizes or more."""
  x = np.log(list(points))
  slope = float(np.polyfit(x, list(points.values()), 1)[0])
  return slope, float(np.polyfit(x, list(points.values()), 2)[0])


def narrowings(found, good):
  """The change of the width of good rates per doubling, by cell, for another idea of good."""
  kept, good_rates.GOOD = good_rates.GOOD, good
  widths = [good_rates.narrowing(whole_settings(c.given.tried))[0] for c in found.judged.cells]
  good_rates.GOOD = kept
  return [float(width[0]) for width in widths if isinstance(width, np.ndarray)]


def by_size(cells):
  """One number for each model size, in place of each cell: cells of one size share runs' habits."""
  groups = {}
  for name, value in cells.items():
    groups.setdefault(name.split(',')[0], []).append(value)
  return [float(np.mean(values)) for values in groups.values()]


def table(result):
  """The rows of the README, from the content of results.json."""
  asked = {row['claim']: row for row in result['claims']}

  def claim(start):
    (row,) = (row for name, row in asked.items() if name.startswith(start))
    return row['effect'], *row['ci95'], row['n']

  def shape_of(name):
    return tuple(result[name][key] for key in ('mean', 'low', 'high', 'n'))

  rows = {
    'exponent of the best rate in the batch size': shape_of('exponent_over_cells'),
    'exponent of the upper half of the batch sizes less that of the lower half': claim(
      'the best learning rate follows one power law'
    ),
    'curvature of log rate in log batch size': shape_of('curvature_over_cells'),
    'change of the width of good rates, in doublings of the rate per doubling of the batch size': (
      claim('the range of good learning rates')
    ),
  }
  lines = [f'| {name} | {interval(*ends)} | {n} |' for name, (*ends, n) in rows.items()]
  *ends, n = claim('at equal epochs, smaller')
  low, high = (f'{100 * math.expm1(end):+.2f}' for end in ends[1:])
  name = 'change of the loss per doubling of the batch size, at the best rates and equal tokens'
  lines.append(f'| {name} | {100 * math.expm1(ends[0]):+.2f}% [{low}, {high}] | {n} |')
  return '\n'.join(lines)


def interval(value, low, high):
  return f'{value:.3f} [{low:.3f}, {high:.3f}]'


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--table', default='../shared/data/step_law.csv.gz')
  table = parser.parse_args().table
  start = time.process_time()
  found = audit([table], COLUMNS.format(loss='smooth loss'))
  claims = [{key: row[key] for key in ('claim', 'verdict', 'effect', 'ci95', 'n', 'unit')}
            for row in found.result['claims']]  # fmt: skip
  seconds = time.process_time() - start
  cells = {cell.name: optima(cell.given.tried) for cell in found.judged.cells}
  fitted = {name: shape(points) for name, points in cells.items() if len(points) > 3}
  slopes = {name: slope for name, (slope, _) in fitted.items()}
  bends = {name: bend for name, (_, bend) in fitted.items()}
  last = audit([table], COLUMNS.format(loss='loss'))
  last_bends = [shape(points)[1] for points in (optima(c.given.tried) for c in last.judged.cells)
                if len(points) > 3]  # fmt: skip
  result = {
    'cpu_seconds': round(seconds, 1),
    'runs': found.result['read']['runs'],
    'claims': claims,
    'exponent_over_cells': over(list(slopes.values())),
    'exponent_sd_over_cells': round(float(np.std(list(slopes.values()), ddof=1)), 4),
    'curvature_over_cells': over(list(bends.values())),
    'curvature_over_model_sizes': over(by_size(bends)),
    'curvature_by_last_loss': over(last_bends),
    'cells_that_bend_down': [sum(b < 0 for b in bends.values()), len(bends)],
    'narrowing_by_what_counts_as_good': {
      f'{100 * good:g}%': over(narrowings(found, good)) for good in (0.005, 0.01, 0.02)
    },
    'cells': {
      name: {
        'exponent': round(fitted[name][0], 3),
        'curvature': round(fitted[name][1], 3),
        'best_rates': {size: float(f'{math.exp(log):.3g}') for size, log in cells[name].items()},
      }
      for name in fitted
    },
  }
  path = Path(__file__).parent / 'results.json'
  path.write_text(json.dumps(result, indent=1) + '\n')
  print(json.dumps({key: value for key, value in result.items() if key != 'cells'}, indent=1))


if __name__ == '__main__':
  main()
