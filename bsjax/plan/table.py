"""The plan as a table to print, one row per batch size, with notes."""

import itertools
from collections import Counter

from ml_collections import ConfigDict
from rich.table import Table

from bsjax.config.metrics import judged
from bsjax.format import from_to, joined
from bsjax.plan import evaluations, halving
from bsjax.plan.lanes import StagePlan, StudyPlan

NOTABLE = 0.05  # a share of training that a person should know of


def table(
  config: ConfigDict, plan: StudyPlan, bytes_per_lane: dict[int, int | None] | None = None
) -> Table:
  """Returns the first stage of a plan for a person, with one row per batch size.

  `bytes_per_lane` is, for each group, the device memory of a lane: its state, and its share of what
  the compiled program needs besides; None where that has no room.
  """
  total, first = plan.total_examples, plan.first
  title = (
    f'{len(plan.lanes)} lanes in {len(first.groups)} group(s), each {total:,} examples '
    f'({total / first.train_examples:.2f} epochs of {first.train_examples:,})'
  )
  if len(plan.stages) > 1:
    title = f'{len(plan.lanes)} lanes, each {total:,} examples; first stage, {first.stage.name}'
  result = Table(
    title=title, caption='\n'.join(notes(config, plan)) or None, caption_justify='left'
  )
  for size, lanes in itertools.groupby(plan.lanes, key=lambda lane: lane.batch_size):
    rows = list(lanes)
    lane = rows[0]
    rates = sorted({row.learning_rate for row in rows})
    cells = {
      'batch size': size,
      'learning rates': ' '.join(f'{rate:.4g}' for rate in rates),
      'trials': from_to(Counter((row.learning_rate, row.branch) for row in rows).values()),
      'lanes': len(rows),
      'group': lane.group,
      'micro-batch': lane.micro_batch,
      'ticks/update': lane.accumulation,
      'updates': f'{first.end // size:,}',
      'updates/epoch': f'{first.train_examples / size:.1f}',
    }
    if bytes_per_lane:
      held = bytes_per_lane[lane.group]
      cells['MiB/lane'] = 'no room' if held is None else f'{held / 2**20:.2f}'
    for column in () if result.columns else cells:
      result.add_column(column, justify='right')
    result.add_row(*map(str, cells.values()))
  return result


def notes(config: ConfigDict, plan: StudyPlan) -> list[str]:
  """Returns what a person should know of the first stage, and of evaluations if it is the only."""
  groups, count = plan.first.groups, len(plan.first.evaluations) - 1
  remarks = []
  if config.model.normalization == 'batch':
    seen = ', '.join(str(group.micro_batch) for group in groups)
    remarks.append(
      f'BatchNorm sees micro-batches of {seen} examples, whatever the batch size '
      '(ghost batch normalization); micro_batch=batch makes it see whole batches'
      if config.micro_batch != 'batch'
      else f'BatchNorm sees whole batches, of {seen} examples: it differs between batch sizes'
    )
  if config.data.validation == 'test':
    remarks.append(
      'validation is the test split: learning rates are chosen on it, so its '
      f'{judged().metric.plural} are not those of unseen data; validation=split keeps the test '
      'split out'
    )
  smallest = min(group.micro_batch for group in groups)
  if smallest < 4:
    remarks.append(
      f'a tick trains on only {smallest} example(s), which is slow; batch sizes with a larger '
      'common divisor train faster'
    )
  if count < config.evaluations and len(plan.stages) == 1 and not config.evaluation.at:
    remarks.append(
      f'evaluations={config.evaluations} became {count}: all lanes have just updated only '
      f'every {plan.first.block_examples} examples'
    )
  return (
    remarks
    + _hyperparameters(plan)
    + _lengths(plan)
    + _warm_up(config, plan)
    + _equal_updates(config, plan)
    + _rungs(config, plan)
  )


def _rungs(config: ConfigDict, plan: StudyPlan) -> list[str]:
  """Where learning rates are dropped, if they are."""
  marks = halving.rungs(config, plan)
  if not marks:
    return []
  return [
    f'at {joined(f"{mark:,}" for mark in marks)} examples the learning rates of each batch size '
    f'are dropped that are not among the best {100 * config.halving.keep:.3g}% there, by the mean '
    f'of all trials; {halving.FEWEST} neighbours around the best one go on'
  ]


def _hyperparameters(plan: StudyPlan) -> list[str]:
  """The values of the optimizer's hyperparameters that lanes differ in, by batch size."""
  values: dict[str, dict[int, dict[str, None]]] = {}
  for lane in plan.lanes:
    for name, value in lane.hyperparameters:
      values.setdefault(name, {}).setdefault(lane.batch_size, {})[f'{value:.6g}'] = None
  return [
    f'{name} is '
    + ', '.join(f'{joined(shown, "or")} at batch size {size}' for size, shown in by_size.items())
    for name, by_size in values.items()
  ]


def _lengths(plan: StudyPlan) -> list[str]:
  """Where whole batches of every size make a stage much longer or shorter than was asked."""
  remarks = []
  for part in plan.stages:
    stage, trained = part.stage, part.end - part.start
    asked = stage.examples or stage.epochs * part.train_examples
    if abs(trained / asked - 1) > NOTABLE:
      what = f'stage {stage.name}: ' if stage.name else ''
      length = f'examples={stage.examples}' if stage.examples else f'epochs={stage.epochs:g}'
      became = trained if stage.examples else f'{trained / part.train_examples:.2f}'
      remarks.append(
        f'{what}{length} became {became}: all batch sizes update together only every '
        f'{part.block_examples:,} examples'
      )
  return remarks


def _warm_up(config: ConfigDict, plan: StudyPlan) -> list[str]:
  """Where the warm-up takes a larger share of the learning rates of some batch sizes."""
  first = plan.first
  warm_up = round(config.schedule.warmup_epochs * first.epoch_examples)

  def lost(size: int) -> float:  # an update has the rate of where it begins
    missing = sum(1 - start / warm_up for start in range(0, warm_up, size))
    return missing * size / plan.total_examples

  sizes = sorted({lane.batch_size for lane in plan.lanes})
  if not warm_up or (warm_up >= sizes[-1] and lost(sizes[-1]) - lost(sizes[0]) <= NOTABLE):
    return []
  ends = dict.fromkeys((sizes[0], sizes[-1]))
  shares = ' and '.join(f'{lost(size):.1%} of batch size {size}' for size in ends)
  return [
    f'the warm-up of {warm_up:,} examples begins with an update at rate 0 and takes, of the '
    f'learning rates summed over updates at their peak, {shares}; a longer training or smaller '
    'batch sizes make that more alike'
  ]


def _equal_updates(config: ConfigDict, plan: StudyPlan) -> list[str]:
  """At how many updates all batch sizes are compared, where evaluations are placed for it."""
  parts = [part.stage for part in plan.stages]
  ends = [part.end for part in plan.stages]
  line = evaluations.timeline(
    parts, ends, plan.first.block_examples, config.batch_sizes, plan.train_examples
  )
  if len(line.paths) == 1 or evaluations.way(config, parts) != evaluations.MATCHED:
    return []
  marks = [mark for part in plan.stages for mark in part.evaluations]
  further = [mark for part in plan.stages for mark in part.further]
  common, most = evaluations.equal_updates(line, marks)
  where, at_all = '', sorted([*marks, *further])
  if not common and further:
    common, most = evaluations.equal_updates(line, at_all)
    where = f', on {config.evaluation.subset:,} training and validation examples at most'
  said = [_further(config, further)] if further else []
  if common:
    return [
      f'at equal updates, lanes are compared at {common:,} of the {most:,} that those with the '
      f'fewest make{where}',
      *said,
    ]
  return [
    'no evaluations fall on equal updates of all batch sizes, so what is compared there lies '
    f'between two; for them {len(line.paths) + 1} evaluations or more are needed, and lanes of '
    'the largest batch size with as many updates as lanes of the smallest make between two '
    f'moments at which all update, {plan.first.block_examples // min(config.batch_sizes)}'
  ]


def _further(config: ConfigDict, further: list[int]) -> str:
  return (
    f'{len(further)} further evaluations, at equal updates, are of {config.evaluation.subset:,} '
    'training and as many validation examples at most, the same for all lanes; there and at all '
    'others these stand in subset_records.jsonl, of which no mean is taken with those of whole '
    'splits'
  )


def stages_table(plan: StudyPlan) -> Table | None:
  """Returns the stages for a person, one row per stage with what lanes begin it with, or None."""
  if not plan.first.stage.name:
    return None
  result = Table(title='Stages')
  for column in ('stage', 'epochs', 'examples', 'trained', 'batch sizes', 'learning rates'):
    result.add_column(column, justify='left' if column in ('stage', 'trained') else 'right')
  result.add_column('also')
  for part in plan.stages:
    stage, lanes = part.stage, part.lanes
    rates = sorted({lane.learning_rate for lane in lanes})
    span = f'{rates[0]:.4g}' + (f' to {rates[-1]:.4g}' if len(rates) > 1 else '')
    result.add_row(
      stage.name,
      f'{part.start_epoch:.4g} to {part.epoch(part.end):.4g}',
      f'{part.start:,} to {part.end:,}',
      ' '.join(stage.trainable) or 'all',
      ' '.join(str(size) for size in sorted({lane.batch_size for lane in lanes})),
      span,
      '; '.join(_also(part)),
    )
  return result


def _also(plan: StagePlan) -> list[str]:
  stage = plan.stage
  remarks = [] if stage.batch_size == ('keep',) else [f'batch size {", ".join(stage.batch_size)}']
  remarks += [f'{stage.image_size} pixels'] * bool(stage.image_size)
  remarks += [f'{plan.train_examples:,} training examples'] * (stage.data_share < 1)
  remarks += ['fresh optimizer state'] * stage.reset_optimizer
  return remarks
