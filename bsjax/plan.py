"""From batch sizes x learning rates x trials to lanes, groups and ticks."""

import dataclasses
import itertools
import math

from ml_collections import ConfigDict
from rich.table import Table

from bsjax.config import ConfigError
from bsjax.optimizer import learning_rates_of

LARGEST_COMMON_MICRO_BATCH = 32  # larger ticks see less of the noise
LAST_EXAMPLE = 2**31 - 1  # the clock is a 32-bit integer


@dataclasses.dataclass(frozen=True)
class Lane:
  """One training run: a row of plan.csv."""

  lane: int
  group: int
  batch_size: int
  learning_rate: float
  trial: int
  micro_batch: int
  accumulation: int  # ticks an update


@dataclasses.dataclass(frozen=True)
class Group:
  """Lanes that share one compiled program, which advances them by whole blocks of ticks."""

  index: int
  micro_batch: int
  block_ticks: int
  lanes: tuple[Lane, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a study trains and when it looks; all positions are examples seen by every lane.

  A block is the shortest stretch after which every lane has just updated. Training and evaluations
  end on blocks, so no lane is judged with a batch half gathered.
  """

  groups: tuple[Group, ...]
  train_examples: int
  block_examples: int
  evaluations: tuple[int, ...]  # the first at 0, the last at the end
  notes: tuple[str, ...]

  @property
  def lanes(self) -> list[Lane]:
    return sorted(
      itertools.chain.from_iterable(group.lanes for group in self.groups), key=lambda x: x.lane
    )

  @property
  def total_examples(self) -> int:
    return self.evaluations[-1]


def make_plan(
  config: ConfigDict, train_examples: int, micro_batches: dict[int, int] | None = None
) -> Plan:
  """Returns the plan of a valid config for a training set of so many examples.

  `micro_batches` gives that of each batch size, as chosen for speed or read from a plan; without it
  `micro_batch=auto` takes the largest common divisor up to `LARGEST_COMMON_MICRO_BATCH`.
  """
  sizes = sorted(config.batch_sizes)
  block = math.lcm(*sizes)
  wanted = config.epochs * train_examples
  _check_length(config, sizes, block, wanted, train_examples)
  total = round(wanted / block) * block
  _check_warmup(config, total, train_examples)
  marks = {
    round(total * i / config.evaluations / block) * block for i in range(1, 1 + config.evaluations)
  }
  groups = _groups(config, micro_batches or default_micro_batches(config), block)
  notes = _notes(config, groups, block, len(marks))
  return Plan(tuple(groups), train_examples, block, (0, *sorted(marks - {0})), tuple(notes))


def _check_length(
  config: ConfigDict, sizes: list[int], block: int, wanted: float, train_examples: int
) -> None:
  problems = []
  if sizes[-1] > wanted:
    problems.append(
      f'batch size {sizes[-1]} is larger than the {wanted:.0f} examples of the whole training '
      f'({config.epochs} epochs of {train_examples}); use more epochs or smaller batch sizes'
    )
  elif block > wanted:
    problems.append(
      f'batch_sizes={tuple(sizes)} coincide only every {block} examples, but the whole training '
      f'has {wanted:.0f}; choose sizes that divide one another, such as powers of two, or more '
      'epochs'
    )
  if wanted > LAST_EXAMPLE - block:
    problems.append(
      f'epochs={config.epochs} of {train_examples} examples are {wanted:.0f}, but the clock ends '
      f'at {LAST_EXAMPLE}; use fewer epochs'
    )
  if problems:
    raise ConfigError('\n'.join(problems))


def _check_warmup(config: ConfigDict, total: int, train_examples: int) -> None:
  warmup = round(config.schedule.warmup_epochs * train_examples)
  if warmup >= total:
    raise ConfigError(
      f'schedule.warmup_epochs={config.schedule.warmup_epochs} is {warmup} examples, but training, '
      f'rounded to whole batches of every size, has {total}; shorten the warm-up or add epochs'
    )


def _groups(config: ConfigDict, micro_batches: dict[int, int], block: int) -> list[Group]:
  by_micro_batch: dict[int, list[int]] = {}
  for size, micro in sorted(micro_batches.items()):
    by_micro_batch.setdefault(micro, []).append(size)
  groups, first = [], 0
  for index, (micro, members) in enumerate(by_micro_batch.items()):
    rates = [(size, rate) for size in members for rate in learning_rates_of(config, size)]
    settings = itertools.product(rates, range(config.trials))
    lanes = [
      Lane(
        lane=first + i,
        group=index,
        batch_size=size,
        learning_rate=rate,
        trial=trial,
        micro_batch=micro,
        accumulation=size // micro,
      )
      for i, ((size, rate), trial) in enumerate(settings)
    ]
    groups.append(Group(index, micro, block // micro, tuple(lanes)))
    first += len(lanes)
  return groups


def default_micro_batches(config: ConfigDict) -> dict[int, int]:
  """Returns the micro-batch of each batch size that needs no timing."""
  common = math.gcd(*config.batch_sizes)
  given = config.micro_batch
  if given == 'auto':
    given = max(m for m in range(1, LARGEST_COMMON_MICRO_BATCH + 1) if common % m == 0)
  return {size: size if given == 'batch' else given for size in config.batch_sizes}


def micro_batches(rows: list[dict]) -> dict[int, int]:
  """Returns the micro-batch of each batch size in the rows of plan.csv."""
  return {row['batch_size']: row['micro_batch'] for row in rows}


def _notes(config: ConfigDict, groups: list[Group], block: int, evaluations: int) -> list[str]:
  notes = []
  if config.model.normalization == 'batch':
    seen = ', '.join(str(group.micro_batch) for group in groups)
    notes.append(
      f'BatchNorm sees micro-batches of {seen} examples, whatever the batch size '
      '(ghost batch normalization); micro_batch=batch makes it see whole batches'
      if config.micro_batch != 'batch'
      else f'BatchNorm sees whole batches, of {seen} examples: it differs between batch sizes'
    )
  if config.data.validation == 'test':
    notes.append(
      'validation is the test split: learning rates are chosen on it, so its accuracies are not '
      'those of unseen data; validation=split keeps the test split out'
    )
  smallest = min(group.micro_batch for group in groups)
  if smallest < 4:
    notes.append(
      f'a tick trains on only {smallest} example(s), which is slow; batch sizes with a larger '
      'common divisor train faster'
    )
  if evaluations < config.evaluations:
    notes.append(
      f'evaluations={config.evaluations} became {evaluations}: all lanes have just updated only '
      f'every {block} examples'
    )
  return notes


def lane_rows(plan: Plan) -> list[dict]:
  """Returns the rows of plan.csv."""
  total = plan.total_examples
  return [
    {
      **dataclasses.asdict(lane),
      'updates': total // lane.batch_size,
      'examples': total,
      'epochs': total / plan.train_examples,
    }
    for lane in plan.lanes
  ]


def table(plan: Plan, bytes_per_lane: dict[int, int] | None = None) -> Table:
  """Returns the plan for a person: a row per batch size.

  `bytes_per_lane` is, for each group, the device memory of a lane: its state, and its share of what
  the compiled program needs besides.
  """
  total = plan.total_examples
  title = (
    f'{len(plan.lanes)} lanes in {len(plan.groups)} group(s), each {total:,} examples '
    f'({total / plan.train_examples:.2f} epochs of {plan.train_examples:,})'
  )
  result = Table(title=title, caption='\n'.join(plan.notes) or None, caption_justify='left')
  columns = ['batch size', 'learning rates', 'trials', 'lanes', 'group', 'micro-batch']
  columns += ['ticks/update', 'updates', 'updates/epoch']
  columns += ['MiB/lane'] * bool(bytes_per_lane)
  for column in columns:
    result.add_column(column, justify='right')
  for size, lanes in itertools.groupby(plan.lanes, key=lambda lane: lane.batch_size):
    rows = list(lanes)
    first = rows[0]
    cells = [
      size,
      ' '.join(f'{rate:.4g}' for rate in sorted({row.learning_rate for row in rows})),
      len({row.trial for row in rows}),
      len(rows),
      first.group,
      first.micro_batch,
      first.accumulation,
      f'{total // size:,}',
      f'{plan.train_examples / size:.1f}',
    ]
    if bytes_per_lane:
      cells.append(f'{bytes_per_lane[first.group] / 2**20:.2f}')
    result.add_row(*map(str, cells))
  return result
