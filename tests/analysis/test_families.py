"""What is said of several rules and batch sizes at once holds at once: verdicts with corrections.

The same distances are shown with one comparison, and are undetermined with several.
"""

import math

import numpy as np
import pytest
from helpers import planted_scaling as planted
from scipy import stats

from bsjax.analysis.claims.scaling_rules import scaling_rules
from bsjax.analysis.runs import histories
from bsjax.report.text.rendered import rendered

TRIALS, RATE, NEAR = 6, 0.2, 0.02
RULES = {'none': lambda size: 1.0, 'sqrt': lambda size: math.sqrt(size / planted.BASE)}
RULES['linear'] = lambda size: size / planted.BASE


def closest(sizes, rules, farther):
  """The rule of each batch size whose curve is closest, where `farther[rule]` lists the excess."""
  config = planted.config((RATE,), ','.join(rules))
  plan = planted.plan(config, (planted.BASE, *sizes), TRIALS)
  rate = {(size, rule): RATE * RULES[rule](size) for size in sizes for rule in rules}
  lanes = {(lane['batch_size'], lane['learning_rate']) for lane in plan}
  distances = {
    next(at for at in lanes if at[0] == size and math.isclose(at[1], rate[size, rule])): (
      NEAR + farther[rule]
    )
    for size, rule in rate
  }
  rows = planted.records_at_distances(plan, distances)
  result = rendered(scaling_rules(config, histories.settings(plan, rows)))
  return {row['batch_size']: (row['rule'], row['verdict']) for row in result['rates'][0]['closest']}


def excess(statistic):
  """Distances over trials of which Student's statistic against zero is as given."""
  spread = np.array([1.0, -1.0, 0.5, -0.5, 0.25, -0.25])
  spread /= spread.std(ddof=1)
  return 0.02 * (1 + math.sqrt(TRIALS) / statistic * spread)


def bound(comparisons):
  """What Student's statistic must exceed for as many comparisons to hold at once with 95%."""
  return stats.t.ppf(1 - 0.025 / comparisons, TRIALS - 1)


NOTHING = np.zeros(TRIALS)
SHOWN, NOT_SHOWN = ('linear', 'supported'), (None, 'undetermined')


def test_the_closest_rule_is_corrected_over_batch_sizes():
  between = {'linear': NOTHING, 'none': excess((bound(1) + bound(2)) / 2)}
  rules = ('none', 'linear')
  assert closest((64,), rules, between) == {64: SHOWN}
  assert closest((64, 128), rules, between) == {64: NOT_SHOWN, 128: NOT_SHOWN}
  enough = between | {'none': excess(1.1 * bound(2))}
  assert closest((64, 128), rules, enough) == {64: SHOWN, 128: SHOWN}


@pytest.mark.parametrize('sizes', [(64,), (64, 128)])
def test_the_closest_rule_is_corrected_over_all_pairs_and_batch_sizes(sizes):
  rules, far = ('none', 'sqrt', 'linear'), np.full(TRIALS, 0.5) + 0.001 * np.arange(TRIALS)
  needed = bound(3 * len(sizes))
  below = {'linear': NOTHING, 'sqrt': excess(0.99 * needed), 'none': far}
  assert set(closest(sizes, rules, below).values()) == {NOT_SHOWN}
  above = below | {'sqrt': excess(1.01 * needed)}
  assert set(closest(sizes, rules, above).values()) == {SHOWN}
