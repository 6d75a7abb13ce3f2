"""The installed package: what a wheel holds, and a study with its report from anywhere else."""

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import bsjax

ROOT = Path(__file__).parents[2]
CONFIG = """
from bsjax.config import base_config


def get_config():
  config = base_config()
  config.batch_sizes = (16, 32)
  config.learning_rates = (0.1,)
  config.trials = 2
  config.epochs = 1.0
  config.evaluations = 2
  config.data.train_examples = 128
  config.model.name = 'mlp'
  config.model.width = 8
  config.model.depth = 1
  config.noise_scale.online = False
  config.execution.strategy = 'map-canonical'
  config.execution.devices = 1
  return config
"""


def run(*command, cwd, **environment):
  """Its output; a failure shows what it said. Nothing of this checkout is on its path."""
  unset = {key: value for key, value in os.environ.items() if not key.startswith('PYTHON')}
  done = subprocess.run(
    list(map(str, command)), cwd=cwd, env=unset | environment, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
  return done.stdout


def builds_wheels():
  """Whether setuptools is here and recent enough; otherwise pip fetches one."""
  try:
    return tuple(map(int, version('setuptools').split('.')[:2])) >= (70, 1)
  except PackageNotFoundError:
    return False


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  folder = tmp_path_factory.mktemp('wheel')
  source = folder / 'source'
  source.mkdir()
  tracked = run('git', 'ls-files', '--cached', '--others', '--exclude-standard', cwd=ROOT)
  for name in tracked.splitlines():  # a copy, as a build leaves folders beside what it builds
    if (ROOT / name).is_file() and not name.startswith('experiments/'):
      (source / name).parent.mkdir(parents=True, exist_ok=True)
      (source / name).write_bytes((ROOT / name).read_bytes())
  build = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', f'--wheel-dir={folder}']
  build += ['--no-build-isolation'] * builds_wheels()
  run(*build, source, cwd=folder)
  (path,) = folder.glob('*.whl')
  return path


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
  """The Python of an environment with the wheel, which borrows what it needs from this one."""
  folder = tmp_path_factory.mktemp('installed')
  run(sys.executable, '-m', 'venv', '--without-pip', folder, cwd=folder)
  (packages,) = folder.glob('lib/python*/site-packages')
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(packages)
  # A path file adds the folder but not what its own path files add, such as this checkout.
  (packages / 'needed.pth').write_text(sysconfig.get_path('purelib') + '\n')
  return folder / 'bin' / 'python'


@pytest.mark.slow
def test_a_wheel_has_the_package_with_its_pages_and_nothing_else(wheel):
  with zipfile.ZipFile(wheel) as archive:
    names = archive.namelist()
  tops = {name.split('/')[0] for name in names}
  assert {top for top in tops if not top.endswith('.dist-info')} == {'bsjax'}
  templates = {path.name for path in (ROOT / 'bsjax' / 'report' / 'templates').iterdir()}
  packed = {Path(name).name for name in names if name.startswith('bsjax/report/templates/')}
  assert packed == templates and 'style.css' in packed
  modules = {str(path.relative_to(ROOT)) for path in (ROOT / 'bsjax').rglob('*.py')}
  studies = {f'bsjax/configs/{path.name}' for path in (ROOT / 'configs').glob('*.py')}
  assert {name for name in names if name.endswith('.py')} == modules | studies
  assert 'bsjax/py.typed' in names


@pytest.mark.slow
def test_a_wheel_says_its_licence_version_and_command(wheel):
  with zipfile.ZipFile(wheel) as archive:
    told = {Path(name).name: archive.read(name) for name in archive.namelist() if '-info/' in name}
  metadata = told['METADATA'].decode()
  assert f'\nVersion: {bsjax.__version__}\n' in metadata
  assert re.search(r'^License(-Expression)?: Apache-2.0$', metadata, re.MULTILINE)
  assert told['LICENSE'] == (ROOT / 'LICENSE').read_bytes()
  assert told['entry_points.txt'].decode().split() == [
    '[console_scripts]',
    *('bsjax', '=', 'bsjax.__main__:main'),
  ]


@pytest.mark.slow
def test_an_installed_wheel_trains_and_reports_from_an_empty_directory(installed, tmp_path):
  (tmp_path / 'config.py').write_text(CONFIG)
  code = 'import bsjax; from bsjax.configs import digits; print(bsjax.__file__); '
  code += 'print(digits.__file__); print(bsjax.configs.resolve("digits"))'
  for where in run(installed, '-c', code, cwd=tmp_path).splitlines():
    assert Path(where).is_relative_to(installed.parents[1])
  main = '-m', 'bsjax.main', f'--config={tmp_path / "config.py"}', '--workdir=study'
  run(installed, *main, cwd=tmp_path, JAX_PLATFORMS='cpu')
  written = (tmp_path / 'study' / 'report.html').read_text()
  (tmp_path / 'study' / 'report.html').unlink()
  run(installed, '-m', 'bsjax', 'report', '--workdir=study', cwd=tmp_path)
  page = (tmp_path / 'study' / 'report.html').read_text()
  assert page == written and page.count('<svg') == page.count('<figcaption') > 5
  assert 'figcaption {' in page.split('</style>')[0]  # the style sheet is inside
