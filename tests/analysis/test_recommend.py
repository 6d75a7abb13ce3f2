"""recommend: the batch size for the best accuracy, which need not be that of the highest mean."""

import numpy as np
import pytest
from helpers.curves import first, study

from bsjax.analysis.claims.pairs import rank
from bsjax.analysis.recommend import recommendation
from bsjax.analysis.runs.reading import of_columns
from bsjax.report.text.rendered import rendered

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
