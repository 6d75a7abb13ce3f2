"""Trained studies that drop learning rates: what goes on is bitwise what it would be."""

import json

import pytest
from helpers.interrupted import terminated_in_call
from helpers.small import small_config

import bsjax
from bsjax.config.errors import ConfigError
from bsjax.storage import checkpoint, records
from bsjax.storage.records import Damaged
from bsjax.train import transfer
from bsjax.train.study_run import StudyRun, run_study

pytestmark = pytest.mark.usefixtures('blank_figures')

RATES = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4)


def config(*rungs, **overrides):
  keys = {'batch_sizes': (8, 16), 'learning_rates': RATES, 'epochs': 4.0, 'evaluations': 8}
  keys |= {'model__width': 4, 'checkpoint__seconds': 0.0, 'evaluation__subset': 40}
  return small_config(**keys | {'halving__rungs': rungs, 'noise_scale__every': 4} | overrides)


@pytest.fixture(scope='module')
def studies(tmp_path_factory):
  """The same study with all learning rates to the end, and with some dropped."""
  workdirs = {}
  for rungs in ((), (0.25, 0.5)):
    workdirs[bool(rungs)] = tmp_path_factory.mktemp(f'halved{len(rungs)}')
    run_study(config(*rungs), workdirs[bool(rungs)])
  return workdirs


def of_whole(workdir, name='records.jsonl'):
  """Rows by lane and place, without what says whether a lane was dropped."""
  rows = records.read(workdir / name)
  return {(row['lane'], row['examples']): {**row, 'dropped': None} for row in rows}


def test_lanes_that_go_on_are_bitwise_those_of_the_study_that_drops_none(studies):
  ended = records.dropped(records.read(studies[True] / 'records.jsonl'))
  assert len(ended) == 12 and len(set(ended.values())) == 1  # of 24: three rates of six go on
  for name in ('records.jsonl', records.SUBSET):
    whole, halved = (of_whole(studies[asked], name) for asked in (False, True))
    assert halved.items() <= whole.items()
    left = {place for place in whole if place[1] <= ended.get(place[0], place[1])}
    assert set(halved) == left


@pytest.mark.slow
def test_lanes_with_batch_norm_go_on_as_in_the_study_that_drops_none(tmp_path):
  keys = {'model__name': 'cnn', 'model__normalization': 'batch', 'micro_batch': 'batch'}
  keys |= {'epochs': 2.0, 'evaluations': 4, 'evaluation__subset': 0, 'learning_rates': RATES[:5]}
  rungs = {'whole': (), 'halved': (0.5,)}
  for name, shares in rungs.items():
    assert run_study(config(*shares, **keys), tmp_path / name)
  whole, halved = (of_whole(tmp_path / name) for name in rungs)
  ended = records.dropped(records.read(tmp_path / 'halved' / 'records.jsonl'))
  assert ended and halved.items() <= whole.items() and len(halved) < len(whole)


def test_the_workdir_reads_back_and_says_what_was_dropped(studies):
  read = bsjax.load(studies[True])
  table, said = read.records(), read.summary()
  assert table.dropped.sum() == 12 and table.groupby('lane').dropped.sum().max() == 1
  assert said['dropped']['lane_examples'] < said['dropped']['of']
  page = (studies[True] / 'report.html').read_text()
  assert 'Learning rates that were dropped' in page
  assert 'examples in each run that was not dropped' in page
  assert 'dropped' not in bsjax.load(studies[False]).summary()
  assert 'dropped' not in (studies[False] / 'records.jsonl').read_text()
  with checkpoint.open_to_read(studies[True]) as manager:
    position = checkpoint.position(manager, checkpoint.newest_first(manager)[0])
  ended = records.dropped(records.read(studies[True] / 'records.jsonl'))
  assert dict(position.given_up) == ended
  with pytest.raises(transfer.TransferError, match='was dropped at'):
    transfer.read(studies[True], min(ended))


@pytest.mark.parametrize('call', [pytest.param(2, marks=pytest.mark.slow), 7])
def test_an_interrupted_one_drops_the_same(studies, tmp_path, monkeypatch, call):
  with terminated_in_call(monkeypatch, call):
    assert not run_study(config(0.25, 0.5), tmp_path)
  assert run_study(config(0.25, 0.5), tmp_path)
  for name in ('records.jsonl', records.SUBSET):
    assert (tmp_path / name).read_text() == (studies[True] / name).read_text()


def test_rows_that_drop_others_are_not_gone_on_from(studies, tmp_path, monkeypatch):
  with terminated_in_call(monkeypatch, 7):
    assert not run_study(config(0.25, 0.5), tmp_path)
  rows = records.read(tmp_path / 'records.jsonl')
  lane, at = next(iter(records.dropped(rows).items()))
  end = max(row['examples'] for row in rows)
  for name in ('records.jsonl', records.SUBSET):
    rows = records.read(tmp_path / name)
    (last,) = (row for row in rows if row['lane'] == lane and row['examples'] == at)
    last |= {'dropped': False} if 'dropped' in last else {}
    rows += [{**last, 'examples': mark} for mark in _marks(rows) if at < mark <= end]
    records.write(tmp_path / name, sorted(rows, key=lambda row: (row['examples'], row['lane'])))
  with pytest.raises(Damaged, match=f'lane {lane} is not dropped at'):
    run_study(config(0.25, 0.5), tmp_path)


def _marks(rows):
  return sorted({row['examples'] for row in rows})


def test_what_would_drop_other_rates_is_refused(studies, tmp_path):
  asked = config(0.25, 0.5, evaluation__subset=0)
  with pytest.raises(ConfigError, match='with halving'):
    StudyRun(asked, tmp_path, shard='1/2').run(dry_run=True)
  with pytest.raises(ConfigError, match='end of training'):
    StudyRun(config(0.99), tmp_path).run(dry_run=True)
  more = config(0.25, 0.5, trials=3)
  with pytest.raises(ConfigError, match='only rounds of'):
    bsjax.Study(more, studies[True]).extend()
  assert not any(tmp_path.iterdir())


def test_rounds_of_a_question_count_what_was_trained(tmp_path):
  asked = config(0.25, evaluation__subset=0, trials=2)
  asked.decide.question, asked.decide.margin = 'best_batch_size', 0.9
  asked.decide.most_trials, asked.decide.error = 4, 0.4
  assert bsjax.Study(asked, tmp_path).run()
  said = json.loads((tmp_path / 'summary.json').read_text())
  rounds, rows = said['decision']['rounds'], records.read(tmp_path / 'records.jsonl')
  ends = {}
  for row in rows:
    ends[row['lane']] = max(row['examples'], ends.get(row['lane'], 0))
  assert sum(one['lane_examples'] for one in rounds) == sum(ends.values())
  assert rounds[0]['lane_examples'] < rounds[0]['lanes'] * max(ends.values())
  ended, plan = records.dropped(rows), records.read_plan(tmp_path / 'plan.csv')
  assert ended and all(row['learning_rate'] in RATES for row in plan if row['lane'] in ended)
  assert bsjax.load(tmp_path).summary()['dropped']['lane_examples'] == sum(ends.values())
