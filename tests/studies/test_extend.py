"""Studies that get more settings in their workdir: interrupted anywhere, or refused."""

import os
import re
import shutil

import pytest
from helpers import blank
from helpers.extended import config_of, same_but_for_noise
from helpers.interrupted import terminated_in_call
from helpers.results import same

from bsjax import Study
from bsjax.config.errors import ConfigError
from bsjax.storage import records
from bsjax.train import transfer
from bsjax.train.extension import extend
from bsjax.train.study_run import run_study

pytestmark = pytest.mark.usefixtures('blank_figures')


BOX = (8, 32), (0.1,), 2  # of `first`


@pytest.fixture(scope='module')
def first(tmp_path_factory):
  with pytest.MonkeyPatch.context() as monkeypatch:
    blank.figures(monkeypatch)
    workdir = tmp_path_factory.mktemp('first')
    assert run_study(config_of(), workdir)
  return workdir


def test_a_study_that_ended_as_all_diverged_is_trained_to_its_end_first(tmp_path):
  """So that its records are those of lanes that had company."""
  lost, more = (config_of(batch_sizes=(8,), learning_rates=rates) for rates in ((1e9,), (1e9, 0.1)))
  assert run_study(lost, tmp_path / 'study')
  assert Study(more, tmp_path / 'study').extend()
  assert run_study(more, tmp_path / 'whole')
  same_but_for_noise(tmp_path / 'study', tmp_path / 'whole')


@pytest.mark.slow
def test_wherever_it_was_interrupted_the_next_call_goes_on(tmp_path, first, monkeypatch, capsys):
  """While what is there and what is new become one, and while that takes the workdir's place."""
  more, replace = config_of(trials=3), os.replace
  workdir = shutil.copytree(first, tmp_path / 'study')

  def interrupted(workdir, source, target):
    """Extends, until a file is about to be moved from one folder of the workdir to another."""

    def cut(here, there):
      if os.fspath(here) == os.fspath(workdir / source) and str(there) == str(workdir / target):
        raise KeyboardInterrupt
      replace(here, there)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
      patch.setattr(os, 'replace', cut)
      extend(more, workdir)

  made = 'extensions/1'
  # The lanes are trained; each cut goes on from there.
  interrupted(workdir, f'{made}/records.jsonl.tmp', f'{made}/records.jsonl')
  whole = shutil.copytree(workdir, tmp_path / 'whole', symlinks=True)
  capsys.readouterr()
  assert extend(more, whole)
  pages = re.findall(r'(?:Report|finished): (.*)', capsys.readouterr().out)
  assert pages and {*pages} == {f'{whole}/report.html'}  # and not where it was made
  assert run_study(more, tmp_path / 'at_once')
  same_but_for_noise(whole, tmp_path / 'at_once')
  for source, target, halfway in (
    (f'{made}/summary.json.tmp', f'{made}/summary.json', False),
    ('records.jsonl', f'{made}/before.part/records.jsonl', True),
    (f'{made}/before.part', f'{made}/before', True),
    (f'{made}/records.jsonl', 'records.jsonl', True),
    (f'{made}/config.json', 'config.json', True),
  ):
    one = shutil.copytree(workdir, tmp_path / 'one', symlinks=True)
    interrupted(one, source, target)
    if halfway:
      for config in (config_of(), more):
        with pytest.raises(ConfigError, match='was interrupted while it took its place; give'):
          run_study(config, one)
    else:
      assert run_study(config_of(), one)  # the study there is as it was
    assert extend(more, one)
    same(one, whole)
    assert transfer.read(one, 5)
    shutil.rmtree(one)


def test_an_unfinished_study_is_finished_first_and_an_extension_before_the_next(
  tmp_path, monkeypatch
):
  workdir, one = tmp_path / 'study', config_of(batch_sizes=(8,), trials=1)
  more = config_of(batch_sizes=(8,))
  with terminated_in_call(monkeypatch, 1):
    assert not run_study(one, workdir)
  with terminated_in_call(monkeypatch, 1):  # while it is finished
    assert not Study(more, workdir).extend()  # of which the command makes 75
  assert not (workdir / 'extensions').exists()
  assert run_study(one, workdir)
  with terminated_in_call(monkeypatch, 1):  # while its extension is trained
    assert not Study(more, workdir).extend()
  assert run_study(one, workdir)  # it is as it was
  refused(
    'is unfinished, whose trials is 2 and not 3; finish that first',
    config_of(batch_sizes=(8,), trials=3),
    workdir,
  )
  assert Study(more, workdir).extend()
  assert run_study(more, workdir)
  assert {row['trial'] for row in records.read_plan(workdir / 'plan.csv')} == {0, 1}


def refused(words, config, workdir, **given):
  with pytest.raises(ConfigError, match=words):
    extend(config, workdir, **given)


def test_what_would_not_be_the_study_at_once_is_refused(tmp_path, first):
  files = sorted(path.relative_to(first) for path in first.rglob('*'))
  with pytest.raises(ConfigError, match='choose another --workdir, with --extend to add to it'):
    run_study(config_of(trials=3), first)
  for words, keys in {
    r'trials=1, and the study there has 2: nothing is taken away': {'trials': 1},
    r'batch_sizes=\(8, 16\), and the study there has 32: nothing': {'batch_sizes': (8, 16)},
    r'give batch size 8 0 trials at learning rate 0.1': {'learning_rates': (0.2,)},
    r"schedule.name='cosine', and the study there has 'constant': a study gets .* and evaluat": {
      'schedule__name': 'cosine'
    },
    r'epochs=1.0, and the study there has 1.28: nothing is taken away': {'epochs': 1.0},
    r'evaluations=1, and the study there has 2: nothing is taken': {'evaluations': 1},
    r'evaluations=5 changes neither .* nor where it is evaluated': {
      'evaluations': 5,
      'evaluation__at': (96,),
    },
    r'every 64 examples, and the runs there were evaluated at 96': {'batch_sizes': (8, 32, 64)},
    r'would end at 256 examples, and the runs there ended it at 192': {'batch_sizes': (8, 32, 128)},
    r'micro_batch=8 does not divide the batch sizes \[4\]': {'batch_sizes': (4, 8, 32)},
    r'rounds have the trials 2, but trials=3': {'trials': 3, 'rounds': (((8, 32), (0.1,), 2),)},
    r'evaluation.subset=64: rows of a subset': {'trials': 3, 'evaluation__subset': 64},
  }.items():
    refused(words, config_of(**keys), first)
  other = shutil.copytree(first, tmp_path / 'other')
  facts = records.read_json(other / 'data.json') | {'fingerprint': 'another'}
  records.write_json(other / 'data.json', facts)
  refused('begun with other images or labels', config_of(trials=3), other)
  refused('is no box: give', config_of(), first, boxes=[((8,), (), 2)])
  with pytest.raises(ConfigError, match='--shard=1/2: an extension is trained undivided'):
    Study(config_of(trials=3), first, shard='1/2').extend()
  assert extend(config_of(trials=3), first, dry_run=True)
  assert extend(config_of(), first)  # there is nothing to add
  assert sorted(path.relative_to(first) for path in first.rglob('*')) == files


def test_the_error_of_a_question_is_spent_once(tmp_path, first):
  """Rounds of a question go on without --extend, which would begin with the whole error again."""
  workdir, question = shutil.copytree(first, tmp_path / 'asked'), {'decide__question': 'trend'}
  stored = records.read_json(workdir / 'config.json')
  stored['decide']['question'] = 'trend'
  more = {'decide__rounds': (((BOX,), 'first', 1.0), ((((8, 32), (0.1,), 3),), 'trials', None))}
  for rounds in [], [[[BOX], 'first', 1.0]]:  # of a study whose first round was its grid
    stored['decide']['rounds'] = rounds
    records.write_json(workdir / 'config.json', stored)
    for keys in {}, question, question | more | {'decide__error': 0.1}:
      refused(r"decide.question='trend', and with --extend", config_of(trials=3, **keys), workdir)
  assert extend(config_of(trials=3, **question, **more), workdir, dry_run=True)
  with pytest.raises(ConfigError, match='choose another --workdir, or give its configuration'):
    run_study(config_of(trials=3), workdir)  # and no --extend, which is refused
