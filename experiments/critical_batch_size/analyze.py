"""The critical batch size, the best learning rates and the noise scales on the way to a loss.

  python experiments/critical_batch_size/analyze.py WORKDIR

reads a finished run of configs/critical_batch_size.py and writes result.json beside itself.
"""

import math
import sys
from pathlib import Path

import numpy as np

from bsjax.analysis.measures.critical_batch_size import critical_batch_size
from bsjax.analysis.measures.exponent import Points, exponent, saturation
from bsjax.analysis.runs.histories import settings
from bsjax.analysis.runs.targets import first_reach
from bsjax.noise.pooling import combine_windows
from bsjax.report.text.rendered import rendered
from bsjax.stats.intervals import harmonic_ratio, mean_interval, widened
from bsjax.stats.tobit import EXACT
from bsjax.stats.valley import FEWEST
from bsjax.storage import records

HERE = Path(__file__).parent
LOSS = 'train_loss'
# Learning rates that need at most so many times the fewest examples make the valley. The first is
# what is reported, the others say how far that hangs on it.
NEAR = (1.5, 1.25, 2.0)
WINDOW = 3  # neighbouring batch sizes, over which growth is read locally
SCALES = {'b_simple': 'plain', 'b_noise': 'curvature'}


def costs(tried, target):
  """Log examples to the target, `[learning rate, trial]`; infinite where it is not reached."""
  reaches = [[first_reach(lane, LOSS, target) for lane in setting.lanes] for setting in tried]
  return np.array([
    [math.log(reach.examples) if reach.known == EXACT else math.inf for reach in row]
    for row in reaches
  ])  # fmt: skip


def tops(x, costs, near):
  """The bottom of each trial's parabola through the valley of the means, or why there is none.

  x: ascending. costs: `[point, trial]`. The curvature is that of the means, which a few trials tell
  better than each by itself; the bottom lies within the valley.
  """
  means = costs.mean(axis=1)
  first = last = best = int(means.argmin())
  if math.isinf(means[best]):
    return 'no learning rate reaches the target in every trial'
  if best in (0, len(x) - 1):
    return f'the {"highest" if best else "lowest"} learning rate is the fastest'
  while first > 0 and (means[first - 1] <= means[best] + near or first == best):
    first -= 1
  while last < len(x) - 1 and (means[last + 1] <= means[best] + near or last == best):
    last += 1
  window = slice(first, last + 1)
  if not np.isfinite(means[window]).all() or last + 1 - first < FEWEST:
    return 'next to the fastest learning rate some trial does not reach the target'
  u = x[window] - x[window].mean()
  curvature, slopes, _ = np.polyfit(u, costs[window], 2)
  if curvature.mean() <= 0:
    return 'the valley has no bottom'
  at = np.clip(-slopes / (2 * curvature.mean()), u[0], u[-1])
  return at + x[window].mean()


def optima(by_size, target):
  """The best learning rates of all batch sizes: those known, as points, and all as JSON."""
  known, rows = {}, []
  for size, tried in by_size.items():
    x = np.log([setting.learning_rate for setting in tried])
    read = [tops(x, costs(tried, target), math.log(near)) for near in NEAR]
    if any(isinstance(one, str) for one in read):
      why = next(one for one in read if isinstance(one, str))
      rows.append({'batch_size': size, 'learning_rate': None, 'reason': why})
      continue
    slack = max(abs(float((other - read[0]).mean())) for other in read[1:])
    known[size] = read[0], slack
  points = Points(
    np.array(list(known), dtype=np.float64),
    np.array([logs for logs, _ in known.values()]).T,
    np.array([slack for _, slack in known.values()]),
    {},  # the rows say why
  )
  return points, sorted(rows + _rows(points), key=lambda row: row['batch_size'])


def _rows(points):
  """The optima with their intervals over trials, wider by what other valleys say."""
  rows = []
  for size, logs, slack in zip(points.batch_sizes, points.log_rates.T, points.slack, strict=True):
    at = widened(mean_interval(logs), float(slack)).map(math.exp)
    rows.append({'batch_size': int(size), **at.to_json('learning_rate')})
  return rows


def growth(points):
  """How the best learning rate grows: over all batch sizes, and over neighbouring ones."""
  local = [
    {'batch_sizes': part.batch_sizes.tolist(), **_value(exponent(part))}
    for part in (_part(points, i) for i in range(len(points.batch_sizes) - WINDOW + 1))
  ]
  return {'all': exponent(points), 'local': local, 'saturation': saturation(points)}


def _part(points, first):
  here = slice(first, first + WINDOW)
  return Points(points.batch_sizes[here], points.log_rates[:, here], points.slack[here], {})


def _value(found):
  return {key: found[key] for key in ('value', 'ci95', 'n')}


def passing(lane, target):
  """The records before and after a run passes the target; none where that is not known."""
  reach = first_reach(lane, LOSS, target)
  return [row for row in lane.rows if row['examples'] in reach.between] if reach.between else []


def scales(by_size, entry):
  """Noise scales where the fastest runs pass the target, by batch size and over those below B_crit.

  By trial the mean tr(Sigma) over the mean |G|^2 of the records around it.
  """
  chosen = {
    point['batch_size']: next(
      s for s in by_size[point['batch_size']] if s.learning_rate == point['learning_rate']
    )
    for point in entry['points']
    if point['learning_rate'] is not None and not point['censored']
  }
  trials = range(min((len(s.lanes) for s in chosen.values()), default=0))
  at = {
    size: [passing(setting.lanes[trial], entry['target']) for trial in trials]
    for size, setting in chosen.items()
  }
  at = {size: rows for size, rows in at.items() if all(rows)}
  small = [size for size in at if size < (entry.get('b_crit') or 0)]
  result = {'batch_sizes': small}
  for name, kind in SCALES.items():
    result[name] = {
      'all': _scale([[probe(row, kind) for size in small for row in at[size][t]] for t in trials]),
      'by_size': {
        size: _scale([[probe(row, kind) for row in rows[t]] for t in trials])
        for size, rows in at.items()
      },
    }
  own = [[row['noise'] for size in small for row in at[size][t]] for t in trials]
  result['own_batches'] = _own(own) if small else None
  return result


def probe(row, kind):
  entry = row['exact'][kind]
  return entry['trace'], entry['grad_sq']


def _scale(by_trial):
  if not by_trial or not all(by_trial):
    return None
  return _json(harmonic_ratio(*np.mean(by_trial, axis=1).T))


def _own(by_trial):
  moments = [combine_windows(windows) for windows in by_trial]
  return _json(harmonic_ratio(*np.array([[each.mean_a, each.mean_b] for each in moments]).T))


def _json(found):
  return found.to_json('value') | {'unbounded': found.unbounded}


def study(by_size):
  """All targets; the growth of the best learning rate is told where most batch sizes have one."""
  critical = critical_batch_size(by_size, LOSS)
  targets = [with_scales_and_rates(by_size, entry) for entry in critical['targets']]
  told = max(targets, key=lambda row: len(row['growth']['all'].get('batch_sizes', ())))
  return rendered({
    'target': critical['target'],
    'growth_at': {'target': told['target']},
    'targets': targets,
  })  # fmt: skip


def with_scales_and_rates(by_size, entry):
  points, best = optima(by_size, entry['target'])
  return entry | {
    'noise_scales': scales(by_size, entry),
    'learning_rates': best,
    'growth': growth(points),
  }


def analyze(workdir):
  """What result.json holds."""
  plan, rows = records.read_plan(workdir / 'plan.csv'), records.read(workdir / 'records.jsonl')
  return study(settings(plan, rows))


if __name__ == '__main__':
  records.write_json(HERE / 'result.json', analyze(Path(sys.argv[1])))
