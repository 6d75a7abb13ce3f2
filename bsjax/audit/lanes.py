"""Runs as the lanes that the analysis reads: a plan and records for each, thinned if very long."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bsjax.analysis.runs.histories import LaneHistory, Setting, Tried
from bsjax.audit.columns import LOSSES
from bsjax.audit.problem import Problem
from bsjax.audit.runs import ID
from bsjax.config.metrics import USUAL
from bsjax.stats.estimate import Reason

RECORDS = 200  # of a run; more are thinned evenly, which an interpolation hardly sees
NEAR_END = 1e-4  # of a run: ends that differ by less, or by less than a batch, are made one
SAME_END = 0.01  # ends of runs that differ by less, as a share, are one
EARLY_STOPPED = 0.5  # where fewer of the runs of a batch size come to one end, each has its own
KEPT = ('seconds', 'sharpness')
_NUMBERS = ('examples', 'updates', 'epoch', 'learning_rate', 'batch_size')


def cells(rows: pd.DataFrame, loss_only: bool) -> tuple[dict[str, Tried], list[Reason]]:
  """Cell -> batch size -> its settings, ascending; and what was noticed of the ends of runs."""
  rows, notes = _thinned(rows)
  if loss_only:
    low = rows['val_loss'] <= 0
    if low.any():
      at = rows[low].iloc[0]
      what, remedy = f'{at["val_loss"]:g} has no logarithm', 'Give losses above zero'
      raise Problem(at['file'], at['row'], 'val_loss', what, remedy)
    # Of a table of losses, what is compared is the log of the loss; more is better, as elsewhere.
    with np.errstate(divide='ignore'):
      rows = rows.assign(**{USUAL.val: -np.log(rows['val_loss'])})
  rows, aligned = _aligned_ends(rows)
  last = rows.groupby(ID, sort=False).last()
  ends, early = _ends(last)
  notes += aligned + ([Reason('ends_differ', batch_sizes=early)] if early else [])
  tried: dict[str, dict[int, dict[float, list[LaneHistory]]]] = {}
  records = _records(rows)
  plans = last.reset_index().to_dict('records')
  for lane, at in enumerate(plans):
    size, rate = int(at['first_size']), float(at['peak'])
    plan = {'lane': lane, 'batch_size': size, 'learning_rate': rate, 'trial': int(at['number'])}
    plan |= {'examples': round(ends[at[ID]]), 'updates': at['updates'], 'epochs': at['epoch']}
    history = LaneHistory(plan, _whole(records[at[ID]], lane))
    tried.setdefault(at['cell'], {}).setdefault(size, {}).setdefault(rate, []).append(history)
  return {cell: _settings(sizes) for cell, sizes in sorted(tried.items())}, notes


def _settings(sizes: dict[int, dict[float, list[LaneHistory]]]) -> Tried:
  return {
    size: [
      Setting(size, rate, tuple(sorted(lanes, key=lambda lane: lane.plan['trial'])))
      for rate, lanes in sorted(rates.items())
    ]
    for size, rates in sorted(sizes.items())
  }


def _thinned(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Reason]]:
  count = rows.groupby(ID)[ID].transform('size')
  if count.max() <= RECORDS:
    return rows, []
  place = rows.groupby(ID).cumcount()
  step = (count - 1) / (RECORDS - 1)
  # A row stays where another of the evenly spaced places has been passed; the last always does.
  keep = (count <= RECORDS) | (
    (place / step).astype('int64') > ((place - 1) / step).apply(np.floor)
  )
  keep |= place == count - 1
  return rows[keep], [Reason('thinned', most=int(count.max()), kept=RECORDS)]


def _aligned_ends(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Reason]]:
  """Ends that differ by less than a batch, as those in whole updates do, made one in each cell."""
  last = ~rows.duplicated(ID, keep='last')
  ends = rows[last]
  top = ends.groupby('cell')['examples'].transform('max')
  apart = top - ends['examples']
  near = (apart > 0) & (apart <= np.maximum(ends['batch_size'], NEAR_END * top))
  if not near.any():
    return rows, []
  moved = ends.index[near]
  factor = top[moved] / rows.loc[moved, 'examples']
  rows = rows.copy()
  for clock in ('examples', 'epoch'):
    rows.loc[moved, clock] *= factor
  rows.loc[moved, 'examples'] = top[moved]
  return rows, [Reason('ends_aligned', share=float((apart / top)[moved].max()))]


def _ends(last: pd.DataFrame) -> tuple[dict[int, float], list[int]]:
  """Where each run was meant to end, in examples; the batch sizes where each has its own end."""
  ends, early = {}, set()
  for (_, size), group in last.groupby(['cell', 'first_size'], sort=False):
    top = group['examples'].max()
    whole = group['examples'] >= top * (1 - SAME_END)
    if whole.mean() >= EARLY_STOPPED:
      planned = group['examples'].where(whole, top)
    else:
      planned = group['examples']
      early.add(int(size))
    ends |= planned.to_dict()
  return ends, sorted(early)


def _records(rows: pd.DataFrame) -> dict[int, list[dict[str, Any]]]:
  """The rows of each run; what was not finite is None, and from there on the run has diverged."""
  names = [
    name for name in (USUAL.val, USUAL.train, USUAL.reestimated_val, *LOSSES, *KEPT) if name in rows
  ]
  columns = {name: rows[name].to_numpy(dtype=np.float64) for name in (*_NUMBERS, *names)}
  lost = np.isinf(np.stack([columns[name] for name in names])).any(axis=0)
  lists = {name: _with_none(values) for name, values in columns.items()}
  lists['examples'] = np.rint(columns['examples']).astype(np.int64).tolist()
  missing = np.full(len(rows), np.nan)
  train = columns.get(USUAL.train, missing)  # the metric counts without it
  lists[USUAL.train] = np.where(np.isinf(train), np.nan, train).tolist()
  lists |= {name: [None] * len(rows) for name in LOSSES if name not in lists}
  lists['diverged'] = pd.Series(lost, rows.index).groupby(rows[ID]).cummax().tolist()
  records: dict[int, list[dict[str, Any]]] = {}
  for number, values in zip(rows[ID].tolist(), zip(*lists.values(), strict=True), strict=True):
    row = dict(zip(lists, values, strict=True))
    row['stage'] = 0
    records.setdefault(number, []).append(row)
  return records


def _with_none(values: np.ndarray) -> list[float | None]:
  if np.isfinite(values).all():
    return values.tolist()
  objects = values.astype(object)
  objects[~np.isfinite(values)] = None
  return objects.tolist()


def _whole(rows: list[dict[str, Any]], lane: int) -> tuple[dict[str, Any], ...]:
  """The records of a run with one before training, which nothing is interpolated from."""
  for row in rows:
    row['lane'] = lane
  if rows[0]['updates'] == 0:
    return tuple(rows)
  start = rows[0] | {'examples': 0, 'updates': 0.0, 'epoch': 0.0}
  return (start, *rows)
