"""Several processes that run one study: what they tell one another, and what only the first does.

All of them go through the same calls in the same order. Lanes need nothing from one another, so a
program runs on the devices of its process alone; what passes between processes passes here. With
one process everything returns at once what it is given.
"""

import contextlib
import dataclasses
import itertools
import os
import pickle
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Shaped

from bsjax.config.errors import ConfigError

T = TypeVar('T')

PATIENCE = 30.0  # seconds without a sign of life after which a process counts as lost
HEARTBEAT = 50  # seconds after which JAX gives up by itself, in fewer words
BEAT = 2.0  # seconds between two signs of life
DAY = 86_400_000  # milliseconds; what a process waits for may be long, and a dead one is noticed
STOPPED = 'bsjax/stopped/'  # before the numbers of processes that end as a signal asks one of them
_calls = itertools.count()  # numbers what all processes do together
_ended = threading.Event()
_apart = threading.Event()  # while the first process does something without the others


class Lost(RuntimeError):
  """Another process of the study has died, or cannot be reached; the message is for a person."""

  def __init__(self, which: str = 'another process'):
    super().__init__(
      f'{which} of this study has died or cannot be reached; its own output says more. Nothing '
      'that was saved is lost: the same command continues, with as many processes or another number'
    )


@dataclasses.dataclass(frozen=True)
class _Outcome:
  """What a function returned in a process, or the error that it raised."""

  value: Any = None
  error: Exception | None = None


def wanted() -> bool:
  """Whether Slurm or Open MPI has started several processes, of which this is one."""
  sizes = ('SLURM_STEP_NUM_TASKS', 'OMPI_COMM_WORLD_SIZE')
  return any(os.environ.get(name, '1') not in ('', '1') for name in sizes)


def join(coordinator: str | None = None, count: int | None = None, index: int | None = None):
  """Makes this process one of those of a study; it must precede any use of devices.

  `coordinator` is the host and port of the first one. What is not given JAX finds where Slurm, Open
  MPI, Kubernetes or a TPU pod has started the processes. Raises ConfigError where it cannot.
  """
  try:
    jax.distributed.initialize(
      coordinator,
      count,
      index,
      cluster_detection_method='deactivate' if coordinator else None,
      heartbeat_timeout_seconds=HEARTBEAT,
      shutdown_timeout_seconds=HEARTBEAT,
    )
  except (RuntimeError, TypeError, ValueError) as error:
    raise ConfigError(
      f'the processes of this study did not come together ({str(error).splitlines()[0]}); give '
      'each --coordinator=HOST:PORT of the first, --processes and --process, or start them by a '
      'cluster that JAX knows'
    ) from None
  _hear_again()
  threading.Thread(target=_watch, daemon=True).start()
  devices = exchange(jax.local_device_count())
  if len(set(devices)) > 1:
    raise ConfigError(f'the processes of a study need equally many devices each, not {devices}')


def _hear_again() -> None:
  """Has SIGTERM heard as before: JAX took it for a service of its own, and would do nothing."""
  handler = signal.getsignal(signal.SIGTERM)
  if handler is not None and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGTERM, handler)


def leave() -> None:
  """Ends what `join` began, when all have come here."""
  if count() > 1 and not _ended.is_set():
    _meet()
    _ended.set()
    jax.distributed.shutdown()


def count() -> int:
  """Returns the number of processes of the study; of one that stands alone without a device."""
  return jax.process_count() if jax.distributed.is_initialized() else 1


def is_first() -> bool:
  """Whether this process is the one that writes and speaks."""
  return index() == 0


def index() -> int:
  """Returns which of the processes this is, from 0."""
  return jax.process_index() if count() > 1 else 0


def exchange(value: T) -> list[T]:
  """Returns the value that each process gives, the first one's first.

  In a function that the first calls without the others (`first`) it is the only one.
  """
  if count() == 1 or _apart.is_set():
    return [value]
  content = np.frombuffer(pickle.dumps(value), np.uint8)
  lengths = gather(np.array([len(content)], np.int32))
  padded = np.zeros(lengths.max(), np.uint8)
  padded[: len(content)] = content
  rows = gather(padded[None])
  return [pickle.loads(row[:n].tobytes()) for row, n in zip(rows, lengths, strict=True)]


def first(function: Callable[[], T]) -> T:
  """Calls a function in the first process alone; all return its result, or raise its error."""

  def apart() -> T:
    _apart.set()
    try:
      return function()
    finally:
      _apart.clear()

  return function() if _apart.is_set() else _results(apart, is_first())[0]


def together(function: Callable[[], T]) -> T:
  """Calls a function in every process; an error in one is raised in all."""
  return _results(function, True)[index()]


def _results(function: Callable[[], T], mine: bool) -> list[T]:
  if count() == 1:
    return [function()]
  try:
    outcome = _Outcome(function()) if mine else _Outcome()
  except Exception as error:
    outcome = _Outcome(error=error)
  outcomes = exchange(outcome)
  for one in outcomes:
    if one.error:
      raise one.error
  return [one.value for one in outcomes]


def gather(array: Shaped[np.ndarray, 'here ...']) -> Shaped[np.ndarray, 'all ...']:
  """Returns the arrays of all processes, of equal shapes, one behind the other."""
  if count() == 1:
    return array
  _meet()
  try:
    return multihost_utils.process_allgather(array, tiled=True)
  except jax.errors.JaxRuntimeError as error:
    raise Lost from error


def _meet() -> None:
  """Waits for all processes, however long one computes."""
  try:
    _client().wait_at_barrier(f'bsjax/{next(_calls)}', DAY)
  except jax.errors.JaxRuntimeError as error:
    raise Lost from error


def _client() -> Any:
  from jax._src import distributed  # what jax.distributed has made; no public name reaches it

  return distributed.global_state.client


def say_stopped(how: str) -> None:
  """Tells the other processes, if there are any, that a signal ends this one, which, and when.

  The first holds the point where they meet, so it stays until all others have heard.
  """
  from jax._src import distributed

  state, until = distributed.global_state, time.monotonic() + 3 * BEAT
  if state.client is None or (state.num_processes or 1) == 1:
    return
  state.client.key_value_set(f'{STOPPED}{state.process_id}', how)
  while state.process_id == 0 and time.monotonic() < until:
    if len(_stopped()) == state.num_processes:
      return
    time.sleep(BEAT / 20)


def _stopped() -> dict[int, str]:
  """The processes that end as a signal asks them to, and what they say of it."""
  told = _client().key_value_dir_get(STOPPED)
  return {int(key.rpartition('/')[2]): how for key, how in told}


def _follow(stopped: dict[int, str]) -> None:
  """Ends this process as another one was asked to end."""
  if not stopped or jax.process_index() in stopped:
    return
  which, how = next(iter(stopped.items()))
  with contextlib.suppress(Exception):
    say_stopped(how)
  _end(f'process {which} was stopped by {how}', os.EX_TEMPFAIL)


def _watch() -> None:
  """Gives signs of life; ends this process when another one gives none, or is to end."""
  heard: dict[int, tuple[Any, float]] = {}
  while not _ended.wait(BEAT):
    try:
      _client().key_value_increment(f'bsjax/alive/{jax.process_index()}', 1)
      beats = dict(_client().key_value_dir_get('bsjax/alive/'))
      _follow(_stopped())
    except Exception:
      return _end(str(Lost('the first process')), 1) if not _ended.is_set() else None
    beats = {int(name.rpartition('/')[2]): beat for name, beat in beats.items()}
    for index, beat in beats.items():
      if heard.get(index, (None, 0.0))[0] != beat:
        heard[index] = beat, time.monotonic()
      elif time.monotonic() - heard[index][1] > PATIENCE:
        die(str(Lost(f'process {index}')))


def die(sentence: str) -> None:
  """Ends this process with a sentence at once: with one lost, no orderly end is to be had.

  A process that left as a signal asked it to is not lost; this one ends as it did.
  """
  with contextlib.suppress(Exception):
    _follow(_stopped())
  _end(sentence, 1)


def _end(sentence: str, code: int) -> None:
  print(f'bsjax: process {index()} on {platform.node()}: {sentence}', file=sys.stderr)
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)
