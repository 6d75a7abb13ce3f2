"""Numbers of an audit's answer."""

import numpy as np
import pytest
from helpers.audit_tables import sweep

from bsjax.analysis.claims.claim import Finding
from bsjax.audit import answer, audit
from bsjax.audit.losses import _reason, finding_of_loss
from bsjax.stats.estimate import Reason


def test_of_losses_the_ends_of_a_slope_change_places(monkeypatch):
  """It is read from minus their logarithms."""
  monkeypatch.setattr(answer, 'trend_ends', lambda claims: (-0.02, -0.03, -0.01))
  assert answer._slope([], log_loss=True) == [0.02, 0.01, 0.03]
  assert answer._slope([], log_loss=False) == [-0.02, -0.03, -0.01]


def test_ends_that_are_said_of_losses_change_sign_and_place():
  """In reasons of a change too, such as the widest interval between records."""
  ends = Reason('interpolated', verdict='supported', low=-0.01, high=0.03, unit='per_doubling')
  assert _reason(ends, True).details == {
    **{'verdict': 'supported', 'low': -0.03, 'high': 0.01},
    'unit': 'log_loss_per_doubling',
  }
  assert _reason(ends, False).details['low'] == -0.01
  one_rate = Reason('at_one_rate', rate=0.1, value=0.02, low=-0.01, high=None)
  (found,) = finding_of_loss(Finding({}, (one_rate,))).reasons
  assert found == Reason('loss_at_one_rate', rate=0.1, value=-0.02, low=None, high=0.01)


@pytest.mark.parametrize('ahead', [16, 64])
def test_the_largest_difference_is_the_far_end_of_an_interval(ahead):
  found = audit(sweep(lambda size, *_: 0.5 + 0.0002 * (size == ahead), epochs=1, luck=0.0004))
  (ends,) = {tuple(c['ci95']) for c in found.result['claims'] if c['kind'] == 'pair'}
  assert ends[0] < 0 < ends[1]
  assert found.result['answer']['largest'] == pytest.approx(max(map(abs, ends)))


def test_nothing_is_equivalent_while_a_batch_size_has_no_result():
  frame = sweep(lambda size, rate, epoch: 0.5 + 0.05 * epoch, (16, 64, 256), luck=0.0004)
  lost = (frame['batch_size'] == 64) & (frame['trial'] == 0) & (frame['epoch'] == 4)
  found = audit(frame.assign(val_accuracy=frame['val_accuracy'].where(~lost, np.inf)))
  assert found.result['answer']['largest'] < 0.01
  assert found.result['answer']['code'] == 'undetermined'


def test_nothing_is_equivalent_where_trials_show_no_spread():
  found = audit(sweep(lambda size, rate, epoch: 0.5 + 0.05 * epoch, luck=0.0))
  answer = found.result['answer']
  assert answer['code'] == 'undetermined' and answer['largest'] is None
