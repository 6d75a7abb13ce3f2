"""The best batch size against others, and trends, from readings worked out by hand."""

import math

import numpy as np
import pytest
from helpers.curves import first, study

from bsjax.analysis.claims.claim import within, worse
from bsjax.analysis.claims.pairs import pair_claims, rank
from bsjax.analysis.claims.slopes import trend
from bsjax.analysis.runs.reading import of_columns

LUCK = np.array([1.0, -1.0, 0.5, -0.5]) / 1024  # so that equal means are so to the last bit
SIZES = (8, 32, 128)
RATE = 0.1
TRIED = study(SIZES, (0.05, RATE, 0.2), 4, lambda lane, updates: {}, 1)
CHOSEN = first({size: tried[1:] for size, tried in TRIED.items()})


def read(*values, fresh=(), shares=(1.0, 1.0, 1.0)):
  """Readings of batch sizes 8, 32, ... at these accuracies; `fresh` are re-estimated ones."""
  found = {}
  for place, (size, value, share) in enumerate(zip(SIZES, values, shares, strict=False)):
    columns = {'val_accuracy': value + np.roll(LUCK, place), 'epoch': np.ones(4)}
    columns |= {'updates': np.full(4, 4096.0 / size), 'learning_rate': np.full(4, RATE * share)}
    if fresh:
      columns['reestimated_val_accuracy'] = fresh[place] + np.roll(LUCK, place)
    found[size] = of_columns(range(4), columns)
  return found


def test_of_equal_means_the_smaller_batch_size_stands_as_the_best():
  values = {8: [0.5, 0.75], 16: [0.75, 0.5], 32: [0.25, 0.5]}
  alike = {size: of_columns((0, 1), {'val_accuracy': one}) for size, one in values.items()}
  assert [(pair.best, pair.other) for pair in rank(alike).pairs] == [(8, 16), (8, 32)]


def test_what_fresh_statistics_do_not_tell_leaves_a_pair_open():
  """Of 32 some re-estimated value is not finite; with 128 both kinds agree."""
  readings = read(0.9, 0.8, 0.7, fresh=(0.9, 0.8, 0.7))
  readings[32].values['reestimated_val_accuracy'][1] = math.nan
  readings[32].lanes['reestimated_val_accuracy'][:, 1] = math.nan
  ranking = rank(readings)
  again = {pair.other: pair.again.interval for pair in ranking.pairs}
  assert again[32].value is None and again[32].confidence == ranking.again
  assert again[128].value == pytest.approx(0.2)
  claims = pair_claims(TRIED, CHOSEN, readings, ranking)
  verdicts = {claim.subject: claim.verdict for claim in claims if claim.question.side == 'above'}
  assert verdicts == {(8, 32): 'undetermined', (8, 128): 'supported'}
  alone = read(0.9, 0.8, fresh=(0.9, math.nan))
  assert rank(alone).again == rank(alone).confidence
  assert all(pair.again.interval.value is None for pair in rank(alone).pairs)


def of(question, readings, budget='epochs', quantity='val_accuracy'):
  claim = trend(question, quantity, budget, TRIED, CHOSEN, readings)
  return claim, [reason.code for reason in claim.reasons]


@pytest.mark.parametrize(
  'values, turns',
  [
    ((0.875, 0.8125, 0.75), False),
    ((0.875, 0.875, 0.75), False),
    ((0.875, 0.75, 0.75), False),
    ((0.875, 0.90625, 0.75), True),
    ((0.875, 0.71875, 0.75), True),
  ],
)
def test_means_turn_where_they_go_up_and_down(values, turns):
  claim, codes = of(worse(), read(*values))
  assert claim.verdict == 'supported' and ('means_turn' in codes) is turns


def test_that_means_turn_is_said_of_a_slope_and_not_of_the_change_over_the_range():
  readings = read(0.9, 0.91, 0.8)
  slope, codes = of(worse(), readings)
  assert slope.verdict == 'supported' and 'means_turn' in codes
  change, codes = of(within(0.005), readings)
  assert change.verdict == 'refuted' and 'means_turn' not in codes
  # Four doublings from 8 to 128.
  assert change.estimate.value == pytest.approx(4 * slope.estimate.value)


@pytest.mark.parametrize(
  'budget, verdict',
  [('epochs', 'supported'), ('updates', 'undetermined'), ('learning_rate_updates', 'undetermined')],
)
def test_only_at_equal_epochs_all_stand_at_the_same_place_of_a_schedule(budget, verdict):
  claim, codes = of(worse(), read(0.9, 0.8, 0.7, shares=(0.9, 0.5, 0.1)), budget)
  assert claim.verdict == verdict
  assert ('other_place_of_schedule' in codes) == (budget != 'epochs')
  assert ('more_updates' in codes) == (budget == 'epochs') == ('stand_at' not in codes)
  same, _ = of(worse(), read(0.9, 0.8, 0.7), budget)
  assert same.verdict == 'supported'
