"""Which parameters a stage trains: patterns over their paths, and splitting trees by them.

Only trainable parameters have gradients and an optimizer state, so what lies before the first of
them costs no backward pass.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import ArrayLike, PyTree
from rich.table import Table

from bsjax.config.errors import ConfigError


def paths(params: PyTree) -> list[str]:
  """Returns the path of every parameter, such as 'Dense_0/kernel'."""
  return list(flatten_dict(params, sep='/'))


def trainable_paths(params: PyTree, patterns: Sequence[str], where: str) -> frozenset[str] | None:
  """Returns the paths that patterns match, or None where there are none and all are trainable.

  A pattern is a path, the beginning of one up to a slash, or has the wildcards of a shell. Raises
  ConfigError, naming the key `where` they stand, for a pattern that matches nothing.
  """
  if not patterns:
    return None
  all_paths = paths(params)
  trainable, unmatched = set(), []
  for pattern in patterns:
    matched = [p for p in all_paths if fnmatchcase(p, pattern) or p.startswith(f'{pattern}/')]
    trainable.update(matched)
    if not matched:
      unmatched.append(pattern)
  if unmatched:
    modules = sorted({path.partition('/')[0] for path in all_paths})
    raise ConfigError(
      f'{where}: {unmatched} match none of the {len(all_paths)} parameters; their paths begin with '
      f"{', '.join(modules)}: give one of these, or a pattern such as '{modules[-1]}/*'",
      where,
    )
  return frozenset(trainable)


def split(params: PyTree, trainable: frozenset[str] | None) -> tuple[PyTree, PyTree]:
  """Returns the trainable and the frozen part of a tree, each without the other's branches."""
  if trainable is None:
    return params, {}
  flat = flatten_dict(params, sep='/')
  chosen = {path: leaf for path, leaf in flat.items() if path in trainable}
  rest = {path: leaf for path, leaf in flat.items() if path not in trainable}
  return unflatten_dict(chosen, sep='/'), unflatten_dict(rest, sep='/')


def join(trainable: PyTree, frozen: PyTree) -> PyTree:
  """Returns the whole tree of the two parts of `split`."""
  if not frozen:
    return trainable
  return unflatten_dict(flatten_dict(frozen, sep='/') | flatten_dict(trainable, sep='/'), sep='/')


def frozen_norms(
  params: PyTree, batch_stats: PyTree, trainable: frozenset[str] | None
) -> frozenset[str]:
  """Returns the paths of the BatchNorm layers none of whose parameters is trainable."""
  if trainable is None:
    return frozenset()
  layers = {path.rpartition('/')[0] for path in flatten_dict(batch_stats, sep='/')}
  inside = {layer: [p for p in paths(params) if p.startswith(f'{layer}/')] for layer in layers}
  return frozenset(layer for layer in layers if not trainable.intersection(inside[layer]))


def table(
  params: PyTree, trainable: frozenset[str] | None, title: str, norms: frozenset[str] = frozenset()
) -> Table:
  """Returns what is trained and what is frozen, one row per module, for a person.

  `norms` are the BatchNorm layers that use their running statistics.
  """
  rows: dict[str, Any] = {}
  for path, leaf in flatten_dict(params, sep='/').items():
    module, is_trained = path.partition('/')[0], trainable is None or path in trainable
    counts = np.prod(np.shape(leaf), dtype=int) * np.array([is_trained, not is_trained])
    rows[module] = rows.get(module, 0) + counts
  result = Table(title=title, title_justify='left')
  result.add_column('module')
  for column in ('trained', 'frozen', 'BatchNorm by running statistics'):
    result.add_column(column, justify='right')
  for module, (trained, frozen) in rows.items():
    held = sum(norm.partition('/')[0] == module for norm in norms)
    result.add_row(module, f'{trained:,}', f'{frozen:,}', str(held))
  totals = np.sum(list(rows.values()), axis=0)
  result.add_section()
  result.add_row('all', *(f'{total:,}' for total in totals), str(len(norms)))
  return result


def carry_over(fresh: PyTree, old: PyTree) -> PyTree:
  """Returns the fresh optimizer state, with the old one's leaves wherever both have one.

  Leaves correspond by their paths. Parameters that become trainable keep their fresh state, those
  that are frozen lose theirs, and counts of updates go on.
  """
  known = {
    jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(old)
  }

  def choose(path: tuple[Any, ...], leaf: ArrayLike) -> ArrayLike:
    before = known.get(jax.tree_util.keystr(path))
    return leaf if before is None or np.shape(before) != np.shape(leaf) else before

  return jax.tree_util.tree_map_with_path(choose, fresh)
