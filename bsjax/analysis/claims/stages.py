"""Stages of training: where each begins and ends, and the batch sizes compared along the way.

Everything is read where all batch sizes have made as many epochs, and where they have made as many
updates as the largest of them by then, or at their last common record before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bsjax.analysis.claims.claim import Claim, Kind
from bsjax.analysis.claims.slopes import GAP_GROWS, metric_worsens, trend
from bsjax.analysis.measures.gap import at_clock
from bsjax.analysis.runs.budgets import last_common_record, readings
from bsjax.analysis.runs.histories import Tried
from bsjax.analysis.runs.reading import Reading
from bsjax.analysis.runs.selection import Chosen
from bsjax.stats.estimate import Reason

# An evaluation this near, in parts of the epoch asked for, is taken for it.
NEAR = 0.01


def stages(
  config: Mapping[str, Any], tried: Mapping[str, Tried], chosen: Mapping[str, Chosen]
) -> dict[str, Any]:
  """The content of summary['stages'], from the settings of each branch, the baseline first.

  {'stages': [{'name', 'trained', 'start_epoch', 'epoch', 'examples', 'updates', 'settings'}],
  'at': [{'branch', 'epoch', 'ends', 'epochs': C, 'updates': C or {'undefined'}, 'claims'}]}. The
  first list says where each stage ends, with the updates of each batch size by then (null where not
  recorded); 'trained' holds patterns of parameter paths, empty for all. C is as `gap.at_clock` has
  it; 'ends' names the stage that ends at the epoch, if one does.
  """
  first = next(iter(tried))
  listed = _listed(config, boundaries(config, tried[first]), tried[first], chosen[first])
  wanted = config.get('report', {}).get('epochs', ())
  asked = [_evaluated(float(epoch), tried[first]) for epoch in wanted]
  epochs = asked or [row['epoch'] for row in listed]
  names = {round(row['epoch'], 9): row['name'] for row in listed}
  return {
    'stages': listed,
    'at': [
      {'branch': branch, 'epoch': epoch, 'ends': names.get(round(epoch, 9))}
      | _at(tried[branch], chosen[branch], epoch, branch)
      for branch in tried
      for epoch in epochs
    ],
  }


def _evaluated(epoch: float, tried: Tried) -> float:
  """The epoch of an evaluation that is as good as at the one asked for, or that one.

  Evaluations stand at whole blocks, so rarely at a round epoch, and what is read between two of
  them is less certain than they are.
  """
  epochs = {
    row['epoch']
    for settings in tried.values()
    for setting in settings
    for row in setting.lanes[0].rows
  }
  nearest = min(epochs, key=lambda at: abs(at - epoch), default=epoch)
  return nearest if abs(nearest - epoch) <= NEAR * epoch else epoch


def stage_claims(compared: Mapping[str, Any]) -> list[Claim]:
  """All claims of summary['stages'], for the list of all claims."""
  return [claim for row in compared['at'] for claim in row['claims']]


class End(NamedTuple):
  """Where a stage ends; epochs are passes over the stages' shares of the training set."""

  examples: float
  epoch: float


def boundaries(config: Mapping[str, Any], tried: Tried) -> list[End]:
  """Where each stage ends: at its last record, or while it is not there, as configured.

  A plan rounds ends to whole blocks, evaluates there and counts that record to the stage it ends.
  """
  order = config['stages']['order']
  lanes = [lane for settings in tried.values() for setting in settings for lane in setting.lanes]
  plan, rows = lanes[0].plan, [row for lane in lanes for row in lane.rows]
  training_set = plan['examples'] / plan['epochs']
  if begun := next((row for row in rows if row['stage'] == 0 and row['epoch']), None):
    share = config['stages'][order[0]].get('data_share', 1.0)
    training_set = begun['examples'] / begun['epoch'] / share
  ends, end = [], End(0.0, 0.0)
  for index, name in enumerate(order):
    keys = config['stages'][name]
    share = keys.get('data_share', 1.0) * training_set
    length = keys.get('examples') or keys['epochs'] * share
    end = End(end.examples + length, end.epoch + length / share)
    inside = [row for row in rows if row['stage'] == index]
    left = any(row['stage'] > index for row in rows)
    if inside and (left or all(lane.final for lane in lanes)):
      last = max(inside, key=lambda row: row['examples'])
      end = End(float(last['examples']), float(last['epoch']))
    ends.append(end)
  return ends


def _listed(
  config: Mapping[str, Any], ends: Sequence[End], tried: Tried, chosen: Chosen
) -> list[dict[str, Any]]:
  rows = []
  starts = [End(0.0, 0.0), *ends]
  for name, start, end in zip(config['stages']['order'], starts, ends, strict=False):
    read = readings(chosen, 'examples', end.examples)
    row = {'name': name, 'trained': list(config['stages'][name].get('trainable', ()))}
    row |= {'start_epoch': start.epoch, 'epoch': end.epoch, 'examples': end.examples}
    row['updates'] = {
      str(size): None if reading.problem else float(reading.values['updates'].mean())
      for size, reading in read.items()
    }
    rows.append(row | {'settings': dict(config['stages'][name])})
  return rows


def _at(tried: Tried, chosen: Chosen, epoch: float, branch: str) -> dict[str, Any]:
  """All batch sizes at an epoch, and at the updates of the largest of them at that epoch."""
  missing = {size: Reason('no_learning_rate') for size in tried if size not in chosen}
  at_epoch = readings(chosen, 'epochs', epoch)
  place = {'epoch': epoch, 'branch': branch}
  result = {'epochs': at_clock(chosen, 'epochs', missing, epoch)}
  claims = _claims('epochs', tried, chosen, at_epoch, **place)
  readable = [size for size, reading in at_epoch.items() if not reading.problem]
  if not readable:
    result['updates'] = {'undefined': Reason('nothing_at_epoch')}
  else:
    largest = max(readable)
    end = float(at_epoch[largest].values['updates'].min())
    value = last_common_record(chosen, 'updates', end)
    result['updates'] = at_clock(chosen, 'updates', missing, value)
    read = readings(chosen, 'updates', value)
    claims += _claims('updates', tried, chosen, read, **place, updates_of=largest)
  return result | {'claims': claims}


def _claims(
  budget: str, tried: Tried, chosen: Chosen, read: Mapping[int, Reading], **place: Any
) -> list[Claim]:
  return [
    trend(question, quantity, budget, tried, chosen, read, Kind.STAGE, **place)
    for quantity, question in (metric_worsens(), GAP_GROWS)
  ]
