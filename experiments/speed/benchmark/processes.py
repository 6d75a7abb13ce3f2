"""One process for each setting, as many at once as there are cores: how sweeps are usually run."""

import concurrent.futures
import dataclasses
import json
import os
import queue
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence

from benchmark.jax_loop import Run, Sample
from benchmark.works import Options, Work

AT_ONCE_ON_ACCELERATOR = 4


class Pool:
  """Processes that stay, one per core, each with every batch size compiled: the steady state."""

  def __init__(self, work: Work, options: Options):
    self.work = work
    cores = _cores(work)
    self.workers = [_start(work, options, core) for core in cores]

  def run(self, examples: int, which: Sequence[int] | None = None) -> Sample:
    """Trains every setting in the first process that is free, the longest first."""
    settings = self.work.settings
    indices = list(range(len(settings))) if which is None else list(which)
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    for i in sorted(indices, key=lambda i: settings[i].batch_size):
      waiting.put(i)
    losses: dict[int, float] = {}

    def serve(worker: subprocess.Popen) -> float:
      seconds = 0.0  # of training alone, as for the other sides
      while True:
        try:
          i = waiting.get_nowait()
        except queue.Empty:
          return seconds
        answer = _ask(worker, [examples, [i]])
        losses[i] = answer['losses'][0]
        seconds += answer['seconds']

    with concurrent.futures.ThreadPoolExecutor(len(self.workers)) as threads:
      seconds = max(threads.map(serve, self.workers))
    return Sample(seconds, [losses[i] for i in indices])

  def warm_up(self) -> None:
    """Has every process compile every batch size."""
    sizes = [setting.batch_size for setting in self.work.settings]
    firsts = [sizes.index(size) for size in dict.fromkeys(sizes)]
    with concurrent.futures.ThreadPoolExecutor(len(self.workers)) as threads:
      list(threads.map(lambda worker: _ask(worker, [self.work.chunk, firsts]), self.workers))

  def close(self) -> None:
    for worker in self.workers:
      worker.stdin.close()
      worker.wait()


def pool(work: Work, options: Options) -> tuple[Run, Callable[[], None]]:
  """Returns the steady state of processes, and what ends them."""
  processes = Pool(work, options)
  processes.warm_up()
  return processes.run, processes.close


def whole_study(work: Work, options: Options) -> float:
  """Seconds for a study with a new process for each setting: start, compilation and training.

  They share a compilation cache, empty at first: the second setting of a batch size can use it.
  """
  waiting: queue.SimpleQueue = queue.SimpleQueue()
  for i, _ in sorted(enumerate(work.settings), key=lambda pair: pair[1].batch_size):
    waiting.put(i)

  def serve(core: int) -> None:
    while True:
      try:
        i = waiting.get_nowait()
      except queue.Empty:
        return
      worker = _start(work, options, core, cache)
      _ask(worker, [work.examples, [i]])
      worker.stdin.close()
      worker.wait()

  cores = _cores(work)
  with tempfile.TemporaryDirectory() as folder:
    cache = {'JAX_COMPILATION_CACHE_DIR': folder}
    cache['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.3'  # as in bsjax.main
    begun = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(len(cores)) as threads:
      list(threads.map(serve, cores))
    return time.perf_counter() - begun


def whole_study_as_lanes(work: Work, options: Options) -> float:
  """Seconds for the same with bsjax, in one new process that remembers nothing of earlier ones."""
  with tempfile.TemporaryDirectory() as folder:
    command = [sys.executable, '-m', 'benchmark.whole', work.name, _json(options)]
    begun = time.perf_counter()
    subprocess.run(command, check=True, env=_environment(work) | {'XDG_CACHE_HOME': folder})
    return time.perf_counter() - begun


def _cores(work: Work) -> list[int]:
  """One core for each process at once; any core, where the accelerator does the work."""
  if work.accelerator:
    return [-1] * AT_ONCE_ON_ACCELERATOR
  return sorted(os.sched_getaffinity(0))


def _start(
  work: Work, options: Options, core: int, environment: Mapping[str, str] | None = None
) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-m', 'benchmark.worker', work.name, _json(options), str(core)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
    env={**_environment(work), **(environment or {})},
  )


def _ask(worker: subprocess.Popen, command: list) -> dict:
  worker.stdin.write(json.dumps(command) + '\n')
  worker.stdin.flush()
  answer = worker.stdout.readline()
  if not answer:
    raise RuntimeError(f'a training process ended with status {worker.wait()}; see its messages')
  return json.loads(answer)


def _json(options: Options) -> str:
  return json.dumps(dataclasses.asdict(options))


def _environment(work: Work) -> dict[str, str]:
  """Without preallocation, processes can share an accelerator."""
  changes = {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'} if work.accelerator else {}
  return {**os.environ, **changes}
