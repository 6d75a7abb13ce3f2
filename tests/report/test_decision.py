"""The answer to a question that rounds decide, in its own words, and the rounds on the page."""

import json

import pytest
from helpers import rounds
from helpers.world_files import VALIDATION_EXAMPLES, write_workdir
from helpers.worlds import World
from ml_collections import ConfigDict

from bsjax.report import study_page
from bsjax.report.stored_study import load
from bsjax.report.text import decision

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
  page = study_page.write(tmp_path).read_text()
  plain = (tmp_path / 'report.md').read_text()
  told = decision.rounds(load(tmp_path).summary['decision'])
  assert len(told) == 5
  assert [row['error'] for row in told] == ['–', '0.5%', '0.33%', '0.5%', '0.67%']
  assert told[0]['said'] == 'no look: best rates are not surrounded at 32'
  for row in told:
    assert row['said'] in plain
    assert row['examples'] in page


def test_before_any_look_nothing_is_said():
  asked = {'kind': 'trend', 'decided': False, 'claims': [], 'rounds': []}
  assert decision.headline(asked) == 'Not decided: there was no look at the question yet.'
