"""What a look says of each kind of question, and when that answers it, worked out by hand."""

import math

import numpy as np
import pytest
from helpers.curves import first, study

from bsjax.analysis.claims.claim import Claim, better, within, worse
from bsjax.analysis.decide.claims import KnownRate, claims, known_rates
from bsjax.analysis.decide.critical import KnownCritical
from bsjax.analysis.decide.looks import Look, decided, replay
from bsjax.analysis.decide.rates import Rates
from bsjax.analysis.runs.reading import of_columns
from bsjax.analysis.runs.selection import Tuned
from bsjax.config.decide_keys import BEST, BEST_RATE, CRITICAL, EQUIVALENT, TREND, Asked
from bsjax.plan.rounds import Box
from bsjax.stats.estimate import Estimate
from bsjax.stats.intervals import mean_interval

SIZES = (8, 16, 32)
LUCK = np.array([0.001, -0.002, 0.0005, 0.0005])
TRIED = study(SIZES, (0.05, 0.1, 0.2), 4, lambda lane, updates: {}, 1)
CHOSEN = first({size: tried[1:] for size, tried in TRIED.items()})


def rate(size, *shifts):
  return Tuned(size, 0.1, (), best_rate=0.12, shifts=dict(enumerate(shifts)))


def test_best_rates_of_several_batch_sizes_hold_together_and_are_known_within_a_factor():
  chosen = {
    8: rate(8, 0.1, -0.1, 0.05),
    16: rate(16, 0.0, 0.01, -0.02),
    32: rate(32, 0.0, 0.0, 0.0),
  }
  wide, near, nothing = known_rates(Asked(BEST_RATE), chosen, 0.03)
  log = mean_interval(np.log(0.12) + np.array([0.1, -0.1, 0.05]), 0.99)
  ends = wide.rate.value, wide.rate.low, wide.rate.high
  assert ends == pytest.approx([math.exp(x) for x in (log.value, log.low, log.high)])
  assert wide.factor == pytest.approx(math.sqrt(wide.rate.high / wide.rate.low))
  assert (wide.known, near.known, nothing.known) == (wide.factor <= 2, True, False)
  # Where no trial moves it, it is at an end of its window, or no parabola's.
  assert near.factor is not None and nothing.factor is None
  assert nothing.rate.value == pytest.approx(0.12) and nothing.rate.n == 3
  by_margin = [one.known for one in known_rates(Asked(BEST_RATE, (), 1.01), chosen, 0.03)]
  assert by_margin == [False] * 3


def read(*values, fresh=()):
  found = {}
  for place, (size, value) in enumerate(zip(SIZES, values, strict=False)):
    columns = {'val_accuracy': value + np.roll(LUCK, place), 'updates': np.full(4, 512.0 / size)}
    if fresh:
      columns['reestimated_val_accuracy'] = fresh[place] + np.roll(LUCK, place)
    found[size] = of_columns(range(4), columns)
  return found


def said(kind, readings, *about):
  return claims(Asked(kind, *about), TRIED, CHOSEN, readings, 0.05)


@pytest.mark.parametrize('kind, sizes', [(BEST, ()), (EQUIVALENT, (8, 16)), (TREND, ())])
def test_the_margin_of_the_question_is_that_of_its_claims(kind, sizes):
  for given, margin in ((0.02, 0.02), (None, 0.005)):
    found = said(kind, read(0.9, 0.89, 0.88), sizes, given)
    assert {claim.question.margin for claim in found} == {None, margin}


def test_two_batch_sizes_are_compared_only_where_both_are_there():
  whole = read(0.89, 0.9, 0.88)
  pair, _ = said(EQUIVALENT, whole, (8, 16))
  assert pair.subject == (16, 8) and pair.estimate.value == pytest.approx(0.01)
  # A pair by itself: its interval has the level of one claim, less what reading the top costs.
  assert pair.estimate.confidence == pytest.approx(0.96)
  lost = {8: whole[8], 32: whole[32]}
  assert said(EQUIVALENT, lost, (8, 16)) == []


def test_two_of_which_one_has_no_fresh_value_are_not_told_apart():
  readings = read(0.9, 0.8, 0.7, fresh=(0.9, math.nan, 0.7))
  better_, same = said(EQUIVALENT, readings, (8, 16))
  assert (better_.verdict, same.verdict) == ('undetermined', 'undetermined')
  assert better_.again.value is None
  better_, _ = said(EQUIVALENT, readings, (8, 32))
  assert better_.verdict == 'supported' and better_.again.value == pytest.approx(0.2)


# When a question is answered.

ASKED = {'better': better(), 'worse': worse(), 'within': within(0.005)}


def claim(side, verdict, subject=(8, 16), kind='pair'):
  estimate = Estimate(0.01, 0.0, 0.02, 4)
  return Claim(kind, subject, '', '', ASKED[side], estimate, verdict)


def look(*said_, error: float | None = 0.01, **more):
  states = dict.fromkeys(SIZES, Rates('bracketed'))
  found = Look(3, SIZES, 0, 0, states, {}, {}, error, tuple(said_))
  return found._replace(**more)


def answered(kind, *looks, sizes=SIZES):
  return decided(Asked(kind, (8, 16) if kind == EQUIVALENT else ()), sizes, looks)


OPEN, YES, NO = 'undetermined', 'supported', 'refuted'


@pytest.mark.parametrize(
  'sign, none, expected',
  [(YES, OPEN, True), (NO, OPEN, True), (OPEN, YES, True), (OPEN, OPEN, False), (YES, NO, True)],
)
def test_a_trend_is_decided_by_its_sign_or_where_there_is_none(sign, none, expected):
  both = [claim('worse', sign, SIZES, 'trend'), claim('within', none, SIZES, 'trend')]
  assert answered(TREND, look(*both)) is expected
  fewer = [claim('worse', sign, (8, 16), 'trend'), claim('within', none, (8, 16), 'trend')]
  assert answered(TREND, look(*fewer)) is False
  assert answered(TREND, look()) is False


@pytest.mark.parametrize(
  'is_better, same, expected',
  [(YES, NO, True), (OPEN, YES, True), (YES, OPEN, False), (OPEN, OPEN, False)],
)
def test_two_are_decided_by_whether_they_are_alike_also_at_an_earlier_look(
  is_better, same, expected
):
  both = claim('better', is_better), claim('within', same)
  assert answered(EQUIVALENT, look(*both)) is expected
  later = look(claim('better', OPEN), claim('within', OPEN))
  assert answered(EQUIVALENT, look(*both), later) is expected
  assert answered(EQUIVALENT, look(*both, error=None)) is False


def test_the_best_is_decided_where_all_others_are_worse_or_alike():
  of_16 = claim('better', OPEN), claim('within', YES)
  of_32 = claim('better', YES, (8, 32)), claim('within', NO, (8, 32))
  open_ = claim('better', OPEN, (8, 32)), claim('within', OPEN, (8, 32))
  assert answered(BEST, look(*of_16, *of_32)) is True
  assert answered(BEST, look(*of_16, *open_)) is False
  assert answered(BEST, look(*of_16)) is False  # 32 was not compared
  assert answered(BEST, look(*of_16, *of_32), look(*of_16)) is True
  # A look that compares nothing decides nothing.
  assert answered(BEST, look(), sizes=()) is False


def test_rates_are_decided_where_those_of_all_are_known_and_a_critical_size_where_it_is():
  known = [KnownRate(size, Estimate(0.1, 0.08, 0.12, 4), 1.2, True) for size in SIZES]
  assert answered(BEST_RATE, look(known=tuple(known))) is True
  assert answered(BEST_RATE, look(known=tuple(known[:2]))) is False
  assert answered(BEST_RATE, look(known=(*known[:2], known[2]._replace(known=False)))) is False
  for state in (True, False):
    critical = KnownCritical(0.1, 70.0, 50.0, 100.0, 2.0, state)
    assert answered(CRITICAL, look(critical=critical)) is state
  assert answered(CRITICAL, look()) is False
  assert answered(CRITICAL) is False


def test_after_six_rounds_without_surrounded_rates_there_is_a_look_at_what_there_is():
  """The best rate is the highest at one batch size, and no round adds any."""

  def curve(lane, updates):
    best = 0.2 if lane['batch_size'] == 8 else 0.8
    luck = 0.001 * math.sin(lane['lane'])
    return {'val_accuracy': 0.9 - 0.05 * math.log(lane['learning_rate'] / best) ** 2 + luck}

  tried = study((8, 16, 32), (0.1, 0.2, 0.4), 3, curve, 1)
  lanes = [lane for settings in tried.values() for one in settings for lane in one.lanes]
  plan, rows = [lane.plan for lane in lanes], [row for lane in lanes for row in lane.rows]
  decide = {'question': 'best_batch_size', 'margin': 0.0, 'error': 0.05, 'most_trials': 30}
  whole = (Box((8, 16, 32), (0.1, 0.2, 0.4), 3),)
  found = replay({'decide': decide, 'trials': 3}, [whole] * 8, plan, rows)
  assert [one.error is not None for one in found] == [False] * 6 + [True, False]
  assert [one.lanes for one in found] == [27] + [0] * 7
  assert {rates.state for rates in found[0].rates.values()} == {'bracketed', 'edge'}
  # A single batch size is surrounded, which is compared with none.
  assert list(found[6].surrounded) == [8] and found[6].claims == ()
