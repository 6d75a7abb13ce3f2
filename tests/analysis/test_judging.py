"""Verdicts are held against the truth as `helpers/verdicts.py` says."""

import math

import pytest
from helpers import verdicts
from helpers.worlds import Truth, World

SIZES = (8, 16, 32)


def truth(*best, confound=None, b_crit=200.0):
  values = dict(zip(SIZES, best, strict=True))
  return Truth(values, {'epochs': values, 'updates': dict.fromkeys(SIZES, 50.0)}, confound, b_crit)


def claim(kind, subject, verdict, side='above', budget='epochs', quantity='val_accuracy'):
  question = {'side': side, 'center': 0.0, 'margin': 0.005 if side == 'within' else None}
  about = {'quantity': quantity, 'budget': budget, 'question': question}
  return {'kind': kind, 'subject': list(subject), 'verdict': verdict} | about


def summary(*claims, **more):
  return {'claims': list(claims)} | more


def pair(a, b, verdict='supported', side='above'):
  return claim('pair', (a, b), verdict, side)


def trend(verdict, budget='epochs'):
  return claim('trend', SIZES, verdict, 'below', budget)


UNDECIDED = pair(8, 16, 'undetermined')


def test_a_headline_names_pairs_and_a_trend_only_where_no_pair_is_shown():
  assert verdicts.named(summary(pair(8, 16), trend('supported'))) == (((8, 16),), None)
  assert verdicts.named(summary(UNDECIDED, trend('supported'))) == ((), 'smaller')
  assert verdicts.named(summary(UNDECIDED, trend('refuted'))) == ((), 'larger')
  assert verdicts.named(summary(UNDECIDED, trend('undetermined'))) == ((), None)
  assert verdicts.named(summary(trend('supported'))) == ((), None)  # nothing was compared
  assert verdicts.named(summary(UNDECIDED, trend('supported', 'updates'))) == ((), None)
  other = claim('pair', (8, 16), 'supported', quantity='train_accuracy')
  assert verdicts.named(summary(other)) == ((), None)


@pytest.mark.parametrize(
  'claims, best, false',
  [
    ([pair(8, 16)], (90, 89, 90), False),
    ([pair(8, 16)], (90, 90, 90), True),
    ([pair(8, 16)], (89, 90, 90), True),
    ([pair(8, 16), pair(8, 32)], (90, 89, 90), True),
    ([UNDECIDED], (90, 90, 90), False),
    ([UNDECIDED, trend('supported')], (90, 90, 90), True),
    ([UNDECIDED, trend('supported')], (91, 90, 90), False),
    ([UNDECIDED, trend('refuted')], (91, 90, 90), True),
    ([UNDECIDED, trend('refuted')], (89, 90, 90), False),
    # A false trend beside a true pair is not in the headline.
    ([pair(8, 16), trend('refuted')], (90, 89, 89), False),
  ],
)
def test_a_headline_is_false_where_tuned_batch_sizes_do_not_differ_so(claims, best, false):
  assert verdicts.false_headline(summary(*claims), truth(*best)) == false


def test_only_the_cause_that_is_there_excuses_a_headline():
  def said(code, present):
    return summary(pair(8, 16), confounds=[{'confound': code, 'present': present}])

  untuned = truth(90, 90, 90, confound='learning_rate')
  assert verdicts.false_headline(summary(pair(8, 16)), untuned)
  assert not verdicts.false_headline(said('learning_rate_not_tuned', True), untuned)
  assert verdicts.false_headline(said('learning_rate_not_tuned', 'unknown'), untuned)
  assert verdicts.false_headline(said('learning_rate_not_tuned', False), untuned)
  assert verdicts.false_headline(said('updates', True), untuned)
  assert verdicts.false_headline(said('updates', True), truth(90, 90, 90))
  assert verdicts.untrue_headline(said('learning_rate_not_tuned', True), untuned)


def test_pair_claims_are_false_by_what_they_say():
  said = summary(pair(8, 16), pair(8, 32, 'refuted'), pair(16, 32, 'undetermined'))
  assert verdicts.false_pairs(said, truth(90, 89, 91)) == 0
  assert verdicts.false_pairs(said, truth(90, 90, 90)) == 2
  alike = summary(pair(8, 16, side='within'), pair(8, 32, 'refuted', side='within'))
  assert verdicts.false_alike(alike, truth(90, 90.4, 91)) == 0
  assert verdicts.false_alike(alike, truth(90, 90.6, 90.2)) == 2
  assert verdicts.false_pairs(alike, truth(90, 90, 90)) == 0


def test_trends_are_false_by_the_slope_at_their_clock():
  said = summary(trend('supported', 'updates'))
  assert verdicts.false_trend(said, truth(91, 90, 89), 'updates')
  assert not verdicts.false_trend(said, truth(91, 90, 89), 'epochs')


def test_power_counts_batch_sizes_truly_worse_and_lost_ones_those_in_no_pair():
  said = summary(pair(8, 16), pair(8, 32, 'undetermined'))
  assert verdicts.shown_worse(said, truth(90, 89, 88)) == (1, 2)
  assert verdicts.shown_worse(said, truth(90, 90, 88)) == (0, 1)
  assert verdicts.shown_worse(said, truth(89, 88, 90)) == (1, 2)
  assert verdicts.lost(said, truth(90, 90, 90)) == 0
  assert verdicts.lost(summary(pair(8, 16, 'undetermined')), truth(90, 90, 90)) == 1
  assert verdicts.lost(summary(), truth(90, 90, 90)) == 3


@pytest.mark.parametrize(
  'entry, b_crit, bounded, covers',
  [
    ({'ci95': [100, 300], 'unbounded': False}, 200, True, True),
    ({'ci95': [210, 300], 'unbounded': False}, 200, True, False),
    ({'ci95': [100, None], 'unbounded': True}, 200, False, True),
    ({'ci95': [100, None], 'unbounded': True}, math.inf, False, True),
    ({'ci95': [100, 300], 'unbounded': False}, math.inf, True, False),
    ({'ci95': [None, None], 'unbounded': False}, 200, None, None),
    ({'undefined': 'too few'}, 200, None, None),
    ({'ci95': [100, 300], 'unbounded': False}, math.nan, True, None),
  ],
)
def test_intervals_of_b_crit(entry, b_crit, bounded, covers):
  found = verdicts.critical({'critical_batch_size': entry}, truth(1, 1, 1, b_crit=b_crit))
  assert (found['bounded'], found['covers']) == (bounded, covers)
  assert found['given'] == (bounded is not None)


def test_regret_and_the_recommended_set():
  world = World('w', batch_sizes=SIZES, worse=(0.0, 0.4, 1.0))

  def advised(size, best, level, learning_rate=0.1):
    reasons = [{'code': 'highest_mean', 'best': best}, {'code': 'not_shown_worse', 'sizes': level}]
    row = {'quantity': 'val_accuracy', 'batch_size': size, 'learning_rate': learning_rate}
    said = {'recommendation': [row | {'reasons': reasons}]}
    return verdicts.recommended(said, world, world.truth())

  assert advised(8, 8, []) == (0.0, 0.0, True)
  assert advised(16, 16, [8]) == (pytest.approx(0.4), pytest.approx(0.4), True)
  assert advised(16, 16, [32]).covers is False
  off = advised(16, 16, [], 0.1 * math.e)
  assert off.regret == pytest.approx(0.4) and off.at_rate == pytest.approx(0.6)
  assert advised(None, 8, []) == (None, None, None)
