"""Headlines of audits, of answers made by hand in codes."""

import math

import pytest

from bsjax.config.metrics import Judged, LossEntry, MetricEntry, judging
from bsjax.report.text import audit_answer

BLEU = Judged(MetricEntry('bleu', 'BLEU', 'BLEUs', True), LossEntry('nll'), 0.5)


def said(code, loss_only=False, **changes):
  answer = {'code': code, 'best': 8, 'why': '', 'running': False, 'better': 'smaller'}
  answer |= {'beaten': [], 'level': [], 'causes': [], 'open': [], 'unknown': [], 'ruled_out': []}
  answer |= {'slope': [-0.0031, -0.0038, -0.0024], 'by': [0.01, 0.02], 'largest': 0.0123}
  return audit_answer.sentence(answer | changes, loss_only)


def test_what_cannot_be_told():
  found = said('nothing_to_compare', why='there is one batch size')
  assert found.headline == 'The batch sizes cannot be compared.'
  assert found.detail == 'There is one batch size.' and said('nothing_to_compare').detail == ''
  found = said('one_trial')
  assert found.headline == 'One run of each cannot tell the batch sizes apart.'
  assert found.detail.startswith('The best is that of batch size 8. One run of each has no spread')


@pytest.mark.parametrize(
  ('loss_only', 'bound', 'what'),
  [(False, '1.2 percentage points', 'validation accuracy'), (True, '1.2%', 'validation loss')],
)
def test_what_is_alike_or_open_within_a_bound(loss_only, bound, what):
  found = said('equivalent', loss_only, open=['undertrained'])
  assert found.headline == f'The batch sizes are equivalent, within {bound}.'
  assert f'no two of them differ by more than {bound} in {what}, at 95%' in found.detail
  assert found.remarks == ['May hide a difference, or make one: training that was cut off early.']
  found = said('undetermined', loss_only)
  assert found.headline == 'No batch size is shown to be better.' and found.remarks == []
  assert found.detail.startswith(
    f'The best mean is that of batch size 8. Differences of up to {bound} in {what} are not'
  )
  assert said('undetermined', loss_only, largest=None).detail == (
    'The best mean is that of batch size 8.'
  )


def test_a_difference_of_running_statistics_alone():
  found = said('shown', running=True, better='larger')
  assert found.headline == (
    'Larger batches do better with running BatchNorm statistics only, which are stale.'
  )


@pytest.mark.parametrize(
  ('changes', 'headline', 'detail'),
  [
    (
      {'beaten': [16]},
      'Batch size 8 does best.',
      'batch size 8 is 1 to 2 percentage points above 16',
    ),
    (
      {'beaten': [16], 'level': [32, 64], 'by': [0.01, 0.0101]},
      'Batch size 8 beats 16, not 32 or 64.',
      'batch size 8 is 1 percentage points above 16 in validation accuracy; no difference from 32 '
      'and 64 is shown.',
    ),
    (
      {},
      'Smaller batches do better at equal epochs.',
      'Validation accuracy changes by -0.31 [-0.38, -0.24] percentage points per doubling of the '
      'batch size; no two batch sizes are told apart (the best mean is that of 8).',
    ),
    (
      {'better': 'larger', 'slope': [0.0031, None, None]},
      'Larger batches do better at equal epochs.',
      'changes by +0.31 percentage points per doubling',
    ),
    (
      {'beaten': [16], 'causes': ['unequal_updates', 'stale_batch_norm']},
      'Batch size 8 does best, and the number of updates explains and stale BatchNorm statistics '
      'explain it.',
      'at 95%. At equal updates less than half of the difference is left. With statistics '
      'estimated afresh less than half of the difference is left.',
    ),
    (
      {'beaten': [16], 'open': ['unequal_updates', 'undertrained']},
      'Batch size 8 does best, but the number of updates or training that was cut off early may be '
      'why.',
      'This holds for all pairs and the trend at once, at 95%.',
    ),
  ],
)  # fmt: skip
def test_what_is_shown_and_why(changes, headline, detail):
  found = said('shown', **changes)
  assert found.headline == headline and detail in found.detail
  assert found.remarks == []


def test_causes_that_are_open_or_ruled_out():
  found = said('shown', beaten=[16], unknown=['undertrained'], ruled_out=['stale_batch_norm'])
  assert found.remarks == [
    'Not ruled out as a cause of the difference: training that was cut off early.',
    'Shown not to be the cause of the difference: stale BatchNorm statistics.',
  ]


def test_losses_are_compared_in_percent_of_the_other_one():
  """Of minus logarithms: a loss that is less by log(2) is half, 50% below, and no 69%."""
  found = said('shown', True, beaten=[16], by=[math.log(1.25), math.log(2)])
  assert 'batch size 8 is 20 to 50% below 16 in validation loss.' in found.detail
  found = said('shown', True, slope=[math.log(1.5), math.log(1.25), math.log(2)])
  assert 'Validation loss changes by +50 [+25, +100]% per doubling' in found.detail
  assert said('equivalent', True, largest=2000.0).headline.startswith('The batch sizes are equiv')


def test_a_metric_that_is_no_fraction_is_shown_as_it_is():
  with judging(BLEU):
    assert (
      'changes by -0.31 [-0.38, -0.24] per' in said('shown', slope=[-0.31, -0.38, -0.24]).detail
    )


def test_over_cells():
  found = said('cells', cells=3, shown=1, asked=4, open=['undertrained'])
  assert found.headline == (
    'Smaller batches do better at equal epochs, over 3 cells; in some training that was cut off '
    'early may be why.'
  )
  assert found.detail == (
    'Validation accuracy changes by -0.31 [-0.38, -0.24] percentage points per doubling of the '
    'batch size. 1 of 4 claims over the cells is decided. Cells are the sample: what is shown is '
    'shown of cells like these.'
  )
  nothing = [None, None, None]
  found = said(
    'cells', cells=2, shown=2, asked=4, open=['undertrained'], better=None, slope=nothing
  )
  assert found.headline == 'No trend with batch size is shown, over 2 cells.'
  assert found.detail.startswith('2 of 4 claims over the cells are decided.')
  assert said('cells', cells=2, shown=0, asked=4, over='studies').headline.endswith('2 studies.')


def test_six_decided_claims_are_told():
  claim = {'claim': 'it is so', 'effect': 0.01, 'ci95': [None, None], 'n': 3, 'unit': 'fraction'}
  claims = [claim | {'verdict': verdict} for verdict in ('undetermined', *['refuted'] * 7)]
  found = audit_answer.decided(claims)
  assert found == ['It is so: refuted, +1.00 points (n = 3).'] * 6
