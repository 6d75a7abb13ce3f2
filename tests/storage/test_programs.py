"""Programs that tests compile are kept for the next run, and do not fill the disk."""

import os
import subprocess
import sys

import pytest
from helpers import programs

START = 'from bsjax import cli; cli.set_up_machine(); import jax;'
CORES = 'from bsjax.storage import provenance; provenance.cores = lambda: 3;'


def test_the_oldest_programs_go_first(tmp_path):
  for age, name in enumerate('dcba'):
    (tmp_path / name).write_bytes(b'x' * 10)
    os.utime(tmp_path / name, (age, age))
  programs.prune(tmp_path, 20)
  assert sorted(file.name for file in tmp_path.iterdir()) == ['a', 'b']
  programs.prune(tmp_path, 20)
  assert len(list(tmp_path.iterdir())) == 2


def test_processors_that_differ_have_programs_of_their_own(monkeypatch):
  mine = programs.folder()
  assert programs.folder() == mine
  monkeypatch.setattr(programs, '_processor', lambda: 'flags: none that anyone knows')
  assert programs.folder() != mine and programs.folder().parent == mine.parent


@pytest.mark.parametrize('given', [None, 'mine'])
def test_commands_keep_programs_where_the_user_does(given, tmp_path):
  environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'XDG_CACHE_HOME': str(tmp_path / 'home')}
  environment.pop('JAX_COMPILATION_CACHE_DIR')
  if given:
    environment['JAX_COMPILATION_CACHE_DIR'] = str(tmp_path / given)
  code = CORES + START + 'print(jax.config.jax_compilation_cache_dir, jax.device_count())'
  printed = subprocess.check_output([sys.executable, '-c', code], text=True, env=environment)
  home = tmp_path / 'home' / 'bsjax' / 'xla'
  assert printed.split() == [str(tmp_path / given if given else home), '3']  # a core is a device
