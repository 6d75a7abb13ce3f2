"""What is wrong with drawn records: values, records, runs and trials that are not there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from helpers.draw import Draw
from helpers.kept_records import Rows

CAUSES = 'loss_not_finite', 'gradient_not_finite', 'update_not_finite', 'state_not_finite'
CAUSES += 'parameter_not_finite', 'loss_grown'


def spoiled(draw: Draw, lanes: Rows, rows: Rows) -> tuple[Rows, Rows]:
  """What is wrong with records, some of it at a time."""
  for row in rows:
    if row['diverged'] and draw.chance(0.8):
      row |= {'diverged_at': row['examples'] - 64, 'diverged_because': CAUSES[row['lane'] % 6]}
  for spoil in draw.some(SPOILS, 0.07):
    lanes, rows = spoil(draw, lanes, rows)
  return lanes, rows


def _ties(draw: Draw, lanes: Rows, rows: Rows) -> tuple[Rows, Rows]:
  """Few validation examples, so that many runs have the same accuracy."""
  for row in rows:
    row |= {key: round(row[key], 2) for key in row if key.endswith('val_accuracy')}
  return lanes, rows


def _alike(draw: Draw, lanes: Rows, rows: Rows) -> tuple[Rows, Rows]:
  """All trials of a setting have the numbers of the first."""
  setting = {
    lane['lane']: (lane['batch_size'], lane['learning_rate'], lane['branch']) for lane in lanes
  }
  first: dict[Any, Mapping[str, Any]] = {}
  for row in rows:
    of_first = first.setdefault((setting[row['lane']], row['examples'], 'val_examples' in row), row)
    row |= {key: of_first[key] for key in of_first if 'accuracy' in key or 'loss' in key}
  return lanes, rows


def _without_loss(draw: Draw, lanes: Rows, rows: Rows) -> tuple[Rows, Rows]:
  """Losses that come to zero, or are lost in the midst of a run."""
  odd, at = draw.one(*lanes)['lane'], draw.one(0.0, None, math.inf)
  last = max(row['examples'] for row in rows)
  for row in rows:
    if row['lane'] == odd and 0.4 * last < row['examples'] < 0.9 * last:
      row['train_loss'] = at
  return lanes, rows


def _without_metric(draw: Draw, lanes: Rows, rows: Rows) -> tuple[Rows, Rows]:
  """A run that ends without one of its numbers."""
  odd, key = draw.one(*lanes)['lane'], draw.one('val_accuracy', 'train_accuracy', 'val_loss')
  last = max(row['examples'] for row in rows)
  for row in rows:
    if row['lane'] == odd and row['examples'] == last:
      row[key] = None
  return lanes, rows


def _fewer_trials(draw: Draw, lanes: Rows, rows: Rows) -> tuple[Rows, Rows]:
  """A batch size, or a learning rate, that lacks the last trial."""
  key, last = draw.one('batch_size', 'learning_rate'), max(lane['trial'] for lane in lanes)
  odd = draw.one(*lanes)[key]
  lost = {lane['lane'] for lane in lanes if lane[key] == odd and lane['trial'] == last and last}
  kept = [lane for lane in lanes if lane['lane'] not in lost]
  return kept, [row for row in rows if row['lane'] not in lost]


def _without_clock(draw: Draw, lanes: Rows, rows: Rows) -> tuple[Rows, Rows]:
  """Sums of learning rates that are not there, not finite, or go down."""
  odd, how = draw.one(*lanes)['lane'], draw.one('no column', None, -1.0)
  for row in rows:
    if how == 'no column':
      row.pop('learning_rate_sum', None)
    elif row['lane'] == odd and row['examples']:
      row['learning_rate_sum'] = how and how * row['learning_rate_sum']
  return lanes, rows


def _without_record(draw: Draw, lanes: Rows, rows: Rows) -> tuple[Rows, Rows]:
  """A run without one of its records."""
  odd, marks = draw.one(*lanes)['lane'], sorted({row['examples'] for row in rows})
  lost = draw.one(*marks[1:-1]) if len(marks) > 2 else -1
  return lanes, [row for row in rows if row['lane'] != odd or row['examples'] != lost]


def _not_ended(draw: Draw, lanes: Rows, rows: Rows) -> tuple[Rows, Rows]:
  """A study, or all runs of a batch size, that have come some way."""
  marks = sorted({row['examples'] for row in rows})
  end = draw.one(*marks[:-1])
  odd = draw.one(*lanes)['batch_size'] if draw.chance(0.5) else None
  late = {lane['lane'] for lane in lanes if odd in (None, lane['batch_size'])}
  return lanes, [row for row in rows if row['lane'] not in late or row['examples'] <= end]


def _lost(draw: Draw, lanes: Rows, rows: Rows) -> tuple[Rows, Rows]:
  """All runs of a batch size, or of one and all larger rates, diverge."""
  one = draw.one(*lanes)
  lost = {
    lane['lane']
    for lane in lanes
    if lane['batch_size'] == one['batch_size'] and lane['learning_rate'] >= one['learning_rate']
  }
  for row in rows:
    if row['lane'] in lost and row['examples']:
      row |= {'diverged': True, 'train_loss': None, 'val_loss': None}
  return lanes, rows


def _plain_names(draw: Draw, lanes: Rows, rows: Rows) -> tuple[Rows, Rows]:
  """Records of an older version, with fewer columns."""
  older = 'val_balanced_accuracy', 'train_balanced_accuracy', 'noise_early', 'batch_size'
  return lanes, [{key: row[key] for key in row if key not in older} for row in rows]


SPOILS = (_ties, _alike, _without_loss, _without_metric, _fewer_trials, _without_clock)
SPOILS += (_without_record, _not_ended, _lost, _plain_names)
