"""A study with one bit of its data changed says nothing that contradicts the study as it is."""

import copy
import importlib.util
from pathlib import Path

import pytest
from helpers import contradictions

from bsjax.storage import records

pytestmark = pytest.mark.optimized
PATH = Path(__file__).parents[2] / 'experiments' / 'verdicts' / 'roundings.py'


@pytest.fixture(scope='module')
def roundings():
  spec = importlib.util.spec_from_file_location('roundings', PATH)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope='module')
def studies(roundings, tmp_path_factory):
  """Workdirs and summaries of two small studies, the second with one bit of one image changed."""
  folder = tmp_path_factory.mktemp('roundings')
  found = []
  for name, pixel in (('as_it_is', None), ('one_bit', 0)):
    config = roundings.get_config()
    config.batch_sizes, config.learning_rates, config.trials = (8, 256), (0.01, 0.03), 8
    config.epochs, config.evaluations, config.model.width = 12.0, 8, 16
    config.data.train_examples = 600
    config.noise_scale.online, config.noise_scale.exact_examples = False, 0
    found.append((folder / name, roundings.train(config, folder / name, pixel)))
  return found


@pytest.mark.slow
def test_one_bit_changes_the_records_and_contradicts_no_claim(studies, roundings):
  (first, summary), (second, other) = studies
  rows, changed = (records.read(path / 'records.jsonl') for path in (first, second))
  assert len(rows) == len(changed)
  apart = roundings.lanes_apart(rows, changed)
  assert apart['other_train_loss'] > apart['of'] / 2  # else nothing was asked
  result = contradictions.compare(summary, other)
  assert result.opposite == []
  assert len([key for key in result.decided_alike if key[0] == 'claims']) >= 3


@pytest.mark.slow
def test_a_claim_that_is_turned_around_is_found(studies):
  summary = studies[0][1]
  turned = copy.deepcopy(summary)
  claim = next(row for row in turned['claims'] if row['verdict'] != 'undetermined')
  claim['verdict'] = {'supported': 'refuted', 'refuted': 'supported'}[claim['verdict']]
  assert len(contradictions.compare(summary, turned).opposite) == 1
  claim['verdict'] = 'undetermined'
  result = contradictions.compare(summary, turned)
  assert (len(result.weaker), result.opposite) == (1, [])


def pair(best, other, verdict, side='above'):
  question = {'side': side, 'center': 0.0, 'margin': 0.005 if side == 'within' else None}
  about = {'kind': 'pair', 'quantity': 'val_accuracy', 'budget': 'epochs', 'question': question}
  return {**about, 'subject': [best, other], 'verdict': verdict}


def recommended(size, *worse):
  reasons = [{'code': 'shown_worse', 'sizes': list(worse)}]
  return {'goal': 'best validation accuracy', 'batch_size': size, 'reasons': reasons}


def of(*claims, recommendation=()):
  return {'claims': list(claims), 'confounds': [], 'recommendation': list(recommendation)}


def test_pairs_are_compared_whichever_is_called_the_best():
  eight, sixteen = pair(8, 16, 'supported'), pair(16, 8, 'supported')
  assert len(contradictions.compare(of(eight), of(sixteen)).opposite) == 1
  assert len(contradictions.compare(of(eight), of(pair(16, 8, 'refuted'))).decided_alike) == 1
  alike = [of(pair(*sizes, 'supported', 'within')) for sizes in ((8, 16), (16, 8))]
  assert contradictions.compare(*alike).opposite == []
  assert len(contradictions.compare(of(eight), of(pair(32, 16, 'supported'))).alone) == 2


def test_what_one_recommends_and_the_other_shows_to_be_worse_is_a_contradiction():
  first = of(recommendation=[recommended(8, 64)])
  assert contradictions.compare(first, of(recommendation=[recommended(16, 64)])).opposite == []
  assert len(contradictions.compare(first, of(recommendation=[recommended(16, 8)])).opposite) == 1


def test_two_answers_to_one_question_are_refused():
  with pytest.raises(ValueError, match='in one summary'):
    contradictions.answers(of(pair(8, 16, 'supported'), pair(16, 8, 'supported')))
