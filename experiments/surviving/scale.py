"""1,000 lanes with 200 evaluations: does the host's memory stay, and where does the time go?

  python experiments/surviving/scale.py

A small MLP on scikit-learn's digits, batch sizes 8 to 64, 25 learning rates, 10 trials. The share
of the time outside the devices is that of the processor's time of the loop: every step of the host
waits for the devices, and what it computes besides counts as its own. Resident memory is read at
every evaluation. `python -m bsjax.report` is then timed alone. Results go to scale.json.
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))


def config(flags):
  """The study; work per lane grows with epochs, micro-batch and width alone."""
  from bsjax.config.keys import base_config

  study = base_config()
  study.batch_sizes, study.trials = (8, 16, 32, 64), flags.lanes // 100
  study.learning_rates = tuple(0.01 * 1.2**power for power in range(25))
  study.epochs, study.evaluations = flags.epochs, flags.evaluations
  study.micro_batch, study.execution.strategy = 8, 'map-canonical'
  study.model.name, study.model.width, study.model.normalization = 'mlp', flags.width, 'none'
  return study


def _parts():
  """Counts the processor's time by part of a study, as `experiments/speed/scale.py` does."""
  path = ROOT / 'experiments' / 'speed' / 'scale.py'
  spec = importlib.util.spec_from_file_location('speed_scale', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.Parts()


def resident():
  """MiB of this process that are in memory now."""
  pages = int(Path('/proc/self/statm').read_text().split()[1])
  return pages * os.sysconf('SC_PAGE_SIZE') / 2**20


def measure(flags, workdir):
  """Runs the study; returns seconds by part, of processor and wall, and memory by evaluation."""
  from bsjax import cli

  cli.set_up_machine()

  from bsjax.engine.device_lanes import Lanes
  from bsjax.report import study_page, summaries
  from bsjax.study import Study
  from bsjax.train import loop

  parts, memory = _parts(), []
  record = loop.TrainLoop._record

  def remembered(self, *arguments, **keywords):
    memory.append(round(resident(), 1))
    return record(self, *arguments, **keywords)

  def evaluated(result, *_):
    snapshot = result()
    return lambda: snapshot

  loop.TrainLoop._record = remembered
  parts.of(Lanes, 'advance', 'training', lambda done, group, *_: group.wait() or done)
  parts.of(
    Lanes, 'evaluate', 'evaluation', lambda result, *_: (lambda kept: lambda: kept)(result())
  )
  parts.of(loop.TrainLoop, '_record', 'records')
  parts.of(loop.TrainLoop, '_save', 'checkpoints')
  parts.of(summaries, 'summarize', 'analysis')
  parts.of(study_page, 'write', 'page')
  parts.of(loop.TrainLoop, '_train', 'host')
  begun = time.perf_counter()
  Study(config(flags), workdir).run()
  parts.end('end')
  seconds = {name: round(value, 2) for name, value in parts.seconds.items()}
  return {'cpu_seconds': seconds, 'wall_seconds': round(time.perf_counter() - begun, 1),
          'resident_mib': memory}  # fmt: skip


def reported(workdir):
  """Seconds of the command that writes the page alone: wall, processor, and its peak of memory."""
  begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
  run = [sys.executable, '-m', 'bsjax.report', f'--workdir={workdir}']
  subprocess.run(run, check=True, cwd=ROOT, env=os.environ | {'PYTHONPATH': str(ROOT)})
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
  return {'wall_seconds': round(time.perf_counter() - begun, 1), 'cpu_seconds': round(cpu, 1),
          'peak_mib': round(after.ru_maxrss / 1024), 'page_mib': round(
            (workdir / 'report.html').stat().st_size / 2**20, 2)}  # fmt: skip


def summed(measured):
  """The shares that are asked for."""
  seconds, memory = measured['cpu_seconds'], measured['resident_mib']
  looped = {part: seconds.get(part, 0.0) for part in
            ('training', 'evaluation', 'records', 'checkpoints', 'host')}  # fmt: skip
  outside = sum(looped[part] for part in ('records', 'checkpoints', 'host'))
  tenth = max(1, len(memory) // 10)
  return {
    'outside_devices': round(outside / sum(looped.values()), 4),
    'memory_growth': round(max(memory[-tenth:]) / max(memory[tenth : 2 * tenth]) - 1, 4),
  }


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--lanes', type=int, default=1000)
  parser.add_argument('--evaluations', type=int, default=200)
  parser.add_argument('--epochs', type=float, default=30.0)
  parser.add_argument('--width', type=int, default=64)
  parser.add_argument('--out', type=Path, default=HERE / 'scale.json')
  flags = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    workdir = Path(folder) / 'study'
    measured = measure(flags, workdir)
    asked = {name: getattr(flags, name) for name in ('lanes', 'evaluations', 'epochs', 'width')}
    result = asked | summed(measured) | {'report': reported(workdir)} | measured
  flags.out.write_text(json.dumps(result, indent=1) + '\n')
  print({name: value for name, value in result.items() if name != 'resident_mib'})


if __name__ == '__main__':
  main()
