"""A recommendation for a person: what to use, why, how sure it is, how other trainers say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from bsjax.format import joined, number

Row = Mapping[str, Any]
UNDEFINED = {
  'no_step_ran': 'No step could be run on this device at any of the batch sizes.',
  'no_rate_ended_well': 'At no learning rate did all trials of the short run end: lower them.',
  'no_noise_scale': 'The noise scale was not measured: no evaluation followed an update.',
  'noise_scale_unknown': 'The noise scale cannot be told from zero or from infinity; run longer '
  '(--share) or with more trials.',
}
KINDS = {'exact': 'single examples', 'b_simple': 'the batches of the run'}
# What other trainers call a batch of `total` examples gathered from micro-batches of `micro`.
TRAINERS = {
  'Hugging Face Trainer': '--per_device_train_batch_size={micro} '
  '--gradient_accumulation_steps={accumulation}',
  'PyTorch Lightning': 'DataLoader(batch_size={micro}), '
  'Trainer(accumulate_grad_batches={accumulation})',
  'Keras': 'model.fit(batch_size={total})',
  'bsjax': '--config.batch_sizes={total},',
}


def sentences(advice: Row, cost: Row) -> list[str]:
  """The recommendation, its reasons and its limits, one after the other."""
  if 'undefined' in advice:
    return [UNDEFINED[advice['undefined']]]
  least, most = advice['as_good']
  noise = advice['noise_scale']
  low, high = noise['ci95']
  ends = f'[{number(low)}, {"∞" if high is None else number(high)}]'
  texts = [
    f'Batch size {advice["fastest"]} is predicted to train fastest on {cost["hardware"]}'
    + (f'; {least} to {most} take at most 10% longer.' if least != most else '.'),
    f'The gradient noise scale was {number(noise["value"])} {ends} at epoch '
    f'{noise["epoch"]:.3g} (n = {noise["n"]}, from {KINDS[noise["kind"]]}): batches of that size '
    'need twice the examples of small ones for the same loss.',
    _over_interval(advice),
  ]
  if advice['few_examples']:
    texts.append(
      f'Where examples or energy count more than time, {advice["few_examples"]} is the largest '
      'that needs at most 20% more of them than small batches.'
    )
  if advice['at_edge']:
    texts.append(
      f'{advice["fastest"]} is at an end of the batch sizes that were timed: a better one may lie '
      'beyond (config.native_cost.batch_sizes).'
    )
  return [*texts, _ramp(advice), LIMITS]


LIMITS = (
  'This is a prediction from the first part of training: it says nothing of generalization, '
  'and each batch size needs a learning rate of its own. A study over the range tells.'
)


def _over_interval(advice: Row) -> str:
  low, high = advice['over_interval']
  if low == high:
    return 'Anywhere in the interval of the noise scale the fastest batch size is the same.'
  return f'Over the interval of the noise scale the fastest batch size goes from {low} to {high}.'


def _ramp(advice: Row) -> str:
  steps, growth = advice['ramp'], advice['growth']
  if growth['value'] is None:
    return 'Whether the noise scale grows meanwhile cannot be told.'
  low, high = growth['ci95']
  grew = (
    f'Meanwhile the noise scale grew {number(growth["value"])}-fold [{number(low)}, {number(high)}]'
  )
  if not steps:
    return f'{grew}: no ramp of batch sizes follows from that.'
  told = [f'{row["batch_size"]} from epoch {row["epoch"]:.2g}' for row in steps[1:]]
  return f'{grew}, and a batch size may with it: {steps[0]["batch_size"]} first, {joined(told)}.'


def trainers(batch_size: int, cost: Row) -> list[tuple[str, str]]:
  """(trainer, what to give it) for a batch size, gathered from micro-batches where it must be."""
  row = next(row for row in cost['rows'] if row['batch_size'] == batch_size)
  gathered = row['suggestion'] or {'micro_batch': batch_size, 'accumulation': 1}
  values = {'micro': gathered['micro_batch'], 'accumulation': gathered['accumulation']}
  return [(name, text.format(total=batch_size, **values)) for name, text in TRAINERS.items()]


def table(advice: Row) -> Table:
  """One row per batch size that was timed."""
  result = Table(
    caption='to the same loss: examples as a multiple of the fewest, updates of those at unlimited '
    'batch size, time of the fastest; predicted',
    caption_justify='left',
  )
  for name in ('batch size', 'examples/s', 'examples', 'updates', 'time'):
    result.add_column(name, justify='right')
  for row in advice['rows']:
    numbers = (row[key] for key in ('examples', 'updates', 'time'))
    speed = number(row['examples_per_second'])
    cells = [str(row['batch_size']), speed, *(f'{value:.3g}' for value in numbers)]
    result.add_row(*cells, style='bold' if row['batch_size'] == advice['fastest'] else None)
  return result
