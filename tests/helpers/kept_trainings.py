"""Tiny whole studies by the command of a study; `tests/studies/test_kept_runs.py` keeps them.

Each has as many options in one as go together, and few updates: what rounding changes has not
grown. What depends on the machine, or on the time, is left out.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import flax.linen as nn
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

import bsjax
from bsjax import main
from bsjax.engine import device_lanes
from bsjax.plan import stages
from bsjax.storage import checkpoint, records
from bsjax.train import finish
from helpers.kept import Kept
from helpers.kept_arrays import drawn, plain
from helpers.small import small_config

# Of lines that are printed: those that say what the machine is, or how long something took.
OF_THE_MACHINE = re.compile(r'seconds|CPU|examples/s|MiB|Total time|decoding|\d ms|minutes')
RESULTS = re.compile(r'^ *Results of each.*?(?=^Report|^Trained|\Z)', re.DOTALL | re.MULTILINE)
FILES = 'data.json', 'execution.json', 'sharpness.json'
NOTHING: Mapping[str, Any] = {}  # comes from outside


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
  """The command sets up no machine, and draws nothing; what it prints."""
  printed = io.StringIO()
  with (
    mock.patch.object(main.cli, 'set_up_machine'),
    mock.patch.object(main.cli, 'config_file', lambda: ''),
    mock.patch.object(finish, 'write_report', without_page),
    contextlib.redirect_stdout(printed),
  ):
    yield printed


def without_page(workdir: Path) -> Path:
  """Stands in for pages, of which other kept cases are."""
  for name in finish.PRODUCTS:
    (workdir / name).write_text('made up')
  return workdir / 'report.html'


def command(config: ConfigDict, workdir: Path, parts: Any = NOTHING, **given: Any) -> str:
  """Runs the command of a study; returns what it printed, and the code with which it ended."""
  usual = {'coordinator': None, 'target': '', 'shard': '', 'workdir': str(workdir)}
  usual |= dict.fromkeys(('distributed', 'extend', 'dry_run'), False)
  flags = types.SimpleNamespace(config=config, **usual | given)
  with (
    quiet() as printed,
    mock.patch.object(main.flags, 'FLAGS', flags),
    mock.patch.object(main.cli, 'parts', lambda *_: parts),
    mock.patch.object(main.cli, 'mistake', str),
  ):
    try:
      main.main([])
      code: Any = 0
    except SystemExit as ended:
      code = ended.code
  lines = RESULTS.sub('', printed.getvalue()).replace(str(workdir), 'WORKDIR').splitlines()
  told = [line.rstrip() for line in lines if not OF_THE_MACHINE.search(line)]
  return '\n'.join([*told, f'ended with {code}']).replace(str(workdir), 'WORKDIR')


@contextlib.contextmanager
def stopped(call: int) -> Iterator[None]:
  """A termination signal arrives in this call of those that train, counted from 1."""
  advance, calls = device_lanes.Lanes.advance, []

  def and_stop(self: Any, *arguments: Any) -> Any:
    calls.append(1)
    if len(calls) == call:
      os.kill(os.getpid(), signal.SIGTERM)
    return advance(self, *arguments)

  with mock.patch.object(device_lanes.Lanes, 'advance', and_stop):
    yield


def kept(workdir: Path) -> dict[str, Any]:
  """Rows, plan, position and files of a workdir, and of those in it."""
  names = sorted(
    path.relative_to(workdir).as_posix()
    for path in workdir.rglob('*')
    if path.is_file() and 'checkpoints/' not in path.relative_to(workdir).as_posix()
  )
  names = [re.sub('events.out.*', 'events', name) for name in names]
  found: dict[str, Any] = {'files': [name for name in names if not name.endswith('.lock')]}
  for path in sorted(workdir.rglob('*.jsonl')):
    if 'before' not in path.parts:
      found[path.relative_to(workdir).as_posix()] = records.read(path)
  for path in sorted(workdir.rglob('plan.csv')):
    if 'before' not in path.parts:
      found[path.relative_to(workdir).as_posix()] = path.read_text().splitlines()
  for path in sorted(workdir.rglob('*.json')):
    if path.name in FILES and 'before' not in path.parts:
      content = json.loads(path.read_text())
      for key in ('device', 'timings'):
        content.pop(key, None)
      found[path.relative_to(workdir).as_posix()] = content
  if (workdir / 'summary.json').exists():
    found['summary'] = keys_of(records.read_json(workdir / 'summary.json'))
  if (workdir / 'checkpoints').exists():
    found['position'] = position(workdir)
  return found


def position(workdir: Path) -> Any:
  """Which checkpoints there are, and where the newest is."""
  with checkpoint.open_to_read(workdir) as manager:
    newest = checkpoint.newest_first(manager)[0]
    where = checkpoint.position(manager, newest).to_json()
    groups, _ = checkpoint.restore_weights(manager, newest)
    return {'steps': checkpoint.steps(manager), 'newest': where, 'weights': plain(groups)}


def keys_of(tree: Any) -> Any:
  """The keys of nested dicts, and of the first of lists of them."""
  if isinstance(tree, dict):
    return {key: keys_of(value) for key, value in tree.items() if key != 'provenance'}
  if isinstance(tree, list) and tree and isinstance(tree[0], dict):
    return [keys_of(tree[0]), len(tree)]
  return None


def small(**keys: Any) -> ConfigDict:
  """A study of 64 digits: eight updates at batch size 8, four at 16."""
  usual = {'batch_sizes': (8, 16), 'learning_rates': (0.1,), 'trials': 2, 'epochs': 1.0}
  usual |= {'data__train_examples': 64, 'data__validation_share': 0.05, 'model__depth': 0}
  usual |= {'execution__devices': 1, 'checkpoint__seconds': 0.0, 'noise_scale__probe_every': 2}
  usual |= {'evaluation__batch_size': 40, 'micro_batch': 8}
  return small_config(**usual | keys)


def study(make: Callable[[Path], str | list[str]]) -> Kept:
  """What a study leaves in its workdir, and what it prints."""
  with tempfile.TemporaryDirectory() as folder:
    workdir = Path(folder) / 'study'
    printed = make(workdir)
    texts = [printed] if isinstance(printed, str) else printed
    words = {f'printed {i}': one.replace(folder, 'FOLDER') for i, one in enumerate(texts)}
    return Kept(kept(workdir), words)


def measured(workdir: Path) -> list[str]:
  """Noise scales of all kinds, an average, a subset, crops."""
  keys = {'noise_scale__exact_examples': 32, 'noise_scale__curvature_blocks': 4}
  keys |= {'schedule__name': 'cosine', 'evaluation__subset': 20, 'optimizer__nesterov': True}
  keys |= {'schedule__warmup_epochs': 0.25, 'averaging__half_life': 24.0, 'data__crop': 1}
  keys |= {'optimizer__weight_decay': 0.01, 'checkpoint__keep_all': True, 'trials': 1}
  config = small(**keys, learning_rates=(0.01,))
  printed = command(config, workdir)
  return [printed, command(config, workdir)]


def staged(workdir: Path) -> list[str]:
  """A head on frozen layers, then growing batches in branches, stopped twice on the way."""
  config = small(trials=1, schedule__name='step', model__depth=1, model__width=3)
  config.model.normalization = 'batch'
  stages.add(config, 'head', epochs=0.5, trainable=('Dense_1',), frozen_batch_norm='running')
  grow = {'batch_size': ('keep', 'multiply:2', 'grow:4'), 'largest_batch_size': 32}
  stages.add(config, 'tail', examples=64, learning_rate_factor=0.5, data_share=0.75, **grow)
  stages.add(config, 'last', examples=32, reset_optimizer=True, data_share=0.75)
  printed = []
  for call in (2, 3):
    with stopped(call):
      printed.append(command(config, workdir))
  return [*printed, command(config, workdir)]


def following(workdir: Path) -> list[str]:
  """Batch sizes that follow measurements, after a pretraining whose best lane lends weights."""
  config = small(trials=1, batch_sizes=(8,), evaluations=6, model__depth=1, model__width=3)
  follow = {'batch_size': ('noise:0.3', 'cabs'), 'smallest_batch_size': 8}
  stages.add(config, 'only', epochs=2.0, largest_batch_size=32, **follow)
  config.noise_scale.online = True
  with config.unlocked():
    config.pretrain = {'epochs': 0.5, 'trials': 1, 'learning_rates': (0.05, 0.2)}
  return [command(config, workdir)]


def halved(workdir: Path) -> list[str]:
  """Learning rates that are dropped, and one that diverges."""
  rates = (0.01, 0.05, 0.4, 1e30)
  keys = {'halving__rungs': (0.3, 0.6), 'halving__keep': 0.4, 'evaluation__subset': 30}
  config = small(**keys, learning_rates=rates, trials=1, epochs=2.0, evaluations=4)
  config.execution.devices = 2
  with stopped(3):
    first = command(config, workdir)
  return [first, command(config, workdir)]


class Drops(nn.Module):
  """A model of one's own, which draws at random."""

  @nn.compact
  def __call__(self, x: Any, train: bool) -> Any:
    x = nn.tanh(nn.Dense(5)(x['a'] * x['b'][:, None]))
    return nn.Dense(3)(nn.Dropout(0.3, deterministic=not train)(x))


def own(workdir: Path) -> list[str]:
  """A model, data, a task by positions and an optimizer of one's own."""
  error = bsjax.Metric('miss', lambda o, t: jnp.abs(o - t), higher_is_better=False, unit='mm')
  task = bsjax.Task(lambda o, t: (o - t) ** 2, [error], mask=lambda t: t > -0.8, title='square')
  inputs, targets = {'a': drawn(1, 60, 4), 'b': drawn(2, 60)}, drawn(3, 60, 3)
  split = [
    ({k: v[at] for k, v in inputs.items()}, targets[at]) for at in (slice(48), slice(48, 60))
  ]
  parts = {'model': Drops(), 'data': tuple(split), 'task': task}
  parts['optimizer'] = optax.adam
  config = bsjax.base_config()
  config.batch_sizes, config.learning_rates, config.trials = (8, 24), (0.03,), 2
  config.epochs, config.evaluations, config.execution.devices = 1.0, 2, 1
  config.execution.strategy, config.noise_scale.every = 'map-canonical', 1
  config.checkpoint.seconds, config.micro_batch = 0.0, 8
  printed = [command(config, workdir, parts), command(config, workdir)]
  return [*printed, command(config, workdir, {**parts, 'optimizer': optax.sgd})]


TRAININGS: dict[str, Callable[[], Kept]] = {
  f'study_{make.__name__}': lambda make=make: study(make)
  for make in (*(measured, staged, following, halved, own),)
}
