"""The next round by hand: which runs, how many trials, what they cost, and why none is planned.

Of 3 to 30 trials one may look at 3, 5, 8, 12, 18 and 30, and grows by 2.25 at most: from 8 to 18.
"""

import math

import pytest

from bsjax.analysis.claims.claim import Claim, better, within
from bsjax.analysis.decide.claims import KnownRate
from bsjax.analysis.decide.critical import KnownCritical
from bsjax.analysis.decide.decision import Done, budget_left
from bsjax.analysis.decide.looks import Look
from bsjax.analysis.decide.planning import next_round
from bsjax.analysis.decide.rates import Rates
from bsjax.analysis.runs.histories import LaneHistory, Setting
from bsjax.analysis.runs.selection import Tuned
from bsjax.plan.rounds import Box
from bsjax.stats.estimate import Estimate
from bsjax.stats.paired import trials_needed

EXAMPLES, RATES, BEST = 12800, (0.1, 0.2, 0.4), 0.2


def setting(size, rate, trials):
  plan = {'batch_size': size, 'learning_rate': rate, 'examples': EXAMPLES, 'epochs': 2.0}
  rows = tuple(
    {'examples': seen, 'epoch': seen / 6400, 'diverged': False, 'val_accuracy': 0.5}
    | {'train_accuracy': 0.5}
    for seen in (0, 6400, EXAMPLES)
  )
  plan['micro_batch'] = 16
  lanes = tuple(LaneHistory(plan | {'trial': trial}, rows) for trial in range(trials))
  return Setting(size, rate, lanes)


def look(trials, claims=(), sizes=(16, 32), error: float | None = 0.005, lost=(), **more):
  """A look at batch sizes whose best rate is the middle one of three; those `lost` have none."""
  tried = {size: [setting(size, rate, trials) for rate in RATES] for size in sizes}
  known = [size for size in sizes if size not in lost]
  tuned = {
    size: Tuned(
      size, BEST, tried[size][1].lanes, window=(tried[size][1],), weights=(1.0,), best_rate=BEST
    )
    for size in known
  }
  states = {size: Rates('bracketed' if size in known else 'none') for size in sizes}
  found = Look(trials, tuple(sizes), 0, 0, states, tuned, tried, error, tuple(claims))
  return found._replace(**more)


def pair(value, half, best=16, other=32, margin=0.005):
  """Both claims on two batch sizes, from a difference with its interval."""
  about = Estimate(value, value - half, value + half, n=8, confidence=0.995)
  asked = [(question, question.verdict(about)) for question in (better(), within(margin))]
  return [Claim('pair', (best, other), '', '', one, about, said) for one, said in asked]


def config(question='best_batch_size', margin=0.0):
  decide = {'question': question, 'margin': margin, 'error': 0.05, 'most_trials': 30}
  return {'decide': decide, 'trials': 3}


def after(found, *about, left: float | None = math.inf, **asked):
  return next_round(config(*about, **asked), [found], left)


@pytest.mark.parametrize(
  'value, half, trials',
  [
    (0.001, 0.005, 12),  # at 12 trials 0.7886 times as wide: below 0.004, by which it is within
    (0.001, 0.00508, 18),  # just not below
    (0.001, 0.006, 18),
    (0.001, 0.02, 18),  # no rung in reach is enough
    (0.004, 0.005, 12),  # as far from zero
  ],
)
def test_trials_go_to_where_a_part_may_be_decided(value, half, trials):
  plan = after(look(8, pair(value, half)))
  assert plan.why == 'trials' and plan.bounded
  assert plan.boxes == (Box((16,), RATES, trials), Box((32,), RATES, trials))
  assert plan.lane_examples == EXAMPLES * (trials - 8) * 6


def test_two_that_are_to_be_alike_are_held_against_the_margin_alone():
  near_margin = look(8, pair(0.004, 0.0045))
  assert after(near_margin, 'equivalent:16,32').boxes[0].trials == 18
  assert after(near_margin).boxes[0].trials == 12
  # Within a margin of a point it is near the middle.
  wide = look(8, pair(0.004, 0.0065, margin=0.01))
  assert after(wide, 'equivalent:16,32', margin=0.01).boxes[0].trials == 12


def test_what_is_shown_to_be_worse_hurries_no_one_though_its_size_is_open():
  """By 0.2 to 1 points, against a margin of 0.5; the other pair needs as many as can be."""
  worse, open_ = pair(0.006, 0.004, other=64), pair(0.001, 0.02)
  plan = after(look(8, open_ + worse, sizes=(16, 32, 64)))
  assert plan.boxes == (Box((16,), RATES, 18), Box((32,), RATES, 18))


def test_as_long_as_no_round_was_timed_the_smallest_step_is_taken():
  plan = after(look(8, pair(0.001, 0.02)), left=None)
  assert plan.boxes[0].trials == 12 and not plan.bounded


def test_a_round_that_takes_all_that_is_left_is_begun_and_one_that_takes_more_is_not():
  found, cost = look(8, pair(0.001, 0.005)), EXAMPLES * 4 * 6
  assert after(found, left=float(cost)).boxes
  over = after(found, left=cost - 1.0)
  assert (over.boxes, over.why, over.lane_examples) == ((), 'budget', cost)


def test_runs_that_are_there_cost_nothing_and_save_nothing():
  found = look(8, pair(0.001, 0.005))
  found.tried[16][2] = setting(16, 0.4, 15)  # has more than the 12 of the round
  assert after(found).lane_examples == EXAMPLES * 4 * 5


def test_what_decides_all_parts_is_a_bound_that_holds_for_the_widest():
  parts = pair(0.001, 0.006), pair(0.001, 0.012, other=64), pair(0.02, 0.001, other=128)
  found = look(8, [*parts[0], *parts[1], *parts[2]], sizes=(16, 32, 64, 128))
  plan = after(found)
  each = [trials_needed(one[0].estimate, 0.004, 0.995) for one in parts[:2]]
  assert each[0] < each[1] == plan.trials
  # 128 is worse, and has no further trials.
  assert [box.batch_sizes for box in plan.boxes] == [(16,), (32,), (64,)]
  assert plan.more == EXAMPLES * (plan.trials - 8) * 9


def test_without_a_word_on_some_batch_size_it_is_not_known_what_decides():
  found = look(8, pair(0.001, 0.005), sizes=(16, 32, 64))
  assert after(found).why == 'trials'
  assert (after(found).trials, after(found).more) == (None, None)


def test_no_trials_are_bought_that_cannot_answer_what_is_open():
  alike, open_ = pair(0.0, 0.001), pair(0.001, 0.02, other=64)
  lost = look(8, alike + open_, sizes=(16, 32, 64), lost=(64,))
  assert after(lost).why == 'no_rates'
  half_lost = look(8, pair(0.001, 0.005), lost=(32,))
  assert after(half_lost, 'equivalent:16,32').why == 'no_rates'
  assert after(half_lost, 'trend').why == 'no_rates'
  assert after(half_lost).why == 'no_rates'  # nothing to compare 16 with


def known_rate(size, factor, known):
  rate = Estimate(BEST, BEST / factor, BEST * factor, n=8, confidence=0.995)
  return KnownRate(size, rate, factor, known)


def test_the_best_rate_of_a_single_batch_size_may_be_asked():
  open_ = look(8, sizes=(16,), known=(known_rate(16, 2.2, False),))
  plan = after(open_, 'best_learning_rate')
  assert plan.why == 'trials' and plan.boxes == (Box((16,), RATES, 12),)
  # ln 2.2 is 0.788, at 12 trials 0.622, and ln 1.5 is 0.405.
  assert after(open_, 'best_learning_rate', margin=1.5).boxes[0].trials == 18
  done = look(8, sizes=(16, 32), known=(known_rate(16, 1.9, True), known_rate(32, 1.9, True)))
  assert after(done, 'best_learning_rate').why == 'decided'
  half = done._replace(known=(known_rate(16, 1.9, True), known_rate(32, 2.2, False)))
  assert after(half, 'best_learning_rate').why == 'trials'


BEYOND = KnownCritical(0.1, 300.0, 50.0, None)


def test_a_critical_batch_size_takes_three_that_reach_the_target():
  sizes = (16, 32, 64)
  inside = KnownCritical(0.1, 40.0, 10.0, 90.0)
  found = look(8, sizes=sizes, critical=inside)
  assert after(found, 'critical_batch_size').why == 'trials'
  few = look(8, sizes=sizes, critical=inside, lost=(64,))
  assert after(few, 'critical_batch_size').why == 'no_rates'
  beyond = look(8, sizes=sizes, critical=BEYOND)
  plan = after(beyond, 'critical_batch_size')
  assert (plan.why, plan.boxes) == ('sizes', (Box((128,), RATES, 8),))
  # Of the rates beside one that never reaches the target nothing is known.
  four = look(8, sizes=(*sizes, 128), critical=BEYOND._replace(b_crit=600.0), lost=(128,))
  assert after(four, 'critical_batch_size').why == 'trials'


@pytest.mark.parametrize('rounds, why', [(6, 'rates'), (7, 'no_rates')])
def test_rates_are_added_in_six_rounds_after_one_another_at_most(rounds, why):
  edge = look(3, error=None, lost=(32,))
  edge = edge._replace(rates=edge.rates | {32: Rates('edge', (0.8, 1.6))})
  plan = next_round(config('equivalent:16,32'), [edge] * rounds)
  assert plan.why == why
  assert plan.boxes == ((Box((32,), (0.8, 1.6), 3),) if why == 'rates' else ())
  after_a_look = [edge] * 5 + [look(3)] + [edge] * 6
  assert next_round(config('equivalent:16,32'), after_a_look).why == 'rates'


def left(unit, *seconds, budget=2.0):
  """What is left of rounds that took 1,000 examples each, in these times."""
  decide = {'budget': budget, 'budget_unit': unit, 'price_per_hour': 0.0}
  looks = [look(3, lane_examples=1000) for _ in seconds]
  return budget_left({'decide': decide}, looks, [Done((), 'first', each) for each in seconds])


def test_what_is_left_of_a_budget_of_minutes_goes_by_the_rounds_that_were_timed():
  assert left('minutes', 10.0, None) == pytest.approx(120 * 100 - 2000)
  assert left('minutes', 10.0, 40.0) == pytest.approx(120 * 40 - 2000)
  assert left('minutes', None, None) is None
  assert left('minutes', 10.0, None, budget=0.0) == math.inf
  assert left('lane_examples', 10.0, None, budget=5000.0) == 3000
