"""The answer to a question that rounds decide, in its own words, and the rounds on the page."""

import json
import re
from dataclasses import replace

import pytest
from helpers import rounds
from helpers.world_files import VALIDATION_EXAMPLES, write_workdir
from helpers.worlds import World
from ml_collections import ConfigDict

from bsjax.analysis.decide.decision import decision as entry_of
from bsjax.report import page, study_page
from bsjax.report.stored_study import load
from bsjax.report.text import decision, methodology
from bsjax.report.text.answer import answer
from bsjax.report.text.rendered import rendered

FOUR = World(
  'four',
  batch_sizes=(16, 32, 64, 256),
  learning_rates=(0.03, 0.1, 0.3),
  worse=(0.0, 0.0, 0.0, 1.2),
)
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
  assert re.search(r'trials of each setting(<[^>]*>|\s)+3 to \d+<', written)
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


def test_all_parts_agree_on_a_batch_size_that_had_no_further_trials(tmp_path):
  write(tmp_path, rounds.study(FOUR, 4))
  study = load(tmp_path)
  found = study.summary
  assert found['answer']['headline'].endswith('256 is 1.32 worse than 64.')
  # What may have made the difference is told of the runs that showed it.
  by_code = {row['confound']: row for row in found['confounds']}
  assert by_code['unequal_updates']['explains'] == 'unknown'
  assert by_code['learning_rate_not_tuned']['explains'] is False
  assert 'the number of updates' in found['answer']['remarks'][0]
  best = found['recommendation'][0]
  assert 'worse, at 95% for all pairs and looks at once: 256.' in best['why']
  assert 'takes no part' not in best['why']
  text = methodology.topics(study.config, study.plan, found)
  assert text['rounds'].startswith(
    'The study went on in rounds to decide which batch size is best, where less than 0.5 '
    'percentage points does not matter. After the first, 4 rounds added'
  )
  assert 'at 3, 5, 8 and 12 trials' in text['rounds'] and '99.5%, 99.67%' in text['rounds']
  assert text['rounds'].endswith(
    'Batch size 256 was given no further trials once shown to be worse.'
  )
  assert 'with 99.33%, as at the last look' in text['intervals']


def test_level_of_other_questions_is_that_of_the_last_look(tmp_path):
  write(tmp_path, rounds.study(THREE, 1, question='trend'))
  found = load(tmp_path).summary
  error = found['decision']['rounds'][-1]['error']
  assert f'at {100 * (1 - error):.3g}% for all pairs at once' in found['recommendation'][0]['why']


def explained(summary, **changed):
  """The answer where the updates explain what is shown, of a decision with changes."""
  rows = [row | {'explains': True} for row in summary['confounds'][:1]]
  return answer(summary | {'confounds': rows, 'decision': summary['decision'] | changed})


def test_only_a_difference_that_was_found_has_a_cause(tmp_path):
  write(tmp_path, rounds.study(THREE, 1))
  found = load(tmp_path).summary
  headline = found['answer']['headline'][:-1]
  said = f'{headline}; the number of updates explains the difference.'
  assert explained(found).headline == said
  assert 'explains' not in explained(found, decided=False).headline
  assert found['decision']['differs']
  assert 'explains' not in explained(found, differs=False).headline
  open_ = found['confounds'][:1]
  assert open_[0]['explains'] == 'unknown' and found['answer']['remarks']
  other = found | {'decision': found['decision'] | {'differs': False}}
  assert not any('cause' in remark for remark in answer(other).remarks)


def test_before_any_look_nothing_is_said():
  asked = {'kind': 'trend', 'decided': False, 'claims': [], 'rounds': []}
  assert decision.headline(asked) == 'Not decided: there was no look at the question yet.'
