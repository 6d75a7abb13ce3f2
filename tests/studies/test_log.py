"""What a log file and a command line of a job say, and are told."""

import io
import subprocess
import sys

import numpy as np
import pytest
from helpers.small import small_config
from rich.console import Console

from bsjax import console as console_module
from bsjax.cli import last_of_each
from bsjax.config.errors import ConfigError
from bsjax.engine.validate import validate
from bsjax.plan import plan
from bsjax.storage import records
from bsjax.train import loop, study_run
from bsjax.train.rows import best_line

pytestmark = pytest.mark.usefixtures('blank_figures')


def test_a_log_file_gets_a_line_per_minute(monkeypatch):
  clock = [0.0]
  monkeypatch.setattr(console_module, 'now', lambda: clock[0])
  file = io.StringIO()
  with console_module.ProgressLine(Console(file=file, width=160), 4, 4000, 1000) as line:
    for _ in range(4):
      clock[0] += 25
      line.advance(500)
    line.note('best of all')
    clock[0] += 25
    line.advance(0)
  assert file.getvalue() == '62.5% of 4 lanes, 20 examples/s, 0:01:15 left\n'
  with console_module.ProgressLine(Console(file=file, width=160), 4, 4000, 1000) as line:
    line.note('best of all')
    clock[0] += 60
    line.advance(600)
  assert file.getvalue().endswith('40.0% of 4 lanes, 10 examples/s, 0:04:00 left; best of all\n')


@pytest.mark.parametrize('widgets', [True, False])
def test_a_notebook_has_a_live_line_where_it_has_widgets_and_log_lines_elsewhere(
  monkeypatch, capsys, widgets
):
  clock, asked = [0.0], []
  monkeypatch.setattr(console_module, 'now', lambda: clock[0])
  monkeypatch.setattr(
    console_module.importlib.util,
    'find_spec',
    lambda name: asked.append(name) or (object() if widgets else None),
  )
  console = Console(force_jupyter=True)
  printed = []
  monkeypatch.setattr(console, 'print', lambda *told, **_: printed.append(told))
  line = console_module.ProgressLine(console, 4, 1000, 0)
  clock[0] += 60
  line.advance(500)
  assert line._live.disable != widgets and asked == ['ipywidgets']
  lines = [told for told in printed if told and str(told[0]).startswith('50.0% of 4 lanes')]
  assert len(lines) == (0 if widgets else 1)


def test_a_line_without_any_progress_tells_no_time_left(monkeypatch):
  clock = [0.0]
  monkeypatch.setattr(console_module, 'now', lambda: clock[0])
  file = io.StringIO()
  with console_module.ProgressLine(Console(file=file, width=160), 4, 10**9, 1000) as line:
    clock[0] += 60
    line.advance(0)
  assert file.getvalue() == '0.0% of 4 lanes, 0 examples/s\n'


@pytest.mark.parametrize(
  ('pace', 'blocks', 'seconds', 'then'),
  [
    (1, 1, 0.4, 2),
    (4, 4, 0.0, 8),  # and no more than twice as many
    (4, 2, 0.5, 4),  # of a stretch that ended early
    (8, 8, 2.5, 3),
    (4, 4, 100.0, 1),  # one at least, however long it takes
  ],
)
def test_as_many_blocks_run_at_once_as_take_a_second(pace, blocks, seconds, then):
  paced = console_module.Pace()
  paced.blocks = pace
  paced.measured(blocks, seconds)
  assert paced.blocks == then


def test_on_a_terminal_a_live_line_begins_where_the_study_stands(monkeypatch):
  clock = [0.0]
  monkeypatch.setattr(console_module, 'now', lambda: clock[0])
  file = io.StringIO()
  with console_module.ProgressLine(Console(file=file, force_terminal=True), 4, 4000, 1000) as line:
    assert line._live.tasks[0].percentage == 25
    clock[0] += 60
    line.advance(500)
  assert '4 lanes' in file.getvalue() and 'of 4 lanes' not in file.getvalue()


class Gone(io.StringIO):
  """The output of a process whose terminal was closed."""

  def write(self, text):
    raise OSError('Input/output error')

  def flush(self):
    raise BrokenPipeError


def test_a_terminal_that_is_gone_ends_nothing(monkeypatch):
  monkeypatch.setattr(sys, 'stdout', Gone())
  console = console_module.make_console()
  console.print('a line')
  assert console.file.write('four') == 4
  console.file.flush()


def test_all_processes_but_the_first_are_silent(capsys):
  console = console_module.make_console(speaks=False)
  console.print('a line')
  assert console.quiet and capsys.readouterr().out == ''


@pytest.mark.slow
def test_a_reader_that_is_gone_ends_nothing(tmp_path):
  """Of a pipe: output after that goes nowhere, and at the end of the process too."""
  program = 'from bsjax.console import make_console as m\nc = m()\nc.print("a")\ninput()\n'
  program += 'for _ in range(9): c.print("b" * 9999)\nprint("c", flush=True)\nraise SystemExit(75)'
  process = subprocess.Popen(
    [sys.executable, '-c', program],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == 'a\n'
  process.stdout.close()
  process.stdin.write('\n')
  process.stdin.close()
  assert process.wait(30) == 75
  assert process.stderr.read() == ''


def test_the_note_is_the_best_lane_of_the_last_evaluation(tmp_path, monkeypatch):
  notes = []
  monkeypatch.setattr(loop.ProgressLine, 'note', lambda self, text: notes.append(text))
  config = small_config(trials=1, evaluations=2)
  study_run.run_study(config, tmp_path)
  rows = records.read(tmp_path / 'records.jsonl')
  last = [row for row in rows if row['examples'] == rows[-1]['examples']]
  best = max(last, key=lambda row: row['val_accuracy'])
  lanes = records.read_plan(tmp_path / 'plan.csv')
  assert len(notes) == len({row['examples'] for row in rows})
  assert f'{best["val_accuracy"]:.4g}, batch size {best["batch_size"]}' in notes[-1]
  assert notes[-1].endswith(f'rate {lanes[best["lane"]]["learning_rate"]:.4g}')


def test_a_lane_that_is_lost_is_not_the_best():
  rows = [
    {'lane': lane, 'val_accuracy': value, 'diverged': lane == 0, 'examples': 8, 'batch_size': lane}
    for lane, value in enumerate((0.9, 0.5, None, 0.7))
  ]
  lanes = plan.make_plan(small_config(), 150).lanes
  assert 'accuracy 0.7, batch size 3,' in best_line(rows, lanes)


def test_where_all_lanes_diverged_the_note_says_so():
  rows = [{'val_accuracy': 0.1, 'diverged': True}, {'val_accuracy': None, 'diverged': False}]
  assert best_line(rows, []) == 'all lanes have diverged'


@pytest.mark.parametrize(
  ('given', 'kept'),
  [
    (
      ['x', '--config=a.py', '--config.n=1', '--config.n=2'],
      ['x', '--config=a.py', '--config.n=2'],
    ),
    (['x', '-config.n=1', '--other', '--config.n', '3'], ['x', '--other', '--config.n', '3']),
    (['x', '--config.n', '3', '--config.n=4'], ['x', '--config.n=4']),
    (['x', '--config.n', '-1', '--config.n=4'], ['x', '--config.n=4']),
    (['x', '--config.n', '-.5', '--config.n=4'], ['x', '--config.n=4']),
    (['x', '--config.n', '-.x', '--config.n=4'], ['x', '-.x', '--config.n=4']),
    (['x', '--config.flag', '--config.n=4'], ['x', '--config.flag', '--config.n=4']),
    (['x', '--config.n=1', '--', '--config.n=2'], ['x', '--config.n=1', '--', '--config.n=2']),
    (['x', '--config.n'], ['x', '--config.n']),
    (['x', '--config.n=1', '--config.nn=2'], ['x', '--config.n=1', '--config.nn=2']),
  ],
)
def test_of_a_key_given_twice_the_last_counts(given, kept):
  assert last_of_each(given) == kept


@pytest.mark.parametrize(
  'key, value',
  [
    ('trials', 10**5),
    ('evaluations', 10**6),
    ('seed', 2**32),
    ('model__depth', 10**6),
    ('model__width', 10**9),
  ],
)
def test_what_no_machine_could_do_is_refused_with_its_bound(key, value):
  with pytest.raises(ConfigError, match=f'{key.replace("__", ".")}={value} must be .*(below|most)'):
    validate(small_config(**{key: value}))


def test_the_same_data_may_move_and_other_data_are_refused(tmp_path):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (60, 8, 8, 1), np.uint8)
  labels = np.arange(60) % 3

  def config(name, images):
    np.savez(tmp_path / name, train_images=images, train_labels=labels)
    return small_config(
      data__source='npz',
      data__path=str(tmp_path / name),
      data__validation_share=0.2,
      data__train_examples=0,
      batch_sizes=(8,),
      trials=1,
      epochs=2.0,
    )

  assert study_run.run_study(config('here.npz', images), tmp_path / 'study')
  assert study_run.run_study(config('there.npz', images), tmp_path / 'study')
  with pytest.raises(ConfigError, match='begun with other images or labels'):
    study_run.run_study(config('other.npz', 255 - images), tmp_path / 'study')
