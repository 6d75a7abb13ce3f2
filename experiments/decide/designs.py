"""Ways to look again and again at differences within trials: how often each errs, what it costs.

  python experiments/decide/designs.py

writes designs.json: 4,000 studies of up to 30 trials with Student's interval at each look, for
margins of 0.7, 1.2 and 2 standard deviations of the difference. 'alike' (no difference) and 'apart'
(twice the margin) are decided by the whole interval within or outside of the margin; 'border' is a
difference of exactly the margin, where every decision is wrong.
"""

import json
from pathlib import Path

import numpy as np
from scipy.special import stdtr, stdtrit

from bsjax.stats.looks import ladder

STUDIES, MOST, ERROR, SEED = 4000, 30, 0.05, 5
NULL = 200_000  # draws by which joint critical values are found
POWERS = (0.0, 0.5, 1.0, 2.0)
OUT = Path(__file__).with_name('designs.json')


def draws(tails, random, studies=STUDIES):
  if tails == 't2':
    return random.standard_t(2, (studies, MOST)) * 0.6745 / 0.8165
  if tails == 'outliers':
    spoilt = (random.random((2, studies, MOST)) < 0.1).astype(float)
    return random.standard_normal((studies, MOST)) + 3.5 * (spoilt[0] - spoilt[1])
  return random.standard_normal((studies, MOST))


def moments(runs, rungs):
  means = np.stack([runs[:, :n].mean(axis=1) for n in rungs], axis=1)
  spreads = [runs[:, :n].std(axis=1, ddof=1) / np.sqrt(n) for n in rungs]
  return means, np.stack(spreads, axis=1)


def spent(rungs, power):
  """Error of each look: equal parts, or by a power of the share of trials (Kim and DeMets 1987)."""
  if power == 0:
    return np.full(len(rungs), ERROR / len(rungs))
  return np.diff(ERROR * (rungs / rungs[-1]) ** power, prepend=0.0)


def together(rungs, power):
  """Levels of looks that together spend as much, by their joint distribution."""
  means, spreads = moments(draws('normal', np.random.default_rng(1), NULL), rungs)
  p = 2 * stdtr(rungs - 1.0, -abs(means / spreads))
  alive, levels = np.ones(NULL, dtype=bool), []
  for look, part in enumerate(spent(rungs, power)):
    count = round(part * NULL)
    levels.append(np.sort(p[alive, look])[count - 1] if count else 0.0)
    alive &= p[:, look] > levels[-1]
  return np.array(levels)


def always(rungs, variance):
  """Student's always-valid interval, effects N(0, variance) standard deviations (as a factor)."""
  wide = 1 + rungs * variance
  ratio = (np.sqrt(wide) / ERROR) ** (2 / rungs)
  with np.errstate(invalid='ignore'):
    return np.where(ratio < wide, np.sqrt((rungs - 1) * (ratio - 1) / (1 - ratio / wide)), np.inf)


def ways(rungs):
  """{name: how many standard errors each look's interval reaches}."""
  looks = np.arange(1, len(rungs) + 1)
  levels = {'every look spends all': np.full(len(rungs), ERROR)}
  levels |= {f'divided, power {power:g}': spent(rungs, power) for power in POWERS}
  levels |= {f'joint, power {power:g}': together(rungs, power) for power in POWERS}
  levels['divided without end'] = ERROR / (looks * (looks + 1))
  found = {name: stdtrit(rungs - 1.0, 1 - level / 2) for name, level in levels.items()}
  return found | {f'always valid, variance {g}': always(rungs, g) for g in (1, 4)}


def outcomes(means, errors, reach, margin):
  low, high = means - reach * errors, means + reach * errors
  return (low > -margin) & (high < margin), (low > margin) | (high < -margin)


def measured(rungs, reach, margin, tails):
  row = {}
  every = np.arange(2, MOST + 1)
  for name, effect in (('alike', 0.0), ('border', 1.0), ('apart', 2.0)):
    runs = draws(tails, np.random.default_rng(SEED)) + effect * margin
    within, outside = outcomes(*moments(runs, rungs), reach, margin)
    done = within | outside
    at = np.where(done.any(axis=1), done.argmax(axis=1), len(rungs) - 1)
    if name == 'border':
      row['wrong'] = float(done.any(axis=1).mean())
      continue
    right = (within if name == 'alike' else outside)[np.arange(STUDIES), at].mean()
    fixed = outcomes(*moments(runs, every), stdtrit(every - 1.0, 1 - ERROR / 2), margin)
    enough = fixed[name == 'apart'].mean(axis=0) >= right
    row[name] = {
      'decided': float(right),
      'trials': float(rungs[at].mean()),
      'fixed_trials': int(every[enough.argmax()]) if enough.any() else None,
    }
  return row


def main():
  table = {'studies': STUDIES, 'seed': SEED, 'rows': []}
  for first in (2, 3):
    rungs = np.array(ladder(first, MOST))
    for tails in ('normal', 't2', 'outliers'):
      for margin in (0.7, 1.2, 2.0):
        for way, reach in ways(rungs).items():
          about = {'first': first, 'tails': tails, 'margin': margin, 'way': way}
          table['rows'].append(about | measured(rungs, reach, margin, tails))
    OUT.write_text(json.dumps(table, indent=1) + '\n')


if __name__ == '__main__':
  main()
