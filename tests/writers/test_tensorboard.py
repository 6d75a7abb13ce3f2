"""TensorBoard's event files, also of rows that come again; names, settings, choice of writers."""

import importlib.util

import pytest
from helpers import event_files, synthetic

import bsjax
from bsjax.config.keys import base_config
from bsjax.writers import TensorBoard, lanes


def by_tensorboard(folder):
  """What TensorBoard's own reader finds."""
  accumulator = pytest.importorskip(
    'tensorboard.backend.event_processing.event_accumulator',
    reason='TensorBoard itself is no dependency of the tests',
  )
  run = accumulator.EventAccumulator(str(folder), size_guidance={'scalars': 0})
  run.Reload()
  return {tag: [(e.step, e.value) for e in run.Scalars(tag)] for tag in run.Tags()['scalars']}


READERS = [event_files.scalars, by_tensorboard]


def at(lane_rows, share, **values):
  return [synthetic.record(lane, share, **values) for lane in lane_rows]


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize('killed, back', [(True, 2), (False, 2), (False, 3)])
def test_rows_that_come_again_stand_once(tmp_path, read, killed, back):
  """After a kill, and where training returns to a checkpoint within one start: the later count.

  That may be before the last row that was told, or the one before it.
  """
  plan, config = synthetic.plan((8,), (0.1,), 2), base_config()
  config.optimizer.name = 'adamw'
  writer = TensorBoard(tmp_path)
  writer.begin(config, plan)
  rows = [at(plan, share, val_loss=share) for share in (0.0, 0.25, 0.5, 0.75)]
  for told in rows:
    writer.rows(told)
  if killed:
    writer = TensorBoard(tmp_path)
    writer.begin(config, plan)
  again = [at(plan, share, val_loss=9 + share) for share in (0.5, 0.75, 1.0)[back - 2 :]]
  for told in again:
    writer.rows(told)
  writer.close()
  (told,) = event_files.settings(sorted(tmp_path.iterdir())[1])  # by the first start alone
  assert told == {'batch_size': 8, 'learning_rate': 0.1, 'trial': 1, 'optimizer.name': 'adamw'}
  expected = event_files.recorded([row for told in (*rows[:back], *again) for row in told], 1)
  assert read(sorted(tmp_path.iterdir())[1]) == expected
  second = 9.5 if back == 2 else 0.5
  assert [value for _, value in expected['val_loss']] == [0.0, 0.25, second, 9.75, 10.0]


def test_names_sort_as_lanes_do_and_are_folders():
  plan = [lane | {'branch': 'tail=multiply:4'} for lane in synthetic.plan((8, 16, 256), (0.1,), 4)]
  names = list(lanes.names(plan).values())
  assert names == sorted(names) and len(set(names)) == 12
  assert names[-1] == '11-batch_size=256-learning_rate=0.1-trial=3-branch=tail=multiply_4'


def test_scalars_leave_out_what_is_no_number():
  row = {'lane': 1, 'examples': 8, 'updates': 2, 'loss': None, 'diverged': True, 'why': 'x'}
  row |= {'b_ci95': [1.0, None], 'by_class': [0.5], 'exact': {'plain': {'n': 3, 'trace': None}}}
  assert lanes.scalars(row) == {'updates': 2, 'diverged': 1, 'b_ci95/low': 1.0, 'exact/plain/n': 3}


def test_settings_are_the_keys_that_are_changed():
  config = base_config()
  config.batch_sizes, config.writers = (1, 2), ('wandb',)
  config.optimizer.name, config.noise_scale.every = 'adamw', 1
  bsjax.arms.add(config, 'wide', {'model': {'width': 16}})
  changed = lanes.changed(config)
  assert changed.pop('optimizer.name') == 'adamw' and changed.pop('noise_scale.every') == 1
  assert changed == {'arms.order': "('wide',)", 'arms.wide.model.width': 16}


def test_a_writer_is_chosen_by_its_name_or_refused(monkeypatch, tmp_path):
  config = base_config()
  config.writers = ('tensorbord',)
  assert bsjax.writers.problems(config) == [
    "writers='tensorbord' is unknown; did you mean 'tensorboard'? "
    'known: tensorboard, trackio, wandb'
  ]
  config.writers = ('tensorboard', 'wandb', 'trackio')
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'wandb' else name)
  with pytest.raises(bsjax.ConfigError, match=r"'wandb' needs wandb, which .*: pip install wandb"):
    bsjax.validate(config)
  chosen = bsjax.writers.chosen_by(config, tmp_path, tmp_path / 'arms' / 'wide')
  assert [type(writer).__name__ for writer in chosen] == [
    *('TensorBoard', 'WeightsAndBiases', 'Trackio')
  ]
  assert all(isinstance(writer, bsjax.Writer) for writer in chosen)
  assert chosen[0].folder == tmp_path / 'arms' / 'wide' / 'tensorboard'
  assert (chosen[1].workdir, chosen[1].part) == (tmp_path, 'arms/wide')
  config.writers = ('trackio,tensorboard', 'trackio')  # as of a flag, and one twice
  assert not bsjax.writers.problems(config)
  assert len(bsjax.writers.chosen_by(config, tmp_path, tmp_path)) == 2
