"""Trained studies with evaluations on a subset: further ones, in a file of their own."""

import json

import numpy as np
import pytest
from helpers.interrupted import terminated_in_call
from helpers.results import results
from helpers.small import small_config

from bsjax import data
from bsjax.analysis.runs import budgets
from bsjax.analysis.runs.histories import settings
from bsjax.engine.device_data import DeviceData
from bsjax.plan import plan, table
from bsjax.report.text.method_measured import evaluation
from bsjax.storage import records
from bsjax.train import study_run

pytestmark = pytest.mark.usefixtures('blank_figures')

SUBSET, ALL = 40, 1000


def config(subset=SUBSET, **overrides):
  keys = {'batch_sizes': (8, 16, 48), 'epochs': 16.0, 'evaluations': 2, 'trials': 2}
  keys |= {'learning_rates': (0.05,), 'model__width': 4, 'checkpoint__seconds': 0.0}
  return small_config(**keys | {'evaluation__subset': subset, 'noise_scale__every': 4} | overrides)


@pytest.fixture(scope='module')
def studies(tmp_path_factory):
  """The same study without further evaluations, with them on some examples, and on all."""
  workdirs = {}
  for subset in (0, SUBSET, ALL):
    workdirs[subset] = tmp_path_factory.mktemp(f'subset{subset}')
    study_run.run_study(config(subset), workdirs[subset])
  return workdirs


def by_place(rows):
  return {(row['lane'], row['examples']): row for row in rows}


@pytest.mark.slow
def test_records_of_whole_splits_are_bitwise_the_same(studies):
  texts = [(workdir / 'records.jsonl').read_text() for workdir in studies.values()]
  assert len(set(texts)) == 1
  assert not (studies[0] / records.SUBSET).exists()
  assert 'subset' not in studies[0].joinpath('summary.json').read_text()


def test_rows_say_how_many_examples_and_of_all_examples_they_are_those_of_whole_splits(studies):
  whole = by_place(records.read(studies[ALL] / 'records.jsonl'))
  every = by_place(records.read(studies[ALL] / records.SUBSET))
  counts = {'train_examples': 150, 'val_examples': 180}
  assert set(whole) < set(every)
  for row in every.values():
    assert {name: row[name] for name in counts} == counts
  names = set(next(iter(every.values()))) - set(counts)
  for place, row in whole.items():
    assert {name: every[place][name] for name in names} == {name: row[name] for name in names}
  some = records.read(studies[SUBSET] / records.SUBSET)
  assert set(by_place(some)) == set(every)
  assert {(row['train_examples'], row['val_examples']) for row in some} == {(40, 40)}
  # In another order of examples losses would be the same to the last digits only.
  assert all(round(40 * row['val_accuracy'], 6).is_integer() for row in some)
  assert any(row['val_loss'] != every[row['lane'], row['examples']]['val_loss'] for row in some)


def test_all_lanes_meet_at_equal_updates_on_the_subset(studies):
  for subset, workdir in studies.items():
    rows = records.read_all(workdir)
    tried = settings(records.read_plan(workdir / 'plan.csv'), rows)
    chosen = {size: one[0] for size, one in tried.items()}
    read = budgets.readings(chosen, 'updates')
    if not subset:
      assert any(reading.problem or reading.between for reading in read.values())
      continue
    assert not any(reading.problem or reading.between for reading in read.values())
    counts = (150, 180) if subset == ALL else (40, 40)
    assert {reading.subset for reading in read.values()} == {counts}
    summary = json.loads((workdir / 'summary.json').read_text())
    gaps = summary['generalization_gap']['chosen']
    assert gaps['updates']['subset'] == list(counts) and 'subset' not in gaps['epochs']
    reasons = [
      reason
      for claim in summary['claims']
      for reason in claim['reasons']
      if reason['code'] == 'on_subset'
    ]
    assert reasons and all((one['train'], one['val']) == counts for one in reasons)


def test_stopped_and_resumed_both_files_are_the_same(studies, tmp_path, monkeypatch):
  with terminated_in_call(monkeypatch, 3):
    study_run.run_study(config(), tmp_path)
  assert not (tmp_path / 'summary.json').exists()
  study_run.run_study(config(), tmp_path)
  assert results(tmp_path) == results(studies[SUBSET])
  assert (tmp_path / records.SUBSET).read_text() == (studies[SUBSET] / records.SUBSET).read_text()


def test_missing_rows_of_the_subset_are_made_again(studies, tmp_path, caplog):
  from shutil import copytree

  workdir = copytree(studies[SUBSET], tmp_path / 'cut')
  lines = (workdir / records.SUBSET).read_text().splitlines(keepends=True)
  (workdir / records.SUBSET).write_text(''.join(lines[:-1]))
  assert study_run.run_study(config(), workdir)
  assert 'subset_records.jsonl: the rows of lanes [5]' in caplog.text
  assert (workdir / records.SUBSET).read_text() == ''.join(lines)
  assert results(workdir) == results(studies[SUBSET])


def test_the_subset_is_the_same_everywhere_and_has_all_classes():
  asked = config()
  dataset = data.load(asked.data, asked.seed)
  first = plan.make_plan(asked, len(dataset.train.labels)).first
  one, again = (DeviceData(dataset, asked, first).subset for _ in range(2))
  for split, part, other in zip((dataset.train, dataset.validation), one, again, strict=True):
    labels = np.asarray(part.labels)[0]
    assert (labels == np.asarray(other.labels)[0]).all()
    whole = np.bincount(split.labels, minlength=10) * SUBSET / len(split.labels)
    assert (np.abs(np.bincount(labels, minlength=10) - whole) < 1).all()
  assert DeviceData(dataset, config(subset=0), first).subset is None


def test_plan_and_paragraph_say_it(studies):
  asked = config()
  study = plan.make_plan(asked, 150)
  assert study.first.further and not set(study.first.further) & set(study.first.evaluations)
  said = ' '.join(table.notes(asked, study))
  assert f'{len(study.first.further)} further evaluations, at equal updates' in said
  assert 'on 40 training and validation examples at most' in said
  assert not plan.make_plan(config(subset=0), 150).first.further
  rows = records.read_plan(studies[SUBSET] / 'plan.csv')
  assert 'up to 40 training and as many validation' in evaluation(asked.to_dict(), rows)
  assert 'besides' not in evaluation(config(subset=0).to_dict(), rows)
