"""Files to one table in our columns: guesses said, files joined, settings read off names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from bsjax.audit import columns as columns_
from bsjax.audit.columns import CLOCKS, ERRORS, LOSSES, METRICS, TEXTS, Column
from bsjax.audit.exports import named_settings
from bsjax.audit.files import Raw, names_of
from bsjax.audit.problem import Problem
from bsjax.config.metrics import USUAL
from bsjax.stats.estimate import Reason

STEP = 'step'
# Columns that tell who ran what when, and no setting.
_IDENTITY = {'id', 'name', 'created', 'user', 'state', 'host', 'hostname', 'gpu', 'tags', 'notes'}
_IDENTITY |= {'runtime', 'time', 'date', 'timestamp', 'path', 'file', 'commit', 'group', 'sweep'}


class Joined(NamedTuple):
  """All rows in our columns, with the 'file' and 'row' that each comes from, and what was guessed.

  `test` and `smoothed` say what the name of the validation metric tells of it, `kinds` who wrote.
  """

  rows: pd.DataFrame
  notes: list[Reason]
  test: bool
  smoothed: bool
  kinds: set[str]


def join(raws: Sequence[Raw], said: Mapping[str, str]) -> Joined:
  """One table of all files; those without a clock hold the settings of runs."""
  columns_.check(said)
  parts, notes, used = [], [note for raw in raws for note in raw.notes], []
  for raw in raws:
    chosen = columns_.assign(raw, said)
    parts.append(_in_our_columns(raw, chosen))
    used += chosen
    notes += [note for note in _notes(raw, chosen) if note not in notes]
  curves = [part for part in parts if {*CLOCKS, STEP} & set(part.columns)]
  settings = [part for part in parts if not {*CLOCKS, STEP} & set(part.columns)]
  if not curves:
    remedy = 'Say how long each run was, as --columns=epoch=NAME or updates=NAME'
    raise Problem(names_of(raws), 1, 'epoch', 'no column says where in training a row is', remedy)
  charts = [part for part, raw in zip(parts, raws, strict=True) if raw.kind == 'wandb']
  rows = _merged(charts) if charts else pd.DataFrame()
  rows = pd.concat([rows, *(c for c in curves if not any(c is chart for chart in charts))])
  rows = rows.reset_index(drop=True)
  if len(curves) - len(charts) > 1 and not {'run', 'trial'} & set(rows.columns):
    rows['run'] = rows['file']
  rows = _with_settings(rows, settings)
  rows, named = _settings_of_names(rows)
  metric = USUAL.val if USUAL.val in rows and rows[USUAL.val].notna().any() else 'val_loss'
  if metric not in rows or not rows[metric].notna().any():
    what = 'no column holds a validation metric or loss'
    raise Problem(
      names_of(raws), 1, USUAL.val, what, f'Say which: --columns={USUAL.val}=NAME or val_loss=NAME'
    )
  sources = [column for column in used if ERRORS.get(column.name, column.name) == metric]
  smoothed = any(set(c.source[0].lower().replace('_', ' ').split()) & set(columns_.SMOOTHED)
                 for c in sources)  # fmt: skip
  test = any(c.test or 'test' in c.source[0].lower() for c in sources)
  return Joined(rows, [*notes, *named], test, smoothed, {raw.kind for raw in raws})


def _in_our_columns(raw: Raw, chosen: Sequence[Column]) -> pd.DataFrame:
  columns = {ERRORS.get(c.name, c.name): columns_.values_of(raw, c) for c in chosen}
  return pd.DataFrame({**columns, 'file': raw.name, 'row': raw.frame.index}, index=raw.frame.index)


def _notes(raw: Raw, chosen: Sequence[Column]) -> list[Reason]:
  """What was taken for what, where nobody said so, and in which unit."""
  guessed = [[c.name, '+'.join(c.source)] for c in chosen if not c.said and c.name != c.source[0]]
  notes = [Reason('guessed_columns', pairs=guessed)] if guessed else []
  for unit in ('percent', 'fraction'):
    names = [c.source[0] for c in chosen if c.name in (*METRICS, *ERRORS) and not c.percent
             and columns_.is_percent(raw, c) == (unit == 'percent')]  # fmt: skip
    notes += [Reason('guessed_unit', columns=names, unit=unit)] if names else []
  errors = [c.source[0] for c in chosen if c.name in ERRORS]
  notes += [Reason('read_as_error', columns=errors)] if errors else []
  taken = {name for c in chosen for name in c.source}
  apart = _other_settings(raw, chosen)
  notes += [Reason('other_settings', columns=apart)] if apart else []
  unused = [str(name) for name in raw.frame.columns if str(name) not in taken]
  return notes + ([Reason('not_used', columns=unused[:12], count=len(unused))] if unused else [])


def _other_settings(raw: Raw, chosen: Sequence[Column]) -> list[str]:
  """Columns that are constant along a run and vary between runs of one setting."""
  named = {column.name: column.source[0] for column in chosen}
  keys = [named[key] for key in ('batch_size', 'learning_rate') if key in named]
  keys += [name for column in chosen if column.name == 'cell' for name in column.source]
  run = [named['run']] if 'run' in named else [*keys, *filter(None, [named.get('trial')])]
  if not keys or not {'run', 'trial'} & set(named):
    return []
  taken = {name for column in chosen for name in column.source}
  problems = []
  for name in raw.frame.columns:
    values = raw.frame[name]
    if name in taken or columns_.guess_metric(str(name))[0] or not 2 <= values.nunique() <= 20:
      continue
    if not _IDENTITY & set(re.split(r'[^a-z]+', str(name).lower())):
      along = raw.frame.groupby(run, dropna=False)[name].nunique().max()
      within = raw.frame.groupby(keys, dropna=False)[name].nunique().max()
      problems += [str(name)] if along <= 1 < within else []
  return problems


def _merged(charts: Sequence[pd.DataFrame]) -> pd.DataFrame:
  """Charts of several metrics side by side, by run and step; they must share their axis."""
  axes = [next(name for name in (*CLOCKS, STEP) if name in chart) for chart in charts]
  for chart, axis in zip(charts, axes, strict=True):
    if axis != axes[0]:
      what = f'its axis is {axis} and that of {charts[0]["file"].iloc[0]} is {axes[0]}'
      remedy = 'Export all charts over the same axis'
      raise Problem(chart['file'].iloc[0], 1, axis, what, remedy)
  merged = charts[0]
  for chart in charts[1:]:
    if twice := (set(merged) & set(chart)) - {axes[0], 'run', 'file', 'row'}:
      what = 'two files hold this metric'
      raise Problem(chart['file'].iloc[0], 1, twice.pop(), what, 'Give one of them')
    new = chart.drop(columns=['file', 'row'])
    merged = merged.merge(new, on=['run', axes[0]], how='outer')
  merged['file'] = merged['file'].ffill().bfill()
  return merged.assign(row=merged['row'].fillna(1).astype('int64'))


def _with_settings(rows: pd.DataFrame, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
  """What a table of runs says of each run, beside the rows of its curve."""
  for table in tables:
    file = table['file'].iloc[0]
    if 'run' not in table or 'run' not in rows:
      remedy = 'Name the column of runs: --columns=run=NAME'
      raise Problem(file, 1, 'run', 'it has no clock, and no runs that other files have', remedy)
    twice = table['run'][table['run'].duplicated()]
    if len(twice):
      what = f'{twice.iloc[0]!r} is named twice among the settings'
      raise Problem(file, table.loc[twice.index[0], 'row'], 'run', what, 'Give each run one row')
    missing = sorted(set(rows['run'].dropna()) - set(table['run']))
    if missing:
      what = f'it lacks the run {missing[0]!r}'
      raise Problem(file, 1, 'run', what, 'Export the settings of all runs')
    new = [name for name in table if name not in (*METRICS, *LOSSES, 'file', 'row', 'seconds')]
    new = [name for name in new if name == 'run' or name not in rows]
    rows = rows.merge(table[new], on='run', how='left')
  return rows


def _settings_of_names(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Reason]]:
  """Settings that no column holds, from the names of runs, else of files."""
  notes = []
  source = 'run' if 'run' in rows else 'file'
  named = {str(name): named_settings(str(name)) for name in rows[source].dropna().unique()}
  for key in ('batch_size', 'learning_rate', 'trial'):
    if key in rows and rows[key].notna().all():
      continue
    values = rows[source].astype(str).map(lambda name, key=key: named.get(name, {}).get(key))
    known = rows[key].where(rows[key].notna(), values) if key in rows else values
    if key != 'batch_size' and known.isna().any():
      if key in rows and rows[key].notna().any():
        _missing(rows, key, int(rows.index[rows[key].isna()][0]))
      continue
    if known.isna().any():
      _missing(rows, key, int(known.index[known.isna()][0]))
    rows = rows.assign(**{key: known if key in TEXTS else known.astype('float64')})
    if key == 'learning_rate' and (rows[key] <= 0).any():
      at = rows[rows[key] <= 0].iloc[0]
      what, remedy = f'{at[source]!r} names a learning rate of 0', 'Give them in a column'
      raise Problem(at['file'], at['row'], source, what, remedy)
    notes.append(Reason('settings_of_names', key=key, example=str(rows[source].iloc[0])))
  if (rows['batch_size'] % 1 != 0).any() or (rows['batch_size'] < 1).any():
    _missing(rows, 'batch_size', int(rows.index[~(rows['batch_size'] >= 1)][0]))
  return rows, notes


def _missing(rows: pd.DataFrame, key: str, place: int) -> None:
  at = rows.loc[place]
  what = 'no batch size is given' if key == 'batch_size' else 'it has no value'
  remedy = f'Fill it in, or say which column it is: --columns={key}=NAME'
  raise Problem(at['file'], at['row'], key, what, remedy)
