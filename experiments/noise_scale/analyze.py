"""Growth of the noise scale, its two measurements, and two batch sizes at equally many updates.

  python experiments/noise_scale/analyze.py WORKDIR

reads a finished run of configs/noise_scale.py and writes result.json beside itself.
"""

import itertools
import math
import sys
from pathlib import Path

import numpy as np

from bsjax.analysis.measures import noise
from bsjax.analysis.runs.histories import settings
from bsjax.report.text.rendered import rendered
from bsjax.stats.intervals import harmonic_ratio, mean_interval
from bsjax.storage import records

HERE = Path(__file__).parent
# Set before the run: noise scales within this factor of each other count as equal,
MARGIN = 1.25
# this is what "by more than an order of magnitude" means,
GROWTH = 10.0
# and from this share of the updates of the largest batch size on, the smaller one is held to it.
FROM = 1 / 4


NAMES = 'trace', 'grad_sq'


def exact(row):
  """tr(Sigma) and |G|^2 from single examples, at a record."""
  return [row['exact']['plain'][name] for name in NAMES]


def own(row):
  """The same from the lane's own batches, since the record before."""
  return [row['noise'][name] for name in NAMES]


class Stretch:
  """What is measured between two records, by `weight`: the updates whose own batches were measured.

  `own` is their mean (trace, |G|^2); `exact` that of single examples, of the records at both ends.
  """

  def __init__(self, before, after):
    self.weight = after['noise']['count']
    self.own = own(after)
    self.exact = np.mean([exact(before), exact(after)], axis=0)
    self.updates = (before['updates'] + after['updates']) / 2
    self.starts = before['examples']


def stretches(lane):
  """All stretches of a lane in which something was measured."""
  found = (Stretch(*pair) for pair in itertools.pairwise(lane.rows))
  return [stretch for stretch in found if stretch.weight]


def late(lane):
  """The stretches of the last half of training."""
  return [s for s in stretches(lane) if 2 * s.starts >= lane.plan['examples']]


def scale(parts, kind):
  """The noise scale of several stretches: the ratio of the weighted means."""
  weights = [part.weight for part in parts]
  trace, grad_sq = np.average([getattr(part, kind) for part in parts], axis=0, weights=weights)
  return trace / grad_sq


def factor(ratios, confidence=0.95):
  """The geometric mean of ratios over trials, with Student's interval of their logs."""
  ratios = np.asarray(ratios, dtype=np.float64)
  if not (ratios > 0).all():
    return {'factor': None, 'ci95': [None, None], 'n': len(ratios)}
  return mean_interval(np.log(ratios), confidence).map(math.exp).to_json('factor')


def judged(ratios):
  """The same, and whether the interval lies within the margin, or leaves out 1."""
  found = factor(ratios)
  low, high = found['ci95']
  if low is None:
    return found | {'equal': False, 'different': False}
  equal = bool(low >= 1 / MARGIN and high <= MARGIN)
  return found | {'equal': equal, 'different': bool(low > 1 or high < 1)}


def growth(lanes):
  """The noise scale late in training over that of the untrained network, from single examples."""
  starts = [np.divide(*exact(lane.rows[0])) for lane in lanes]
  found = {}
  for kind in ('exact', 'own'):
    found[kind] = factor([scale(late(x), kind) / at for x, at in zip(lanes, starts, strict=True)])
    found[kind]['at_least'] = bool((found[kind]['ci95'][0] or 0) >= GROWTH)
  return found


def agreement(by_size):
  """Own batches over single examples in the same stretches of the last half: all, and each size."""
  ratios = {
    size: [scale(late(lane), 'own') / scale(late(lane), 'exact') for lane in lanes]
    for size, lanes in by_size.items()
  }
  both = np.exp(np.mean(np.log(list(ratios.values())), axis=0))
  return {'all': judged(both)} | {str(size): judged(column) for size, column in ratios.items()}


def at_equal_updates(by_size):
  """The noise scale of the largest batch size over that of the smallest, at the same updates."""
  small, large = min(by_size), max(by_size)
  last = by_size[large][0].plan['updates']
  made = (row['updates'] for row in by_size[small][0].rows)
  first = min(updates for updates in made if updates >= FROM * last)
  found = {'updates': [first, last], 'batch_sizes': [small, large]}
  for kind in ('exact', 'own'):
    scales = {
      size: [
        scale([s for s in stretches(lane) if first <= s.updates <= last], kind) for lane in lanes
      ]
      for size, lanes in by_size.items()
      if size in (small, large)
    }
    found[kind] = judged(np.divide(scales[large], scales[small]))
    found[kind]['scales'] = {str(size): _inverse_mean(column) for size, column in scales.items()}
  return found


def _inverse_mean(scales):
  """One over the mean of one over the noise scales of the trials, with its interval."""
  found = harmonic_ratio(np.ones(len(scales)), 1 / np.asarray(scales))
  return found.to_json('value')


def along(lanes):
  """Both measurements at every record, trials together: [examples, updates, exact, own]."""
  rows = []
  for moments in zip(*(lane.rows for lane in lanes), strict=True):
    first = moments[0]
    batches = [own(row) for row in moments if row['noise']['count']]
    both = [_together(pairs) for pairs in ([exact(row) for row in moments], batches)]
    rows.append([first['examples'], first['updates'], *both])
  return rows


def _together(pairs):
  """One over the mean of |G|^2 / tr(Sigma), where that is above zero."""
  if not pairs:
    return None
  inverse = float(np.mean([grad_sq / trace for trace, grad_sq in pairs]))
  return 1 / inverse if inverse > 0 else None


def analyze(workdir):
  """What result.json holds."""
  tried = settings(records.read_plan(workdir / 'plan.csv'), records.read(workdir / 'records.jsonl'))
  by_size = {size: setting.lanes for size, (setting,) in tried.items()}
  return {
    'margin': MARGIN,
    'growth_asked': GROWTH,
    'from': FROM,
    'records': len(by_size[min(by_size)][0].rows),
    'growth': {str(size): growth(lanes) for size, lanes in by_size.items()},
    'agreement': agreement(by_size),
    'at_equal_updates': at_equal_updates(by_size),
    'late': {
      str(size): rendered(noise.beside(setting)['late']) for size, (setting,) in tried.items()
    },
    'along': {str(size): along(lanes) for size, lanes in by_size.items()},
  }


if __name__ == '__main__':
  records.write_json(HERE / 'result.json', analyze(Path(sys.argv[1])))
