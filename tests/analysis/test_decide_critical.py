"""The critical batch size as a question: rounds until its interval is narrow, and holds it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.critical_studies import World, study
from helpers.training_times import settings

from bsjax.analysis.decide import critical
from bsjax.analysis.decide.critical import KnownCritical, aimed, kept, known_critical, next_size
from bsjax.analysis.decide.decision import decision
from bsjax.analysis.measures.critical_batch_size import at_target, middle_target
from bsjax.analysis.runs.histories import Setting
from bsjax.analysis.runs.selection import Tuned
from bsjax.config.decide_keys import CRITICAL, Asked, problems
from bsjax.config.keys import base_config
from bsjax.report.text import decision as text
from bsjax.stats.estimate import Reason

ENDS = World('batch sizes end at 64', sizes=(8, 16, 32, 64))


@pytest.fixture(scope='module')
def beyond():
  return study(ENDS, 1)


def test_batch_sizes_are_added_where_it_lies_beyond_them(beyond):
  assert beyond.last.why == 'decided'
  assert set(beyond.looks[0].tried) == {8, 16, 32, 64}
  assert {128, 256} <= set(beyond.looks[-1].tried)
  last = beyond.looks[-1].critical
  assert last.low <= 200 <= last.high <= 2 * last.low
  spent = [(look.trials, look.error) for look in beyond.looks if look.error]
  assert len({trials for trials, _ in spent}) == len(spent)
  assert 0 < sum(error for _, error in spent) <= 0.05


def test_the_entry_and_its_words(beyond):
  entry = decision(beyond.config, beyond.plan, beyond.records)
  assert entry['decided'] and entry['state'] == 'decided' and not entry['differs']
  assert entry['sizes'] == sorted(beyond.looks[-1].tried)
  said = text.headline(entry)
  assert said.startswith('The critical batch size, to a training loss of 0.')
  assert f'lies between {entry["critical"]["low"]:.3g} and' in said
  assert 'a factor of 2 between the ends of its interval does not matter' in text.detail(entry)
  rows = text.rounds(entry)
  assert [row['why'] for row in rows[:2]] == ['the grid of the config', 'a batch size']
  assert 'any larger size' in rows[0]['said'] and rows[1]['said'] == 'no look'
  open_ = entry | {'decided': False, 'state': 'most_trials', 'critical': None}
  assert text.headline(open_).startswith('Not decided')


def test_rates_are_added_around_the_best_ones_to_the_target_before_there_is_a_look():
  found = study(World('apart', rates=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0)), 1, most=3)
  first, *others = found.looks
  assert first.error is None and {one.state for one in first.rates.values()} == {'coarse'}
  assert others[-1].error
  for size, best in others[-1].tuned.items():
    rates = sorted(one.learning_rate for one in others[-1].tried[size])
    at = rates.index(best.learning_rate)
    assert rates[at + 1] / best.learning_rate < 2.1 and best.learning_rate / rates[at - 1] < 2.1


def test_an_interval_of_more_confidence_is_wider(beyond):
  tried = study(World('inside'), 0, most=3).looks[0].tried
  target = middle_target(tried, 'train_loss')
  usual, surer = (at_target(tried, 'train_loss', target, level) for level in (0.95, 0.995))
  assert usual == at_target(tried, 'train_loss', target)
  assert surer['ci95'][0] < usual['ci95'][0] < usual['ci95'][1] < surer['ci95'][1]
  assert surer['b_crit'] == usual['b_crit']
  for part in ('ci95_over_trials', 'ci95_over_residuals'):
    assert surer[part][0] < usual[part][0]
  asked = Asked(CRITICAL, (), 2.0)
  assert known_critical(asked, aimed(tried), 0.005)[2:4] == tuple(surer['ci95'])
  assert known_critical(asked, aimed({8: tried[8]}), 0.005).why.code == 'too_few_to_compare'


def test_where_evaluations_do_not_let_another_batch_size_in_none_is_added():
  tried = settings(np.random.default_rng(1), sizes=(8, 16, 32, 64))
  lane = tried[8][0].lanes[0]
  lane.plan['micro_batch'] = 8
  above = KnownCritical(0.1, 300.0, 50.0, None, why=Reason('not_bounded_above'))
  assert next_size(tried, above) == (128, 64)  # evaluated every 3,200 examples
  assert next_size({**tried, 128: tried[64]}, above) is None
  assert next_size(tried, above._replace(b_crit=40.0)) is None
  assert next_size(tried, above._replace(b_crit=None)) == (128, 64)
  below = KnownCritical(0.1, 3.0, 0.0, 50.0, why=Reason('not_bounded_below'))
  assert next_size(tried, below) is None  # of half a micro-batch
  lane.plan['micro_batch'] = 4
  assert next_size(tried, below) == (4, 8)
  assert next_size(tried, above._replace(high=90.0, known=True)) is None


def test_the_planted_value_is_held_at_all_looks_of_most_studies():
  """experiments/decide has 200 of each world."""
  found = [study(World('inside'), seed, most=12) for seed in range(12)]
  looks = [[look.critical for look in one.looks if look.critical] for one in found]
  held = [all(one.low <= 200 <= (one.high or math.inf) for one in each) for each in looks]
  assert sum(held) >= 10
  assert sum(one.last.why == 'decided' for one in found) >= 8


def test_it_takes_three_batch_sizes_and_a_factor():
  config = base_config()
  config.decide.question, config.batch_sizes = CRITICAL, (8, 16)
  config.decide.margin = 0.5
  found = problems(config)
  assert any('takes three or more' in one for one in found)
  assert any('it is a factor above 1' in one for one in found)


@pytest.mark.parametrize('size, fits', [(6400, True), (12800, False)])
def test_a_larger_batch_size_makes_sixteen_updates_at_least(size, fits):
  """Of 102,400 examples, evaluated at whole updates of it alone."""
  (lane, *_) = settings(np.random.default_rng(1), sizes=(8, 16, 32))[8][0].lanes
  lane = replace(lane, rows=tuple(row for row in lane.rows if row['examples'] % size == 0))
  assert lane.rows[-1]['examples'] == 102_400
  tried = {one: [Setting(one, 0.1, (lane,))] for one in (8, size // 2)}
  expected = (size, size // 2) if fits else None
  assert next_size(tried, KnownCritical(0.1, 1e5, 50.0, None)) == expected


def test_a_smaller_batch_size_is_half_of_an_even_one():
  tried = settings(np.random.default_rng(1), sizes=(8, 16, 32))
  tried[8][0].lanes[0].plan['micro_batch'] = 1
  below = KnownCritical(0.1, 1.0, 0.0, 50.0)
  assert next_size({9: tried[8], 16: tried[16]}, below) is None
  assert next_size({8: tried[8], 16: tried[16]}, below) == (4, 8)


@pytest.mark.parametrize(
  'b_crit, low, high, expected',
  [
    (None, 0.0, 50.0, (4, 8)),  # it has no value at its limit, and an interval that goes there
    (None, 50.0, None, (64, 32)),
    (32.0, 20.0, 90.0, None),  # at the ends of those there
    (8.0, 4.0, 20.0, None),
    (33.0, 20.0, 90.0, (64, 32)),
    (7.9, 4.0, 20.0, (4, 8)),
    (None, None, None, None),
  ],
)
def test_a_batch_size_is_added_on_the_side_on_which_it_is_estimated(b_crit, low, high, expected):
  tried = settings(np.random.default_rng(1), sizes=(8, 16, 32))
  tried[8][0].lanes[0].plan['micro_batch'] = 4
  assert next_size(tried, KnownCritical(0.1, b_crit, low, high)) == expected


def test_settings_with_all_trials_count_and_of_a_batch_size_without_any_all_that_are_there():
  tried = settings(np.random.default_rng(1), sizes=(8, 16, 32, 64), trials=4)
  fewer = dict(tried)
  fewer[8] = [tried[8][0], *(replace(one, lanes=one.lanes[:3]) for one in tried[8][1:])]
  fewer[16] = [replace(one, lanes=one.lanes[:3]) for one in tried[16]]
  whole = aimed(fewer).whole
  assert whole[8] == fewer[8][:1] and whole[16] == fewer[16] and whole[32] == tried[32]


def test_more_trials_go_to_two_rates_on_each_side_of_the_best():
  tried = [replace(one, learning_rate=rate) for rate, one in zip(RATES, ONE * 7, strict=True)]

  def best(at):
    return Tuned(8, RATES[at], (), best_rate=RATES[at])

  assert kept(tried, best(3)) == RATES[1:6]
  assert kept(tried, best(0)) == RATES[:3] and kept(tried, best(1)) == RATES[:4]
  assert kept(tried, best(6)) == RATES[4:] and kept(tried, None) == RATES


RATES = tuple(0.01 * 2**i for i in range(7))
ONE = [Setting(8, 0.01, ())]


@pytest.mark.parametrize(
  'low, high, code, known',
  [
    (0.0, 50.0, 'not_bounded_below', False),
    (50.0, None, 'not_bounded_above', False),
    (0.0, None, 'not_bounded_above', False),
    (50.0, 100.0, None, True),
    (50.0, 100.1, None, False),
  ],
)
def test_it_is_known_where_it_is_bounded_by_a_factor_of_two(monkeypatch, low, high, code, known):
  fitted = {'b_crit': 70.0, 'ci95': [low, high]}
  monkeypatch.setattr(critical, 'at_target', lambda *about: fitted)
  found = known_critical(Asked(CRITICAL), critical.Aimed({}, 0.5), 0.05)
  assert (found.b_crit, found.low, found.high, found.known) == (70.0, low, high, known)
  assert (found.why and found.why.code) == code
  assert found.factor == (None if code else high / low)
