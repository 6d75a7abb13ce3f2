"""Saving and restoring a study with Orbax: everything an exact continuation needs."""

from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from absl import logging
from jaxtyping import PyTree

from bsjax.storage.position import Position

KEPT = 2  # the newest, and the one before it in case a machine dies while writing


def open_manager(workdir: Path, keep_all: bool = False) -> ocp.CheckpointManager:
  """Opens `WORKDIR/checkpoints`; close it, or use it as a context, so that saves are finished.

  Unless `keep_all`, a save deletes all but the newest `KEPT`.
  """
  options = ocp.CheckpointManagerOptions(max_to_keep=None if keep_all else KEPT, create=True)
  return ocp.CheckpointManager((workdir / 'checkpoints').absolute(), options=options)


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
    return ocp.CheckpointManager(path, options=ocp.CheckpointManagerOptions(read_only=True))
  finally:
    logging.set_verbosity(verbosity)


def save(manager: ocp.CheckpointManager, states: list[PyTree], position: Position) -> None:
  """Saves host arrays `[lane, ...]` of every group, and where the study is.

  Lanes are saved in the order of the plan, so a checkpoint can be continued on another number of
  devices.
  """
  items = ocp.args.Composite(
    states=ocp.args.StandardSave(_by_group(states)), position=ocp.args.JsonSave(position.to_json())
  )
  manager.save((manager.latest_step() or 0) + 1, args=items)


def position(manager: ocp.CheckpointManager) -> Position | None:
  """Returns where the study was when it was last saved, or None if it never was."""
  step = manager.latest_step()
  return None if step is None else _position(manager, step)


def restore(manager: ocp.CheckpointManager, like: list[PyTree]) -> list[PyTree]:
  """Returns the newest states; there is a checkpoint (`position`).

  `like` are states of the same structure, shapes and dtypes, which Orbax checks.
  """
  items = ocp.args.Composite(states=ocp.args.StandardRestore(_by_group(like)))
  restored: Any = manager.restore(manager.latest_step(), args=items)
  return [restored['states'][name] for name in _by_group(like)]


def steps(manager: ocp.CheckpointManager) -> dict[int, int]:
  """Returns the step kept for each number of examples seen, in order of examples.

  Interrupted between evaluations, groups may be at different positions; the smallest counts. Of
  two steps at one position, which hold the same, the later is returned.
  """
  kept = {_position(manager, step).examples: step for step in sorted(manager.all_steps())}
  return dict(sorted(kept.items()))


def restore_weights(manager: ocp.CheckpointManager, step: int) -> tuple[list[PyTree], Position]:
  """Returns `{'params', 'batch_stats'}` `[lane, ...]` of every group, and the position.

  Unlike `restore` it asks for nothing of the same shape: optimizers and measurements may change.
  """
  items = ocp.args.Composite(states=ocp.args.StandardRestore(), position=ocp.args.JsonRestore())
  restored: Any = manager.restore(step, args=items)
  states = [restored['states'][str(index)] for index in range(len(restored['states']))]
  weights = [{'params': s['params'], 'batch_stats': s.get('batch_stats') or {}} for s in states]
  return weights, Position.from_json(restored['position'])


def _position(manager: ocp.CheckpointManager, step: int) -> Position:
  items: Any = manager.restore(step, args=ocp.args.Composite(position=ocp.args.JsonRestore()))
  return Position.from_json(items['position'])


def _by_group(states: list[PyTree]) -> dict[str, PyTree]:
  return {str(index): state for index, state in enumerate(states)}
