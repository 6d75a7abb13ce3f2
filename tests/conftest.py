"""Test set-up: two CPU devices, shapes checked at run time, each program compiled once."""

import contextlib
import gc
import os

import jax
import jaxtyping
import pytest
from helpers import programs, typed
from jax._src import compiler  # there is no public way to set options of every compilation

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 2)

GET_COMPILE_OPTIONS = compiler.get_compile_options


def _known(options):
  """Those of these options of compilation that the XLA at hand has."""
  lowered, known = jax.jit(lambda: 0).lower(), []
  for name, value in options:
    with contextlib.suppress(jax.errors.JaxRuntimeError):
      lowered.compile(compiler_options={name: value})
      known.append((name, value))
  return known


# The older of two ways to fuse loops; no threads, which gain nothing in small programs; and no
# optimizations, which take three quarters of the time. They tell what rounding must not change.
CHEAP = _known(
  [
    ('xla_cpu_use_fusion_emitters', False),
    ('xla_cpu_parallel_codegen_split_count', 1),
    ('xla_backend_optimization_level', 0),
    ('xla_llvm_disable_expensive_passes', True),
  ]
)
# Nobody reads where in Python an operation of a compiled test came from; to note it costs time.
jax.config.update('jax_traceback_in_locations_limit', 0)

# Every jaxtyping annotation of the package is checked while the tests run.
typed.install('bsjax')

programs.keep()  # many tests run the same program, in other workers and in the next run too


@pytest.fixture(autouse=True)
def _types_are_checked_again():
  """Also where the test before failed in the midst of `helpers.draws`."""
  yield
  jaxtyping.config.update('jaxtyping_disable', False)


@contextlib.contextmanager
def _cheap_programs(monkeypatch):
  """Compiles in half the time, to slower programs."""

  def cheaper(*arguments, **keywords):
    options = GET_COMPILE_OPTIONS(*arguments, **keywords)
    options.env_option_overrides = [*options.env_option_overrides, *CHEAP]
    return options

  monkeypatch.setattr(compiler, 'get_compile_options', cheaper)
  yield


@pytest.fixture(autouse=True, scope='session')
def _seldom_collected():
  """Traces make millions of objects that are soon gone, among modules that stay.

  Each search for circles of garbage would pass through all of them.
  """
  gc.collect()
  gc.freeze()
  gc.set_threshold(100_000, 50, 100)


@pytest.fixture(autouse=True, scope='session')
def _programs_of_processes():
  """Processes that tests start compile cheaply too, all of them."""
  jax.devices()  # this process has read its flags
  with pytest.MonkeyPatch.context() as monkeypatch:
    flags = ' '.join(f'--{name}={str(value).lower()}' for name, value in CHEAP)
    monkeypatch.setenv('XLA_FLAGS', f'{os.environ.get("XLA_FLAGS", "")} {flags}'.strip())
    yield


@pytest.fixture(autouse=True, scope='module')
def _programs_of_module(request):
  """Programs are cheap, except in modules marked `optimized`, and are let go after each module.

  Thousands of loaded programs exhaust the memory maps that Linux grants a process.
  """
  with pytest.MonkeyPatch.context() as monkeypatch:
    optimized = request.node.get_closest_marker('optimized')
    with contextlib.nullcontext() if optimized else _cheap_programs(monkeypatch):
      yield
  jax.clear_caches()
  gc.collect()


@pytest.fixture
def optimized_programs(monkeypatch):
  """For single tests of a module whose other programs are cheap."""
  jax.clear_caches()
  monkeypatch.setattr(compiler, 'get_compile_options', GET_COMPILE_OPTIONS)
  yield
  jax.clear_caches()


@pytest.fixture
def blank_figures(monkeypatch):
  """Pages of the test have blank ones."""
  from helpers import blank  # drawing takes a while to import

  blank.figures(monkeypatch)
