"""Exports that the libraries themselves write, read back to the numbers that went in."""

import importlib.util
import os
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from bsjax.audit import audit

ROWS = [
  (size, trial, epoch, round(0.5 + 0.05 * epoch - size / 4000 + trial / 1000, 4))
  for size in (16, 64)
  for trial in (0, 1)
  for epoch in (1, 2, 3)
]
FRAME = pd.DataFrame(ROWS, columns=['batch_size', 'trial', 'epoch', 'val_accuracy'])


def same_runs(found, frame=FRAME, atol=1e-6):
  tried = found.judged.cells[0].given.tried
  for size, runs in frame.groupby('batch_size'):
    curves = [[row['val_accuracy'] for row in lane.rows[1:]] for lane in tried[size][0].lanes]
    wanted = [run['val_accuracy'].tolist() for _, run in runs.groupby('trial')]
    np.testing.assert_allclose(curves, wanted, atol=atol)


def test_event_files_of_tensorboard(tmp_path):
  pytest.importorskip('tensorboard', reason='tensorboard is not installed')
  from tensorboard.compat.proto.event_pb2 import Event
  from tensorboard.compat.proto.summary_pb2 import Summary
  from tensorboard.summary.writer.event_file_writer import EventFileWriter

  for (size, trial), run in FRAME.groupby(['batch_size', 'trial']):
    writer = EventFileWriter(str(tmp_path / f'bs{size}_seed{trial}'))
    for row in run.itertuples():
      for tag, value in (('val/acc', row.val_accuracy), ('epoch', row.epoch)):
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.add_event(Event(step=row.epoch * 6400 // size, summary=summary))
    writer.close()
  found = audit([tmp_path])
  same_runs(found)
  assert found.judged.facts.train_examples == 6400


KERAS = """
import json, sys
import keras, numpy as np
out = sys.argv[1]
x = np.random.default_rng(0).normal(size=(96, 4)).astype('float32')
y = (x[:, 0] > 0).astype('int32')
for size in (16, 48):
  for seed in (0, 1):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.layers.Dense(2, activation='softmax')])
    model.compile('sgd', 'sparse_categorical_crossentropy', metrics=['accuracy'])
    name = f'{out}/bs{size}_seed{seed}'
    history = model.fit(x, y, batch_size=size, epochs=3, validation_split=0.5, verbose=0,
                        callbacks=[keras.callbacks.CSVLogger(name + '.csv')])
    json.dump(history.history, open(name + '.json', 'w'))
"""


def test_histories_of_keras(tmp_path):
  if importlib.util.find_spec('keras') is None:
    pytest.skip('keras is not installed')
  environment = os.environ | {'KERAS_BACKEND': 'jax', 'JAX_PLATFORMS': 'cpu'}
  environment.pop('XLA_FLAGS', None)
  run = subprocess.run(
    [sys.executable, '-c', KERAS, str(tmp_path)], env=environment, capture_output=True, text=True
  )
  assert run.returncode == 0, run.stderr[-2000:]
  parts = []
  for path in sorted(tmp_path.glob('*.csv')):
    size, seed = path.stem.removeprefix('bs').split('_seed')
    part = pd.read_csv(path).assign(batch_size=int(size), trial=int(seed))
    parts.append(part)
  wanted = pd.concat(parts)
  for kind in ('csv', 'json'):
    found = audit(sorted(tmp_path.glob(f'*.{kind}')))
    same_runs(found, wanted)
    lane = found.judged.cells[0].given.tried[16][0].lanes[0]
    assert [row['epoch'] for row in lane.rows] == [0, 1, 2, 3]
    present = {row['confound']: row['present'] for row in found.result['confounds']}
    assert present['training_mode_metric'] is True


def records_of(content):
  """The records of a file of Weights & Biases, a log of LevelDB behind seven bytes."""
  at, whole = 7, b''
  while at + 7 <= len(content):
    if (left := 32768 - at % 32768) < 7:
      at += left
      continue
    _, length, kind = struct.unpack('<IHB', content[at : at + 7])
    whole += content[at + 7 : at + 7 + length]
    at += 7 + length
    if kind in (1, 4):  # whole, or the last part
      yield whole
      whole = b''


def test_histories_of_weights_and_biases(tmp_path, monkeypatch):
  """Runs logged offline, read back by the library from its own files, as the long table."""
  wandb = pytest.importorskip('wandb', reason='wandb is not installed')
  from wandb.proto import wandb_internal_pb2

  monkeypatch.setenv('WANDB_SILENT', 'true')
  rows, configs = [], {}
  for (size, trial), run in FRAME.groupby(['batch_size', 'trial']):
    config = {'batch_size': int(size), 'seed': int(trial)}
    try:
      session = wandb.init(mode='offline', dir=str(tmp_path), config=config, reinit=True)
    except Exception as error:  # its service may not start in a sandbox
      pytest.skip(f'wandb does not start here: {error}')
    for row in run.itertuples():
      session.log({'epoch': int(row.epoch), 'val/acc': float(row.val_accuracy)})
    session.finish()
    configs[session.id] = config
  wandb.teardown()  # writes what is left
  for name, config in configs.items():
    (stored,) = (tmp_path / 'wandb').glob(f'offline-run-*{name}/*.wandb')
    for data in records_of(stored.read_bytes()):
      record = wandb_internal_pb2.Record.FromString(data)
      if record.WhichOneof('record_type') == 'history':
        items = {i.key or '/'.join(i.nested_key): i.value_json for i in record.history.item}
        rows.append({'Name': name} | {f'config.{k}': v for k, v in config.items()} | items)
  path = tmp_path / 'history.csv'
  pd.DataFrame(rows).to_csv(path, index=False)
  same_runs(audit([path]))
