"""Rows to runs: which belong together, in what order, and which were written twice."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

from bsjax.audit.columns import LOSSES, METRICS, PER_RUN, TEXTS
from bsjax.audit.problem import Problem
from bsjax.stats.estimate import Reason

ID = 'id'
SETTING = ['cell', 'batch_size', 'learning_rate']
# A metric that falls by so much in so many runs and ends so low may be an error rate.
FALL, LOW, NEARLY_ALL = 0.05, 0.5, 0.8
_DIGITS = 9  # of a clock, by which two rows are at one place
_ORIGIN = ('file', 'row')


def identify(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Reason]]:
  """The rows with the number of their run, its peak learning rate and trial, in order of training.

  Raises Problem where rows of one run contradict each other, or cannot be told apart.
  """
  rows, notes = _labels(rows)
  rows = rows.assign(place=rows['examples'].round(_DIGITS))
  plain = [name for name in rows.columns if name not in _ORIGIN]
  twice = rows.duplicated(plain)
  if twice.any():
    notes.append(Reason('rows_twice', count=int(twice.sum())))
    rows = rows[~twice]
  rows, more = _one_row_per_place(rows)
  rows = rows.sort_values([ID, 'place'], kind='stable')
  rows['peak'] = rows.groupby(ID)['learning_rate'].transform('max')
  rows['first_size'] = rows.groupby(ID)['batch_size'].transform('first')
  return rows, notes + more


def _labels(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Reason]]:
  """Which run each row belongs to, by what the table has to tell them apart."""
  rows = rows.assign(cell=rows.get('cell', ''))
  for key in ('cell', 'run', 'trial', 'learning_rate'):
    if key in rows and rows[key].isna().any() and rows[key].notna().any():
      _refuse(rows, rows.index[rows[key].isna()][0], key, 'it is empty', 'Fill it in')
  keys = ['cell']
  if 'run' in rows:
    keys.append('run')
  else:
    keys += ['batch_size', *(['trial'] if 'trial' in rows else [])]
    if 'learning_rate' in rows and not _is_schedule(rows, keys):
      keys.append('learning_rate')
  rows[ID] = rows.groupby(keys, sort=False, dropna=False).ngroup()
  if {'run', 'trial'} & set(rows):
    return rows, []
  return _by_restarts(rows)


def _is_schedule(rows: pd.DataFrame, keys: Sequence[str]) -> bool:
  """Whether learning rates change along a run, and so are those of the moment and no setting."""
  several = rows.groupby(list(keys), dropna=False)['learning_rate'].nunique()
  if several.max() < 2 or rows.duplicated([*keys, 'examples']).any():
    return False
  return bool(rows.groupby([*keys, 'learning_rate'], dropna=False).size().median() <= 2)


def _by_restarts(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Reason]]:
  """Trials without a label: a new one where the clock begins again, as in files in order."""
  if not rows.duplicated([ID, 'examples']).any():
    return rows, []
  back = rows.groupby(ID)['examples'].diff() <= 0
  restart = back.groupby(rows[ID]).cumsum()
  begins = rows.groupby([ID, restart])['examples'].transform('first')
  lowest = rows.groupby(ID)['examples'].transform('min')
  wrong = (begins != lowest) | rows.duplicated([ID, 'examples']) & (restart == 0)
  if wrong.any():
    at = rows.index[rows.duplicated([ID, 'examples'])][0]
    first = rows[(rows[ID] == rows.loc[at, ID]) & (rows['examples'] == rows.loc[at, 'examples'])]
    what = f'rows {first["row"].iloc[0]} and {rows.loc[at, "row"]} are of one setting at one place'
    remedy = 'Add a column with the trial or the run, or name it with --columns=trial=NAME'
    _refuse(rows, at, 'trial', what, remedy)
  rows = rows.assign(trial=restart.astype('int64').astype(str))
  rows[ID] = rows.groupby([ID, 'trial'], sort=False).ngroup()
  count = int(restart.max()) + 1
  return rows, [Reason('trials_by_restart', count=count)]


def _one_row_per_place(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Reason]]:
  """Rows of one place joined where they complete each other; of a resumed run the later ones."""
  double = rows.duplicated([ID, 'place'], keep=False)
  if not double.any():
    return rows, []
  values = [name for name in (*METRICS, *LOSSES) if name in rows]
  some = rows[double]
  counts = some.groupby([ID, 'place'])[values].nunique()
  conflict = (counts > 1).any(axis=1)
  notes = []
  if conflict.any():
    places = some.set_index([ID, 'place']).index
    clashing = some[places.isin(conflict.index[conflict])]
    _check_resumed(rows, clashing)
    runs = int(clashing[ID].nunique())
    notes.append(Reason('resumed', runs=runs, rows=int(conflict.sum())))
  joined = some.groupby([ID, 'place'], sort=False).last().reset_index()
  return pd.concat([rows[~double], joined[rows.columns]], ignore_index=True), notes


def _check_resumed(rows: pd.DataFrame, clashing: pd.DataFrame) -> None:
  """Raises Problem unless each clash is of a run that went back and on from there."""
  for number, group in clashing.groupby(ID):
    mine = rows[rows[ID] == number]
    back = mine['place'].diff() < 0
    begins = mine.loc[back, 'place']
    restarted = (begins <= mine['place'].min()).any() and mine['place'].nunique() > 1
    if not back.any() or restarted or (mine['place'].diff() == 0).any():
      first, second = group.sort_values('place', kind='stable').index[:2]
      pair = f'rows {rows.loc[first, "row"]} and {rows.loc[second, "row"]}'
      what = f'{pair} are of one run at one place and differ'
      remedy = (
        'Add a column that tells runs apart, or name it with --columns=run=NAME or trial=NAME'
      )
      _refuse(rows, second, 'run' if 'run' in rows else 'trial', what, remedy)


def _refuse(rows: pd.DataFrame, place: Hashable, column: str, what: str, remedy: str) -> None:
  raise Problem(rows.loc[place, 'file'], rows.loc[place, 'row'], column, what, remedy)


def completed(rows: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, list[Reason]]:
  """The rows with the metric; other columns as last seen in the run before.

  A run whose metric ends before its clock does is one that ended there.
  """
  others = [name for name in (*METRICS, *LOSSES, *PER_RUN, 'seconds', *TEXTS)
            if name in rows and name not in (metric, 'cell')]  # fmt: skip
  measured = rows[metric].notna()
  notes = []
  if not measured.all():
    filled = rows.groupby(ID)[others].ffill() if others else rows[[]]
    rows = rows.assign(**{name: filled[name] for name in others})
    notes.append(Reason('rows_without_metric', count=int((~measured).sum()), column=metric))
    if lost := int(rows[ID].nunique() - rows.loc[measured, ID].nunique()):
      notes.append(Reason('runs_without_metric', count=lost, column=metric))
    rows = rows[measured]
  return rows, notes


def checked(rows: pd.DataFrame, metric: str, said: bool) -> tuple[pd.DataFrame, list[Reason]]:
  """The rows without what is not what its name says: times that are none since the start.

  Raises Problem for a metric that falls along nearly all runs and ends low, unless somebody said
  which column it is: that may be an error rate.
  """
  runs = rows.groupby(ID, sort=False)
  first, last = runs[metric].first(), runs[metric].last()
  falls = (last < first - FALL) & (last < LOW)
  if metric in METRICS and not said and falls.mean() > NEARLY_ALL:
    what = f'it falls along {int(falls.sum())} of {len(falls)} runs: it may be an error rate'
    remedy = 'Say which it is: --columns=val_error=NAME, or the metric by its name'
    _refuse(rows, rows.index[0], metric, what, remedy)
  if 'seconds' in rows and (runs['seconds'].diff() < 0).any():
    return rows.drop(columns='seconds'), [Reason('seconds_fall')]
  return rows, []


def trials(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Reason]]:
  """The rows with a number for each trial, the same trials at every batch size where there are any.

  Runs that some batch sizes lack are left out, and said. A run whose batch size changes counts
  under its first one.
  """
  runs = rows.groupby(ID, sort=False).first().reset_index()
  runs['learning_rate'], runs['batch_size'] = runs['peak'], runs['first_size']
  notes, parts = [], []
  labelled = 'trial' in runs
  if labelled:
    _check_labels(runs)
  for _, cell in runs.groupby('cell', sort=False):
    shared = _shared_labels(cell) if labelled else None
    if shared is None:
      number = cell.groupby(SETTING, sort=False).cumcount()
      counts = number.groupby(cell['batch_size']).max() + 1
      least = counts[counts > 1].min() if (counts > 1).sum() > 1 else counts.max()
      keep = number < least
    else:
      number = cell['trial'].map({label: place for place, label in enumerate(shared)})
      keep = number.notna()
    parts.append(cell.assign(number=number)[keep])
  kept = pd.concat(parts)
  if len(kept) < len(runs):
    notes.append(Reason('runs_left_out', count=len(runs) - len(kept), of=len(runs)))
  if not labelled and kept['number'].max() > 0:
    notes.append(Reason('trials_numbered'))
  number = kept.set_index(ID)['number'].astype('int64')
  rows = rows[rows[ID].isin(number.index)]
  return rows.assign(number=rows[ID].map(number)), notes


def _shared_labels(cell: pd.DataFrame) -> list | None:
  """The trials that every batch size has, in order; None where labels mean nothing across sizes.

  A batch size that was run once stays out of it, if others have several.
  """
  by_size = cell.groupby('batch_size')['trial'].agg(lambda labels: list(dict.fromkeys(labels)))
  several = [labels for labels in by_size if len(labels) > 1]
  use = several if len(several) > 1 else list(by_size)
  shared = [label for label in use[0] if all(label in labels for labels in use)]
  fewest = min(map(len, use))
  return shared if len(shared) >= min(fewest, 2) else None


def _check_labels(runs: pd.DataFrame) -> None:
  double = runs.duplicated([*SETTING, 'trial'])
  if double.any():
    second = runs[double].iloc[0]
    same = (runs[[*SETTING, 'trial']] == second[[*SETTING, 'trial']]).all(axis=1)
    first = runs[same].iloc[0]
    what = (
      f'rows {first["row"]} and {second["row"]} begin two runs of batch size '
      f'{int(second["batch_size"])} and trial {second["trial"]!r}'
    )
    remedy = 'Say what else they differ in with --columns=cell=NAME, or number the trials'
    raise Problem(second['file'], second['row'], 'trial', what, remedy)


def digest(values: pd.Series) -> float:
  """The only value of a column, else NaN."""
  unique = values.dropna().unique()
  return float(unique[0]) if len(unique) == 1 else np.nan
