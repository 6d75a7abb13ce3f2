"""Chooses micro-batches and strategies for the machine at hand, and records the choice."""

import collections
import dataclasses
import datetime
import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from bsjax import models
from bsjax.autotune import grouping, timer
from bsjax.autotune.grouping import Timing
from bsjax.data import Dataset
from bsjax.engine.device_axis import describe, devices
from bsjax.engine.own import CONFIGS, Own
from bsjax.engine.strategies import STRATEGIES, Strategy, candidates, kind
from bsjax.plan import plan, rounds
from bsjax.plan.lanes import StudyPlan
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
    """Says it to a person, one line per group."""
    return [self._line(micro) for micro in dict.fromkeys(self.micro_batches.values())]

  def _line(self, micro: int) -> str:
    sizes = [size for size, ticks in self.micro_batches.items() if ticks == micro]
    chosen = self.strategies[micro].name
    span = str(sizes[0]) if len(sizes) == 1 else f'{min(sizes)} to {max(sizes)}'
    told = f'batch size {span}: micro-batch {micro}, {chosen}'
    timed = sorted(
      (timing for timing in self.timings if timing.micro_batch == micro), key=lambda t: t.per_lane
    )
    of_chosen = [timing for timing in timed if timing.strategy == chosen]
    if not of_chosen:
      return told
    others = [f'{t.strategy} {1e3 * t.per_lane:.3g}' for t in timed if t.strategy != chosen]
    told += f', {1e3 * of_chosen[0].per_lane:.3g} ms per lane and tick on {self.device}'
    return told + (f' ({", ".join(others)})' if others else '')


def choose(
  config: ConfigDict,
  dataset: Dataset,
  study_plan: StudyPlan,
  recorded: Execution | None = None,
  say: Callable[[str], None] = print,
  folder: Path | None = None,
  own: Own = CONFIGS,
) -> Execution:
  """Returns how to run a study, timing what there is to choose and is not `recorded` of it.

  `study_plan` has the micro-batches that need no timing. A study keeps its micro-batches, and on
  the same devices its strategies, unless the config fixes one. `say` takes sentences for a person;
  timings are remembered in `folder`, if not the user's. `own` is what comes from outside.
  """
  device = ', '.join((describe(devices(config.execution.devices)), timer.processor()))
  fixed = config.execution.strategy != 'auto'
  if recorded and recorded.device == device and not (fixed or recorded.fixed):
    return recorded
  stopwatch = timer.Timer(config, dataset, study_plan, say, folder, own)
  names = functools.partial(
    _names, config, own.model is None and models.MODELS[config.model.name].convolves
  )
  if recorded:
    chosen = recorded.micro_batches
  elif _free(config, study_plan):
    chosen = _fastest_micro_batches(config, study_plan, stopwatch, names)
  else:
    chosen = study_plan.micro_batches
  strategies = {}
  for micro in dict.fromkeys(chosen.values()):
    usable = names([size for size, ticks in chosen.items() if ticks == micro])
    if len(usable) > 1 and (timed := stopwatch.time(chosen, micro, usable)):
      usable = [grouping.fastest(timed, micro).strategy]
    strategies[micro] = STRATEGIES[usable[0]]
  parts = recorded.parts if recorded and recorded.device == device else {}
  return Execution(device, chosen, strategies, stopwatch.timings, fixed, parts)


def training_seconds(config: ConfigDict, study_plan: StudyPlan, chosen: Execution) -> float | None:
  """Returns how long training takes by timings of ticks, with starts; None where not all are timed.

  Evaluations, checkpoints and the report come on top; stages count as the first one was timed.
  """
  lanes = collections.Counter(lane.batch_size for lane in study_plan.lanes)
  micro_batches = {size: chosen.micro_batches[size] for size in lanes}
  timings = [
    timing
    for timing in chosen.timings
    if math.isfinite(timing.seconds)
    and timing.micro_batch in chosen.strategies
    and timing.strategy == chosen.strategies[timing.micro_batch].name
  ]
  if not {timing.micro_batch for timing in timings} >= set(micro_batches.values()):
    return None
  total, rows = study_plan.total_examples, _rows(config)
  return grouping.predicted_seconds(micro_batches, lanes, total, timings, rows)


def total_time(config: ConfigDict, study_plan: StudyPlan, chosen: Execution) -> str:
  """Says how long training takes, where strategies were timed."""
  seconds = training_seconds(config, study_plan, chosen)
  if seconds is None:
    return 'Total time: not timed.'
  span = datetime.timedelta(seconds=math.ceil(seconds))
  return f'Total time: {span} to compile and train, by these timings; evaluations not timed.'


def _free(config: ConfigDict, study_plan: StudyPlan) -> bool:
  """Whether what is computed lets micro-batches be chosen for speed.

  BatchNorm sees them, and a larger one might not divide the batch sizes that stages lead to.
  """
  stay = study_plan.first.possible_sizes == set(config.batch_sizes)
  return config.micro_batch == 'auto' and config.model.normalization != 'batch' and stay


def _names(config: ConfigDict, convolutions: bool, batch_sizes: list[int]) -> list[str]:
  """The strategies to choose from for a group of these batch sizes."""
  if config.execution.strategy != 'auto':
    return [config.execution.strategy]
  at_hand = devices(config.execution.devices)
  lanes = sum(_lanes(config, size) for size in batch_sizes)
  fullest = -(-lanes // _rows(config))
  return [s.name for s in candidates(kind(at_hand[0]), convolutions, fullest)]


def _rows(config: ConfigDict) -> int:
  """How many lanes the devices train at a time."""
  return len(devices(config.execution.devices)) // max(config.execution.devices_per_lane, 1)


def _lanes(config: ConfigDict, batch_size: int) -> int:
  return sum(rounds.trials_of(config, batch_size).values())


def _fastest_micro_batches(
  config: ConfigDict,
  study_plan: StudyPlan,
  stopwatch: timer.Timer,
  names: Callable[[list[int]], list[str]],
) -> dict[int, int]:
  default = study_plan.micro_batches
  lanes = {size: _lanes(config, size) for size in default}
  at_hand = devices(config.execution.devices)
  platform, common = at_hand[0].platform, next(iter(default.values()))
  limits = grouping.limits(common, config.noise_scale.online, platform, _rows(config))
  shares = max(config.execution.devices_per_lane, 1)
  ways = tuple(
    [micro for micro in way if micro % shares == 0]
    for way in grouping.candidates(tuple(default), limits)
  )
  if not any(ways) or not stopwatch.pays(common, sum(lanes.values())):
    return default
  timed = stopwatch.time(default, common, names(list(default)))
  leaders = [t.strategy for t in sorted(timed, key=lambda t: t.per_lane)][:LEADERS]
  for way in ways:
    best = grouping.fastest(timed, common).per_lane / common
    for micro in way:
      if not stopwatch.pays(common, sum(lanes.values()), again=True):
        break
      tried = {size: micro if grouping.usable(size, micro, limits) else common for size in default}
      wanted = names([size for size, ticks in tried.items() if ticks == micro])
      names_tried = [name for name in wanted if name in leaders] or wanted
      timings = stopwatch.time(tried, micro, names_tried)
      per_example = grouping.fastest(timings, micro).per_lane / micro
      if platform == 'cpu' and per_example >= best:
        break
      best = per_example
  return grouping.choose(lanes, study_plan.total_examples, stopwatch.timings, limits)


def read(workdir: Path) -> Execution | None:
  """Returns what `write` wrote into a workdir, or None where no study was begun.

  Of a study without the file, its plan still tells the micro-batches.
  """
  path, rows = workdir / FILE, workdir / 'plan.csv'
  if not path.exists():
    if not rows.exists() or not (workdir / 'config.json').exists():  # a plan of nobody's
      return None
    return Execution('', plan.micro_batches(records.read_plan(rows)), {}, [])
  stored = records.read_json(path)
  try:
    return Execution(
      device=stored['device'],
      micro_batches=_by_number(stored['micro_batches']),
      strategies={m: STRATEGIES[name] for m, name in _by_number(stored['strategies']).items()},
      timings=[Timing(**row) for row in stored['timings']],
      fixed=stored['fixed'],
      parts=_by_number(stored.get('parts', {})),
    )
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise records.Damaged(f'{path} is damaged ({error!r}); {records.REMEDY}') from None


def _by_number(tree: Mapping[str, Any]) -> dict[int, Any]:
  return {int(key): value for key, value in tree.items()}


def write(workdir: Path, execution: Execution) -> None:
  """Writes it as JSON, for people and for a later continuation."""
  stored: dict[str, Any] = {
    'device': execution.device,
    'micro_batches': {str(size): micro for size, micro in execution.micro_batches.items()},
    'strategies': {str(m): strategy.name for m, strategy in execution.strategies.items()},
    'fixed': execution.fixed,
    'parts': {str(group): parts for group, parts in execution.parts.items()},
    'timings': [dataclasses.asdict(t) for t in execution.timings if math.isfinite(t.seconds)],
  }
  records.write_json(workdir / FILE, stored)
