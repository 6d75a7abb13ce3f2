"""Where the processor's time of a study goes, for so many lanes: `scale.py 1 10 100 1000 5000`.

A small MLP on scikit-learn's digits, `map-canonical`, micro-batch 8. Each step of the host waits
for the devices, so that their time counts where it belongs; the first call of each counts as the
start, with its compiling. Every number of lanes runs in a process of its own; results go to
scale/digits.json.
"""

import functools
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

BATCH_SIZES, RATES = (8, 16, 32, 64, 128), tuple(0.01 * 1.3**i for i in range(10))
EPOCHS, EVALUATIONS = 10.0, 10


class Parts:
  """Seconds of the processor by part of a study; what is nested counts for itself."""

  def __init__(self) -> None:
    self.seconds: Counter[str] = Counter()
    self._open, self._since, self._begun = ['start'], time.process_time(), set()

  def _turn(self) -> None:
    now = time.process_time()
    self.seconds[self._open[-1]] += now - self._since
    self._since = now

  def of(self, owner: Any, method: str, part: str, wait: Callable | None = None) -> None:
    """Has a method's time count for a part, from its second call on; `wait` ends its work."""
    function = getattr(owner, method)

    @functools.wraps(function)
    def counted(*arguments: Any, **keywords: Any) -> Any:
      first = wait is not None and (owner, method) not in self._begun
      self._begun.add((owner, method))
      self._turn()
      self._open.append('start' if first else part)
      try:
        result = function(*arguments, **keywords)
        return wait(result, *arguments) if wait else result
      finally:
        self._turn()
        self._open.pop()

    setattr(owner, method, counted)

  def end(self, part: str) -> None:
    self._turn()
    self._open[0] = part


def measure(lanes: int) -> dict[str, Any]:
  """Runs a study of so many lanes; returns the seconds of its parts."""
  from bsjax import cli

  cli.set_up_machine()
  from bsjax.analysis import summary
  from bsjax.config.keys import base_config
  from bsjax.engine.device_lanes import Lanes
  from bsjax.report import study_page, summaries
  from bsjax.storage import records
  from bsjax.study import Study
  from bsjax.train import loop

  config = base_config()
  config.batch_sizes = BATCH_SIZES[: max(1, min(lanes, 5))]
  config.learning_rates = RATES[: max(1, min(lanes // 5, 10))]
  settings = len(config.batch_sizes) * len(config.learning_rates)
  config.trials = max(1, lanes // settings)
  config.epochs, config.evaluations = EPOCHS, EVALUATIONS
  config.micro_batch, config.execution.strategy = 8, 'map-canonical'
  config.model.name, config.model.width, config.model.normalization = 'mlp', 32, 'none'
  parts = Parts()

  def trained(done: int, group: Lanes, *_: Any) -> int:
    group.wait()
    return done

  def evaluated(result: Callable, *_: Any) -> Callable:
    snapshot = result()
    return lambda: snapshot

  parts.of(Lanes, 'advance', 'training', trained)
  parts.of(Lanes, 'evaluate', 'evaluation', evaluated)
  parts.of(loop.TrainLoop, '_record', 'records')
  parts.of(loop.TrainLoop, '_save', 'checkpoints')
  parts.of(records, 'read', 'analysis')
  parts.of(summaries, 'summarize', 'analysis')
  parts.of(summary, 'summarize', 'analysis')
  parts.of(study_page, 'write', 'page')
  parts.of(loop.TrainLoop, '_train', 'host')
  begun = time.perf_counter()
  with tempfile.TemporaryDirectory() as folder:
    Study(config, Path(folder) / 'study').run()
  parts.end('end')
  seconds = {name: round(value, 3) for name, value in parts.seconds.items()}
  counted = settings * config.trials
  wall = round(time.perf_counter() - begun, 1)
  return {'lanes': counted, 'cpu_seconds': seconds, 'wall_seconds': wall}


def main(arguments: list[str]) -> None:
  if arguments[0] == '--measure':
    print(json.dumps(measure(int(arguments[1]))))
    return
  path = HERE / 'scale' / 'digits.json'
  path.parent.mkdir(exist_ok=True)
  rows = json.loads(path.read_text()) if path.exists() else []
  for lanes in map(int, arguments):
    run = [sys.executable, __file__, '--measure', str(lanes)]
    done = subprocess.run(run, stdout=subprocess.PIPE, text=True, check=True)
    row = json.loads(done.stdout.splitlines()[-1])
    rows = sorted([r for r in rows if r['lanes'] != row['lanes']] + [row], key=lambda r: r['lanes'])
    path.write_text(json.dumps(rows, indent=1) + '\n')
    total = sum(row['cpu_seconds'].values())
    shares = {part: round(value / total, 3) for part, value in row['cpu_seconds'].items()}
    print(row['lanes'], round(total, 1), shares, flush=True)


if __name__ == '__main__':
  main(sys.argv[1:])
