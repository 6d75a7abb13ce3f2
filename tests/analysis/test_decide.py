"""Rounds until a question is decided: on real records, and often enough on numbers alone."""

import math
from dataclasses import replace

import numpy as np
import pytest
from helpers import decided_studies, rounds
from helpers.decided_studies import ALL, PAIR
from helpers.worlds import World

from bsjax.analysis.claims.claim import Claim, better, within
from bsjax.analysis.decide.claims import claims
from bsjax.analysis.decide.decision import decision
from bsjax.analysis.decide.looks import Look, shown
from bsjax.analysis.decide.rates import rates_of
from bsjax.analysis.runs.selection import tune
from bsjax.analysis.summary import summarize
from bsjax.config.decide_keys import BEST, Asked
from bsjax.stats.estimate import Estimate

THREE = World(
  'three', batch_sizes=(16, 32, 64), learning_rates=(0.03, 0.1, 0.3), worse=(0.0, 0.0, 1.2)
)
STUDIES = 100


@pytest.fixture(scope='module')
def decided():
  return rounds.study(THREE, 1)


def test_goes_on_until_it_is_decided_and_drops_what_is_worse(decided):
  assert decided.last.why == 'decided'
  states = {one.size: one.state for one in shown(ALL, THREE.batch_sizes, decided.looks)}
  best = ({16, 32, 64} - set(states)).pop()
  assert best in (16, 32)
  assert states == {48 - best: 'alike', 64: 'worse'}
  assert 64 in decided.looks[0].sizes
  assert 64 not in decided.looks[-1].sizes  # it had no further trials


def test_looks_once_at_each_number_of_trials_and_spends_no_more_than_the_error(decided):
  spent = [(look.trials, look.error) for look in decided.looks if look.error]
  assert len({trials for trials, _ in spent}) == len(spent)
  assert 0 < sum(error for _, error in spent) <= 0.05


def test_summary_tells_the_rounds(decided):
  found = summarize(decided.config, decided.plan, decided.records)['decision']
  assert found['decided']
  assert found['state'] == 'decided'
  assert [one['trials'] for one in found['rounds']] == [look.trials for look in decided.looks]
  assert sum(one['lanes'] for one in found['rounds']) == len(decided.plan)
  assert found['claims'] == list(decided.looks[-1].claims)


@pytest.mark.parametrize('factor', [30.0, 1 / 30])
def test_best_rate_outside_the_grid_by_a_factor_of_30_is_surrounded_in_three_rounds(factor):
  edge = max(THREE.learning_rates) if factor > 1 else min(THREE.learning_rates)
  world = World(
    'missed',
    batch_sizes=THREE.batch_sizes,
    learning_rates=THREE.learning_rates,
    worse=THREE.worse,
    optimum=edge * factor,
    curvature=1.0,
  )
  found = rounds.study(world, 2)
  states = [{rates.state for rates in look.rates.values()} for look in found.looks]
  assert states[0] == states[1] == {'edge'}
  assert 'edge' not in states[2]
  for look in found.looks:
    assert look.error is None or all(rates.state != 'edge' for rates in look.rates.values())
  for size, best in found.looks[-1].tuned.items():
    assert abs(math.log(best.best_rate / world.optimum)) < math.log(3), size


def test_rates_that_diverge_are_an_edge_that_is_safe():
  world = World(
    'cliff',
    batch_sizes=(16, 32),
    learning_rates=(0.03, 0.1, 0.3),
    valley='cliff',
    curvature=0.4,
    optimum=0.1,
  )
  found = rounds.study(world, 3, question='equivalent:16,32')
  assert max(row['learning_rate'] for row in found.plan) == 0.3  # nothing beyond the cliff
  assert any(look.error for look in found.looks)


def test_budget_ends_the_rounds_and_says_what_a_decision_would_take():
  found = rounds.study(THREE, 1)
  first = found.looks[0].lane_examples
  decide = found.config['decide']
  decide = decide | {'budget': 1.5 * first, 'rounds': decide['rounds'][:2]}
  config = {**found.config, 'decide': decide}
  here = sum(look.lanes for look in found.looks[:2])
  records = [row for row in found.records if row['lane'] < here]
  entry = summarize(config, found.plan[:here], records)['decision']
  assert entry['state'] == 'budget'
  assert not entry['decided']
  assert entry['next']['most_trials_needed'] > 3
  assert entry['next']['most_examples_needed'] > entry['next']['lane_examples']


PLAIN = World(
  'plain', batch_sizes=(16, 32, 64), learning_rates=(0.03, 0.1, 0.3), unaligned=0.0, curvature=0.6
)


def entry(found):
  return decision(found.config, found.plan, found.records)


@pytest.mark.parametrize('lost', [32, 64])
def test_trend_is_not_decided_without_a_batch_size(lost):
  world = replace(PLAIN, worse=(0.0, 0.6, 1.2))
  assert entry(rounds.study(world, 1, question='trend'))['decided']
  found = entry(rounds.study(world, 1, question='trend', lost=[lost]))
  assert found['claims'][0].subject == tuple({16, 32, 64} - {lost})
  assert not found['decided']
  assert found['state'] == 'no_rates'  # and no trials of the others are bought
  assert found['next']['most_trials_needed'] is None


def test_batch_sizes_with_fewer_trials_at_first_come_up_to_the_others():
  world = replace(PLAIN, worse=(1.0, 0.0, 0.0))
  given = rounds.study(world, 1, trials=8, begun={64: 3}, most_trials=12)
  found = entry(given)
  first, second = given.looks[:2]
  assert (first.behind, first.error) == ((64,), None)
  assert (second.trials, second.sizes, second.behind) == (8, (16, 32, 64), ())
  assert second.error
  assert found['sizes'] == [16, 32, 64]
  assert [one['error'] for one in found['rounds']] == [look.error for look in given.looks]
  assert {found['best'], *(one['batch_size'] for one in found['shown'])} == {16, 32, 64}
  assert not any(look.behind for look in given.looks[1:])  # what is dropped stays so


@pytest.mark.parametrize('begun', [{}, {64: 8}])
def test_batch_sizes_not_asked_about_hold_up_no_look(begun):
  world = replace(PLAIN, optimum=0.08, optimum_power=1.0, curvature=1.0, lane_sd=0.05)
  given = rounds.study(world, 1, begun=begun, question='equivalent:16,32', most_trials=3)
  look = given.looks[-1]
  assert rates_of(look.tried[64], tune(look.tried[64])).state == 'edge'
  assert not any(64 in one.rates for one in given.looks)
  assert (look.trials, look.sizes, look.error) == (3, (16, 32), pytest.approx(0.05))
  assert entry(given)['rounds'][-1]['error'] == pytest.approx(0.05)


def test_what_was_shown_of_a_pair_is_told_of_the_other_of_the_two():
  def look(best, other, *ends):
    about = Estimate(0.001, *ends, n=3)
    asked = [(question, question.verdict(about)) for question in (better(), within(0.005))]
    claims = [Claim('pair', (best, other), '', '', one, about, said) for one, said in asked]
    return Look(3, (16, 32, 64), 0, 0, {}, {}, {}, 0.01, tuple(claims))

  looks = [look(16, 32, -0.001, 0.003), look(32, 64, -0.1, 0.1)]
  of_16, of_64 = shown(ALL, (16, 32, 64), looks)
  assert (of_16.size, of_16.best, of_16.state) == (16, 32, 'alike')
  turned = of_16.claim.estimate
  assert (turned.value, turned.low, turned.high) == (-0.001, -0.003, 0.001)
  assert (of_64.size, of_64.best, of_64.state) == (64, 32, 'open')


@pytest.fixture
def quick(monkeypatch):
  decided_studies.quicken(monkeypatch.setattr)


@pytest.mark.slow
@pytest.mark.parametrize('first', [2, 3])
def test_few_studies_decide_wrongly_and_many_where_each_look_spends_all(quick, first):
  world = decided_studies.World('border', (0.0, 0.5), lane_sd=0.6)
  wrong = _wrong(world, PAIR, 'product', first)
  assert wrong < 0.08  # 1.7 standard errors above 4.5%
  if first == 3:
    assert _wrong(world, PAIR, 'naive', first) > max(0.08, 2 * wrong)


def _wrong(world: decided_studies.World, asked: Asked, design: str, first: int) -> float:
  errors = decided_studies.errors_of(design, first, 30)
  seeds = range(STUDIES)
  made = (decided_studies.study(world, asked, errors, np.random.default_rng(i)) for i in seeds)
  return float(np.mean([one.wrong for one in made]))


def test_intervals_are_wider_the_less_a_look_may_spend():
  world = decided_studies.World('alike', (0.0, 0.0, 0.0))
  given = decided_studies.read(world, decided_studies.lanes(world, 5, np.random.default_rng(0)))
  wide, narrow = (claims(Asked(BEST), *given, error)[0].estimate for error in (0.005, 0.05))
  assert wide.low < narrow.low < narrow.high < wide.high
