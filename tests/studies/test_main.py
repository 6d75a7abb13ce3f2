"""The command line as users type it, in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from helpers.results import results

import bsjax.study
from bsjax import main
from bsjax.engine import processes
from bsjax.train import stopping

ROOT = Path(__file__).parents[2]
SMALL = [
  '--config.trials=2',
  '--config.batch_sizes=8,32',
  '--config.learning_rates=0.03,0.1',
  '--config.epochs=2',
  '--config.evaluations=2',
  '--config.model.width=16',
]


def command(workdir, *flags, config='digits'):
  study = [f'--config=configs/{config}.py', f'--workdir={workdir}']
  return [sys.executable, '-m', 'bsjax.main', *study, *flags]


def environment(cache):
  return {**os.environ, 'XDG_CACHE_HOME': str(cache), 'JAX_PLATFORMS': 'cpu'}


def run(cache, *arguments, **keywords):
  return subprocess.run(
    command(*arguments, **keywords),
    cwd=ROOT,
    env=environment(cache),
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp('cache')


LONG = [*SMALL, '--config.epochs=60', '--config.evaluations=12', '--config.checkpoint.seconds=0']


@pytest.fixture(scope='module')
def undisturbed(cache, tmp_path_factory):
  workdir = tmp_path_factory.mktemp('undisturbed')
  done = run(cache, workdir, *LONG)
  assert done.returncode == 0, done.stderr
  return workdir


def test_one_command_trains_and_reports_and_the_next_says_finished(cache, tmp_path):
  done = run(cache, tmp_path, *SMALL)
  assert done.returncode == 0, done.stderr
  assert '8 lanes' in done.stdout
  assert 'report.html' in done.stdout
  assert 'examples/s' not in done.stdout  # no live line where there is no terminal
  assert not done.stderr
  summary = json.loads((tmp_path / 'summary.json').read_text())
  assert [row['batch_size'] for row in summary['batch_sizes']] == [8, 32]
  again = run(cache, tmp_path, *SMALL)
  assert again.returncode == 0
  assert 'finished' in again.stdout


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_stopped_by_a_signal_the_same_command_continues_to_the_same_records(
  number, undisturbed, cache, tmp_path
):
  stopped = tmp_path / 'stopped'
  process = subprocess.Popen(
    command(stopped, *LONG),
    cwd=ROOT,
    env=environment(cache),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  lines = 0
  while lines < 24:  # three evaluations of eight lanes
    assert process.poll() is None, process.stderr.read()
    time.sleep(0.02)
    path = stopped / 'records.jsonl'
    lines = len(path.read_text().splitlines()) if path.exists() else 0
  process.send_signal(number)
  out, _ = process.communicate(timeout=60)
  if number == signal.SIGTERM:
    assert 'The same command continues' in out
    assert process.returncode == stopping.UNFINISHED
  assert not (stopped / 'summary.json').exists()
  done = run(cache, stopped, *LONG)
  assert done.returncode == 0, done.stderr
  assert results(stopped) == results(undisturbed)


@pytest.mark.parametrize(
  'flags, words',
  [
    (['--config.bach_sizes=8'], ['bach_sizes', 'Did you mean', 'batch_sizes']),
    (['--config.optimizer.momentun=0.5'], ['momentun', 'momentum']),
    (['--config.epochs=many'], ['epochs', 'many']),
    (
      ['--config.trials=0', '--config.model.name=mlpp'],
      ['2 problems', 'flag --config.trials: trials=0', "'mlp'"],
    ),
    (['--config.execution.devices=999'], ['999', 'at most']),
  ],
)
def test_a_mistake_is_a_short_message_without_a_traceback(flags, words, cache, tmp_path):
  failed = run(cache, tmp_path / 'w', *SMALL, *flags)
  assert failed.returncode != 0
  assert 'Traceback' not in failed.stderr
  assert all(word in failed.stderr for word in words), failed.stderr
  assert not (tmp_path / 'w').exists()


def test_a_missing_data_set_says_where_it_was_looked_for(cache, tmp_path):
  empty = tmp_path / 'no data here'
  failed = run(cache, tmp_path / 'w', f'--config.data.path={empty}', config='cifar')
  assert failed.returncode != 0
  assert 'Traceback' not in failed.stderr
  assert str(empty) in failed.stderr
  assert 'cifar10' in failed.stderr


def test_dry_run_prints_the_cost_and_stops(cache, tmp_path):
  done = run(cache, tmp_path / 'w', *SMALL, '--dry_run')
  assert done.returncode == 0, done.stderr
  assert 'MiB/lane' in done.stdout
  assert re.search(r'^Total time: (0:\d\d:\d\d to compile|not timed)', done.stdout, re.MULTILINE)
  assert not (tmp_path / 'w').exists()


class Made:
  """A study that notes what the command asks of it."""

  done, asked = True, None

  def __init__(self, config, workdir, shard, **parts):
    self.asked += [workdir, shard, parts]

  def run(self, dry_run, target):
    return self._end('run', dry_run, target)

  def extend(self, dry_run):
    return self._end('extend', dry_run)

  def _end(self, *asked):
    self.asked += [asked]
    if isinstance(self.done, Exception):
      raise self.done
    return self.done


@pytest.fixture
def called(monkeypatch):
  """Calls the command on a made-up study; returns what it asked, and how it ended."""
  monkeypatch.setattr(main.cli, 'set_up_machine', lambda: None)
  monkeypatch.setattr(main.cli, 'config_file', lambda: '')
  monkeypatch.setattr(main.cli, 'parts', lambda config, file: {'model': 1})
  monkeypatch.setattr(main.cli, 'mistake', str)
  monkeypatch.setattr(bsjax.study, 'Study', Made)

  def call(done=True, **given):
    usual = {'config': None, 'workdir': 'w', 'shard': '', 'coordinator': None, 'target': ''}
    usual |= dict.fromkeys(('distributed', 'extend', 'dry_run'), False)
    monkeypatch.setattr(main.flags, 'FLAGS', types.SimpleNamespace(**usual | given))
    monkeypatch.setattr(Made, 'done', done)
    monkeypatch.setattr(Made, 'asked', asked := [])
    try:
      main.main([])
    except SystemExit as ended:
      return asked, ended.code
    return asked, 0

  return call


@pytest.mark.parametrize(
  ('given', 'asked'),
  [
    ({}, ('run', False, '')),
    ({'dry_run': True, 'target': 'H100'}, ('run', True, 'H100')),
    ({'extend': True}, ('extend', False)),
    ({'extend': True, 'dry_run': True}, ('extend', True)),
  ],
)
def test_flags_reach_the_study_and_its_end_is_the_exit_code(called, given, asked):
  assert called(shard='2/4', **given) == (['w', '2/4', {'model': 1}, asked], 0)
  assert called(done=False, **given)[1] == 75
  assert called(done=OSError('disk full'), **given)[1] == 'bsjax: disk full'


def test_a_target_is_for_a_whole_study(called):
  said = 'bsjax: --target=H100 is for a whole study; leave --extend out'
  asked, code = called(extend=True, target='H100')
  assert code == said and len(asked) == 3  # nothing was asked of it


def test_of_several_processes_none_waits_for_one_that_failed(called, monkeypatch):
  with pytest.raises(ZeroDivisionError):
    called(done=ZeroDivisionError('by zero'))
  monkeypatch.setattr(processes, 'count', lambda: 2)
  monkeypatch.setattr(processes, 'die', sys.exit)
  assert called(done=ZeroDivisionError('by zero'))[1] == 'by zero'
