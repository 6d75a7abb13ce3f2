"""Starting from the weights of another study, with a new head."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util
from jaxtyping import PyTree
from ml_collections import ConfigDict
from rich.table import Table

from bsjax import models
from bsjax.config.errors import Refused
from bsjax.config.metrics import judged, judged_of, judging
from bsjax.engine import averages
from bsjax.engine.lanes import LaneState
from bsjax.plan.arms import PRETRAIN
from bsjax.storage import checkpoint, records


def lent_weights(config: ConfigDict, whole: Path) -> PyTree | None:
  """Returns the weights that lanes begin with, or None where they are fresh."""
  lender = whole / PRETRAIN if config.pretrain else config.transfer.workdir
  if not lender:
    return None
  lane = config.transfer.lane
  try:
    return read(Path(lender).expanduser(), None if lane < 0 else lane)
  except TransferError as error:
    keys = error.problems[0].keys or ('transfer.workdir',)
    raise TransferError(str(error), *([PRETRAIN] if config.pretrain else keys)) from error


LANE = 'transfer.lane'
SHOWN = 5  # paths that an error names


class TransferError(Refused):
  """Weights that cannot start this model; the message lists what does not fit, and a remedy."""


class Report(NamedTuple):
  """What became of every leaf: by its path, such as 'params/Conv_0/kernel', how many numbers."""

  taken: dict[str, int]
  new: dict[str, int]  # the head's, which stay as they were initialized
  dropped: dict[str, int]  # the head's of the other study


def merge(fresh: PyTree, given: PyTree, head: str) -> tuple[PyTree, Report]:
  """Returns variables with every leaf but the head's taken from `given`, and what was taken.

  Both are `{'params': ..., 'batch_stats': ...}` of one lane; `head` is the module path of the final
  classifier (`models.head`), under which `fresh` is kept whatever `given` has there. Raises
  TransferError with all leaves that are missing, left over or of another shape or type.
  """
  ours, other = (traverse_util.flatten_dict(_plain(tree), sep='/') for tree in (fresh, given))

  def inside(path: str) -> bool:
    return f'{path}/'.partition('/')[2].startswith(f'{head}/')

  if not any(map(inside, ours)):
    raise TransferError(f'the model has no layer {head!r}; models.head names its classifier')
  body = {path: leaf for path, leaf in ours.items() if not inside(path)}
  offered = {path: leaf for path, leaf in other.items() if not inside(path)}
  _check(body, offered)
  report = Report(
    taken=_sizes(body),
    new=_sizes({path: leaf for path, leaf in ours.items() if inside(path)}),
    dropped=_sizes({path: leaf for path, leaf in other.items() if inside(path)}),
  )
  merged = traverse_util.unflatten_dict({**ours, **{p: offered[p] for p in body}}, sep='/')
  return {**{name: {} for name in fresh}, **merged}, report


def lend(states: LaneState, weights: PyTree) -> tuple[LaneState, Report]:
  """Returns states `[lane, ...]` with another study's weights in all lanes but for the last layer.

  Raises TransferError where they do not fit.
  """
  lanes, report = [], None
  for i in range(len(states.count)):
    variables = {'params': states.params, 'batch_stats': states.batch_stats}
    fresh = jax.tree.map(lambda x, i=i: x[i], variables)
    merged, report = merge(fresh, weights, models.head(fresh['params']))
    lanes.append(merged)
  lent = jax.tree.map(lambda *xs: np.stack(xs), *lanes)
  return averages.anew(states.replace(**lent)), report


def read(workdir: Path, lane: int | None = None) -> dict[str, PyTree]:
  """Returns `{'params', 'batch_stats'}` of one lane of a finished study, as host arrays.

  They are those of the newest checkpoint; without a lane those of `best_lane`. Raises
  TransferError where there is no finished study, or no such lane in it.
  """
  if not (workdir / 'summary.json').is_file():
    raise TransferError(
      f'{workdir} holds no finished study (it has no summary.json); give the workdir of one, or '
      f'finish it: python -m bsjax.main --config=... --workdir={workdir}'
    )
  rows = records.read_plan(workdir / 'plan.csv')
  kept = records.read(workdir / 'records.jsonl')
  if lane is None:
    with judging(judged_of(records.read_json(workdir / 'config.json'))):  # by which it was judged
      lane = best_lane(kept)
  if any(row['diverged'] for row in kept if row['lane'] == lane):
    raise TransferError(
      f'lane {lane} of {workdir} has diverged; choose another transfer.lane', LANE
    )
  if lane in (ended := records.dropped(kept)):
    raise TransferError(
      f'lane {lane} of {workdir} was dropped at {ended[lane]:,} examples; choose another '
      'transfer.lane',
      LANE,
    )
  if not 0 <= lane < len(rows):
    known_lanes = f'its lanes are 0 to {len(rows) - 1}'
    raise TransferError(f'lane {lane} is not in {workdir}: {known_lanes}', LANE)
  group = next(row['group'] for row in rows if row['lane'] == lane)
  seat = sorted(row['lane'] for row in rows if row['group'] == group).index(lane)
  try:
    manager = checkpoint.open_to_read(workdir)
  except FileNotFoundError as error:
    raise TransferError(f'{workdir} holds no weights any more: {error}') from error
  with manager:
    step = manager.latest_step()
    if step is None:
      raise TransferError(f'{workdir / "checkpoints"} is empty; train the study again')
    try:
      weights, _ = checkpoint.restore_weights(manager, step)
    except checkpoint.Unreadable as error:  # the one before it would lend other weights
      raise TransferError(
        f'{workdir} has no last weights to lend: {error}; remove {workdir}/checkpoints and its '
        'summary.json to train it again'
      ) from error
  return jax.tree.map(lambda x: np.asarray(x)[seat], weights[group])


def best_lane(rows: list[dict[str, Any]]) -> int:
  """The lane with the best validation metric at its last record; the first of equal ones.

  Lanes that ever diverged, or were dropped before their end, are out. Raises TransferError where
  none is left.
  """
  last = {row['lane']: row for row in sorted(rows, key=lambda row: row['examples'])}
  lost = {row['lane'] for row in rows if row['diverged']} | records.dropped(rows).keys()
  merit = {
    lane: judged().metric.merit(row[judged().val])
    for lane, row in sorted(last.items())
    if lane not in lost and row[judged().val] is not None
  }
  if not merit:
    raise TransferError(
      f'none of the {len(last)} lanes has a {judged().val_title} and finite weights at its last '
      'record; lower the learning rates of that study'
    )
  return max(merit, key=lambda lane: (merit[lane], -lane))


def table(report: Report) -> Table:
  """What was taken and what is new, one row per layer of the outermost level."""
  result = Table(title='weights of another study')
  for column in ('layer', 'taken', 'new', 'dropped'):
    result.add_column(column, justify='left' if column == 'layer' else 'right')
  kinds = [_by_layer(sizes) for sizes in report]
  for layer in dict.fromkeys(name for kind in kinds for name in kind):
    result.add_row(layer, *(f'{kind[layer]:,}' if layer in kind else '' for kind in kinds))
  result.add_section()
  result.add_row('all', *(f'{sum(kind.values()):,}' for kind in kinds))
  return result


def _by_layer(sizes: Mapping[str, int]) -> dict[str, int]:
  """Numbers in each outermost layer, parameters and statistics together."""
  by_layer: dict[str, int] = {}
  for path, size in sizes.items():
    layer = path.split('/')[1]
    by_layer[layer] = by_layer.get(layer, 0) + size
  return by_layer


def _sizes(leaves: Mapping[str, Any]) -> dict[str, int]:
  return {path: int(np.size(leaf)) for path, leaf in leaves.items()}


def _plain(tree: PyTree) -> dict:
  """Without empty collections, as those of a model without BatchNorm are."""
  return {name: branch for name, branch in tree.items() if branch}


def _check(body: Mapping[str, Any], offered: Mapping[str, Any]) -> None:
  """Raises TransferError unless the leaves are the same, in shapes and types."""
  both = [path for path in body if path in offered]
  groups = {
    'the other study lacks': [path for path in body if path not in offered],
    'this model lacks': [path for path in offered if path not in body],
    'differ in shape or type': [
      f'{path} (here {_say(body[path])}, in the other {_say(offered[path])})'
      for path in both
      if _say(body[path]) != _say(offered[path])
    ],
  }
  lines = [
    f'  - {what} {", ".join(paths[:SHOWN])}' + f' and {len(paths) - SHOWN} more' * more
    for what, paths in groups.items()
    if paths
    for more in [len(paths) > SHOWN]
  ]
  if lines:
    count = sum(map(len, groups.values()))
    raise TransferError(
      f'{count} leaves besides the head do not fit; give both studies the same model.name, width, '
      'depth, small_stride and normalization, and images of the same shape:\n' + '\n'.join(lines)
    )


def _say(leaf: Any) -> str:
  return f'{leaf.dtype}{list(np.shape(leaf))}'  # as float32[3, 12]
