"""Results in words: nothing undefined stays silent, nothing repeated floods the page."""

import json

import pytest

from bsjax.format import measured, number
from bsjax.report.text import formats, reasons, words
from bsjax.report.text.claim_blocks import blocks, effect_text
from bsjax.report.text.reasons import sentence
from bsjax.stats.estimate import Reason


def claim(text, codes=(), unit='fraction, per doubling of the batch size', **changes):
  row = {'claim': text, 'verdict': 'undetermined', 'effect': 0.01, 'ci95': [-0.02, 0.04], 'n': 3}
  row |= {'unit': unit, 'kind': 'trend', 'family': 'alone', 'reasons': list(codes)}
  return row | changes


def test_numbers_have_three_digits_and_no_powers_of_ten():
  assert [number(x) for x in (None, 0.00123456, 12.345, 1234.5)] == [
    '–',
    '0.00123',
    '12.3',
    '1,234',
  ]


def test_one_percentage_point_is_singular():
  texts = [formats.margin_text(margin) for margin in (0.005, 0.01, 0.011, 0.02)]
  assert [text.split(' ', 1)[1] for text in texts] == [
    'percentage points',
    'percentage point',
    'percentage points',
    'percentage points',
  ]


def test_reasons_are_brought_together():
  flat, edge = Reason('flat_curve'), Reason('trials_at_grid_edge', trials=[0, 2], of=3)
  known = {'needed': 3, 'known': 1}
  assert sentence(
    Reason('too_few_optima', left_out=[[8, flat], [16, edge], [32, flat]], **known)
  ) == (
    '3 batch sizes with an optimum inside the grid are needed, 1 known; batch sizes 8 and 32: the '
    'curve is flat: it has no curvature beyond the noise of the trials; batch size 16: the best '
    'rate is at the edge of the grid in trials 0 and 2 of 3'
  )
  gone, late = Reason('diverged'), Reason('unfinished', epoch=1.5, epochs=3.0)
  failed = Reason('lanes_failed', trials=[[0, gone], [1, late], [3, gone]])
  text = 'trials 0 and 3 diverged; trial 1 unfinished at epoch 1.5 of 3'
  assert sentence(failed) == text


@pytest.mark.parametrize(
  ('reason', 'text'),
  [
    (Reason('too_few_to_compare', batch_sizes=1, runs=2), '1 batch size with 2 runs that did not'),
    (
      Reason('few_reach_target', reached=0, batch_sizes=2, early=[8, 16]),
      '0 of 2 batch sizes reach the target between two evaluations, and a hyperbola needs three; '
      'batch sizes 8 and 16 do before the first',
    ),
    (Reason('few_reach_target', reached=1, batch_sizes=4, early=[]), '1 of 4 batch sizes reach'),
    (
      Reason('batch_size_changes', to=16, batch_size=8, learning_rate=0.1, trial=2),
      'the batch size changes in training, to 16, in the run of batch size 8, learning rate 0.1, '
      'trial 2',
    ),
    (Reason('noise_scale_undefined', value=-1.0, why=()), 'is undefined (it is -1.0)'),
    (
      Reason('noise_scale_undefined', value=None, why=(Reason('no_values'), Reason('not_finite'))),
      'the noise scale is undefined (there is no value; a value is not finite)',
    ),
    (Reason('use_more', why=Reason('scales_perfectly')), 'scale perfectly: use more trials or'),
  ],
)
def test_reasons_in_words(reason, text):
  assert text in sentence(reason)


def test_effects_in_points_with_open_ends_and_no_negative_zero():
  assert effect_text(claim('')) == '+1.00 [-2.00, +4.00] points per doubling'
  open_end = claim('', (), 'exponent of the batch size', effect=0.5, ci95=[0.25, None])
  assert effect_text(open_end) == '0.5 [0.25, ∞] exponent'
  assert effect_text(claim('', (), 'fraction', effect=-4e-17)).startswith('+0.00 [')
  assert effect_text(claim('', effect=None, ci95=[None, None])) == '–'


def test_what_several_claims_share_is_said_once():
  mine, ours = {'code': 'means_turn'}, {'code': 'one_trial', 'over': 'trials'}
  all_ = {'code': 'one_rate', 'sizes': [8, 16]}
  failed = {'code': 'failed', 'condition': 'b', 'why': {'code': 'no_rate_ended_well'}}
  lost = [{'code': 'left_out', 'size': size, 'why': failed} for size in (8, 32)]
  claims = [
    claim('a', [all_, ours, mine]),
    claim('b', [all_, ours]),
    claim('c', [all_, *lost]),
    claim('d', [ours], 'fraction', kind='pair'),
  ]
  (block,), pairs = blocks(claims)
  assert block.shared == (
    'Only one learning rate was tried at batch sizes 8, 16: nothing was tuned there. '
    'Each stands by itself, and may err in one study of twenty.'
  )
  assert block.notes == ('One trial has no spread and shows nothing.',)
  assert [row.why for row in block.rows] == [
    'The means do not go one way from size to size: the slope is an average over the range.',
    '',
    'Left out: batch sizes 8 and 32: b: no learning rate ended well.',
  ]
  assert [row.notes for row in block.rows] == [(1,), (1,), ()]
  (row,) = pairs.rows
  assert row.why.startswith('One trial has no spread and shows nothing. Each stands by itself')
  assert pairs.counts == {'undetermined': 1}


def test_reasons_go_to_codes_and_back():
  inner = Reason('fewer_trials', trials=1, of=3)
  whole = Reason('no_result', why=inner, problems=[(inner, [0.1, 0.2])])
  keyed = Reason('made up', sizes={8: inner, 0.5: 'x', 'name': 1})
  assert reasons.decoded(json.loads(json.dumps(reasons.coded(keyed)))) == keyed
  row = json.loads(json.dumps(reasons.coded(whole)))
  assert row['problems'] == [[{'code': 'fewer_trials', 'trials': 1, 'of': 3}, [0.1, 0.2]]]
  assert reasons.full_sentence(reasons.decoded(row)) == (
    'It has 1 of 3 trials (it has 1 of 3 trials at learning rate 0.1, 0.2).'
  )
  assert reasons.sentence(whole) == reasons.sentence(reasons.decoded(row))


def critical(**changes):
  found = {'quantity': 'val_loss', 'target': 0.1, 'b_crit': 400.0, 'ci95': [200.0, 900.0], 'n': 3}
  found |= {'unbounded': False, 'examples_min': 12000.0, 'updates_min': 30.0, 'note': 'be careful'}
  found |= {'interval_over': 'trials and residuals', 'within_20_percent': within()}
  found |= {'without_largest': {'batch_size': 512, 'b_crit': 345.6, 'ci95': [200.0, None]}}
  one = {'b_crit': 400.0, 'ci95': [200.0, 900.0], 'unbounded': False}
  return found | {'targets': [one, {'undefined': 'x'}]} | changes


def within(**changes):
  nothing = {'tried': None, 'batch_size': None, 'ci95': [None, None], 'at_least': None}
  return nothing | {'fitted': None, 'fitted_ci95': [None, None]} | changes


def test_the_critical_batch_size_in_words():
  first, meaning, without, note, share, every = words.critical_batch_size(critical())
  assert first.startswith('To a validation loss of 0.1: 400 examples, 95% interval 200 to 900')
  assert first.endswith('(over trials and residuals, n = 3).')
  assert without == 'Without batch size 512: 350, 95% interval 200 to no upper bound.'
  assert '(12,000)' in meaning and note == 'Be careful.' and share.endswith('is unknown.')
  assert every == 'At all targets, from easy to hard: 400, undefined.'
  open_end = words.critical_batch_size(critical(b_crit=None, ci95=[0.0, None], unbounded=True))
  assert 'no value, 95% interval without a bound on either side' in open_end[0]
  assert (
    '95% interval 200 to no upper bound'
    in words.critical_batch_size(critical(ci95=[200.0, None]))[0]
  )
  nothing = critical(without_largest={'batch_size': 512, 'undefined': 'too few'})
  assert 'Without batch size 512: undefined, because too few.' in words.critical_batch_size(nothing)
  assert words.critical_batch_size({'undefined': 'it is so'}) == ['Undefined, because it is so.']


@pytest.mark.parametrize(
  ('value', 'low', 'high', 'text'),
  [
    (167.3, 145.0, 193.0, '170'),
    (167.3, 163.0, 172.0, '167'),
    (12345.0, 12000.0, None, '12,000'),
    (0.0, 0.0, 2.0, '0'),
    (9.96, None, None, '10'),
    (None, 1.0, 2.0, '–'),
  ],
)
def test_a_number_has_no_more_digits_than_its_interval_leaves_it(value, low, high, text):
  assert measured(value, low, high) == text


@pytest.mark.parametrize(
  ('changes', 'text'),
  [
    ({'tried': 64}, 'up to 64 of those tried'),
    ({'batch_size': 80.0, 'ci95': [40.0, 160.0]}, '80 between them, 40 to 160'),
    ({'at_least': 256}, 'at least 256, the largest tried'),
    ({'fitted': 81.0, 'fitted_ci95': [0.0, 187.0]}, '81 by the fit, 95% interval 0 (no lower'),
  ],
)
def test_every_way_to_stay_within_a_fifth_is_named(changes, text):
  found = words.critical_batch_size(critical(within_20_percent=within(**changes)))
  assert text in found[-2]


def test_the_exponent_in_words():
  found = {'value': 0.5, 'ci95': [0.4, 0.6], 'n': 3, 'batch_sizes': [8, 16, 32]}
  found |= {'rules': {'linear': False, 'square_root': True, 'none': False}}
  found |= {'power_law_rejected': True, 'left_out': {'64': 'too flat'}}
  text = ' '.join(words.exponent(found))
  assert text.startswith(
    '0.50, 95% interval 0.4 to 0.6 (3 batch sizes, n = 3). The interval holds '
  )
  assert 'square root (0.5).' in text and 'no power law' in text
  assert text.endswith('Left out: batch size 64: too flat.')
  alone = found | {'ci95': [None, None], 'rules': dict.fromkeys(found['rules'])}
  assert 'without an interval' in words.exponent(alone)[0]
  assert 'The interval' not in ' '.join(words.exponent(alone))
  assert words.exponent({'undefined': 'it is so'}) == ['Undefined, because it is so.']


def test_the_noise_scale_of_the_rates_does_not_repeat_the_reason_of_the_exponent():
  why = {'undefined': 'too few'}
  assert words.rate_noise_scale(why, why) == ['Undefined, for the same reason as the exponent.']
  assert words.rate_noise_scale(why, {'value': 1.0}) == ['Undefined, because too few.']
  found = {'b_learning_rate': None, 'ci95': [0.0, None], 'n': 3, 'reason': 'no scaling fits best'}
  assert words.rate_noise_scale(found, {}) == [
    'No value, 95% interval without a bound on either side (n = 3). No scaling fits best.'
  ]
