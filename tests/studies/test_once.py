"""A study loads each data set once, makes each plan once, and parses and checks its stages once."""

import collections

import pytest
from helpers.small import small_config

from bsjax import data
from bsjax.engine import validate
from bsjax.plan import arms, plan, stages
from bsjax.train import stage_check, study_run, training

COUNTED = {
  'load': (data, 'load'),
  'plan': (plan, 'make_plan'),
  'parse': (stages, 'of'),
  'validate': (validate, 'problems'),
  'check': (stage_check, 'check'),
}


@pytest.fixture
def counts(monkeypatch):
  """How often each of `COUNTED` was called, also where its name was imported."""
  counted = collections.Counter()

  def count(name, function):
    def called(*arguments, **keywords):
      counted[name] += 1
      return function(*arguments, **keywords)

    return called

  for name, (module, attribute) in COUNTED.items():
    called = count(name, getattr(module, attribute))
    monkeypatch.setattr(module, attribute, called)
    if hasattr(study_run, attribute):
      monkeypatch.setattr(study_run, attribute, called)
  # Pages are not what is counted.
  monkeypatch.setattr(training.finish, 'write_report', lambda workdir: workdir / 'report.html')
  return counted


def short(**keys):
  return small_config(batch_sizes=(8,), learning_rates=(0.1,), trials=2, evaluations=1, **keys)


def test_a_plain_study(counts, tmp_path):
  assert study_run.run_study(short(), tmp_path)
  assert counts == dict.fromkeys(COUNTED, 1)


def test_a_study_of_stages_with_its_cost_run_alone(counts, tmp_path):
  config = short(native_cost__measure=True)
  stages.add(config, 'head', epochs=1.0, trainable=('Dense_1',))
  stages.add(config, 'all', epochs=1.0, batch_size=('keep', 'multiply:2'))
  assert study_run.run_study(config, tmp_path)
  assert counts == dict.fromkeys(COUNTED, 1)


def test_a_dry_run(counts, tmp_path):
  assert study_run.run_study(short(), tmp_path / 'w', dry_run=True)
  assert counts == dict.fromkeys(COUNTED, 1)


def test_arms_on_the_same_data_load_them_once(counts, tmp_path):
  config = short()
  arms.add(config, 'narrow', {'model': {'width': 8}})
  arms.add(config, 'wide', {'model': {'width': 16}})
  assert study_run.run_study(config, tmp_path)
  assert counts == {'load': 1, 'plan': 2, 'parse': 2, 'check': 2, 'validate': 3}


def test_arms_on_other_data_load_their_own(counts, tmp_path):
  config = short()
  arms.add(config, 'few', {'data': {'train_examples': 100}})
  arms.add(config, 'many', {})
  arms.add(config, 'other_seed', {'seed': 5})
  assert study_run.run_study(config, tmp_path)
  assert counts == {'load': 3, 'plan': 3, 'parse': 3, 'check': 3, 'validate': 4}


def test_what_is_pretrained_loads_its_data_once_too(counts, tmp_path):
  config = short()
  with config.unlocked():
    config.pretrain = {'epochs': 1.0}
  assert study_run.run_study(config, tmp_path)
  assert counts == {'load': 1, 'plan': 2, 'parse': 2, 'check': 2, 'validate': 2}


def test_a_finished_study_is_planned_but_not_checked_again(counts, tmp_path):
  study_run.run_study(short(), tmp_path)
  counts.clear()
  assert study_run.run_study(short(), tmp_path)
  assert counts == {'load': 1, 'plan': 1, 'parse': 1, 'validate': 1}
