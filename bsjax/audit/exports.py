"""What other libraries write: Keras histories, metric exports of Weights & Biases, TensorBoard."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bsjax.audit.columns import guess_metric
from bsjax.audit.files import Raw, read_table
from bsjax.audit.problem import Problem
from bsjax.stats.estimate import Reason

# Settings in the names of runs and files, such as 'resnet_bs128_lr0.1_seed3'.
_NUMBER = r'(\d+(?:\.\d+)?(?:e[-+]?\d+)?|\.\d+)'
_SETTINGS = {
  'batch_size': r'(?:batch[_-]?size|batch|bs|b)[_=:-]?(\d+)',
  'learning_rate': rf'(?:learning[_-]?rate|lr)[_=:-]?{_NUMBER}',
  'trial': r'(?:trial|seed|rep|run|s|t)[_=:-]?(\d+)',
}
_PATTERNS = {
  key: re.compile(rf'(?<![a-z0-9]){pattern}(?![a-z0-9]|\.\d)', re.IGNORECASE)
  for key, pattern in _SETTINGS.items()
}
_OF_RUN = re.compile(r'^(?P<run>.+) - (?P<metric>.+?)(?P<end>__MIN|__MAX)?$')
EVENTS = 'tfevents'


def read(path: Path) -> list[Raw]:
  """Whatever a path holds: a table, a history of Keras, event files of TensorBoard.

  Raises Problem where it is none of them.
  """
  if path.is_dir() or EVENTS in path.name:
    return _tensorboard(path)
  if path.suffix.lower() == '.json':
    return _keras(path)
  raw = read_table(path)
  runs = [_OF_RUN.match(str(name)) for name in raw.frame.columns]
  if any(runs):
    return [_wandb(raw, runs)]
  keras = {'epoch', 'loss'} <= set(raw.frame.columns) and 'val_loss' in raw.frame.columns
  return [Raw(raw.name, raw.frame, 'keras' if keras else 'table', raw.notes)]


def named_settings(name: str) -> dict[str, str]:
  """The batch size, learning rate and trial that the name of a run tells."""
  matches = {key: pattern.findall(name) for key, pattern in _PATTERNS.items()}
  return {key: several[0] for key, several in matches.items() if len(set(several)) == 1}


def _keras(path: Path) -> list[Raw]:
  """`History.history` as JSON, alone or under 'history' beside 'params'; or one for each run."""
  try:
    content = json.loads(path.read_text('utf-8-sig'))
  except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
    row = getattr(error, 'lineno', 1)
    what, remedy = f'it is no JSON ({error})', 'Write json.dump(history.history, file)'
    raise Problem(path.name, row, '', str(what), remedy) from error
  whole = content if isinstance(content, list) else [content]
  if not isinstance(content, list) and content and _all_runs(content):
    whole = [{'run': name, **run} for name, run in content.items()]
  raws = [_history(path, place, run) for place, run in enumerate(whole)]
  if not raws:
    raise Problem(path.name, 1, '', 'it holds no run', 'Write json.dump(history.history, file)')
  return raws


def _all_runs(content: Any) -> bool:
  if not isinstance(content, Mapping) or {'history', 'params'} & set(content):
    return False
  return all(isinstance(run, Mapping) and _holds_curves(run) for run in content.values())


def _holds_curves(run: Mapping) -> bool:
  return 'history' in run or any(isinstance(value, list) for value in run.values())


def _history(path: Path, place: int, run: Any) -> Raw:
  where, remedy = f'{path.name}, run {place + 1}', 'Write json.dump(history.history, file)'
  if not isinstance(run, Mapping):
    raise Problem(where, 1, '', f'it is a {type(run).__name__}, no history', remedy)
  history = run.get('history', run)
  if not isinstance(history, Mapping):
    raise Problem(where, 1, 'history', 'it is no mapping of metrics to lists', remedy)
  curves = {str(k): v for k, v in history.items() if isinstance(v, list)}
  lengths = {len(values) for values in curves.values()}
  if len(lengths) != 1 or lengths == {0}:
    longest = max(curves, key=lambda name: len(curves[name]), default='')
    row = min(lengths, default=0) + 1
    raise Problem(where, row, longest, 'metrics have no values, or not equally many', remedy)
  for name, values in curves.items():
    for row, value in enumerate(values, 1):
      if not isinstance(value, int | float | str | None):
        raise Problem(where, row, name, f'{str(value)[:40]} is no number', remedy)
  epochs = range(1, lengths.pop() + 1)
  params = run.get('params', {})
  settings = {**(params if isinstance(params, Mapping) else {}), **run}
  single = {str(k): v for k, v in settings.items() if isinstance(v, int | float | str)}
  single = {k: v for k, v in single.items() if k not in curves and k not in ('epochs', 'steps')}
  # A history holds what was not finite as NaN, and has no missing values.
  curves = {
    k: [math.inf if isinstance(v, float) and math.isnan(v) else v for v in values]
    for k, values in curves.items()
  }
  frame = pd.DataFrame({**curves, 'epoch': list(epochs)}, index=epochs)
  single.setdefault('run', path.stem if place == 0 else f'{path.stem} {place + 1}')
  return Raw(path.name, frame.assign(**single), 'keras')


def _wandb(raw: Raw, matches: Sequence[re.Match | None]) -> Raw:
  """The export of a chart: one column 'RUN - METRIC' for each run, beside their lowest and highest.

  Becomes one row for each run and step.
  """
  others = [str(n) for n, m in zip(raw.frame.columns, matches, strict=True) if m is None]
  if len(others) != 1:
    what = f'beside the runs there are the columns {", ".join(others)[:80] or "none"}'
    raise Problem(raw.name, 1, others[0] if others else '', what, 'Export the chart of one metric')
  runs = {name: m for name, m in zip(raw.frame.columns, matches, strict=True) if m is not None}
  metrics = {m['metric'] for m in runs.values()} - {'_step', '_runtime', '_timestamp'}
  if len(metrics) != 1:
    what = f'it holds {len(metrics)} metrics ({", ".join(sorted(metrics))[:80]})'
    raise Problem(raw.name, 1, str(next(iter(runs))), what, 'Export one chart a file')
  metric = metrics.pop()
  parts = []
  for name, match in runs.items():
    if match['end'] or match['metric'] != metric:
      continue
    for end in ('__MIN', '__MAX'):
      _not_grouped(raw, name, f'{name}{end}')
    part = raw.frame[[others[0], name]].rename(columns={name: metric})
    parts.append(part[part[metric].notna()].assign(run=match['run']))
  frame = pd.concat(parts)
  clock = others[0].strip().lower()
  if 'time' in clock:
    what, remedy = 'its axis is time', 'Export it with steps or epochs as the x axis'
    raise Problem(raw.name, 1, others[0], what, remedy)
  return Raw(raw.name, frame, 'wandb', raw.notes)


def _not_grouped(raw: Raw, name: str, end: str) -> None:
  if end in raw.frame.columns:
    apart = raw.frame[name].notna() & (raw.frame[name] != raw.frame[end])
    if apart.any():
      what = 'it differs from its lowest or highest, so the chart was of grouped runs, or sampled'
      remedy = 'Ungroup the runs before the export, and zoom in or export the runs themselves'
      raise Problem(raw.name, apart.idxmax(), name, what, remedy)


def _tensorboard(path: Path) -> list[Raw]:
  """The scalars of all event files under a folder, each folder a run."""
  try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
  except ImportError as error:
    remedy = 'Install it: pip install tensorboard'
    raise Problem(path.name, 1, '', 'reading it takes tensorboard', remedy) from error
  files = sorted(path.rglob(f'*{EVENTS}*')) if path.is_dir() else [path]
  folders = sorted({file.parent for file in files})
  if not folders:
    remedy = 'Give the folder that TensorBoard is given'
    raise Problem(str(path), 1, '', 'it holds no event files', remedy)
  raws = []
  for folder in folders:
    source = str(folder if path.is_dir() else path)
    events = EventAccumulator(source, size_guidance={'scalars': 0, 'tensors': 0})
    events.Reload()
    run = str(folder.relative_to(path)) if path.is_dir() else path.parent.name
    rows = _scalars(events)
    if rows:
      raws.append((run, rows, _hparams(events)))
  if not raws:
    raise Problem(str(path), 1, '', 'its event files hold no scalars', 'Log scalars')
  return _merged_runs(path.name, raws)


def _scalars(events: Any) -> dict[str, dict[int, float]]:
  """Tag -> step -> value; of a step that was written again (a resumed run) the later value."""
  tags, curves = events.Tags(), {}
  for tag in tags['scalars']:
    curves[tag] = {event.step: float(event.value) for event in events.Scalars(tag)}
  for tag in tags['tensors']:
    from tensorboard.util.tensor_util import make_ndarray

    values = {event.step: make_ndarray(event.tensor_proto) for event in events.Tensors(tag)}
    if all(value.shape == () and value.dtype.kind in 'fiu' for value in values.values()):
      curves[tag] = {step: float(value) for step, value in values.items()}
  # What is there and no number was not finite when it was written.
  return {
    tag: {step: math.inf if math.isnan(value) else value for step, value in values.items()}
    for tag, values in curves.items()
  }


def _hparams(events: Any) -> dict[str, Any]:
  """What the HParams plugin holds of a run."""
  from tensorboard.plugins.hparams import plugin_data_pb2

  content = events.summary_metadata.get('_hparams_/session_start_info')
  if content is None:
    return {}
  data = plugin_data_pb2.HParamsPluginData.FromString(content.plugin_data.content)
  given = data.session_start_info.hparams
  return {name: getattr(value, value.WhichOneof('kind')) for name, value in given.items()}


def _merged_runs(file: str, raws: Sequence[tuple[str, Mapping, Mapping]]) -> list[Raw]:
  """One table of all runs; Keras writes the splits of a run into folders train and validation."""
  runs: dict[str, tuple[dict, dict]] = {}
  for name, curves, settings in raws:
    run, _, last = name.rpartition('/')
    split = last if last in ('train', 'validation', 'test', 'eval') else ''
    run = run if split else name
    named = {f'{split}/{tag}' if split and not guess_metric(tag)[1] else tag: curve
             for tag, curve in curves.items()}  # fmt: skip
    mine, also = runs.setdefault(run, ({}, {}))
    mine.update(named)
    also.update(settings)
  parts = []
  for run, (curves, settings) in runs.items():
    known = {tag: curve for tag, curve in curves.items() if guess_metric(tag)[0]}
    tags = {**known, **{tag: curve for tag, curve in curves.items() if tag.lower() == 'epoch'}}
    frame = pd.DataFrame({tag: pd.Series(curve) for tag, curve in (tags or curves).items()})
    frame = frame.assign(**{k: v for k, v in settings.items() if k not in frame})
    # The callback of Keras counts epochs, from 0, where its tags say so.
    by_epoch = any(re.search(r'(^|/)epoch_', tag) for tag in known)
    clock = {'epoch': frame.index + 1} if by_epoch else {'step': frame.index}
    parts.append(frame.assign(**clock, run=run or file))
  frame = pd.concat(parts)
  frame.index = pd.RangeIndex(1, len(frame) + 1)
  return [Raw(file, frame, 'tensorboard', (Reason('tensorboard_rows', file=file),))]
