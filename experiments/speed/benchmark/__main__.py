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

PARTS = (
  'sides',
  'convolutions',
  'profile',
  'noise',
  'ceilings',
  'lanes',
  'strategies',
  'whole',
  'start',
)
ORDER = ('cnn', 'resnet20', 'mlp', 'char_lm')  # what matters most first, in case time runs out
LANES = {False: (1, 2, 3, 4, 8, 16), True: (1, 8, 64, 512)}
ACCELERATOR_SECONDS = 520.0  # of the nine minutes that one run may take


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
  from benchmark import ceilings, convolutions, lanes_side, processes, profile, sides, works

  if part == 'sides':
    closing: list[Callable[[], None]] = []
    wanted = sides.makers(work, options, closing)
    asked = flags.FLAGS.sides or list(wanted)
    wanted = {key: wanted[key] for key in wanted if key in (*asked, 'bsjax', 'sequential')}
    try:
      measure(
        work,
        wanted,
        'sequential',
        flags.FLAGS.repeats,
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
      True, len(work.settings), 16, flags.FLAGS.repeats, budget
    )
  elif part == 'profile' and options.accelerator:
    measured['profile'] = profile.kernels(work)
  elif part == 'noise':
    runs = lanes_side.noise_on_and_off(work)
    timed = [lambda run=run: run(work.examples, None).seconds for run in runs]
    measured['noise'] = pairs(*timed, 2 * flags.FLAGS.repeats, budget)
  elif part == 'ceilings':
    us = measured.get('sides', {}).get('bsjax', {}).get('us_per_lane_example')
    measured['ceilings'] = ceilings.shares(work, us, flags.FLAGS.repeats) if us else None
  elif part == 'lanes':
    costs = lanes_side.cost_of_lanes(work, LANES[options.accelerator], flags.FLAGS.repeats, budget)
    measured['lanes'] = {str(count): by_loop(samples) for count, samples in costs.items()}
  elif part == 'strategies':
    times = lanes_side.every_strategy(work, flags.FLAGS.repeats, budget)
    measured['strategies'] = {name: by_loop(samples) for name, samples in times.items()}
  elif part == 'whole' and not options.accelerator:
    whole = [processes.whole_study, processes.whole_study_as_lanes]
    with works.on_disk(work, options) as shared:  # nobody makes images up while the clock runs
      timed = [functools.partial(side, work, shared) for side in whole]
      measured['whole'] = pairs(*timed, flags.FLAGS.repeats, budget)


def main(_: list[str]) -> None:
  if flags.FLAGS.accelerator:  # PyTorch and other processes need memory too
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  set_up_machine()
  # What is measured must not depend on what ran here before.
  folder = tempfile.TemporaryDirectory()
  os.environ['XDG_CACHE_HOME'] = folder.name
  jax.config.update('jax_compilation_cache_dir', f'{folder.name}/xla')
  from benchmark import start, works

  console = Console(width=140)
  budget = Budget(flags.FLAGS.seconds or (ACCELERATOR_SECONDS if flags.FLAGS.accelerator else 1e9))
  options = works.Options(
    accelerator=flags.FLAGS.accelerator,
    dtype=flags.FLAGS.precision,
    data=str(Path(flags.FLAGS.data).absolute()) if flags.FLAGS.data else '',
    micro_batch=flags.FLAGS.micro_batch,
    factor=flags.FLAGS.factor,
    strategy=flags.FLAGS.strategy,
  )
  result: dict[str, Any] = {**_machine(), 'options': dataclasses.asdict(options), 'works': {}}
  result['options']['data'] = Path(flags.FLAGS.data).name
  path = Path(flags.FLAGS.out) / 'speed.json'

  def save() -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + '\n')

  made = {name: works.make(name, options) for name in ORDER if name in (flags.FLAGS.works or ORDER)}
  for name, work in made.items():
    result['works'][name] = {'description': _description(work), 'sides': {}, 'execution': []}
  for part in [
    part for part in flags.FLAGS.parts if part != 'start'
  ]:  # the most important part of every work first
    for name, work in made.items():
      if budget.left > 0:
        console.print(f'{name}: {part}')
        measure_part(part, work, options, budget, console, result['works'][name], save)
        save()
  if 'start' in flags.FLAGS.parts and not options.accelerator:
    starts = start.cold_and_warm(flags.FLAGS.repeats)
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


def define_flags() -> None:
  """Defines the flags of this command; not at import, as tests import other commands besides."""
  flags.DEFINE_string('out', 'runs/benchmark', 'Folder of the JSON file.')
  flags.DEFINE_bool('accelerator', False, 'Measure one accelerator, in the time given.')
  flags.DEFINE_list('works', None, 'Of mlp, cnn, resnet20, char_lm; all of them if left out.')
  flags.DEFINE_list('sides', None, 'Of the sides; all of them if left out.')
  flags.DEFINE_list('parts', list(PARTS), 'What to measure, in order.')
  flags.DEFINE_integer('repeats', 5, 'Rounds, each of all sides.', lower_bound=1)
  flags.DEFINE_float('seconds', 0.0, 'Nothing new is begun later; 0: 520 or unlimited.')
  flags.DEFINE_string('data', '', 'An .npz with train_images and train_labels; else made up.')
  flags.DEFINE_enum('precision', 'float32', ['float32', 'tf32', 'bfloat16'], 'Arithmetic.')
  flags.DEFINE_string('strategy', 'auto', 'Of bsjax, as execution.strategy.')
  flags.DEFINE_string('micro_batch', 'auto', 'Of bsjax, as in its config.')
  flags.DEFINE_integer('factor', 1, 'Times as many examples as usual.', lower_bound=1)


if __name__ == '__main__':
  define_flags()
  app.run(main)
