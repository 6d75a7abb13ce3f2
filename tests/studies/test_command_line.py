"""What commands say of a config file or flag that is wrong, and to terminals that print little."""

import importlib.util
import io
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import hypothesis
import jax
import pytest
from absl import flags, logging
from helpers import many
from helpers.small import small_config
from hypothesis import strategies as st
from ml_collections import config_flags

import bsjax
from bsjax import __main__ as commands
from bsjax import cli, configs
from bsjax import console as console_module
from bsjax.config.errors import ConfigError
from bsjax.config.keys import KEYS
from bsjax.engine import device_axis
from bsjax.sharpness import __main__ as sharpness

HEAD = 'from bsjax.config import base_config\ndef get_config():\n  config = base_config()\n'
DIGITS = 'from bsjax.config import base_config as get_config\n'


@pytest.fixture
def said(monkeypatch, tmp_path):
  """Parses a command line with flags of its own; returns what it exits with, or None."""

  def parse(content, *arguments):
    file = tmp_path / 'file.py'
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    values = flags.FlagValues()
    monkeypatch.setattr(flags, 'FLAGS', values)
    cli.config_flags.DEFINE_config_file('config', None, 'A study.', flag_values=values)
    flags.mark_flag_as_required('config', flag_values=values)
    flags.DEFINE_integer('verbosity', 0, 'Of logs.', flag_values=values)
    line = ['bsjax', f'--config={file}', *arguments]
    monkeypatch.setattr(sys, 'argv', line)
    try:
      cli.parse_flags(line)
    except SystemExit as error:
      return str(error.code).replace(str(file), 'FILE')
    return None

  return parse


@pytest.mark.parametrize(
  'content, words',
  [
    ('def get_config(:\n', 'FILE:1: SyntaxError'),
    (b'\x00\xff', 'FILE:1: SyntaxError'),
    ('x = 1\n', 'FILE defines no get_config()'),
    ('import no_such_module\n', 'FILE:1: ModuleNotFoundError'),
    ('def get_config():\n  return {}["key"]\n', 'FILE:2: KeyError: key'),
    ('def get_config():\n  raise OSError("disk")\n', 'FILE:2: OSError: disk'),
    (
      'def get_config():\n  return key()\n\ndef key():\n  return {}["key"]\n',
      'FILE:5: KeyError: key',  # where it is, and not where that is called
    ),
    ('def get_config():\n  return 5\n', 'returned 5; return base_config()'),
    ('def get_config():\n  return {"a": 1}\n', "returned {'a': 1}"),
    ('def get_config():\n  pass\n', '--config must have a value other than None'),
    (HEAD + '  config.trials = "many"\n  return config\n', 'FILE:4: TypeError'),
    (HEAD + '  config.trails = 3\n  return config\n', 'FILE:4: AttributeError'),
    (HEAD + '  config.update(trails=3)\n', 'FILE:4: KeyError: Key "trails" does not exist'),
    (HEAD + '  config.epochs = 10**400\n  return config\n', 'FILE:4: OverflowError'),
  ],
)
def test_an_error_of_a_config_file_is_one_line_with_file_and_line(said, content, words):
  line = said(content)
  assert line.startswith('bsjax: ') and words in line and len(line) < 500, line
  assert '\n' not in line


@pytest.mark.parametrize(
  'flag',
  [
    *('--nosuch=3', '--config.nosuch=3', '--config.model.x=3', '--config.trials=1.5'),
    *('--config.trials=', '--config.data.flip=7', '--config.x.y=1'),
    *('--config.model=3', '--config.trials=[/b]', '--config.seed=∞', '--config.epochs=1e'),
  ],
)
def test_a_wrong_flag_is_one_line(said, flag):
  line = said(DIGITS, flag)
  assert line.startswith('bsjax: ') and '\n' not in line, line


ODD = st.sampled_from(
  (
    *('', '()', '1', '-3', '1e400', 'nan', '(1,', '8,16', '(8, 16)', "'", '"', '[]', '{}', 'None'),
    *('True', '0x10', '1_0', '--', '--shard', 'a=b', 'é∞', '\udc80', '[/b]', '$x^', '9' * 400),
  )
)
NAMES = st.sampled_from(
  [key.name for key in KEYS] + ['', 'model', 'model.', '.x', 'x y', 'é', 'a.b']
)


@many.many(200)
@hypothesis.given(
  st.lists(st.tuples(NAMES, st.sampled_from('= '), ODD | st.text(max_size=8)), max_size=3)
)
def test_any_flags_are_read_or_refused_in_one_line(said, given):
  pairs = [
    [f'--config.{name}{mark}{value}'] if mark == '=' else [f'--config.{name}', value]
    for name, mark, value in given
  ]
  line = said(DIGITS, *itertools.chain(*pairs))
  many.outcome(line is not None)
  if line is not None:
    assert line.startswith('bsjax: ') and '\n' not in line and 'Traceback' not in line, line


def test_a_right_command_line_says_nothing(said):
  assert said(DIGITS, '--config.trials=4') is None
  assert flags.FLAGS.config.trials == 4
  assert flags.FLAGS.verbosity == logging.WARNING
  assert said(DIGITS, '--verbosity=1') is None
  assert flags.FLAGS.verbosity == 1  # as asked


@pytest.mark.parametrize('flag', [['--config=digits'], ['--config', 'digits'], ['-config=digits']])
def test_a_study_that_comes_with_bsjax_is_named(flag):
  assert cli.config_files(['bsjax', '--config']) == ['bsjax', '--config']
  resolved = cli.config_files(['bsjax', *flag, '--config.trials=2', '--workdir=digits'])
  assert resolved[-2:] == ['--config.trials=2', '--workdir=digits']
  assert resolved[-3].removeprefix(f'{flag[0]}=').endswith(f'{os.sep}digits.py')
  path = Path(resolved[-3].rpartition('=')[2])
  assert path.samefile(Path(__file__).parents[2] / 'configs' / 'digits.py')


def test_names_of_studies_leave_paths_and_files_alone(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'digits').touch()
  for given in ('configs/cifar.py', 'digits', './cifar', 'cifar.py:3', ''):
    assert configs.resolve(given) == given
  assert configs.resolve('cifar:3').endswith('cifar.py:3')
  (tmp_path / 'cifar').mkdir()  # as a workdir may be called
  assert configs.resolve('cifar').endswith('cifar.py')
  folder = Path(__file__).parents[2] / 'configs'
  assert configs.names() == sorted(path.stem for path in folder.glob('*.py'))


def test_a_study_that_does_not_come_with_bsjax_is_one_line(said):
  line = said(DIGITS, '--config=digit')
  assert line.startswith("bsjax: --config='digit' is unknown; did you mean 'digits'?"), line
  assert '\n' not in line and 'cifar' in line and 'path of a file' in line


def test_every_command_says_its_version(said, capsys, monkeypatch):
  assert said(DIGITS, '--version') == 'None'
  with pytest.raises(SystemExit):
    sharpness.parse(['--version'])
  monkeypatch.setattr(sys, 'argv', ['bsjax', '--version'])
  commands.main()
  assert capsys.readouterr().out == f'bsjax {bsjax.__version__}\n' * 3


def test_help_shows_every_key_three_examples_and_all_flags():
  command = [sys.executable, '-m', 'bsjax.main', '--help']
  shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
  for key in KEYS:
    entry = re.search(rf'^  --config\.{re.escape(key.name)}=.*(\n      .*)*', shown, re.MULTILINE)
    assert entry and key.doc in re.sub(r'\n +', ' ', entry[0]), key.name
  examples = re.findall(r'^  python -m bsjax.main (--config=.*)', shown, re.MULTILINE)
  assert len(examples) == 3
  for example in examples:
    names = {word.partition('=')[0] for word in cli.config_files(example.split())}
    assert {name[9:] for name in names if name.startswith('--config.')} <= {k.name for k in KEYS}
  for flag in ('config', 'workdir', 'dry_run', 'extend', 'shard', 'coordinator'):
    assert re.search(rf'^ +--(\[no\])?{flag}: ', shown, re.MULTILINE), flag


def test_the_command_runs_the_modules_beside_it(capsys, monkeypatch):
  ran = []
  monkeypatch.setattr(
    commands.runpy, 'run_module', lambda *given, **_: ran.append((given, sys.argv))
  )
  for name, (module, does) in commands.COMMANDS.items():
    monkeypatch.setattr(sys, 'argv', ['bsjax', name, '--workdir=w'])
    commands.main()
    assert ran[-1] == ((module,), ['bsjax', '--workdir=w'])
    assert importlib.util.find_spec(module)
    monkeypatch.setattr(sys, 'argv', ['bsjax'])
    commands.main()
    usage = capsys.readouterr().out
    assert f'bsjax {name} ' in usage and does in usage
  names = ['run', 'report', 'audit', 'compare', 'recommend', 'sharpness', 'cost']
  assert list(commands.COMMANDS) == names
  monkeypatch.setattr(sys, 'argv', ['bsjax', 'train'])
  with pytest.raises(SystemExit, match="'train' is no command"):
    commands.main()


@pytest.mark.parametrize('encoding', ['ascii', 'latin-1', 'cp1252', 'utf-8'])
def test_a_stream_gets_what_it_can_print(monkeypatch, encoding):
  """Also brackets and colons of names, which are no markup."""
  content = io.BytesIO()
  monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(content, encoding=encoding))
  console_module.make_console().print('an [/b] arm :smile: of ∞, \udce9 and a$b^')
  sys.stdout.flush()
  infinite = '∞' if encoding == 'utf-8' else '?'
  printed = content.getvalue().decode(encoding)
  assert printed == f'an [/b] arm :smile: of {infinite}, ? and a$b^{os.linesep}'


@pytest.mark.parametrize('error', [AssertionError(), RuntimeError('no\nbackend')])
def test_a_platform_that_is_not_there_is_named(monkeypatch, error):
  def fail():
    raise error

  monkeypatch.setattr(jax, 'local_devices', fail)
  for name in ('process_count', 'process_index'):  # which begin with devices, too
    monkeypatch.setattr(jax, name, fail)
  for ask in (
    lambda: device_axis.devices(0),
    lambda: bsjax.Study(small_config(), '/nowhere').run(),
  ):
    with pytest.raises(ConfigError, match='JAX finds no devices of JAX_PLATFORMS=') as caught:
      ask()
    assert '\n' not in str(caught.value)


def test_options_of_jax_that_change_results_are_pinned_and_said(caplog):
  others = {
    'jax_enable_x64': True,
    'jax_numpy_dtype_promotion': 'strict',
    'jax_numpy_rank_promotion': 'raise',
    'jax_default_prng_impl': 'rbg',
    'jax_threefry_partitionable': False,
    'jax_debug_nans': True,
    'jax_debug_infs': True,
    'jax_disable_jit': True,
    'jax_default_matmul_precision': 'bfloat16',
  }
  assert others.keys() == cli.RESULTS.keys()
  before = {name: getattr(jax.config, name) for name in others}
  try:
    for name, value in others.items():
      jax.config.update(name, value)
    cli.pin_options()
    assert {name: getattr(jax.config, name) for name in others} == cli.RESULTS
    assert all(f'{name}=' in caplog.text for name in others)
    caplog.clear()
    cli.pin_options()
    assert not caplog.text
  finally:
    for name, value in before.items():
      jax.config.update(name, value)


def test_a_config_file_is_run_once(tmp_path):
  file, log = tmp_path / 'study.py', tmp_path / 'runs'
  file.write_text(
    'from bsjax.config.keys import base_config\n'
    f"with open({str(log)!r}, 'a') as runs:\n  runs.write('run ')\n"
    'get_config = base_config\n\n'
    'def parts(config):\n  return {"data": config.seed}\n'
  )
  values = flags.FlagValues()
  config_flags.DEFINE_config_file('config', flag_values=values)
  values(['bsjax', f'--config={file}'])
  assert cli.parts(values.config, str(file)) == {'data': 0}
  assert log.read_text() == 'run '
