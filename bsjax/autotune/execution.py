"""How a study runs on the machine at hand: micro-batches and strategies, chosen and recorded."""

import dataclasses
import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from bsjax import models
from bsjax.autotune import grouping, timer
from bsjax.autotune.grouping import Timing
from bsjax.data import Dataset
from bsjax.engine.device_axis import describe, devices
from bsjax.engine.strategies import STRATEGIES, Strategy, candidates
from bsjax.plan import batch_size_paths, plan
from bsjax.plan.scaling_rules import learning_rates_of
from bsjax.storage import records

FILE = 'execution.json'  # in a workdir
LEADERS = 2  # strategies, of those timed at the common micro-batch, that are timed at others


@dataclasses.dataclass(frozen=True)
class Execution:
  """The micro-batch of each batch size, and the strategy of each micro-batch."""

  device: str
  micro_batches: dict[int, int]
  strategies: dict[int, Strategy]
  timings: list[Timing]  # what the choice rests on; none: there was nothing to choose
  fixed: bool = False  # whether the config named the strategy
  # Into how many parts groups were cut when a device had run out of memory, by group.
  parts: dict[int, int] = dataclasses.field(default_factory=dict)

  def lines(self) -> list[str]:
    """Says it to a person, a line for each group."""
    return [self._line(micro) for micro in dict.fromkeys(self.micro_batches.values())]

  def _line(self, micro: int) -> str:
    sizes = [size for size, own in self.micro_batches.items() if own == micro]
    chosen = self.strategies[micro].name
    told = f'batch size {_span(sizes)}: micro-batch {micro}, {chosen}'
    own = sorted(
      (timing for timing in self.timings if timing.micro_batch == micro), key=lambda t: t.per_lane
    )
    mine = [timing for timing in own if timing.strategy == chosen]
    if not mine:
      return told
    others = [f'{t.strategy} {1e3 * t.per_lane:.3g}' for t in own if t.strategy != chosen]
    told += f', {1e3 * mine[0].per_lane:.3g} ms a lane and tick on {self.device}'
    return told + (f' ({", ".join(others)})' if others else '')


def _span(sizes: list[int]) -> str:
  return str(sizes[0]) if len(sizes) == 1 else f'{min(sizes)} to {max(sizes)}'


def choose(
  config: ConfigDict,
  dataset: Dataset,
  recorded: Execution | None = None,
  say: Callable[[str], None] = print,
  folder: Path | None = None,
) -> Execution:
  """Returns how to run a study, timing what there is to choose and is not `recorded` of it.

  A study keeps its micro-batches, and on the same devices its strategies, unless the config fixes
  one. `say` takes sentences for a person; timings are remembered in `folder`, if not the user's.
  """
  device = ', '.join((describe(devices(config.execution.devices)), timer.processor()))
  fixed = config.execution.strategy != 'auto'
  if recorded and recorded.device == device and not (fixed or recorded.fixed):
    return recorded
  clock = timer.Clock(config, dataset, say, folder)
  default = plan.default_micro_batches(config, len(dataset.train.labels))
  names = functools.partial(_names, config, models.MODELS[config.model.name].convolves)
  if recorded:
    chosen = recorded.micro_batches
  elif _free(config, len(dataset.train.labels)):
    chosen = _fastest_micro_batches(config, dataset, clock, default, names)
  else:
    chosen = default
  strategies = {}
  for micro in dict.fromkeys(chosen.values()):
    own = names([size for size, ticks in chosen.items() if ticks == micro])
    if len(own) > 1:
      own = [grouping.fastest(clock.time(chosen, micro, own), micro).strategy]
    strategies[micro] = STRATEGIES[own[0]]
  parts = recorded.parts if recorded and recorded.device == device else {}
  return Execution(device, chosen, strategies, clock.timings, fixed, parts)


def _free(config: ConfigDict, train_examples: int) -> bool:
  """Whether what is computed lets micro-batches be chosen for speed.

  BatchNorm sees them, and a larger one might not divide the batch sizes that stages lead to.
  """
  stay = batch_size_paths.possible_sizes(config, train_examples) == set(config.batch_sizes)
  return config.micro_batch == 'auto' and config.model.normalization != 'batch' and stay


def _names(config: ConfigDict, convolutions: bool, batch_sizes: list[int]) -> list[str]:
  """The strategies to choose from for a group of these batch sizes."""
  if config.execution.strategy != 'auto':
    return [config.execution.strategy]
  there = devices(config.execution.devices)
  lanes = sum(_lanes(config, size) for size in batch_sizes)
  return [s.name for s in candidates(there[0].platform, convolutions, -(-lanes // len(there)))]


def _lanes(config: ConfigDict, batch_size: int) -> int:
  return len(learning_rates_of(config, batch_size)) * config.trials


def _fastest_micro_batches(
  config: ConfigDict,
  dataset: Dataset,
  clock: timer.Clock,
  default: dict[int, int],
  names: Callable[[list[int]], list[str]],
) -> dict[int, int]:
  total = plan.make_plan(config, len(dataset.train.labels)).total_examples
  lanes = {size: _lanes(config, size) for size in default}
  there = devices(config.execution.devices)
  common = next(iter(default.values()))
  measured = config.noise_scale.online
  rules = grouping.rules(common, measured, there[0].platform, len(there))
  ways = grouping.candidates(tuple(default), rules)
  if not any(ways) or not clock.pays(common, sum(lanes.values()), total):
    return default
  timed = clock.time(default, common, names(list(default)))
  leaders = [t.strategy for t in sorted(timed, key=lambda t: t.per_lane)][:LEADERS]
  for way in ways:
    best = grouping.fastest(timed, common).per_lane / common
    for micro in way:
      if not clock.pays(common, sum(lanes.values()), total, again=True):
        break
      own = {size: micro if grouping.usable(size, micro, rules) else common for size in default}
      wanted = names([size for size, ticks in own.items() if ticks == micro])
      found = clock.time(own, micro, [name for name in wanted if name in leaders] or wanted)
      now = grouping.fastest(found, micro).per_lane / micro
      if there[0].platform == 'cpu' and now >= best:
        break
      best = now
  return grouping.choose(lanes, total, clock.timings, rules)


def read(workdir: Path) -> Execution | None:
  """Returns what `write` wrote into a workdir, or None where no study was begun.

  Of a study without the file, its plan still tells the micro-batches.
  """
  path, rows = workdir / FILE, workdir / 'plan.csv'
  if not path.exists():
    if not rows.exists():
      return None
    return Execution('', plan.micro_batches(records.read_plan(rows)), {}, [])
  found = json.loads(path.read_text())
  integers = lambda tree: {int(key): value for key, value in tree.items()}
  return Execution(
    device=found['device'],
    micro_batches=integers(found['micro_batches']),
    strategies={m: STRATEGIES[name] for m, name in integers(found['strategies']).items()},
    timings=[Timing(**row) for row in found['timings']],
    fixed=found['fixed'],
    parts=integers(found.get('parts', {})),
  )


def write(workdir: Path, execution: Execution) -> None:
  """Writes it as JSON, for people and for a later continuation."""
  found: dict[str, Any] = {
    'device': execution.device,
    'micro_batches': {str(size): micro for size, micro in execution.micro_batches.items()},
    'strategies': {str(m): strategy.name for m, strategy in execution.strategies.items()},
    'fixed': execution.fixed,
    'parts': {str(group): parts for group, parts in execution.parts.items()},
    'timings': [dataclasses.asdict(t) for t in execution.timings if math.isfinite(t.seconds)],
  }
  records.write_json(workdir / FILE, found)
