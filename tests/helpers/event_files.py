"""Event files of TensorBoard as TensorBoard reads them."""

import struct

import numpy as np
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from bsjax.writers import lanes


def events(path):
  """The events of a file, whose checksums must hold."""
  content = path.read_bytes()
  while content:
    length, header, content = content[:8], content[8:12], content[12:]
    assert struct.unpack('<I', header) == (masked_crc32c(length),)
    (size,) = struct.unpack('<Q', length)
    data, check, content = content[:size], content[size : size + 4], content[size + 4 :]
    assert len(data) == size and struct.unpack('<I', check) == (masked_crc32c(data),)
    yield Event.FromString(data)


def scalars(folder):
  """tag -> [(step, value)] of the run in a folder, without what a start says it will tell again."""
  read = {}
  for path in sorted(folder.iterdir()):
    for event in events(path):
      if event.session_log.status == SessionLog.START:
        kept = {tag: [x for x in told if x[0] < event.step] for tag, told in read.items()}
        read = {tag: told for tag, told in kept.items() if told}
      for value in event.summary.value:
        if value.HasField('simple_value'):
          read.setdefault(value.tag, []).append((event.step, value.simple_value))
  return read


def settings(folder):
  """The hyperparameters of the run in a folder, each time that they are told."""
  from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

  told = []
  for path in sorted(folder.iterdir()):
    for value in (value for event in events(path) for value in event.summary.value):
      if value.tag == '_hparams_/session_start_info':
        start = HParamsPluginData.FromString(value.metadata.plugin_data.content)
        hparams = start.session_start_info.hparams
        told.append({name: getattr(v, v.WhichOneof('kind')) for name, v in hparams.items()})
  return told


def recorded(rows, lane):
  """The scalars of a lane's rows, in the float32 of event files."""
  read = {}
  for row in (row for row in rows if row['lane'] == lane):
    for tag, value in lanes.scalars(row).items():
      read.setdefault(tag, []).append((row['examples'], float(np.float32(value))))
  return read
