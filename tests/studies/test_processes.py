"""Several processes for one study, on loopback: the records of one, whatever happens to them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from helpers import small_studies

from bsjax.engine import processes
from bsjax.storage import records
from bsjax.train.study_run import run_study

ROOT = Path(__file__).parents[2]
# Six lanes, which four devices do not divide; one device per process and so one program for each.
STUDY = [
  *('--config=configs/digits.py', '--config.model.name=mlp', '--config.model.width=8'),
  *('--config.batch_sizes=16,64', '--config.scaling.rule=none', '--config.learning_rates=0.1'),
  *('--config.trials=3', '--config.epochs=60', '--config.evaluations=12'),
  *('--config.data.train_examples=300', '--config.execution.strategy=map-canonical'),
  '--config.noise_scale.exact_examples=0',
  *('--config.execution.devices=1', '--config.checkpoint.seconds=0'),
]
# Processes that tests start find their helpers, too.
PLAIN = {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}'}
LOST = ('has died or cannot be reached', 'another task died')  # by us, or sooner by JAX


def by_hand(port, count, index):
  """What tells a process which of several it is."""
  return {
    'BSJAX_COORDINATOR': f'127.0.0.1:{port}',
    'BSJAX_PROCESSES': str(count),
    'BSJAX_PROCESS': str(index),
  }


def open_mpi(port, count, index):
  """As mpirun does; JAX makes the port of the number of the job."""
  return {
    'OMPI_MCA_orte_hnp_uri': f'{(port - 61440) * 4096}.0;tcp://127.0.0.1:1',
    'OMPI_COMM_WORLD_SIZE': str(count),
    'OMPI_COMM_WORLD_RANK': str(index),
    'OMPI_COMM_WORLD_LOCAL_RANK': str(index),
  }


def indexed_job(port, count, index):
  """As a pod has it by scripts/k8s.yaml, here on one host."""
  _, job = yaml.safe_load_all((ROOT / 'scripts' / 'k8s.yaml').read_text())
  (container,) = job['spec']['template']['spec']['containers']
  given = {one['name']: one.get('value', str(index)) for one in container['env']}
  assert given['BSJAX_PROCESSES'] == str(count)
  return given | {
    'BSJAX_COORDINATOR': f'127.0.0.1:{port}',
    'JOB_COMPLETION_INDEX': str(index),
    'KUBERNETES_SERVICE_HOST': '10.0.0.1',  # which JAX would ask, if it were not told
  }


def free_port(ports=(0,)):
  for port in ports:
    with contextlib.suppress(OSError), socket.socket() as free:
      free.bind(('127.0.0.1', port))
      return free.getsockname()[1]
  raise AssertionError('no port is free')


def start(workdir, count=1, command=None, launcher=by_hand):
  """Starts the processes of a study; their output goes to files beside the workdir."""
  command = command or ['bsjax.main', *STUDY, f'--workdir={workdir}']
  port = free_port(range(61440, 65536) if launcher is open_mpi else (0,))
  started = []
  for index in range(count):
    here = launcher(port, count, index) if count > 1 else {}
    with open(f'{workdir}.{index}', 'w') as output:
      started.append(
        subprocess.Popen(
          [sys.executable, '-m', *command],
          cwd=ROOT,
          env=os.environ | PLAIN | here,
          stdout=output,
          stderr=subprocess.STDOUT,
        )
      )
  return started


def ended(started, seconds=300):
  """Their exit codes; none of them outlives the test."""
  try:
    until = time.monotonic() + seconds
    return [process.wait(max(0.1, until - time.monotonic())) for process in started]
  finally:
    for process in started:
      process.kill()


def said(workdir, index):
  return Path(f'{workdir}.{index}').read_text()


def until_evaluated(workdir, started, evaluations=3):
  path, deadline = workdir / 'records.jsonl', time.monotonic() + 240
  while not path.exists() or len({row['examples'] for row in records.read(path)}) < evaluations:
    assert all(process.poll() is None for process in started), said(workdir, 0)
    assert time.monotonic() < deadline, said(workdir, 0)
    time.sleep(0.02)


def same(workdir, alone):
  for name in ('records.jsonl', 'plan.csv'):
    assert (workdir / name).read_bytes() == (alone / name).read_bytes()
  summaries = [json.loads((path / 'summary.json').read_text()) for path in (workdir, alone)]
  for summary in summaries:
    summary.pop('hardware', None)
    summary.pop('provenance')
  assert summaries[0] == summaries[1]


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('alone') / 'study'
  assert ended(start(workdir)) == [0], said(workdir, 0)
  return workdir


@pytest.mark.parametrize('name', ['OMPI_COMM_WORLD_SIZE', 'SLURM_STEP_NUM_TASKS'])
def test_several_processes_of_a_launcher_are_noticed(name, monkeypatch):
  for other in ('OMPI_COMM_WORLD_SIZE', 'SLURM_STEP_NUM_TASKS'):
    monkeypatch.delenv(other, raising=False)
  assert not processes.wanted()
  for size, several in (('', False), ('1', False), ('2', True), ('16', True)):
    monkeypatch.setenv(name, size)
    assert processes.wanted() is several


@pytest.mark.slow
@pytest.mark.parametrize('launcher', [open_mpi, indexed_job])
def test_processes_of_a_launcher_train_one_study(launcher, tmp_path, alone):
  """Also after one of two pods was to go."""
  workdir = tmp_path / 'study'
  if launcher is indexed_job:
    two = start(workdir, 2, launcher=launcher)
    until_evaluated(workdir, two)
    two[1].send_signal(signal.SIGTERM)
    assert ended(two) == [75, 75], said(workdir, 0)
  assert ended(start(workdir, 2, launcher=launcher)) == [0, 0], said(workdir, 0)
  assert '2 processes, 2 devices' in said(workdir, 0)
  same(workdir, alone)


@pytest.mark.slow
def test_a_stop_asked_of_one_stops_all_and_four_go_on(tmp_path, alone):
  workdir = tmp_path / 'study'
  two = start(workdir, 2)
  until_evaluated(workdir, two)
  two[1].send_signal(signal.SIGTERM)
  assert ended(two) == [75, 75], said(workdir, 0)
  assert '; saved' in said(workdir, 0) and '; saved' not in said(workdir, 1)
  assert (workdir / 'records.jsonl').read_bytes() != (alone / 'records.jsonl').read_bytes()
  assert ended(start(workdir, 4)) == [0] * 4, said(workdir, 0)
  assert '4 processes, 4 devices' in said(workdir, 0) and '2 seats' in said(workdir, 0)
  assert 'Continuing at' in said(workdir, 0)
  same(workdir, alone)


@pytest.mark.slow
@pytest.mark.parametrize('victim', [0, 1])
def test_of_a_process_killed_the_other_says_so_and_one_goes_on(victim, tmp_path, alone):
  workdir = tmp_path / 'study'
  two = start(workdir, 2)
  until_evaluated(workdir, two)
  two[victim].kill()
  killed = time.monotonic()
  codes = ended(two)
  assert time.monotonic() - killed < 60
  assert codes[1 - victim] not in (0, 75)
  assert any(words in said(workdir, 1 - victim) for words in LOST)
  assert ended(start(workdir)) == [0], said(workdir, 0)
  same(workdir, alone)


@pytest.mark.slow
def test_studies_of_all_kinds_are_those_of_one_process(tmp_path, blank_figures):
  """Stages, measured batch sizes, frozen features, pretraining, arms, exact noise, BatchNorm.

  The last of them is stopped in its midst, and goes on in one process.
  """
  two, one = (tmp_path / name for name in ('two', 'one'))
  assert ended(start(two, 2, ['helpers.small_studies', str(two), 'stop']), 300) == [0, 0], said(
    two, 1
  )
  assert [said(two, index).split('\n')[-2] for index in (0, 1)] == ['[True, False]'] * 2
  assert 'frozen and computed once' in said(two, 0)
  begun = records.read(two / small_studies.LAST / 'records.jsonl')
  for name, config in small_studies.configs().items():
    assert run_study(config, one / name)
    assert run_study(config, two / name)
  whole = records.read(one / small_studies.LAST / 'records.jsonl')
  assert len(begun) < len(whole) and len({row['batch_size'] for row in begun}) > 1
  paths = sorted(one.rglob('records.jsonl'))
  assert len(paths) == 3
  for path in paths:
    same(two / path.parent.relative_to(one), path.parent)


@pytest.mark.slow
def test_what_is_wrong_is_said_by_all_and_nobody_waits(tmp_path):
  workdir = tmp_path / 'study'
  workdir.mkdir()
  (workdir / 'records.jsonl').write_text('')  # of nobody knows which study; the first sees it
  assert ended(start(workdir, 2)) == [1, 1]
  for index in range(2):
    assert 'holds records.jsonl but no config.json' in said(workdir, index)


# A config file that sends one of its processes a signal when it begins to read data.
STOPPED_AT_DATA = """
import os, signal
from bsjax import data
from helpers.small import small_config

def get_config():
  return small_config()

def parts(config):
  real = data.load
  def load(*given):
    if os.environ['BSJAX_PROCESS'] == '{process}':
      os.kill(os.getpid(), signal.{name})
    return real(*given)
  data.load = load
  return {{}}
"""


@pytest.mark.slow
@pytest.mark.parametrize(('process', 'name'), [(0, 'SIGTERM'), (1, 'SIGUSR1')])
def test_a_signal_to_one_before_training_ends_all_with_the_code_of_unfinished(
  process, name, tmp_path
):
  file, workdir = tmp_path / 'mine.py', tmp_path / 'study'
  file.write_text(STOPPED_AT_DATA.format(process=process, name=name))
  started = start(workdir, 2, ['bsjax.main', f'--config={file}', f'--workdir={workdir}'])
  assert ended(started) == [75, 75], said(workdir, 0) + said(workdir, 1)
  words = f'stopped by {name} before there was anything to save'
  for index in range(2):
    assert words in said(workdir, index) and 'Traceback' not in said(workdir, index)
  assert f'process {process} was {words}' in said(workdir, 1 - process)
  assert not workdir.exists()


@pytest.mark.slow
def test_two_processes_drop_and_lose_the_lanes_that_one_does(tmp_path):
  """Six learning rates, of which three are dropped, and one at which all lanes diverge."""
  rates = '--config.learning_rates=0.001,0.01,0.05,0.1,0.2,1e20'
  for name, count in (('one', 1), ('two', 2)):
    command = ['bsjax.main', *STUDY, rates, '--config.halving.rungs=0.25,0.5']
    started = start(tmp_path / name, count, [*command, f'--workdir={tmp_path / name}'])
    assert ended(started) == [0] * count, said(tmp_path / name, 0)
  same(tmp_path / 'two', tmp_path / 'one')
  rows = records.read(tmp_path / 'two' / 'records.jsonl')
  assert records.dropped(rows) and any(row['diverged'] for row in rows)
