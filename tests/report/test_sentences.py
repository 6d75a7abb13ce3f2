"""Sentences of reasons at their edges: one or several, with and without what may be lacking."""

import pytest

from bsjax.report.text.reasons import sentence
from bsjax.stats.estimate import Reason


def said(code, **details):
  return sentence(Reason(code, **details))


@pytest.mark.parametrize(
  ('details', 'text'),
  [
    (
      {'half': 0.0123, 'trials': 7, 'unit': 'per_doubling'},
      'the interval contains zero: an estimate beyond 1.23 percentage points per doubling would '
      'have been shown; with at most 7 trials of this spread, half the interval is smaller than '
      'what was found',
    ),
    (
      {'half': 0.25, 'trials': None, 'unit': 'exponent'},
      'the interval contains zero: an estimate beyond 0.25 would have been shown; with more than '
      '10000 trials of this spread, half the interval is smaller than what was found',
    ),
  ],
)
def test_what_an_interval_with_zero_would_have_shown(details, text):
  assert said('contains_zero', **details) == text


def test_ends_of_an_interpolated_interval_are_of_its_unit():
  found = said('interpolated', verdict='refuted', low=-0.5, high=0.25, unit='exponent')
  assert '-0.5 to +0.25: evaluate' in found
  found = said('interpolated', verdict='refuted', low=-0.005, high=0.0025, unit='fraction')
  assert found.startswith('it would be refuted if') and '-0.5 to +0.25: evaluate' in found


@pytest.mark.parametrize(
  ('epochs', 'shares', 'text'),
  [
    ((2.0, 2.0004), (1.0, 0.995), 'there batch sizes 8 and 64 stand at epoch 2'),
    (
      (2.0, 2.5),
      (0.5, 0.505),
      'there batch size 8 stands at epoch 2 and batch size 64 stands at epoch 2.5',
    ),
    (
      (2.0, 2.0),
      (0.75, 0.25),
      'there batch sizes 8 and 64 stand at epoch 2, their learning rates at 75% and 25% of their '
      'peaks by the schedule',
    ),
    (
      (2.0, 2.0),
      (0.25, 0.75),
      'there batch sizes 8 and 64 stand at epoch 2, their learning rates at 25% and 75% of their '
      'peaks by the schedule',
    ),
  ],
)
def test_where_batch_sizes_stand(epochs, shares, text):
  assert said('stand_at', sizes=(8, 64), epochs=epochs, shares=shares) == text


@pytest.mark.parametrize(
  ('reason', 'text'),
  [
    (Reason('rates_tried', fewest=3, most=3), '3 learning rates were tried at each'),
    (Reason('rates_tried', fewest=2, most=5), '2 to 5 learning rates were tried at each'),
    (
      Reason('condition_updates', second='b', first='a', low=2.0, high=2.001),
      'there b has made 2 times as many updates as a: an effect of their number would look the '
      'same',
    ),
    (
      Reason('condition_updates', second='b', first='a', low=2.0, high=4.0),
      'there b has made 2 to 4 times as many updates as a: an effect of their number would look '
      'the same',
    ),
    (
      Reason('conditions_cut_short', first='a', second='b', size=8, shares=[0.5, 0.25],
             ends=[0.1, 0.0]),
      'the schedule of one is cut short there: the learning rates stand, in shares of their peaks, '
      'a at 50% (at its end 10%) and b at 25% (at its end 0%) at batch size 8',
    ),
    (
      Reason('chosen_at_grid_edge', sizes=[8]),
      'the learning rate is at the edge of the grid at batch size 8: a better may lie outside',
    ),
    (
      Reason('chosen_at_grid_edge', sizes=[8, 16], condition='b'),
      'the learning rate of b is at the edge of the grid at batch sizes 8, 16: a better may lie '
      'outside',
    ),
    (
      Reason('one_rate', sizes=[8], condition='b'),
      'of b only one learning rate was tried at batch size 8: nothing was tuned there',
    ),
    (
      Reason('best_rates_unsafe', size=8, rates=[0.1, 0.2], condition='b'),
      'batch size 8 of b is read beside its best rates, and what it can reach is not known: some '
      'trial diverged at 0.1, 0.2, though none did at a larger rate',
    ),
    (
      Reason('best_rates_dropped', size=8, rates=[0.1]),
      'batch size 8 is best next to 0.1, dropped within training as worse there, which may be '
      'better in the end: what it can reach is not known',
    ),
    (Reason('no_result', why='it lacks some', problems=[]), 'it lacks some'),
    (
      Reason('all_failed', problems=[('diverged', [0.1, 0.25]), ('unfinished', [0.5])]),
      'diverged at learning rate 0.1, 0.25; unfinished at learning rate 0.5',
    ),
    (
      Reason('not_told_apart', rule='sqrt', others=['none', 'linear']),
      'square-root scaling has the smallest mean, not told apart from the learning rate kept, '
      'linear scaling',
    ),
    (
      Reason('others_farther', others=[['none', 1.5, 1.25, 1.75], ['linear', 3.0, 2.0, 4.0]]),
      'the learning rate kept is farther by 1.5 [1.25, 1.75]; linear scaling is farther by 3 [2, '
      '4], at 95% for all pairs and batch sizes at once',
    ),
    (
      Reason('unreadable', problems=[[8, 'diverged'], [16, 'unfinished']]),
      'batch size 8: diverged; batch size 16: unfinished',
    ),
    (
      Reason('crosses_margin', margin=0.005, trials=None),
      'the interval crosses the margin of 0.5 percentage points; more than 10000 trials of this '
      'spread would decide it',
    ),
    (
      Reason('at_equal_updates', whole=0.02, value=-0.01, low=-0.015, high=-1e-12),
      'of +2 percentage points at equal epochs, -1 [-1.5, +0] are left at equal updates',
    ),
  ],
)  # fmt: skip
def test_reasons_of_claims(reason, text):
  assert sentence(reason) == text


@pytest.mark.parametrize(
  ('reason', 'text'),
  [
    (
      Reason('nothing_to_compare', sizes=[]),
      'no batch size has a result in every trial: nothing to compare',
    ),
    (
      Reason('nothing_to_compare', sizes=[16]),
      'only batch size 16 has a result in every trial: nothing to compare',
    ),
    (
      Reason('shown_worse', sizes=[8, 16], level=0.9933, looks=True),
      'shown to be worse, at 99.3% for all pairs and looks at once: 8, 16',
    ),
    (
      Reason('shown_worse', sizes=[]),
      'shown to be worse, at 95% for all pairs at once: none',
    ),
    (
      Reason('too_few_reach', sizes=2, trials=3, run_whole=False),
      '2 batch sizes reach the target in every trial, over 3 trials: too few to compare',
    ),
    (
      Reason('examples_ratio', best=8, ratio=1.1, low=1.0, high=1.2, overhead=0.2, certain=True),
      'it needs 1.1 times the examples of 8, interval 1 to 1.2',
    ),
    (
      Reason('examples_ratio', best=8, ratio=1.1, low=1.0, high=1.3, overhead=0.2, certain=False),
      'it needs 1.1 times the examples of 8, interval 1 to 1.3: whether it stays within 20% is '
      'undetermined',
    ),
  ],
)
def test_reasons_of_recommendations(reason, text):
  assert sentence(reason) == text


@pytest.mark.parametrize(
  ('reason', 'text'),
  [
    (
      Reason('few_inside_grid', inside=1, batch_sizes=1, at_grid_edge=[8]),
      '1 of 1 batch size reach the target between two evaluations with the best learning rate '
      'inside the grid, and a hyperbola needs three; it is at the edge at batch size 8: try more '
      'learning rates',
    ),
    (
      Reason('few_inside_grid', inside=1, batch_sizes=4, at_grid_edge=[], best_rates_unsafe=[16],
             best_rates_dropped=[32, 64]),
      '1 of 4 batch sizes reach the target between two evaluations with the best learning rate '
      'inside the grid, and a hyperbola needs three; some trial diverged at faster ones at batch '
      'size 16 and the next one was dropped too early at batch sizes 32 and 64: try more learning '
      'rates',
    ),
    (
      Reason('moves_without_largest', batch_size=512, b_crit=None, ci95=[0.0, None]),
      'without batch size 512 it has no value, outside the interval: a hyperbola does not fit all '
      'batch sizes, or they end too early',
    ),
    (
      Reason('moves_without_largest', batch_size=512, b_crit=345.6, ci95=[340.0, 350.0]),
      'without batch size 512 it is 346, outside the interval: a hyperbola does not fit all batch '
      'sizes, or they end too early',
    ),
    (
      Reason('trials_at_grid_edge', trials=[2], of=3),
      'the best rate is at the edge of the grid in trial 2 of 3',
    ),
    (
      Reason('next_to_dropped', learning_rates=[0.1, 0.30001]),
      'the best of the rates that were trained to the end is next to 0.1 and 0.3, which was '
      'dropped before: worse there, not known to be worse in the end',
    ),
    (
      Reason('noise_scale_undefined', value=2.0, why='it is small'),
      'the noise scale is undefined (it is small)',
    ),
    (Reason('unfinished', epoch=1.5, epochs=3.0), 'unfinished at epoch 1.5 of 3'),
    (Reason('dropped', epoch=1.5, epochs=3.0), 'dropped at epoch 1.5 of 3'),
    (
      Reason('too_few_to_compare', batch_sizes=2, runs=1),
      '2 batch sizes with 1 run that did not fail: three batch sizes are needed',
    ),
  ],
)  # fmt: skip
def test_reasons_of_runs(reason, text):
  assert sentence(reason) == text


@pytest.mark.parametrize(
  ('reason', 'text'),
  [
    (
      Reason('guessed_columns', pairs=[('batch_size', 'bs'), ('trial', 'seed')]),
      "read 'bs' as batch_size, 'seed' as trial",
    ),
    (Reason('guessed_unit', columns=['a', 'b'], unit='fraction'), "'a', 'b' taken for fractions"),
    (Reason('guessed_unit', columns=['a'], unit='percent'), "'a' taken for percent"),
    (Reason('not_used', columns=['a', 'b'], count=2), 'not used: a, b'),
    (Reason('not_used', columns=['a', 'b'], count=5), 'not used: a, b and 3 more'),
    (
      Reason('gained_late', size=8, value=0.02, low=None, high=None),
      'in the last fifth of training batch size 8 gained most, +2 percentage points',
    ),
    (
      Reason('loss_gained_late', size=8, value=0.02, low=0.01, high=0.03),
      'in the last fifth of training batch size 8 gained most, +2 [+1, +3] log points',
    ),
    (
      Reason('at_one_rate', rate=0.1, value=-0.01, low=-0.02, high=0.005),
      'with learning rate 0.1 for all, -1 [-2, +0.5] percentage points from the smallest to the '
      'largest batch size',
    ),
    (
      Reason('stale_if', size=64, updates=1500.4, shares=[1e-6, 0.25, 0.9]),
      'whether the model has BatchNorm was not said; if so, after 1,500 updates (batch size 64) '
      'its running statistics are to this share still the first ones: 0% at momentum 0.9, 25% at '
      'momentum 0.99, 90% at momentum 0.999',
    ),
    (
      Reason('percent_stale', sizes=[8, 64], shares=[1e-5, 0.5], momentum=0.99),
      'at momentum 0.99 running statistics are to 0.001% at batch size 8 and 50% at batch size 64 '
      'still the first ones',
    ),
    (
      Reason('trials_needed', trials=3, needed=7),
      'there are 3 trials; at most 7 in all, of this spread, would show what was found',
    ),
    (Reason('drops', size=64, share=0.125), 'batch size 64 leaves out 12% of every epoch'),
    (Reason('best_of', fewest=1, most=1), 'one learning rate was tried, so none was chosen'),
    (Reason('in_cells', count=2, unknown=0, cells=5), 'in 2 of 5 cells'),
    (Reason('in_cells', count=2, unknown=1, cells=5), 'in 2 of 5 cells, unknown in 1'),
    (
      Reason('tested', sizes=[8, 64], rates=[]),
      'tested were batch sizes 8, 64, and nothing beyond',
    ),
    (
      Reason('tested', sizes=[8, 64], rates=[0.1, 0.1]),
      'tested were batch sizes 8, 64 at learning rate 0.1, and nothing beyond',
    ),
    (
      Reason('tested', sizes=[8, 64], rates=[0.1, 0.3]),
      'tested were batch sizes 8, 64 at learning rates 0.1 to 0.3, and nothing beyond',
    ),
    (Reason('price', price=2.5, seconds=7200.0), 'at 2.5 per hour that costs 5'),
    (
      Reason('too_few_ranges', known=2, out=[]),
      'the range of good rates is known at 2 batch sizes, and it takes three, with four rates or '
      'more at each',
    ),
    (
      Reason('too_few_ranges', known=2, out=[8]),
      'the range of good rates is known at 2 batch sizes; it leaves the grid at batch size 8, and '
      'it takes three, with four rates or more at each',
    ),
    (
      Reason('scales_not_given', numbers=['weight_decay', 'b1']),
      'weight decay, b1, the warm-up of the learning rate, the decay of its schedule and averages '
      'of weights count updates unless they were set in examples; the table does not say',
    ),
  ],
)
def test_reasons_of_audits(reason, text):
  assert sentence(reason) == text


def test_how_many_rates_the_best_is_of():
  assert said('best_of', fewest=3, most=3).startswith('of 3 learning rates the best is')
  assert said('best_of', fewest=1, most=5).startswith('of 1 to 5 learning rates the best is')
