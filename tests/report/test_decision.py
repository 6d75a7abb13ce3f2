"""The answer to a question that rounds decide, in its own words, and the rounds on the page."""

import json
from dataclasses import replace

import pytest
from helpers import rounds
from helpers.world_files import VALIDATION_EXAMPLES, write_workdir
from helpers.worlds import World
from ml_collections import ConfigDict

from bsjax.analysis.decide.decision import decision as entry_of
from bsjax.report import page, study_page
from bsjax.report.stored_study import load
from bsjax.report.text import decision
from bsjax.report.text.rendered import rendered

THREE = World(
  'three', batch_sizes=(16, 32, 64), learning_rates=(0.03, 0.1, 0.3), worse=(0.0, 0.0, 1.2)
)


def write(workdir, found):
  write_workdir(
    workdir, ConfigDict(found.config), found.plan, iter(found.records), VALIDATION_EXAMPLES
  )


@pytest.mark.parametrize(
  ('asked', 'headline'),
  [
    ({}, '16 and 32 are equivalent within 0.5 percentage points; 64 is 0.99 worse.'),
    (
      {'most_trials': 5},
      'Not decided: 32 is not told apart from 16, nor shown to be within 0.5 percentage points of '
      'it; '
      '64 is 0.99 percentage points worse.',
    ),
    (
      {'question': 'equivalent:16,64'},
      '16 is 1.35 percentage points better than 64, more than 0.5 percentage points.',
    ),
    (
      {'question': 'trend'},
      'Smaller batches do better (-0.50 percentage points per doubling).',
    ),
    (
      {'question': 'best_learning_rate'},
      'The best learning rates are, within a factor of 2: 0.104 at 16, 0.0979 at 32 and 0.0896 at '
      '64.',
    ),
  ],
)
def test_headline_answers_the_question(tmp_path, asked, headline):
  write(tmp_path, rounds.study(THREE, 1, **asked))
  summary = load(tmp_path).summary
  assert summary['answer']['headline'] == headline
  assert json.loads(json.dumps(summary['decision'])) == summary['decision']  # plain values
  undecided = 'Not decided' in headline
  assert ('would decide it' in summary['answer']['detail']) == undecided


def test_page_and_text_tell_every_round(tmp_path):
  write(tmp_path, rounds.study(THREE, 1))
  written = study_page.write(tmp_path).read_text()
  assert 'Rounds were planned until the question was decided.' in written
  plain = (tmp_path / 'report.md').read_text()
  told = decision.rounds(load(tmp_path).summary['decision'])
  assert len(told) == 5
  assert [row['error'] for row in told] == ['–', '0.5%', '0.33%', '0.5%', '0.67%']
  assert told[0]['said'] == 'no look: best rates are not surrounded at 32'
  for row in told:
    assert row['said'] in plain
    assert row['examples'] in written


def said(found):
  entry = rendered(entry_of(found.config, found.plan, found.records))
  return decision.headline(entry), entry


def test_what_was_dropped_is_worse_than_the_best_of_its_look():
  world = replace(THREE, batch_sizes=(16, 32, 64, 256), worse=(0.0, 0.0, 0.0, 1.2))
  headline, entry = said(rounds.study(world, 4))
  assert entry['best'] == 16
  assert entry['best'] not in {one['batch_size'] for one in entry['shown']}
  assert headline == (
    '32 and 64 are each equivalent to 16 within 0.5 percentage points; 256 is 1.32 worse than 64.'
  )


def test_batch_sizes_without_a_rate_are_named_so():
  lost = 'no learning rate of 64 is surrounded by worse ones'
  for asked, begin in (
    ('equivalent:16,64', 'Not decided: no'),
    ('trend', 'Not decided: from 16 to 32 the change lies between '),
    ('best_batch_size', 'Not decided: 16 and 32 are equivalent within '),
  ):
    headline, entry = said(rounds.study(THREE, 1, question=asked, lost=[64], most_trials=18))
    assert headline.startswith(begin)
    assert headline.endswith(f'{lost}.')
    assert 'What is left open has no learning rate' in decision.detail(entry)
  note = page.render('rounds.html', rounds=decision.rounds(entry), summary={'decision': entry})
  assert 'Rounds are planned until the question is decided, which it is not.' in note


def test_before_any_look_nothing_is_said():
  asked = {'kind': 'trend', 'decided': False, 'claims': [], 'rounds': []}
  assert decision.headline(asked) == 'Not decided: there was no look at the question yet.'
