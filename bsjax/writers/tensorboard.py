"""TensorBoard: one run per lane, its scalars on examples seen, its settings for HParams."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from bsjax.config.metrics import judged
from bsjax.storage.records import Row
from bsjax.writers import lanes


class TensorBoard:
  """Writes event files into `folder`, a folder per lane: `tensorboard --logdir=FOLDER`.

  A file is open only while rows are added, as a study may have more lanes than a process may have
  files. Values are float32. Where a study goes back to a checkpoint, and its rows come again, the
  file says so, and TensorBoard leaves out what was told before.
  """

  def __init__(self, folder: str | Path):
    self.folder = Path(folder).expanduser()
    self._paths: dict[int, Path] = {}
    self._reached: dict[int, float] = {}  # by lane the last step, in this file or one before

  def begin(self, config: ConfigDict, plan: Sequence[Row]) -> None:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.summary import hparams

    start = f'events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}'
    names, changed = lanes.names(plan), lanes.changed(config)
    shown = dict.fromkeys((judged().val, 'val_loss', 'train_loss'), 0.0)  # columns of HParams
    for lane in plan:
      folder = self.folder / names[lane['lane']]
      folder.mkdir(parents=True, exist_ok=True)
      continued = any(folder.iterdir())
      self._reached[lane['lane']] = float('inf') if continued else -1.0
      self._paths[lane['lane']] = path = _unused(folder / start)
      told = [Event(file_version='brain.Event:2')]
      if not continued:
        about, settings, _ = hparams({**lanes.setting(lane), **changed}, shown)
        told += [Event(summary=about), Event(summary=settings)]
      _append(path, told)

  def rows(self, rows: Sequence[Row]) -> None:
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.summary_pb2 import Summary

    for row in rows:
      lane, step = row['lane'], row['examples']
      told = []
      if step <= self._reached[lane]:
        told.append(Event(step=step, session_log=SessionLog(status=SessionLog.START)))
      self._reached[lane] = step
      values = [
        Summary.Value(tag=tag, simple_value=value) for tag, value in lanes.scalars(row).items()
      ]
      told.append(Event(step=step, summary=Summary(value=values)))
      _append(self._paths[lane], told)

  def summary(self, summary: Mapping[str, Any]) -> None:
    """Its numbers are of batch sizes, for which TensorBoard has no place."""

  def close(self) -> None:
    """Nothing is open between rows."""


def _unused(path: Path) -> Path:
  """A path that no start of the same second has; files are read in the order of their names."""
  others = sum(1 for _ in path.parent.glob(f'{path.name}*'))
  return path.with_name(f'{path.name}.{others}')


def _append(path: Path, events: Sequence[Any]) -> None:
  """Adds events as records of TensorFlow: length, its checksum, content, its checksum."""
  from tensorboardX.record_writer import masked_crc32c

  content = b''
  for event in events:
    event.wall_time = time.time()
    data = event.SerializeToString()
    length = struct.pack('<Q', len(data))
    content += length + struct.pack('<I', masked_crc32c(length))
    content += data + struct.pack('<I', masked_crc32c(data))
  with open(path, 'ab') as file:
    file.write(content)
