"""From the start of a process to the first tick of a study, and what of it is compilation.

  python -m benchmark.start CONFIG.py WORKDIR BEGUN

runs the study as `bsjax.main` does until its first stretch is done, and prints a line of JSON;
BEGUN is the time (`time.time()`) at which the process was started.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CONFIG = 'configs/digits.py'
# Reading a program from the persistent cache is part of what jax reports as compiling it.
COMPILING = '/jax/core/compile/backend_compile_duration'


class Started(Exception):
  """The first stretch of training is done."""


def main(arguments: list[str]) -> None:
  path, workdir, begun = arguments
  from bsjax import cli

  cli.set_up_machine()
  import jax.monitoring

  from bsjax.train import loop, study_run

  compiling: list[float] = []
  note = lambda event, seconds, **_: compiling.append(seconds) if event == COMPILING else None
  jax.monitoring.register_event_duration_secs_listener(note)

  class Stop(loop.Pace):
    """The host's pace, which hears of the first stretch and ends the process there."""

    def measured(self, blocks: int, seconds: float) -> None:
      raise Started

  loop.Pace = Stop
  namespace: dict[str, Any] = {}
  exec(compile(Path(path).read_text(), path, 'exec'), namespace)
  try:
    study_run.run_study(namespace['get_config'](), workdir)
  except Started:
    seconds = time.time() - float(begun)
    print(json.dumps({'seconds': seconds, 'compiling': sum(compiling), 'programs': len(compiling)}))


def measure(cache: str) -> dict[str, float]:
  """Returns what a start took, in a new process with this cache directory."""
  with tempfile.TemporaryDirectory() as workdir:
    command = [sys.executable, '-m', 'benchmark.start', CONFIG, workdir, repr(time.time())]
    environment = {**os.environ, 'XDG_CACHE_HOME': cache}
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True)
  return json.loads(done.stdout.splitlines()[-1])


def cold_and_warm(repeats: int) -> dict[str, Any]:
  """Starts with an empty cache, then again: seconds to the first tick, and of compilation."""
  found: dict[str, list] = {'cold': [], 'warm': []}
  for _ in range(repeats):
    with tempfile.TemporaryDirectory() as cache:
      found['cold'].append(measure(cache))
      found['warm'].append(measure(cache))
  return found


if __name__ == '__main__':
  main(sys.argv[1:])
