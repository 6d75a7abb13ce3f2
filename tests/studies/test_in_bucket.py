"""A study whose workdir is in a bucket is the one on a disk, wherever it is killed and goes on."""

import os
import shutil
import subprocess
import sys
import unittest.mock
from pathlib import Path

import pytest
from helpers.bucket_like import HOME, BucketLike, nothing
from helpers.extended import config_of, same_but_for_noise
from helpers.interrupted import terminated_in_call
from helpers.results import same
from helpers.small import small_config

from bsjax import Study, arms, load, native_cost, run_study
from bsjax.config.errors import ConfigError
from bsjax.engine.validate import validate
from bsjax.storage import bucket, bucket_errors, buckets, hold, mirror
from bsjax.storage.writers import Writer
from bsjax.writers.replay import replay

pytestmark = pytest.mark.usefixtures('blank_figures')
ROOT = Path(__file__).parents[2]
URL = 'bucket-like://b/runs/study'
KILLS = 3
KEYS = {'batch_sizes': (8, 16), 'trials': 1, 'evaluations': 3, 'checkpoint__seconds': 0.0}


def config():
  return small_config(**KEYS)


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('undisturbed')
  assert run_study(config(), workdir)
  return workdir


@pytest.fixture(autouse=True)
def _bucket(tmp_path, monkeypatch):
  (tmp_path / 'buckets' / 'b').mkdir(parents=True)
  monkeypatch.setenv(HOME, str(tmp_path / 'buckets'))
  monkeypatch.setattr(hold, 'PAUSES', (0.0,))
  monkeypatch.setattr(BucketLike, 'operation', staticmethod(nothing))


@pytest.fixture
def machine(tmp_path, monkeypatch):
  """Goes on as on a machine that has seen nothing of the bucket but what an earlier call had."""

  def on(name):
    monkeypatch.setenv('BSJAX_STAGING', str(tmp_path / 'machines' / name))
    monkeypatch.setattr(buckets, '_mirrors', {})
    BucketLike.operation = staticmethod(nothing)

  return on


def at_once(monkeypatch):
  """Has all pushes end before the study goes on, so that operations can be counted."""
  push = mirror.Mirror.push

  def waited(self):
    push(self)
    self._hold._push.join()

  monkeypatch.setattr(mirror.Mirror, 'push', waited)


def dies(at):
  """From an operation on, counted from 1, nothing of this machine gets to the bucket; its count."""
  count = []

  def operation(kind, path):
    count.append(kind)
    if len(count) >= at:
      raise OSError('dead')

  BucketLike.operation = staticmethod(operation)
  return count


def test_it_is_the_one_on_a_disk_and_another_machine_reads_it(machine, undisturbed, monkeypatch):
  machine('one')
  study = Study(config(), URL)
  assert study.run()
  same(study.workdir, undisturbed)
  machine('two')
  results = load(URL)
  same(results.workdir, undisturbed)
  assert 'two' in results.workdir.parts and len(results.records()) == 16
  assert Study(config(), URL).run()  # nothing is left to do
  other = config()
  other.learning_rates = (0.2, 0.3)
  with pytest.raises(ConfigError, match='holds another study'):
    Study(other, URL).run()
  shutil.rmtree(results.workdir)
  assert Study(config(), URL).summary() == results.summary()


def test_killed_at_operations_of_its_pushes_it_ends_as_undisturbed(
  machine, undisturbed, monkeypatch, capsys
):
  """SIGKILL leaves in a bucket what a network does that fails for good."""
  at_once(monkeypatch)
  machine('counts')
  count = dies(10**6)
  assert run_study(config(), 'bucket-like://b/counts')
  monkeypatch.setattr(bucket, 'SILENCE', 0.0)
  begun = []
  for number in range(KILLS):
    url = f'bucket-like://b/killed{number}'
    machine(f'killed {number}')
    dies(int((number + 0.5) / KILLS * len(count)))
    with pytest.raises((OSError, ConfigError), match=r'could not be written|cannot be used'):
      run_study(config(), url)
    machine(f'goes on {number}')
    capsys.readouterr()
    assert run_study(config(), url)
    begun.append('Continuing at' in capsys.readouterr().out)
    same(load(url).workdir, undisturbed)
  assert 0 < sum(begun) < KILLS


def test_a_study_that_is_stopped_goes_on_elsewhere(machine, undisturbed, monkeypatch, capsys):
  machine('one')
  with terminated_in_call(monkeypatch, 4):
    assert not run_study(config(), URL)
  machine('two')
  assert run_study(config(), URL)
  assert 'Continuing at' in capsys.readouterr().out
  same(load(URL).workdir, undisturbed)


def test_who_has_lost_the_bucket_trains_no_further(machine, undisturbed, monkeypatch):
  machine('one')
  save, saved = mirror.Mirror.push, []

  def taken_over(self):
    saved.append(1)
    if len(saved) == 2:
      self._hold.lost = True  # as its signs of life find out
    save(self)

  monkeypatch.setattr(mirror.Mirror, 'push', taken_over)
  with pytest.raises(bucket_errors.Lost, match='another process has taken over'):
    run_study(config(), URL)
  assert len(saved) == 2
  monkeypatch.undo()


def test_arms_and_extensions_go_on_elsewhere(machine, tmp_path):
  machine('one')
  assert run_study(config_of(), URL)
  machine('two')
  more = config_of(trials=3)
  assert Study(more, URL).extend()
  machine('three')
  assert run_study(more, tmp_path / 'at_once')
  same_but_for_noise(load(URL).workdir, tmp_path / 'at_once')
  assert (load(URL).workdir / 'extensions/1/before/records.jsonl').exists()
  of_arms = config_of(trials=1)
  arms.add(of_arms, 'only', {})
  assert run_study(of_arms, 'bucket-like://b/arms') and run_study(of_arms, tmp_path / 'arms')
  machine('four')
  same(load('bucket-like://b/arms').workdir / 'arms/only', tmp_path / 'arms/arms/only')


def test_a_writer_is_told_of_a_study_in_a_bucket_and_weights_are_lent_by_a_folder(
  machine, undisturbed
):
  machine('one')
  with buckets.at(URL).held():
    shutil.copytree(undisturbed, buckets.at(URL).folder, dirs_exist_ok=True)
  machine('two')
  writer = unittest.mock.Mock(spec=Writer)  # of Python 3.12 on, nothing else is taken for one
  replay(URL, writer)
  assert sum(len(call.args[0]) for call in writer.rows.call_args_list) == 16
  with pytest.raises(ConfigError, match=r"'bucket-like:.*is in a bucket; give the folder"):
    validate(small_config(**KEYS, transfer__workdir=URL))


STOPPED = """
import os, signal
from helpers.bucket_like import BucketLike
from bsjax.storage import workdirs
from bsjax.train import in_bucket, stopping
stopping.leave_on_signal()
with in_bucket.held(workdirs.local('bucket-like://b/x')):
  BucketLike.operation = staticmethod(lambda *_: os.kill(os.getpid(), signal.SIGTERM))
"""


def test_a_signal_in_the_last_push_is_said_to_have_come_then(machine):
  machine('one')
  done = run('-c', STOPPED)
  assert done.returncode == 75
  assert done.stderr == (
    'bsjax: stopped by SIGTERM during the last push to the bucket; the same command goes on from '
    'what is there\n'
  )


def test_what_is_damaged_in_a_bucket_is_one_line_of_every_command(machine, tmp_path, monkeypatch):
  machine('one')
  with buckets.at(URL).held():
    (buckets.at(URL).folder / 'config.json').write_text('{}')
  for path in (tmp_path / 'buckets' / 'b').glob('*files*'):
    path.unlink()
  machine('two')
  with pytest.raises(SystemExit, match=r'bsjax\.native_cost: .*an object .* is missing'):
    native_cost.parse_flags(['', f'--workdir={URL}'])


RUN = 'import runpy, sys, helpers.bucket_like; runpy.run_module(sys.argv.pop(1), None, "__main__")'


def command(module, *flags):
  return run('-c', RUN, module, *flags)


def run(*arguments):
  environment = os.environ | {'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}'}
  line = [sys.executable, *arguments]
  return subprocess.run(
    line, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
  )


def test_commands_say_in_a_line_who_works_on_a_study_and_read_it_meanwhile(machine, undisturbed):
  machine('one')
  with buckets.at(URL).held():
    for name in ('config.json', 'plan.csv', 'records.jsonl', 'data.json', 'summary.json'):
      shutil.copy(undisturbed / name, buckets.at(URL).folder)
    buckets.at(URL).push()
    buckets.at(URL)._hold._push.join()
    os.environ['BSJAX_STAGING'] += ' and two'
    done = command('bsjax.main', '--config=digits', f'--workdir={URL}')
    assert done.returncode == 1 and done.stderr.count('\n') == 1
    assert f'bsjax: {URL} is in use by process {os.getpid()} on' in done.stderr
    done = command('bsjax.report', f'--workdir={URL}')
    assert done.returncode == 0 and done.stdout.endswith('study/report.html\n')
    assert 'in use by' in done.stderr and 'and two' in done.stdout


def test_shards_are_refused(machine):
  machine('one')
  with pytest.raises(ConfigError, match=r'--shard=1/2: the tasks of a job array need one disk'):
    run_study(config(), URL, shard='1/2')


def test_mistakes_in_a_url_are_one_line(machine):
  machine('one')
  done = command('bsjax.main', '--config=digits', '--workdir=s3b://b/x')
  assert done.returncode == 1 and done.stderr.count('\n') == 1
  assert 'bsjax: --workdir=s3b://b/x: s3b:// is unknown; did you mean s3://?' in done.stderr
