"""One run, one table, one JSON file: `python -m benchmark --out=DIR`."""

import dataclasses
import functools
import json
import os
import platform
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
from absl import app, flags
from rich.console import Console

from benchmark.protocol import Budget, by_loop, measure, pairs, summary
from bsjax.cli import set_up_machine
from bsjax.engine import device_axis

OUT = flags.DEFINE_string('out', 'runs/benchmark', 'Folder of the JSON file.')
ACCELERATOR = flags.DEFINE_bool('accelerator', False, 'Measure one accelerator, in the time given.')
WORKS = flags.DEFINE_list('works', None, 'Of mlp, cnn, resnet20, char_lm; all of them if left out.')
SIDES = flags.DEFINE_list('sides', None, 'Of the sides; all of them if left out.')
PARTS = flags.DEFINE_list(
  'parts',
  [
    'sides',
    'convolutions',
    'profile',
    'noise',
    'ceilings',
    'lanes',
    'strategies',
    'whole',
    'start',
  ],
  'What to measure, in order.',
)
REPEATS = flags.DEFINE_integer('repeats', 5, 'Rounds, each of all sides.', lower_bound=1)
SECONDS = flags.DEFINE_float('seconds', 0.0, 'Nothing new is begun later; 0: 520 or unlimited.')
DATA = flags.DEFINE_string('data', '', 'An .npz with train_images and train_labels; else made up.')
PRECISION = flags.DEFINE_enum(
  'precision', 'float32', ['float32', 'tf32', 'bfloat16'], 'Arithmetic.'
)
STRATEGY = flags.DEFINE_string('strategy', 'auto', 'Of bsjax, as execution.strategy.')
MICRO_BATCH = flags.DEFINE_string('micro_batch', 'auto', 'Of bsjax, as in its config.')
FACTOR = flags.DEFINE_integer('factor', 1, 'Times as many examples as usual.', lower_bound=1)

ORDER = ('cnn', 'resnet20', 'mlp', 'char_lm')  # what matters most first, in case time runs out
LANES = {False: (1, 2, 3, 4, 8, 16), True: (1, 8, 64, 512)}
ACCELERATOR_SECONDS = 520.0  # of the nine minutes that one run may take


def sides(work: Any, options: Any, closing: list[Callable[[], None]]) -> dict[str, Callable]:
  """Returns how to make each side; the first is the one that others are divided by."""
  from benchmark import jax_loop, lanes_side, processes

  def pooled() -> Callable:
    run, close = processes.pool(work, options)
    closing.append(close)
    return run

  def in_torch(name: str) -> Callable:
    from benchmark import torch_loops

    return getattr(torch_loops, name)(work)

  in_jax = {
    'bsjax': lambda: lanes_side.lanes(work, lanes_side.chosen(work, lanes_side.LONGER)),
    'sequential': lambda: jax_loop.step_loop(work),
    'sequential scan': lambda: jax_loop.scan_loop(work),
    'processes': pooled,
  }
  if work.own.model:  # PyTorch has none of it
    return in_jax
  return in_jax | {
    'torch eager': functools.partial(in_torch, 'eager'),
    'torch compiled': functools.partial(in_torch, 'compiled'),
    'torch.func': functools.partial(in_torch, 'lanes_of_a_batch_size'),
  }


def measure_part(
  part: str,
  work: Any,
  options: Any,
  budget: Budget,
  console: Console,
  measured: dict[str, Any],
  save: Callable[[], None],
) -> None:
  """Measures one part of one work into `measured`; what there is no time for is left out."""
  from benchmark import ceilings, convolutions, lanes_side, processes, profile, works

  if part == 'sides':
    closing: list[Callable[[], None]] = []
    wanted = sides(work, options, closing)
    asked = SIDES.value or list(wanted)
    wanted = {key: wanted[key] for key in wanted if key in (*asked, 'bsjax', 'sequential')}
    try:
      measure(
        work,
        wanted,
        'sequential',
        REPEATS.value,
        budget,
        console.print,
        measured['sides'],
        save,
      )
    finally:
      for close in closing:
        close()
    measured['execution'] = lanes_side.chosen(work, lanes_side.LONGER).lines()
  elif part == 'convolutions' and options.accelerator and work.name == 'resnet20':
    measured['convolutions'] = convolutions.every_form(
      True, len(work.settings), 16, REPEATS.value, budget
    )
  elif part == 'profile' and options.accelerator:
    measured['profile'] = profile.kernels(work)
  elif part == 'noise':
    runs = lanes_side.noise_on_and_off(work)
    timed = [lambda run=run: run(work.examples, None).seconds for run in runs]
    measured['noise'] = pairs(*timed, 2 * REPEATS.value, budget)
  elif part == 'ceilings':
    us = measured.get('sides', {}).get('bsjax', {}).get('us_per_lane_example')
    measured['ceilings'] = ceilings.shares(work, us, REPEATS.value) if us else None
  elif part == 'lanes':
    costs = lanes_side.cost_of_lanes(work, LANES[options.accelerator], REPEATS.value, budget)
    measured['lanes'] = {str(count): by_loop(samples) for count, samples in costs.items()}
  elif part == 'strategies':
    times = lanes_side.every_strategy(work, REPEATS.value, budget)
    measured['strategies'] = {name: by_loop(samples) for name, samples in times.items()}
  elif part == 'whole' and not options.accelerator:
    whole = [processes.whole_study, processes.whole_study_as_lanes]
    with works.on_disk(work, options) as shared:  # nobody makes images up while the clock runs
      timed = [functools.partial(side, work, shared) for side in whole]
      measured['whole'] = pairs(*timed, REPEATS.value, budget)


def main(_: list[str]) -> None:
  if ACCELERATOR.value:  # PyTorch and other processes need memory too
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  set_up_machine()
  # What is measured must not depend on what ran here before.
  folder = tempfile.TemporaryDirectory()
  os.environ['XDG_CACHE_HOME'] = folder.name
  jax.config.update('jax_compilation_cache_dir', f'{folder.name}/xla')
  from benchmark import start, works

  console = Console(width=140)
  budget = Budget(SECONDS.value or (ACCELERATOR_SECONDS if ACCELERATOR.value else 1e9))
  options = works.Options(
    accelerator=ACCELERATOR.value,
    dtype=PRECISION.value,
    data=str(Path(DATA.value).absolute()) if DATA.value else '',
    micro_batch=MICRO_BATCH.value,
    factor=FACTOR.value,
    strategy=STRATEGY.value,
  )
  result: dict[str, Any] = {**_machine(), 'options': dataclasses.asdict(options), 'works': {}}
  result['options']['data'] = Path(DATA.value).name
  path = Path(OUT.value) / 'speed.json'

  def save() -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + '\n')

  made = {name: works.make(name, options) for name in ORDER if name in (WORKS.value or ORDER)}
  for name, work in made.items():
    result['works'][name] = {'description': _description(work), 'sides': {}, 'execution': []}
  for part in [
    part for part in PARTS.value if part != 'start'
  ]:  # the most important part of every work first
    for name, work in made.items():
      if budget.left > 0:
        console.print(f'{name}: {part}')
        measure_part(part, work, options, budget, console, result['works'][name], save)
        save()
  if 'start' in PARTS.value and not options.accelerator:
    starts = start.cold_and_warm(REPEATS.value)
    result['start'] = {
      name: {key: summary([row[key] for row in rows]) for key in ('seconds', 'compiling')}
      for name, rows in starts.items()
    }
  save()
  from benchmark.table import show

  show(result, console)
  console.print(f'Written: {path}')


def _description(work: Any) -> str:
  return (
    f'{len(work.settings)} settings, batch sizes {work.config.batch_sizes}, {work.examples} '
    f'examples each; {work.note}'
  )


def _machine() -> dict[str, Any]:
  from bsjax.autotune.timer import processor

  return {
    'hardware': {'devices': device_axis.describe(jax.local_devices()), 'processor': processor()},
    'versions': {name: _version(name) for name in ('jax', 'jaxlib', 'flax', 'optax', 'torch')}
    | {'python': platform.python_version()},
    'seed': 0,
  }


def _version(name: str) -> str:
  try:
    return version(name)
  except PackageNotFoundError:
    return 'not installed'


if __name__ == '__main__':
  app.run(main)
