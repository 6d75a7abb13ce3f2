"""Records as a table of pandas, and as arrays of xarray; neither is loaded until asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bsjax.storage.records import Row

if TYPE_CHECKING:  # pandas takes half a second to load, xarray may be missing
  import pandas as pd
  import xarray as xr

SETTING = ('batch_size', 'learning_rate', 'trial')
# Columns of the plan beside those, under names that no column of a record has.
_PLANNED = {
  'branch': 'branch',
  'group': 'group',
  'micro_batch': 'micro_batch',
  'accumulation': 'accumulation',
  'updates': 'planned_updates',
  'examples': 'planned_examples',
  'epochs': 'planned_epochs',
}
# What a record says of the moment, where the plan has a column of that name for the lane.
_NOW = {'batch_size': 'batch_size_now', 'learning_rate': 'learning_rate_now'}
_AT = ('evaluation', 'examples', 'epoch', 'stage')
_LAST = tuple(_PLANNED.values())[1:]


def table(plan: Sequence[Row], rows: Sequence[Row]) -> pd.DataFrame:
  """Returns one row per lane and evaluation, with the lane's columns of plan.csv.

  `batch_size` and `learning_rate` are those of the plan, by which lanes are told apart;
  `batch_size_now` and `learning_rate_now` those of the moment. Nested values have a column for each
  part, such as 'noise.trace'; of an interval 'b_simple_ci95.low' and '.high', of a list one for
  each item. What was null is NaN.
  """
  import pandas as pd

  lanes = {row['lane']: row for row in plan}
  order = {mark: i for i, mark in enumerate(sorted({row['examples'] for row in rows}))}
  joined = [_joined(lanes[row['lane']], row, order[row['examples']]) for row in rows]
  first = ['lane', *SETTING, 'branch', *_AT]
  if not joined:
    return pd.DataFrame(columns=[*first, *_LAST])
  frame = pd.DataFrame(joined)
  empty = [name for name in frame.columns if frame[name].isna().all()]
  frame[empty] = frame[empty].astype(float)  # of None alone pandas makes objects
  between = [name for name in frame.columns if name not in {*first, *_LAST}]
  return frame[[*first, *between, *_LAST]]


def _joined(lane: Row, row: Row, evaluation: int) -> Row:
  setting = {name: lane[name] for name in SETTING}
  planned = {shown: lane[name] for name, shown in _PLANNED.items()}
  now = {_NOW.get(name, name): value for name, value in row.items()}
  return {**dict(_flat(now)), **setting, **planned, 'evaluation': evaluation}


def _flat(row: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
  for key, value in row.items():
    name = f'{prefix}{key}'
    if isinstance(value, Mapping):
      yield from _flat(value, f'{name}.')
    elif isinstance(value, list):
      parts = ('low', 'high') if name.endswith('ci95') else range(len(value))
      yield from ((f'{name}.{part}', item) for part, item in zip(parts, value, strict=True))
    else:
      yield name, value


def arrays(frame: pd.DataFrame) -> xr.Dataset:
  """Returns the columns of a `table` as arrays of (batch_size, learning_rate, trial, evaluation).

  A study of several branches has them as a dimension before these. NaN stands where a study has no
  such lane, as with learning rates that are scaled with the batch size. Raises ImportError without
  xarray, and ValueError of lanes that differ in nothing of this.
  """
  try:
    import xarray as xr
  except ImportError:
    raise ImportError('to_xarray() needs xarray: pip install xarray') from None
  frame = frame.astype({name: object for name in frame.select_dtypes('string').columns})
  lane_dims = (['branch'] if frame['branch'].nunique() > 1 else []) + list(SETTING)
  per_lane = frame.drop_duplicates('lane').set_index(lane_dims)[['lane', *_LAST]]
  if not per_lane.index.is_unique:
    alike = per_lane[per_lane.index.duplicated(keep=False)]
    raise ValueError(f'the lanes {sorted(alike["lane"])} have the same {", ".join(lane_dims)}')
  at = frame.drop_duplicates('evaluation').set_index('evaluation')[[*_AT[1:]]].sort_index()
  measured = frame.drop(columns=['lane', 'branch', *_AT[1:], *_LAST], errors='ignore')
  if 'branch' in lane_dims:
    measured['branch'] = frame['branch']
  dataset = xr.Dataset.from_dataframe(measured.set_index([*lane_dims, 'evaluation']))
  lanes = xr.Dataset.from_dataframe(per_lane).data_vars
  marks = xr.Dataset.from_dataframe(at).data_vars
  return dataset.assign_coords({**lanes, **marks})
