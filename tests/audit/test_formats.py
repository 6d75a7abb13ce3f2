"""Exports of other libraries, as they write them, without the libraries: what is told apart."""

import json
import math
import sys
import types

import pandas as pd
import pytest
from helpers.audit_tables import finals, lanes, notes, rising, sweep

from bsjax.audit import audit
from bsjax.audit.problem import Problem

FRAME = sweep(rising)
RUNS = {
  f'bs{size}_seed{trial}': run for (size, trial), run in FRAME.groupby(['batch_size', 'trial'])
}


def refused(paths, match):
  with pytest.raises(Problem, match=match):
    audit(paths)


def chart(metric='val_accuracy', axis='epoch', **others):
  """A chart of Weights & Biases: a column of each run beside its lowest and highest."""
  columns = {axis: range(1, 5), **others}
  for name, run in RUNS.items():
    for end in ('', '__MIN', '__MAX'):
      columns[f'{name} - {metric}{end}'] = run['val_accuracy'].to_numpy()
  return pd.DataFrame(columns)


def saved(folder, *charts):
  paths = [folder / f'{place}.csv' for place in range(len(charts))]
  for path, table in zip(paths, charts, strict=True):
    table.to_csv(path, index=False)
  return paths


def test_charts_that_cannot_be_joined_are_refused(tmp_path):
  plain = chart()
  assert finals(audit(saved(tmp_path, plain)), 16) == pytest.approx([0.699, 0.7, 0.701])
  for end in ('__MIN', '__MAX'):
    name = f'bs64_seed1 - val_accuracy{end}'
    grouped = plain.assign(**{name: plain[name].where(plain.index != 2, 0.3)})
    refused(saved(tmp_path, grouped), r"row 4, column 'bs64_seed1 - val_accuracy'.*grouped")
  refused(saved(tmp_path, plain, chart('train_accuracy', 'Step')), 'its axis is step and that of')
  refused(saved(tmp_path, plain, plain), "column 'val_accuracy': two files hold this metric")
  refused(saved(tmp_path, chart(axis='Relative Time')), 'its axis is time')
  refused(saved(tmp_path, chart(note=1)), 'there are the columns epoch, note')
  two = plain.join(chart('val_loss').drop(columns='epoch'))
  refused(saved(tmp_path, two), r'it holds 2 metrics \(val_accuracy, val_loss\)')


def test_logs_of_keras_count_epochs_from_zero(tmp_path):
  """Those of CSVLogger, a file for each run that its name tells."""
  for name, run in RUNS.items():
    frame = pd.DataFrame({'epoch': range(4), 'accuracy': 0.3, 'loss': 1.0})
    frame = frame.assign(val_accuracy=run['val_accuracy'].to_numpy(), val_loss=1.1)
    frame.to_csv(tmp_path / f'{name}.csv', index=False)
  found = audit(sorted(tmp_path.iterdir()))
  assert finals(found, 64) == finals(audit(FRAME), 64)
  assert found.judged.facts.keras and 'epochs_from_zero' not in notes(found)
  assert [row['epoch'] for row in lanes(found, 16)[0].rows] == [0, 1, 2, 3, 4]


def histories(**changed):
  """What callbacks of Keras hold of each run."""
  runs = []
  for (size, trial), run in FRAME.groupby(['batch_size', 'trial']):
    history = {'val_accuracy': run['val_accuracy'].tolist(), 'loss': [1.0] * 4} | changed
    params = {'batch_size': size, 'epochs': 4, 'steps': 100}
    runs.append({'history': history, 'params': params, 'seed': trial})
  return runs


def test_histories_in_one_file_are_runs_with_their_parameters(tmp_path):
  path = tmp_path / 'all.json'
  path.write_text(json.dumps(histories(), default=int))
  found = audit([path])
  assert finals(found, 64) == finals(audit(FRAME), 64)
  assert not {'steps_left_out', 'steps_are_updates'} & set(notes(found))
  assert found.judged.facts.train_examples is None  # the number of steps is no clock
  lost = histories(val_accuracy=[0.5, 0.6, math.nan, 0.7])[:1] + histories()[1:]
  path.write_text(json.dumps(lost, default=int))
  first, second, _ = lanes(audit([path]), 16)
  assert first.problem.code == 'diverged' and second.problem is None


@pytest.mark.parametrize(
  'content, match',
  [
    ('[]', 'it holds no run'),
    ('[3]', 'run 1.*it is a int, no history'),
    ('[{"history": 3}]', 'no mapping of metrics to lists'),
    ('[{"val_accuracy": []}]', 'have no values'),
    ('{"val_accuracy": [0.1, [2]]}', r'row 2, .*\[2\] is no number'),
  ],
)
def test_json_that_is_no_history_is_refused(tmp_path, content, match):
  path = tmp_path / 'h.json'
  path.write_text(content)
  refused([path], match)


class Events:
  """Stands in for TensorBoard's reader of a folder's event files."""

  curves = types.MappingProxyType({})  # by folder

  def __init__(self, folder, size_guidance):
    assert size_guidance == {'scalars': 0, 'tensors': 0}  # all of them
    self.own = self.curves[folder]
    self.summary_metadata: dict = {}

  def Reload(self):
    self.read = True

  def Tags(self):
    return {'scalars': list(self.own) if self.read else [], 'tensors': []}

  def Scalars(self, tag):
    return [types.SimpleNamespace(step=step, value=value) for step, value in self.own[tag]]


@pytest.fixture
def events(monkeypatch):
  reader = types.ModuleType('event_accumulator')
  reader.EventAccumulator = Events
  plugin = types.ModuleType('hparams')
  plugin.plugin_data_pb2 = None
  monkeypatch.setitem(sys.modules, 'tensorboard', types.ModuleType('tensorboard'))
  root = 'tensorboard.backend.event_processing'
  for name in ('tensorboard.backend', root, 'tensorboard.plugins'):
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
  monkeypatch.setitem(sys.modules, f'{root}.event_accumulator', reader)
  monkeypatch.setitem(sys.modules, 'tensorboard.plugins.hparams', plugin)
  monkeypatch.setattr(Events, 'curves', {})

  def write(folder, tags):
    folder.mkdir(parents=True)
    (folder / 'events.out.tfevents.1').touch()
    Events.curves[str(folder)] = tags

  return write


def test_event_files_are_read_by_steps_of_which_the_last_value_counts(events, tmp_path):
  for name, run in RUNS.items():
    size = int(run['batch_size'].iloc[0])
    steps = (run['epoch'] * 6400 // size).tolist()
    curve = list(zip(steps, run['val_accuracy'], strict=True))
    epochs = list(zip(steps, run['epoch'], strict=True))
    resumed = [(steps[2], 0.1), *curve] if name == 'bs64_seed1' else curve
    if name == 'bs16_seed2':
      resumed = [*curve[:3], (steps[3], math.nan)]
    events(tmp_path / name, {'val/acc': resumed, 'epoch': epochs})
  found = audit([tmp_path])
  assert finals(found, 64) == pytest.approx(finals(audit(FRAME), 64))
  assert found.judged.facts.train_examples == 6400
  assert lanes(found, 64)[1].rows[3]['val_accuracy'] == pytest.approx(0.64)
  assert [lane.diverged for lane in lanes(found, 16)] == [False, False, True]


def test_splits_that_keras_writes_apart_are_one_run_whose_epochs_count_from_zero(events, tmp_path):
  for name, run in RUNS.items():
    curve = list(enumerate(run['val_accuracy']))
    events(tmp_path / name / 'validation', {'epoch_accuracy': curve})
    training = [(epoch, value + 0.1) for epoch, value in curve]
    events(tmp_path / name / 'train', {'epoch_accuracy': training, 'learning_rate': curve})
  found = audit([tmp_path])
  assert finals(found, 64) == pytest.approx(finals(audit(FRAME), 64))
  assert 'epochs_from_zero' not in notes(found)  # that is known of them
  last = lanes(found, 64)[0].final
  assert last['epoch'] == 4 and last['train_accuracy'] == pytest.approx(last['val_accuracy'] + 0.1)


def test_folders_without_scalars_are_refused(events, tmp_path):
  (tmp_path / 'none').mkdir()
  refused([tmp_path / 'none'], 'it holds no event files')
  events(tmp_path / 'empty', {})
  refused([tmp_path / 'empty'], 'hold no scalars')
