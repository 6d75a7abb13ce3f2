"""recommend: the batch size for the best accuracy, which need not be that of the highest mean."""

import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.curves import first, study

from bsjax.analysis import recommend
from bsjax.analysis.claims.pairs import rank
from bsjax.analysis.recommend import recommendation
from bsjax.analysis.runs.reading import of_columns
from bsjax.analysis.runs.selection import select
from bsjax.report.text.rendered import rendered
from bsjax.stats.estimate import Reason

NO_TARGET = {'undefined': 'no target'}
# Six trials of two batch sizes: their difference is small against the margin of 0.005.
SPREAD = 1e-3 * np.array([1.0, -1.0, 0.5, -0.5, 0.2, -0.2])
HIGHEST, AS_GOOD, WORSE = 0.9005 + SPREAD, 0.9 - SPREAD, 0.8 + SPREAD[::-1]


def best_accuracy(values):
  """The recommendation for the best accuracy, as summary.json holds it."""
  chosen = first(study((8, 32, 64), (0.1,), 2, lambda lane, updates: {}))
  read = {
    size: of_columns(range(len(column)), {'val_accuracy': column})
    for size, column in values.items()
  }
  return rendered(recommendation(chosen, rank(read), NO_TARGET)[0])


def test_the_largest_batch_size_shown_to_be_as_good_is_recommended():
  row = best_accuracy({8: HIGHEST, 32: AS_GOOD, 64: WORSE})
  assert row['goal'] == 'best validation accuracy'
  assert row['batch_size'] == 32 and row['learning_rate'] == 0.1
  assert 'worse, at 95% for all pairs at once: 64' in row['why']
  assert 'Batch size 8 has the highest mean over 6 trials' in row['why']


def test_a_smaller_batch_size_as_good_as_the_best_is_not_recommended():
  row = best_accuracy({8: AS_GOOD, 32: HIGHEST, 64: WORSE})
  assert row['batch_size'] == 32 and 'Batch size 32 has the highest mean' in row['why']


def test_a_larger_batch_size_shown_to_be_worse_is_not_recommended_though_within_the_margin():
  less = HIGHEST - 0.002 - 0.1 * SPREAD[::-1]
  assert best_accuracy({8: HIGHEST, 32: less})['batch_size'] == 8


def test_a_larger_batch_size_not_shown_to_be_worse_is_not_yet_as_good():
  row = best_accuracy({8: [0.9, 0.7, 0.8, 0.6], 64: [0.7, 0.8, 0.65, 0.7]})
  assert row['batch_size'] == 8 and 'Whether 64 is as good is undetermined' in row['why']


@pytest.mark.parametrize('values', [{8: [0.9], 64: [0.8]}, {8: [0.9, 0.8], 64: [None, 0.8]}, {}])
def test_too_few_trials_recommend_no_batch_size(values):
  row = best_accuracy(values)
  assert row['batch_size'] is None and row['learning_rate'] is None and row['why']


def advice(values, asked=None, out=(), **beside):
  """The recommendation as codes; `beside` says what is known of single batch sizes."""
  chosen = first(study((8, 32, 64), (0.1,), 2, lambda lane, updates: {}))
  chosen |= {int(name[1:]): replace(chosen[int(name[1:])], **more) for name, more in beside.items()}
  read = {
    size: of_columns(range(len(column)), {'val_accuracy': column})
    for size, column in values.items()
  }
  ranking = rank(read)
  ranking = ranking._replace(out=[*ranking.out, *out])
  row = recommendation(chosen, ranking, NO_TARGET, None, asked)[0]
  return row.columns['batch_size'], {reason.code: reason.details for reason in row.reasons}


UNSAFE = {'skipped': (0.2,)}


def test_where_the_best_or_the_other_is_read_beside_its_best_rates_neither_is_as_good():
  both = {8: HIGHEST, 32: AS_GOOD, 64: WORSE}
  assert advice(both)[0] == 32
  assert advice(both, s8=UNSAFE)[0] == 8 and advice(both, s32=UNSAFE)[0] == 8
  size, why = advice(both, s64=UNSAFE)
  # The better of both may be better still, the worse may not be worse.
  assert size == 32 and why['shown_worse']['sizes'] == []
  assert why['not_shown_worse']['sizes'] == [32, 64] and why['at_stake']['other'] == 64
  assert 'at_stake' not in advice({8: HIGHEST, 64: WORSE})[1]


def looks(kind='best_batch_size', **states):
  rows = [{'batch_size': int(name[1:]), 'state': state} for name, state in states.items()]
  rounds = [{'error': None}, {'error': 0.01}, {'error': 0.02}]
  return {'kind': kind, 'error': 0.05, 'rounds': rounds, 'shown': rows}


def test_what_looks_have_shown_to_be_worse_counts_also_of_what_is_not_ranked_any_more():
  gone = Reason('left_out', size=64, why=Reason('fewer_trials', trials=3, of=6))
  both = {8: HIGHEST, 32: AS_GOOD}
  _, why = advice(both, looks(s32='alike', s64='worse'), [gone])
  assert why['shown_worse'] == {'sizes': [64], 'level': 0.95, 'looks': True}
  assert 'left_out' not in why
  _, why = advice(both, looks(s32='alike', s64='open'), [gone])
  assert why['shown_worse']['sizes'] == [] and why['left_out']['size'] == 64
  # One that has passed since what it was shown to be worse than is the best all the same.
  size, why = advice(both, looks(s8='worse', s32='open'))
  assert size == 32 and why['shown_worse']['sizes'] == []
  _, why = advice({8: HIGHEST, 64: WORSE}, looks('trend'))
  assert why['shown_worse'] == {'sizes': [64], 'level': 0.98}


def test_what_takes_no_part_is_not_among_what_cannot_be_compared():
  _, why = advice({8: [0.9, 0.8], 64: [None, 0.8]})
  assert why['nothing_to_compare'] == {'sizes': [8, 32]} and why['left_out']['size'] == 64


@pytest.mark.parametrize('best, rate', [(0.29, 0.4), (0.27, 0.2), (0.15, 0.2), (0.13, 0.1)])
def test_the_rate_of_all_batch_sizes_is_the_nearest_by_its_logarithm(monkeypatch, best, rate):
  def curve(lane, updates):
    off = math.log(lane['learning_rate'] / 0.2)
    return {'val_accuracy': 0.9 - 0.005 * off**2 + 0.001 * math.sin(lane['lane'])}

  chosen = select(study((8, 16), (0.1, 0.2, 0.4), 3, curve, 1)).chosen
  read = {8: of_columns(range(6), {'val_accuracy': HIGHEST})}
  read[16] = of_columns(range(6), {'val_accuracy': WORSE})
  monkeypatch.setattr(recommend, 'borrowed_rates', lambda chosen: {8: best})
  row = recommendation(chosen, rank(read), NO_TARGET)[0]
  assert (row.columns['batch_size'], row.columns['learning_rate']) == (8, rate)
  said = [reason.code for reason in row.reasons]
  assert ('rate_of_others' in said) == (rate != chosen[8].learning_rate)
