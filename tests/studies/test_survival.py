"""What clusters, disks and people do to a study: said in words, nothing lost or counted twice."""

import errno
import functools
import json
import os
import platform
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest
from helpers.interrupted import terminated_in_call
from helpers.results import results
from helpers.small import small_config

from bsjax.autotune import execution
from bsjax.config.errors import ConfigError
from bsjax.engine import memory
from bsjax.engine.validate import validate
from bsjax.plan import arms, batch_size_paths, plan, stages
from bsjax.report import stored_study
from bsjax.storage import checkpoint, lock, records, user_cache
from bsjax.train import loop, saves, stopping, study_run

pytestmark = pytest.mark.usefixtures('blank_figures')
ROOT = Path(__file__).parents[2]


KEYS = {'batch_sizes': (8, 16), 'trials': 1, 'evaluations': 3, 'checkpoint__seconds': 0.0}


def config(**overrides):
  return small_config(**KEYS | overrides)


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('undisturbed')
  study_run.run_study(config(), workdir)
  return workdir


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
  """A study that stopped after its second evaluation, with several checkpoints."""
  workdir = tmp_path_factory.mktemp('stopped')
  with pytest.MonkeyPatch.context() as patch, terminated_in_call(patch, 6):
    assert not study_run.run_study(config(), workdir)
  return workdir


@pytest.fixture
def unfinished(stopped, tmp_path):
  """A copy of that study."""
  return Path(shutil.copytree(stopped, tmp_path / 'study'))


def steps(workdir):
  return sorted(
    (p for p in (workdir / 'checkpoints').iterdir() if p.name.isdigit()), key=lambda p: int(p.name)
  )


def empty(path):
  for file in path.rglob('*'):
    if file.is_file():
      file.write_bytes(b'')


def remove_metadata(path):
  for file in [*path.rglob('*METADATA*'), *path.rglob('manifest.*')]:
    file.unlink()


def remove_position(path):
  shutil.rmtree(path / 'position')


def flip(path):
  """Bits in the middle of the largest file, so many that some of them say something."""
  file = max((f for f in path.rglob('*') if f.is_file()), key=lambda f: f.stat().st_size)
  content = bytearray(file.read_bytes())
  middle = slice(len(content) // 4, 3 * len(content) // 4)
  content[middle] = bytes(byte ^ 1 for byte in content[middle])
  file.write_bytes(content)


@pytest.mark.parametrize('damage', [empty, remove_metadata, remove_position, flip])
def test_of_damaged_checkpoints_the_one_before_serves(damage, unfinished, undisturbed, caplog):
  _, newest = steps(unfinished)[-2:]
  damage(newest)
  assert study_run.run_study(config(), unfinished)
  assert f'checkpoint {newest.name}' in caplog.text and 'one before it' in caplog.text
  assert results(unfinished) == results(undisturbed)


def test_without_a_whole_checkpoint_the_remedy_is_named_and_works(unfinished, undisturbed):
  for path in steps(unfinished):
    empty(path)
  rows = (unfinished / 'records.jsonl').read_text()
  with pytest.raises(records.Damaged, match=r'remove .*checkpoints to train from the beginning'):
    study_run.run_study(config(), unfinished)
  assert (unfinished / 'records.jsonl').read_text() == rows  # nothing is lost
  shutil.rmtree(unfinished / 'checkpoints')
  assert study_run.run_study(config(), unfinished)
  assert (unfinished / 'records.jsonl').read_text() == (undisturbed / 'records.jsonl').read_text()


@pytest.mark.parametrize('left', ['none', 'without an evaluation', 'without the last row'])
def test_rows_that_are_missing_of_a_whole_evaluation_are_noticed_too(left, unfinished):
  path = unfinished / 'records.jsonl'
  rows = records.read(path)
  marks = sorted({row['examples'] for row in rows})
  kept = {
    'none': [],
    'without an evaluation': [row for row in rows if row['examples'] != marks[0]],
    'without the last row': [row for row in rows if row['examples'] == marks[0]][:-1],
  }[left]
  path.write_text(''.join(json.dumps(row) + '\n' for row in kept))
  with pytest.raises(records.Damaged, match='are missing'):
    study_run.run_study(config(), unfinished)


def test_at_the_end_every_evaluation_is_asked_for(tmp_path, monkeypatch):
  """A row that a disk loses while the study trains."""
  append = records.append
  monkeypatch.setattr(records, 'append', lambda path, rows: append(path, rows[1:]))
  with pytest.raises(records.Damaged, match=r'rows of lanes \[0\] at 304 examples are missing'):
    study_run.run_study(config(), tmp_path)
  assert not (tmp_path / 'summary.json').exists()


@pytest.mark.slow
def test_a_terminal_that_closes_costs_nothing(tmp_path, undisturbed):
  """Its signal comes while nobody reads any more what the study prints."""
  master, slave = pty.openpty()
  program = (
    'import signal, sys; from helpers.small import small_config; '
    'from bsjax.train import study_run; signal.signal(signal.SIGHUP, signal.SIG_DFL); '
    'from bsjax.cli import set_up_machine; set_up_machine(); '
    'sys.exit(75 * (not study_run.run_study(small_config(batch_sizes=(8, 16), trials=1, '
    'epochs=4000.0, evaluations=1), sys.argv[1])))'
  )
  environment = {**os.environ, 'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}', 'JAX_PLATFORMS': 'cpu'}
  process = subprocess.Popen(
    [sys.executable, '-c', program, str(tmp_path)],
    stdin=slave,
    stdout=slave,
    stderr=subprocess.PIPE,
    env=environment,
    start_new_session=True,
  )
  os.close(slave)
  while not (tmp_path / 'records.jsonl').exists() or not (tmp_path / 'records.jsonl').read_text():
    assert process.poll() is None, process.stderr.read()
    time.sleep(0.05)
  os.close(master)
  process.send_signal(signal.SIGHUP)
  assert process.wait(60) == stopping.UNFINISHED
  assert steps(tmp_path)


def test_of_checkpoints_that_are_all_kept_none_comes_between(tmp_path, monkeypatch):
  ticking = iter(range(10**6))
  monkeypatch.setattr(loop, 'now', lambda: float(next(ticking)))
  monkeypatch.setattr(loop.Pace, 'measured', lambda *_: None)
  keys = {'evaluations': 2, 'checkpoint__seconds': 4.0, 'checkpoint__keep_all': True}
  study_run.run_study(config(**keys), tmp_path)
  marks = {row['examples'] for row in records.read(tmp_path / 'records.jsonl')}
  assert len(steps(tmp_path)) == len(marks)
  with checkpoint.open_to_read(tmp_path) as manager:
    assert set(checkpoint.steps(manager)) == marks


@pytest.mark.slow
def test_a_study_begun_by_another_process_meanwhile_is_read_anew(tmp_path, monkeypatch):
  """Between what is read and the lock the other one begins, and stops."""
  study = study_run.StudyRun(config(), tmp_path)
  study._training(study.config, tmp_path)
  with terminated_in_call(monkeypatch, 2):
    study_run.run_study(config(micro_batch=4), tmp_path)
  with pytest.raises(ConfigError, match='holds another study'):
    study.run()
  shutil.rmtree(tmp_path)
  with terminated_in_call(monkeypatch, 2):
    study_run.run_study(config(), tmp_path)
  before = (tmp_path / 'execution.json').read_text()
  assert study.run()
  assert (tmp_path / 'execution.json').read_text() == before


def lines_of(path):
  return path.read_text().splitlines(keepends=True)


DAMAGES = {
  'halved': (lambda x: [*x[: len(x) // 2], x[-1][:40]], r'lanes \[.*\] at \d+ .* missing'),
  'a row missing': (
    lambda x: [*x[:5], *x[6:]],
    r'rows of lanes \[\d\] at \d+ examples are missing',
  ),
  'a row doubled': (lambda x: [*x[:6], x[5], *x[6:]], 'row 7: lane . at .* is there twice'),
  'garbage': (lambda x: [*x[:5], '{"lane"\n', *x[5:]], 'line 6 is damaged'),
  'another lane': (
    lambda x: [*x[:5], '{"lane": 99, "examples": 0}\n', *x[5:]],
    'lane 99 .*planned',
  ),
  'an empty row': (lambda x: [*x[:5], '{}\n', *x[5:]], 'row 6: lane None .*planned'),
}


def damage_rows(workdir, how):
  path = workdir / 'records.jsonl'
  path.write_text(''.join(DAMAGES[how][0](lines_of(path))))
  return DAMAGES[how][1]


@pytest.mark.parametrize('how', DAMAGES)
def test_damaged_records_are_named_where_no_checkpoint_is_from_before(
  how, unfinished, undisturbed, tmp_path
):
  """And nothing is changed of what is there, but for the note of another start."""
  finished = Path(shutil.copytree(undisturbed, tmp_path / 'finished'))
  for workdir in (unfinished, finished):
    shutil.rmtree(steps(workdir)[0])
    words = damage_rows(workdir, how)
    before = {path: path.read_bytes() for path in workdir.rglob('*') if path.is_file()}
    with pytest.raises(records.Damaged, match=f'{words}.*remove .*checkpoints.* to train from the'):
      study_run.run_study(config(), workdir)
    assert {path.name for path, old in before.items() if path.read_bytes() != old} <= {
      'provenance.json',
      '.running.json',
    }
  if how != 'halved':  # at the end of an evaluation, as a study that has not ended
    with pytest.raises(records.Damaged, match=words):
      stored_study.load(finished)


@pytest.fixture(scope='module')
def all_kept(tmp_path_factory):
  """A study that stopped after its second evaluation, with a checkpoint of each of them.

  Of the last two alone, how early the older is depends on how fast the machine is.
  """
  workdir = tmp_path_factory.mktemp('all_kept')
  with pytest.MonkeyPatch.context() as patch, terminated_in_call(patch, 6):
    assert not study_run.run_study(config(checkpoint__keep_all=True), workdir)
  return workdir


@pytest.mark.parametrize('how', DAMAGES)
def test_damaged_records_are_computed_again_from_the_checkpoint_before(
  how, all_kept, undisturbed, tmp_path, caplog
):
  workdir = Path(shutil.copytree(all_kept, tmp_path / 'study'))
  words = damage_rows(workdir, how)
  assert study_run.run_study(config(checkpoint__keep_all=True), workdir)
  assert re.search(f'{words}.*continuing from checkpoint [01], from before that', caplog.text)
  assert results(workdir) == results(undisturbed)


def test_a_finished_study_makes_again_what_its_last_rows_lack(undisturbed, tmp_path, caplog):
  """And all that follows from them; the checkpoint before the last is from before the damage."""
  workdir = Path(shutil.copytree(undisturbed, tmp_path / 'study'))
  path = workdir / 'records.jsonl'
  rows = path.read_text()
  path.write_text(rows[: rows.rstrip().rfind('\n') + 1])
  (workdir / 'report.md').write_text('of other rows')
  assert study_run.run_study(config(), workdir)
  assert 'trains again from before that' in caplog.text
  assert path.read_text() == rows and results(workdir) == results(undisturbed)
  assert 'of other rows' not in (workdir / 'report.md').read_text()
  shutil.rmtree(workdir / 'checkpoints')
  assert study_run.run_study(config(), workdir)  # nothing is left to do
  path.write_text(rows[:-100])
  with pytest.raises(records.Damaged, match=r'no checkpoint to go on from; .*summary.json to'):
    study_run.run_study(config(), workdir)
  (workdir / 'summary.json').unlink()
  assert study_run.run_study(config(), workdir)
  assert path.read_text() == rows and results(workdir) == results(undisturbed)


@pytest.mark.parametrize('name', ['config.json', 'execution.json', 'data.json', 'plan.csv'])
@pytest.mark.parametrize('content', [b'', b'{', b'[]\n', b'\xff\xfe\x00'])
def test_a_damaged_file_is_named_before_training(name, content, unfinished, monkeypatch):
  monkeypatch.setattr(loop.TrainLoop, 'run', lambda *_: pytest.fail('it trained'))
  (unfinished / name).write_bytes(content)
  with pytest.raises(records.Damaged, match=name):
    study_run.run_study(config(), unfinished)


def test_a_full_disk_is_said_and_what_was_saved_goes_on(tmp_path, undisturbed, monkeypatch):
  """It is full at the third evaluation; the command says so in a line, as of every OSError."""
  append, calls = records.append, []

  def full(path, rows):
    calls.append(1)
    if len(calls) == 3:
      raise OSError(errno.ENOSPC, 'No space left on device', str(path))
    append(path, rows)

  with monkeypatch.context() as patch:
    patch.setattr(records, 'append', full)
    with pytest.raises(OSError, match='No space left on device'):
      study_run.run_study(config(), tmp_path)
  assert study_run.run_study(config(), tmp_path)
  assert results(tmp_path) == results(undisturbed)


@pytest.mark.slow
def test_a_disk_full_while_a_checkpoint_is_saved_is_one_line_of_the_command(tmp_path):
  """No file may have more than 60 KiB: less than an array takes, more than the rows."""
  wide = {'model__width': 128}
  (tmp_path / 'study.py').write_text(
    'from helpers.small import small_config\n\n\ndef get_config():\n'
    "  keys = {'batch_sizes': (8, 16), 'trials': 1, 'evaluations': 3, 'checkpoint__seconds': 0.0}\n"
    '  return small_config(**keys, model__width=128)\n'
  )
  cache = {'XDG_CACHE_HOME': str(tmp_path), 'JAX_COMPILATION_CACHE_DIR': str(tmp_path / 'xla')}
  paths = {'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}', 'JAX_PLATFORMS': 'cpu'}
  names = [f'--config={tmp_path / "study.py"}', f'--workdir={tmp_path / "full"}']
  failed = subprocess.run(
    ['bash', '-c', 'ulimit -f 60; exec "$@"', '', sys.executable, '-m', 'bsjax.main', *names],
    env={**os.environ, **cache, **paths},
    capture_output=True,
    text=True,
    check=False,
  )
  assert failed.returncode == 1 and 'Traceback' not in failed.stderr, failed.stderr
  (line,) = [line for line in failed.stderr.splitlines() if line.startswith('bsjax: ')]
  assert 'full/checkpoints (File too large); free space' in line and 'goes on' in line
  for name in ('full', 'undisturbed'):
    assert study_run.run_study(config(**wide), tmp_path / name)
  assert results(tmp_path / 'full') == results(tmp_path / 'undisturbed')


@pytest.mark.parametrize('code', [errno.EROFS, errno.EACCES])
@pytest.mark.parametrize('name', ['study', 'new'])
def test_a_workdir_that_is_read_only_is_refused_before_any_work(
  code, name, unfinished, tmp_path, monkeypatch
):
  """Folders and files to write are refused here as the system does, which root never is."""
  before = {path: path.read_bytes() for path in unfinished.rglob('*') if path.is_file()}
  opened, made = os.open, os.mkdir

  def refusing(function, reads):
    def call(path, *arguments, **keywords):
      if str(path).startswith(str(tmp_path)) and not reads(path, *arguments):
        raise OSError(code, os.strerror(code), str(path))
      return function(path, *arguments, **keywords)

    return call

  monkeypatch.setattr(os, 'open', refusing(opened, lambda _, flags, *__: flags == os.O_RDONLY))
  monkeypatch.setattr(os, 'mkdir', refusing(made, lambda path, *_: Path(path).exists()))
  monkeypatch.setattr(loop.TrainLoop, 'run', lambda *_: pytest.fail('it trained'))
  monkeypatch.setattr(execution, 'choose', lambda *_: pytest.fail('it timed'))
  with pytest.raises(ConfigError, match=f'{name} cannot be written to .*another --workdir'):
    study_run.run_study(config(), tmp_path / name)
  assert before == {path: path.read_bytes() for path in unfinished.rglob('*') if path.is_file()}


@pytest.mark.parametrize('said', ['RESOURCE_EXHAUSTED: 9 bytes', 'INTERNAL: std::bad_alloc'])
def test_words_of_devices_and_of_a_processor_without_memory(said):
  assert memory.out_of_memory(jax.errors.JaxRuntimeError(said))
  assert not memory.out_of_memory(jax.errors.JaxRuntimeError('INTERNAL: something else'))


@pytest.mark.parametrize('home', ['a file', 'no home'])
def test_without_a_cache_a_study_runs_all_the_same(home, tmp_path, monkeypatch, caplog):
  monkeypatch.setattr(user_cache, '_usable', functools.cache(user_cache._usable.__wrapped__))
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file') if home == 'a file' else '')
  if home == 'no home':

    def unknown(self):
      raise RuntimeError('Could not determine home directory.')

    monkeypatch.setattr(Path, 'expanduser', unknown)
  folder = user_cache.folder('timings')
  assert not str(folder).startswith(str(tmp_path / 'file'))
  folder.mkdir(parents=True)  # what is timed can be kept as long as the process lives
  assert 'no cache is kept from run to run' in caplog.text


def test_results_of_nobody_are_not_taken_over(unfinished):
  (unfinished / 'config.json').unlink()
  rows = (unfinished / 'records.jsonl').read_text()
  with pytest.raises(ConfigError, match=r'holds records\.jsonl and checkpoints but no config.json'):
    study_run.run_study(config(batch_sizes=(4, 8)), unfinished)
  assert (unfinished / 'records.jsonl').read_text() == rows


def test_a_plan_without_a_config_is_made_anew(tmp_path):
  planned = plan.make_plan(config(batch_sizes=(4, 32)), 150)
  records.write_plan(tmp_path / 'plan.csv', plan.lane_rows(planned))
  assert study_run.run_study(config(), tmp_path)
  assert {row['batch_size'] for row in records.read_plan(tmp_path / 'plan.csv')} == {8, 16}


def test_a_second_process_is_refused_and_changes_nothing(unfinished):
  before = {path: path.read_bytes() for path in unfinished.rglob('*') if path.is_file()}
  holder = f'in use by process {os.getpid()} on {re.escape(platform.node())} since 20'
  with lock.held(unfinished), pytest.raises(ConfigError, match=holder):
    study_run.run_study(config(), unfinished)
  after = {path: path.read_bytes() for path in unfinished.rglob('*') if path.is_file()}
  assert after == before


@pytest.mark.parametrize(
  'gone',
  [('report.html',), ('report.md',), ('methodology.txt',), ('report.html', 'methodology.txt')],
)
def test_what_an_interrupted_end_left_out_is_made_again(gone, undisturbed, tmp_path):
  workdir = Path(shutil.copytree(undisturbed, tmp_path / 'study'))
  kept = {name: (workdir / name).read_text() for name in gone}
  for name in gone:
    (workdir / name).unlink()
  assert study_run.run_study(config(), workdir)
  assert all((workdir / name).exists() for name in gone)
  if 'methodology.txt' in gone:
    assert (workdir / 'methodology.txt').read_text() == kept['methodology.txt']


def test_a_damaged_summary_is_made_again(undisturbed, tmp_path):
  workdir = Path(shutil.copytree(undisturbed, tmp_path / 'study'))
  (workdir / 'summary.json').write_text('{"')
  assert study_run.run_study(config(), workdir)
  (rows, made), (rows_before, before) = results(workdir), results(undisturbed)
  assert made.pop('hardware').startswith(before.pop('hardware'))  # as the start noted it
  assert (rows, made) == (rows_before, before)


def test_native_cost_that_an_interrupted_end_left_out_is_measured(undisturbed, tmp_path):
  workdir = Path(shutil.copytree(undisturbed, tmp_path / 'study'))
  assert study_run.run_study(config(native_cost__measure=True), workdir)
  path = workdir / 'native_cost.json'
  assert json.loads(path.read_text())
  path.write_text('')  # by a disk
  assert study_run.run_study(config(native_cost__measure=True), workdir)
  assert json.loads(path.read_text())
  assert 'native_cost' in (workdir / 'report.html').read_text()


@pytest.mark.parametrize(
  'name', ['', 'last phase', 'a=b', '/abs', 'a/b', '[/b]', '$a^$', '-x', 'x' * 65, 'é']
)
def test_names_that_would_be_lost_in_a_path_or_a_branch_are_refused(name):
  staged, armed = config(), config()
  stages.add(staged, name, epochs=1.0, batch_size=('keep', 'multiply:2'))
  arms.add(armed, name, {'seed': 1})
  for refused in (staged, armed):
    with pytest.raises(ConfigError, match='is no name'):
      validate(refused)


def test_a_branch_that_chooses_no_rule_is_an_error():
  staged = config()
  stages.add(staged, 'first', epochs=1.0)
  stages.add(staged, 'last', epochs=1.0, batch_size=('keep', 'multiply:2'))
  first, last = stages.of(staged)
  assert batch_size_paths.rule(first, 'last=keep') == 'keep'
  assert batch_size_paths.rule(last, 'last=multiply:2') == 'multiply:2'
  for branch in ('', 'last', 'last=', 'last=multiply:4', 'lst=keep'):
    with pytest.raises(ValueError, match='chooses none'):
      batch_size_paths.rule(last, branch)


@pytest.mark.parametrize(
  ('least', 'seconds', 'many'), [(0, 4.0, True), (100, 4.0, False), (0, 0.0, False)]
)
def test_saves_come_between_evaluations_too(least, seconds, many, tmp_path, monkeypatch):
  """As often as asked, on a clock that goes a second whenever it is read; less often if slow.

  With 0 seconds at evaluations alone.
  """
  monkeypatch.setattr(saves, 'LEAST_BETWEEN', least)
  ticking = iter(range(10**6))
  for clock in (loop, saves):
    monkeypatch.setattr(clock, 'now', lambda: float(next(ticking)))
  monkeypatch.setattr(loop.Pace, 'measured', lambda *_: None)  # a block at a time
  saved = []
  save = loop.TrainLoop._save
  monkeypatch.setattr(
    loop.TrainLoop, '_save', lambda self: saved.append(self.stage.groups[0].position) or save(self)
  )
  study_run.run_study(config(evaluations=1, checkpoint__seconds=seconds), tmp_path)
  assert (len(saved) > 4) == many
  if many:
    assert max(b - a for a, b in zip([0, *saved], saved, strict=False)) <= 64


START = """
import signal, sys, time
from bsjax.train import stopping
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and what nohup starts this one
stopping.leave_on_signal()
print('ready', flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize('name', stopping.NAMES)
def test_a_signal_before_training_ends_it_with_its_own_code(name):
  process = subprocess.Popen(
    [sys.executable, '-c', START], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
  )
  assert process.stdout.readline() == 'ready\n'
  process.send_signal(getattr(signal, name))
  _, error = process.communicate(timeout=30)
  assert process.returncode == stopping.UNFINISHED == 75
  assert 'Traceback' not in error and name in error


# A config file that sends its process a signal when the function that it names is called, or when
# garbage is collected, in whose callbacks Python ignores exceptions.
AT_A_MOMENT = """
import gc, importlib, os, signal
from helpers.small import small_config

def get_config():
  return small_config(**{keys})

def kill(*_):
  signal.signal(signal.{name}, signal.getsignal(signal.SIGUSR1))  # not ignored, as in background
  os.kill(os.getpid(), signal.{name})

def killing(module, function):
  real = getattr(module, function)
  setattr(module, function, lambda *given, **named: (kill(), real(*given, **named))[1])

def parts(config):
  if '{moment}' == 'gc.collect':
    gc.callbacks.append(kill)
    gc.collect()
  else:
    module, _, function = '{moment}'.rpartition('.')
    killing(importlib.import_module(module), function)
  return {{}}
"""


@pytest.mark.parametrize(
  ('name', 'moment'),
  [
    ('SIGHUP', 'gc.collect'),
    ('SIGINT', 'bsjax.data.load'),
    ('SIGTERM', 'bsjax.autotune.execution.choose'),  # before it times
    # Where programs of the training are built: it has begun, and stops when they are compiled.
    pytest.param('SIGTERM', 'bsjax.engine.stage_lanes.create', marks=pytest.mark.slow),
  ],
)
def test_a_command_that_has_not_begun_to_train_is_stopped_and_goes_on(
  name, moment, tmp_path, undisturbed
):
  file, workdir = tmp_path / 'mine.py', tmp_path / 'study'
  file.write_text(AT_A_MOMENT.format(keys=KEYS, name=name, moment=moment))
  stopped = subprocess.run(
    [sys.executable, '-m', 'bsjax.main', f'--config={file}', f'--workdir={workdir}'],
    env={**os.environ, 'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}', 'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
    check=False,
  )
  assert stopped.returncode == stopping.UNFINISHED, stopped.stderr
  assert 'Traceback' not in stopped.stderr
  if moment.endswith('create'):
    assert stopped.stdout.endswith('; saved. The same command continues.\n')
  else:
    assert stopped.stderr == f'bsjax: stopped by {name} before there was anything to save\n'
  assert study_run.run_study(config(), workdir)
  assert results(workdir) == results(undisturbed)


@pytest.mark.parametrize('name', stopping.NAMES)
def test_in_training_a_signal_asks_once(name):
  numbers = [getattr(signal, one) for one in stopping.NAMES if one in (name, 'SIGHUP')]
  # May be ignored, as nohup has it for all that it starts.
  outside = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
  try:
    assert_asks_once(name)
  finally:
    for number, handler in outside.items():
      signal.signal(number, handler)


def assert_asks_once(name):
  asked, before = [], signal.getsignal(getattr(signal, name))
  with stopping.asking(lambda: asked.append(1)):
    os.kill(os.getpid(), getattr(signal, name))
    time.sleep(0.01)
    assert asked == [1]
    assert signal.getsignal(getattr(signal, name)) == signal.SIG_DFL  # once more ends it
    for other in {*stopping.NAMES} - {name, 'SIGINT'}:  # and these do not, once each
      os.kill(os.getpid(), getattr(signal, other))
      time.sleep(0.01)
      assert signal.getsignal(getattr(signal, other)) == signal.SIG_DFL
    assert asked == [1]
  assert signal.getsignal(getattr(signal, name)) == before


def test_before_training_too_what_is_ignored_stays_ignored(monkeypatch):
  ignored = {signal.SIGHUP: signal.SIG_IGN}  # as under nohup
  handled = []
  monkeypatch.setattr(signal, 'getsignal', lambda number: ignored.get(number, signal.SIG_DFL))
  monkeypatch.setattr(signal, 'signal', lambda number, _: handled.append(number))
  stopping.leave_on_signal()
  assert {*handled} == {*stopping.SIGNALS} - {signal.SIGHUP}


def test_what_is_ignored_stays_ignored():
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    with stopping.asking(lambda: pytest.fail('it asked')):
      os.kill(os.getpid(), signal.SIGHUP)
      time.sleep(0.01)
  finally:
    signal.signal(signal.SIGHUP, before)
