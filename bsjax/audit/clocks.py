"""Where in training each row is: epochs, updates and examples, aligned or refused."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from bsjax.audit.columns import CLOCKS
from bsjax.audit.problem import Problem
from bsjax.audit.table import STEP
from bsjax.stats.estimate import Reason

_RUN = ['cell', 'run']  # what tells runs apart that may change their batch size
SAME = 1.1  # numbers that differ by less than this factor are taken for one
MOST = 1e18  # examples of a run
NOMINAL = 1_000_000.0  # examples of a training set whose size nobody said; only ratios are shown


class Clocks(NamedTuple):
  """Rows with all three clocks; which of them are known beside their ratios, and what was guessed.

  `train_examples` is None where neither said nor implied. `logged` are the clocks of the file.
  """

  rows: pd.DataFrame
  train_examples: float | None
  logged: tuple[str, ...]
  notes: list[Reason]


def align(rows: pd.DataFrame, train_examples: int | None, keras: bool) -> Clocks:
  """All clocks of all rows; Problem where they cannot be told or contradict each other."""
  rows, notes = _steps(rows)
  rows, more = _epochs_from_one(rows, keras)
  notes += more
  logged = tuple(clock for clock in CLOCKS if clock in rows and rows[clock].notna().any())
  if not logged:
    at = rows.iloc[0]
    remedy = 'Say which column: --columns=epoch=NAME or updates=NAME'
    raise Problem(at['file'], at['row'], 'epoch', 'it does not say where in training it is', remedy)
  rows = rows[rows[list(logged)].notna().any(axis=1)]
  size = float(train_examples) if train_examples else None
  changes = _changes(rows)
  implied = _implied(rows, changes)
  if implied is not None and size is None:
    size = implied
    notes.append(Reason('implied_train_examples', examples=round(implied)))
  elif implied is not None and not 1 / SAME < implied / size < SAME:
    at = rows.iloc[0]
    what = f'epochs and updates imply {implied:,.0f} training examples, and {size:,.0f} were given'
    raise Problem(at['file'], at['row'], 'updates', what, 'Mend --train_examples or the columns')
  rows = _filled(rows, logged, size, changes)
  if size is None:
    unknown = 'updates_not_known' if logged == ('epoch',) else 'epochs_not_known'
    notes.append(Reason(unknown))
  return Clocks(rows, size, logged, notes)


def _steps(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Reason]]:
  """A column of steps as updates where the batch sizes prove it; else a problem, or left out."""
  if STEP not in rows:
    return rows, []
  others = [clock for clock in CLOCKS if clock in rows and rows[clock].notna().any()]
  known = rows[rows[STEP].notna()]
  known = known[~_changes(known)]  # of others the batch size of the moment is not that of all steps
  if others:
    if 'updates' in others or 'epoch' not in others:
      return rows.drop(columns=STEP), []
    known = known[known['epoch'] > 0]
    per_epoch = known[STEP] / known['epoch'] * known['batch_size']
    if len(known) and _apart(known) and _spread(per_epoch, known['batch_size']) < SAME:
      return rows.rename(columns={STEP: 'updates'}), [Reason('steps_are_updates')]
    return rows.drop(columns=STEP), [Reason('steps_left_out')]
  keys = [key for key in ('run', 'learning_rate', 'trial', 'file') if key in known]
  last = known.groupby(['batch_size', *keys], dropna=False)[STEP].max().reset_index()
  by_size = last.groupby('batch_size')[STEP].median()
  if len(by_size) > 1 and by_size.min() > 0:
    examples = by_size * by_size.index
    if by_size.max() / by_size.min() > SAME and examples.max() / examples.min() < SAME:
      return rows.rename(columns={STEP: 'updates'}), [Reason('steps_are_updates')]
  at = rows.iloc[0]
  what = 'steps may be updates or epochs'
  raise Problem(
    at['file'], at['row'], STEP, what, 'Say which: --columns=updates=STEP or epoch=STEP'
  )


def _apart(rows: pd.DataFrame) -> bool:
  return rows['batch_size'].nunique() > 1


def _spread(values: pd.Series, sizes: pd.Series) -> float:
  """The largest over the smallest of the medians of the batch sizes."""
  medians = values.groupby(sizes).median()
  return float(medians.max() / medians.min()) if medians.min() > 0 else np.inf


def _epochs_from_one(rows: pd.DataFrame, keras: bool) -> tuple[pd.DataFrame, list[Reason]]:
  """Whole epochs that count from 0 name the epoch that a row ends: said, as it is a guess."""
  if 'epoch' not in rows:
    return rows, []
  epochs = rows['epoch'].dropna()
  if not len(epochs) or (epochs % 1 != 0).any() or epochs.min() != 0:
    return rows, []
  others = [clock for clock in ('updates', 'examples') if clock in rows]
  first = rows[rows['epoch'] == 0]
  if others and not (first[others].max(axis=1) > 0).any():
    return rows, []  # before training
  return rows.assign(epoch=rows['epoch'] + 1), [] if keras else [Reason('epochs_from_zero')]


def _implied(rows: pd.DataFrame, changes: pd.Series) -> float | None:
  """Examples in an epoch, from rows with both clocks; Problem where batch sizes disagree."""
  if 'epoch' not in rows or not {'updates', 'examples'} & set(rows):
    return None
  if not changes.all():
    rows, changes = rows[~changes], changes[~changes]  # an epoch of others is of no one batch size
  batch = rows['batch_size']
  seen = rows['examples'] if 'examples' in rows else _summed(rows, changes, rows['updates'], batch)
  use = (rows['epoch'] > 0) & (seen > 0)
  per_epoch = (seen[use] / rows['epoch'][use]).groupby(rows['batch_size'][use]).median()
  if not len(per_epoch):
    return None
  # Up to a batch is dropped or filled up at the end of every epoch.
  low, high = per_epoch - per_epoch.index, per_epoch + per_epoch.index
  if low.max() > high.min() * SAME:
    size = int(low.idxmax())
    at = rows[use & (rows['batch_size'] == size)].iloc[0]
    ends = f'{per_epoch.min():,.0f} to {per_epoch.max():,.0f}'
    what = f'by the batch sizes an epoch has {ends} examples: epochs and updates contradict'
    raise Problem(
      at['file'], at['row'], 'updates', what, 'Leave one of the columns out, or mend it'
    )
  return float(per_epoch.max())


def _filled(
  rows: pd.DataFrame, logged: tuple[str, ...], size: float | None, changes: pd.Series
) -> pd.DataFrame:
  """Each clock from those that a row has."""
  rows = rows.assign(**{clock: np.nan for clock in CLOCKS if clock not in rows})
  batch = rows['batch_size']
  exact = rows['examples'].fillna(_summed(rows, changes, rows['updates'], batch))
  epochs_lack, exact_lack = rows['epoch'].isna(), exact.isna()
  if size is None and epochs_lack.any() and exact_lack.any():
    at = rows[epochs_lack if logged[0] == 'epoch' else exact_lack].iloc[0]
    column = logged[0] if epochs_lack.any() else 'updates'
    what = 'some rows are placed by epochs and some by updates'
    raise Problem(at['file'], at['row'], column, what, 'Say --train_examples=N, or place all alike')
  if size is None:
    size = NOMINAL if not epochs_lack.any() else float(exact.max()) or 1.0
  epoch = rows['epoch'].fillna(exact / size)
  # Where epochs are known they are what runs have equally much of, whatever was dropped.
  examples = epoch * size
  if (beyond := ~(examples < MOST)).any():
    at = rows[beyond].iloc[0]
    raise Problem(at['file'], at['row'], logged[0], 'it lies beyond any training', 'Mend it')
  updates = rows['updates'].fillna(_summed(rows, changes, exact, 1 / batch))
  updates = updates.fillna(_summed(rows, changes, examples, 1 / batch))
  return rows.assign(epoch=epoch, examples=examples, updates=updates)


def _changes(rows: pd.DataFrame) -> pd.Series:
  """Which rows are of runs that change their batch size; without a name of runs none is."""
  if 'run' not in rows:
    return pd.Series(False, index=rows.index)
  return rows.groupby(_by_run(rows), dropna=False)['batch_size'].transform('nunique') > 1


def _by_run(rows: pd.DataFrame) -> list[str]:
  return [key for key in _RUN if key in rows]


def _summed(rows: pd.DataFrame, changes: pd.Series, clock: pd.Series, each: pd.Series) -> pd.Series:
  """A clock times `each`, which is that of the moment: summed along runs in which it changes.

  Raises Problem where such a run begins anew in the file: it may be two under one name.
  """
  total = clock * each
  changed = changes & clock.notna()
  if not changed.any():
    return total
  some = rows[changed].assign(clock=clock, each=each)
  for _, run in some.groupby(_by_run(some), dropna=False):
    back = run[run['clock'].diff() < 0]
    anew = back[back['clock'] <= run['clock'].min()]
    if len(anew) and not run['clock'].is_monotonic_decreasing:
      _begins_anew(anew.iloc[0])
  some = some.sort_values('clock', kind='stable')
  before = some.groupby(_by_run(some), dropna=False)['clock'].shift(fill_value=0.0)
  some['sum'] = (some['clock'] - before) * some['each']
  total.loc[some.index] = some.groupby(_by_run(some), dropna=False)['sum'].cumsum()
  return total


def _begins_anew(at: pd.Series) -> None:
  what = f'run {at["run"]!r} changes its batch size, and its rows begin anew here'
  remedy = 'Put rows in the order of training, or give each run a name of its own'
  raise Problem(at['file'], at['row'], 'run', what, remedy)
