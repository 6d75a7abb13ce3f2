"""Saving and restoring a study with Orbax: everything an exact continuation needs."""

from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from jaxtyping import PyTree

KEPT = 2  # the newest, and the one before it in case a machine dies while writing


def open_manager(workdir: Path) -> ocp.CheckpointManager:
  """Opens `WORKDIR/checkpoints`; close it, or use it as a context, so that saves are finished."""
  options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, create=True)
  return ocp.CheckpointManager((workdir / 'checkpoints').absolute(), options=options)


def save(manager: ocp.CheckpointManager, states: list[PyTree], position: dict) -> None:
  """Saves host arrays `[lane, ...]` of every group, and where the study is.

  Lanes are saved in the order of the plan, so a checkpoint can be continued on another number of
  devices.
  """
  items = ocp.args.Composite(
    states=ocp.args.StandardSave(_by_group(states)), position=ocp.args.JsonSave(position)
  )
  manager.save((manager.latest_step() or 0) + 1, args=items)


def restore(manager: ocp.CheckpointManager, like: list[PyTree]) -> tuple[list[PyTree], dict] | None:
  """Returns the newest states and position, or None without any.

  `like` are states of the same structure, shapes and dtypes, which Orbax checks.
  """
  step = manager.latest_step()
  if step is None:
    return None
  items = ocp.args.Composite(
    states=ocp.args.StandardRestore(_by_group(like)), position=ocp.args.JsonRestore()
  )
  found: Any = manager.restore(step, args=items)
  return [found['states'][name] for name in _by_group(like)], found['position']


def _by_group(states: list[PyTree]) -> dict[str, PyTree]:
  return {str(index): state for index, state in enumerate(states)}
