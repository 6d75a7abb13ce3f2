"""The critical batch size as a question: rounds until its interval is narrow, and holds it."""

import math

import numpy as np
import pytest
from helpers.critical_studies import World, study
from helpers.training_times import settings

from bsjax.analysis.decide.critical import KnownCritical, aimed, known_critical, next_size
from bsjax.analysis.decide.decision import decision
from bsjax.analysis.measures.critical_batch_size import at_target, middle_target
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
