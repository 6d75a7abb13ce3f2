"""Saving and restoring a study with Orbax: everything an exact continuation needs.

Orbax does not notice a flipped bit in an array. So what is saved stands beside it as a checksum, of
the states and of the position, and what does not agree with its own is not used.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator
from logging import LogRecord, getLogger
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from jaxtyping import PyTree

from bsjax.storage.position import Position
from bsjax.storage.records import Damaged

KEPT = 2  # the newest, and the one before it in case a machine dies while writing


STATES_SUM, OWN_SUM = 'states_checksum', 'checksum'  # in the JSON of a position


class Unreadable(Damaged):
  """A checkpoint that is damaged, incomplete, or of other lanes; the message says how."""


def open_manager(workdir: Path, keep_all: bool = False) -> ocp.CheckpointManager:
  """Opens `WORKDIR/checkpoints`; close it, or use it as a context, so that saves are finished.

  Unless `keep_all`, a save deletes all but the newest `KEPT`.
  """
  kept = None if keep_all else KEPT
  path = (workdir / 'checkpoints').absolute()
  path.mkdir(parents=True, exist_ok=True)
  options = ocp.CheckpointManagerOptions(max_to_keep=kept, create=False, **_alone())
  return ocp.CheckpointManager(path, options=options)


@contextlib.contextmanager
def without_traces() -> Iterator[None]:
  """Keeps tracebacks of threads that save off stderr: the error of a save is raised as well.

  Where that happens they stay off, as threads of TensorStore may fail later than the save.
  """
  hook = sys.unraisablehook
  loggers = logging.get_absl_logger(), getLogger('asyncio')  # which tells of tasks never asked

  def of_others(record: LogRecord) -> bool:
    where = record.getMessage() if record.name == 'asyncio' else record.pathname
    return not (record.exc_info and 'orbax' in Path(where).parts)

  def say(what: 'sys.UnraisableHookArgs') -> None:
    if str(what.exc_value) != 'Event loop is closed':  # which TensorStore did not expect
      hook(what)

  sys.unraisablehook = say
  for logger in loggers:
    logger.addFilter(of_others)
  yield
  sys.unraisablehook = hook
  for logger in loggers:
    logger.removeFilter(of_others)


def open_to_read(workdir: Path) -> ocp.CheckpointManager:
  """Opens the checkpoints of a study, which may still be training, without changing any.

  Raises FileNotFoundError where there are none.
  """
  path = (workdir / 'checkpoints').absolute()
  if not path.is_dir():
    raise FileNotFoundError(f'{path} does not exist: train the study first (python -m bsjax.main)')
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)  # it warns that it only reads
  try:
    return ocp.CheckpointManager(
      path, options=ocp.CheckpointManagerOptions(read_only=True, **_alone())
    )
  finally:
    logging.set_verbosity(verbosity)


def _alone() -> dict[str, Any]:
  """Options with which a process saves and reads by itself, though others run the same study."""
  if jax.process_count() == 1:
    return {}
  process = jax.process_index()
  alone = ocp.options.MultiprocessingOptions(
    primary_host=process, active_processes={process}, barrier_sync_key_prefix=f'process{process}'
  )
  return {'multiprocessing_options': alone}


def save(manager: ocp.CheckpointManager, states: list[PyTree], position: Position) -> None:
  """Saves host arrays `[lane, ...]` of every group, and where the study is.

  Lanes are saved in the order of the plan, so a checkpoint can be continued on another number of
  devices.
  """
  by_group = _by_group(states)
  where = position.to_json() | {STATES_SUM: checksum(by_group)}
  items = ocp.args.Composite(
    states=ocp.args.StandardSave(by_group),
    position=ocp.args.JsonSave(where | {OWN_SUM: _checksum_of_json(where)}),
  )
  manager.save((manager.latest_step() or 0) + 1, args=items)


def newest_first(manager: ocp.CheckpointManager) -> list[int]:
  """Returns the steps there are, those damaged included; none where nothing was saved."""
  return sorted(manager.all_steps(), reverse=True)


def position(manager: ocp.CheckpointManager, step: int) -> Position:
  """Returns where the study was at a step; raises Unreadable."""
  return Position.from_json(_where(manager, step))


def restore(manager: ocp.CheckpointManager, step: int, like: list[PyTree]) -> list[PyTree]:
  """Returns the states of a step; raises Unreadable, also if they are not shaped `like` these."""
  wanted = _by_group(like)
  states = _states(manager, step, _where(manager, step), wanted)
  if _shapes(states) != _shapes(wanted):
    raise Unreadable(f'checkpoint {step} is of other lanes, or of another model')
  return [states[name] for name in wanted]


def _shapes(tree: PyTree) -> list[tuple[tuple[int, ...], np.dtype]]:
  return [(np.shape(leaf), np.asarray(leaf).dtype) for leaf in jax.tree.leaves(tree)]


def checksum(tree: PyTree) -> str:
  """Returns a checksum of names, types, shapes and values of the arrays of a tree.

  It does not tell the kinds of containers apart, which differ where a tree is read as dicts.
  """
  leaves = {
    '/'.join(_name(key) for key in path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }
  with concurrent.futures.ThreadPoolExecutor() as threads:  # hashing leaves the interpreter free
    sums = dict(zip(leaves, threads.map(_sum, leaves.values()), strict=True))
  return _checksum_of_json(sums)


def _sum(array: np.ndarray) -> list[str]:
  content = hashlib.blake2b(np.ascontiguousarray(array).view(np.uint8).data, digest_size=16)
  return [str(array.dtype), str(array.shape), content.hexdigest()]


def _name(key: Any) -> str:
  """The name of a field, a key, or a place in a sequence, whatever it is a part of."""
  return str(next(getattr(key, kind) for kind in ('key', 'name', 'idx') if hasattr(key, kind)))


def steps(manager: ocp.CheckpointManager) -> dict[int, int]:
  """Returns the step kept for each number of examples seen, in order of examples.

  Interrupted between evaluations, groups may be at different positions; the smallest counts. Of
  steps at one position the first is returned, in which no group is further. Those that cannot be
  read are left out, with a warning.
  """
  kept: dict[int, int] = {}
  for step in newest_first(manager):
    try:
      kept[position(manager, step).examples] = step
    except Unreadable as error:
      logging.warning('%s', error)
  return dict(sorted(kept.items()))


def restore_weights(manager: ocp.CheckpointManager, step: int) -> tuple[list[PyTree], Position]:
  """Returns `{'params', 'batch_stats'}` `[lane, ...]` of every group, and the position.

  Unlike `restore` it asks for nothing of the same shape: optimizers and measurements may change.
  """
  where = _where(manager, step)
  by_group = _states(manager, step, where)
  states = [by_group[str(index)] for index in range(len(by_group))]
  weights = [{'params': s['params'], 'batch_stats': s.get('batch_stats') or {}} for s in states]
  return weights, Position.from_json(where)


def _states(
  manager: ocp.CheckpointManager, step: int, where: dict[str, Any], like: PyTree | None = None
) -> Any:
  """The states of a step by group, found to be those that were saved."""
  items = ocp.args.Composite(states=ocp.args.StandardRestore(like))
  states = _read(manager, step, items)['states']
  expected = where.get(STATES_SUM)  # none: by an older version
  if expected is not None and checksum(states) != expected:
    raise Unreadable(f'checkpoint {step} is damaged: its states are not those that were saved')
  return states


def _where(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
  """The JSON of a step's position, found to be what was saved."""
  items = ocp.args.Composite(position=ocp.args.JsonRestore())
  where = _read(manager, step, items)['position']
  expected = where.pop(OWN_SUM, None) if isinstance(where, dict) else ''
  if expected is not None and expected != _checksum_of_json(where):
    raise Unreadable(f'checkpoint {step} is damaged: its position is not the one that was saved')
  return where


def _checksum_of_json(where: Any) -> str:
  return hashlib.blake2b(json.dumps(where, sort_keys=True).encode(), digest_size=16).hexdigest()


def _read(manager: ocp.CheckpointManager, step: int, items: ocp.args.Composite) -> Any:
  try:
    return manager.restore(step, args=items)
  except Exception as error:  # what a damaged file makes of Orbax and TensorStore can be anything
    said = (str(error).splitlines() or [''])[0][:200]
    raise Unreadable(f'checkpoint {step} cannot be read: {type(error).__name__}: {said}') from error


def _by_group(states: list[PyTree]) -> dict[str, PyTree]:
  return {str(index): state for index, state in enumerate(states)}
