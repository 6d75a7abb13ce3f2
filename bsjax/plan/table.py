"""A plan for a person: one row per batch size, and what to know about it."""

import itertools

from rich.table import Table

from bsjax.plan.plan import StagePlan, StudyPlan


def table(plan: StudyPlan, bytes_per_lane: dict[int, int] | None = None) -> Table:
  """Returns the first stage of a plan for a person, with one row per batch size.

  `bytes_per_lane` is, for each group, the device memory of a lane: its state, and its share of what
  the compiled program needs besides.
  """
  total, first = plan.total_examples, plan.first
  title = (
    f'{len(plan.lanes)} lanes in {len(first.groups)} group(s), each {total:,} examples '
    f'({total / first.train_examples:.2f} epochs of {first.train_examples:,})'
  )
  if len(plan.stages) > 1:
    title = f'{len(plan.lanes)} lanes, each {total:,} examples; first stage, {first.stage.name}'
  result = Table(title=title, caption='\n'.join(plan.notes) or None, caption_justify='left')
  columns = ['batch size', 'learning rates', 'trials', 'lanes', 'group', 'micro-batch']
  columns += ['ticks/update', 'updates', 'updates/epoch']
  columns += ['MiB/lane'] * bool(bytes_per_lane)
  for column in columns:
    result.add_column(column, justify='right')
  for size, lanes in itertools.groupby(plan.lanes, key=lambda lane: lane.batch_size):
    rows = list(lanes)
    lane = rows[0]
    cells = [
      size,
      ' '.join(f'{rate:.4g}' for rate in sorted({row.learning_rate for row in rows})),
      len({row.trial for row in rows}),
      len(rows),
      lane.group,
      lane.micro_batch,
      lane.accumulation,
      f'{first.end // size:,}',
      f'{first.train_examples / size:.1f}',
    ]
    if bytes_per_lane:
      cells.append(f'{bytes_per_lane[lane.group] / 2**20:.2f}')
    result.add_row(*map(str, cells))
  return result


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
