"""Test set-up: two CPU devices, shapes checked at run time, each program compiled once."""

import contextlib
import gc
import os
import tempfile

import jax
import jaxtyping
import pytest

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 2)

# Many tests run the same program, also in different workers, which inherit the variable; the
# directory is gone when the tests are.
if 'BSJAX_TEST_PROGRAMS' not in os.environ:
  PROGRAMS = tempfile.TemporaryDirectory(prefix='bsjax-test-')
  os.environ['BSJAX_TEST_PROGRAMS'] = PROGRAMS.name
jax.config.update('jax_compilation_cache_dir', os.environ['BSJAX_TEST_PROGRAMS'])
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)

# Every jaxtyping annotation of the package is checked while the tests run.
jaxtyping.install_import_hook('bsjax', 'beartype.beartype')


@pytest.fixture(autouse=True, scope='module')
def _programs_are_let_go():
  """Thousands of loaded programs exhaust the memory maps that Linux grants a process."""
  yield
  jax.clear_caches()
  gc.collect()


@pytest.fixture(autouse=True)
def _types_are_checked_again():
  """Also where the test before failed in the midst of `helpers.draws`."""
  yield
  jaxtyping.config.update('jaxtyping_disable', False)


@contextlib.contextmanager
def _few_optimizations():
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)


@pytest.fixture
def cheap_programs():
  """Compiles in about half the time to slower programs; not for tests of bitwise equality.

  The two sides of these must be optimized as a user's programs are.
  """
  with _few_optimizations():
    yield


@pytest.fixture(scope='module')
def cheap_programs_in_module():
  """The same for a whole module with its fixtures."""
  with _few_optimizations():
    yield


@pytest.fixture
def blank_figures(monkeypatch):
  """Figures take most of the time of a page, and other tests draw them."""
  from matplotlib.figure import Figure

  from bsjax.report.figures import drawing

  monkeypatch.setattr(drawing, 'draw', lambda *_: Figure((1, 1)))
