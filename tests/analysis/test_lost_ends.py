"""A trend over batch sizes of which one has no result."""

import math

import pytest
from helpers import synthetic

from bsjax.report.summaries import summarize

SIZES = (8, 16, 32, 64)


def steep(lane, share, lost):
  """Two points less at each doubling; all runs of one batch size diverge."""
  value = 0.9 - 0.02 * math.log2(lane['batch_size'] / 8) + 0.001 * lane['trial']
  value -= 1e-4 * ((lane['lane'] * 7) % 5)
  diverged = share > 0 and lane['batch_size'] == lost
  return synthetic.record(
    lane, share, val_accuracy=value, train_accuracy=value, val_loss=1 - value, diverged=diverged
  )


@pytest.mark.parametrize('lost, verdict', [(0, 'supported'), (8, 'undetermined'),
                                           (64, 'undetermined')])  # fmt: skip
def test_without_its_smallest_or_largest_size_a_trend_says_nothing(lost, verdict):
  plan = synthetic.plan(SIZES, (0.1,), 4)
  rows = [steep(lane, share, lost) for share in (0.0, 0.5, 1.0) for lane in plan]
  claims = summarize(synthetic.config(), plan, rows)['claims']
  about = {'kind': 'trend', 'quantity': 'val_accuracy', 'budget': 'epochs'}
  asked = [claim for claim in claims if about.items() <= claim.items()]
  below = [claim['verdict'] for claim in asked if claim['question']['side'] == 'below']
  assert below == [verdict]
