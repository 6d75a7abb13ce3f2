"""Studies with a model, data, a loss and an optimizer from outside, from the start to the page."""

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from helpers.interrupted import terminated_in_call
from helpers.small import small_config

import bsjax
from bsjax import data
from bsjax.config.errors import ConfigError
from bsjax.engine import fed_data, validate
from bsjax.sharpness import study as sharpness_study
from bsjax.storage import records, workdirs

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4)).astype(np.float32)
Y = (np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * RNG.normal(size=120)).astype(np.float32)
PARTS = (X[:96], Y[:96]), (X[96:], Y[96:])


def fixed(key, shape, dtype=jnp.float32):
  """Weights that depend on their shape alone, and so not on how a library makes keys."""
  return 0.3 * jnp.sin(jnp.arange(np.prod(shape), dtype=jnp.float32)).reshape(shape)


class Linen(nn.Module):
  width: int = 6

  @nn.compact
  def __call__(self, x):
    x = nn.tanh(nn.Dense(self.width, kernel_init=fixed)(x))
    return nn.Dense(1, kernel_init=fixed)(x)[:, 0]


class Nnx(nnx.Module):
  def __init__(self, rngs):
    self.first = nnx.Linear(4, 6, kernel_init=fixed, rngs=rngs)
    self.last = nnx.Linear(6, 1, kernel_init=fixed, rngs=rngs)

  def __call__(self, x):
    return self.last(nnx.tanh(self.first(x)))[:, 0]


def equinox():
  """The same network, as the pair of functions that it is by `eqx.partition`."""
  eqx = pytest.importorskip('equinox')

  def make(key):
    mlp = eqx.nn.MLP(4, 1, 6, 1, activation=jnp.tanh, key=key)
    for place, shape in ((0, (4, 6)), (1, (6, 1))):  # Equinox has its kernels transposed
      mlp = eqx.tree_at(lambda m, i=place: m.layers[i].weight, mlp, fixed(key, shape).T)
      zeros = jnp.zeros(shape[1])
      mlp = eqx.tree_at(lambda m, i=place: m.layers[i].bias, mlp, zeros)
    return mlp

  static = eqx.partition(make(jax.random.key(0)), eqx.is_inexact_array)[1]

  def init(key):
    return eqx.partition(make(key), eqx.is_inexact_array)[0]

  def apply(params, x):
    return jax.vmap(eqx.combine(params, static))(x)[:, 0]

  return init, apply


def squared_error(outputs, targets):
  return (outputs - targets) ** 2


def absolute_error(outputs, targets):
  return jnp.abs(outputs - targets)


def regression(loss=squared_error, name='absolute_error'):
  metric = bsjax.Metric(name, absolute_error, higher_is_better=False, unit='mm')
  return bsjax.Task(loss, [metric], title='squared error', unit='mm²')


def config_of(**keys):
  config = bsjax.base_config()
  config.batch_sizes, config.learning_rates = (8, 32), (0.01, 0.1)
  config.trials, config.epochs, config.evaluations = 2, 6.0, 4
  config.optimizer.momentum = 0.0
  config.noise_scale.every, config.noise_scale.probe_every = 1, 4
  config.execution.strategy = 'map-canonical'
  for key, value in keys.items():
    config[key] = value
  return config


def study_of(workdir, model=None, task=None, **keys):
  model = model or Linen()
  return bsjax.Study(config_of(**keys), workdir, model=model, data=PARTS, task=task or regression())


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """A finished regression: its workdir."""
  workdir = tmp_path_factory.mktemp('own')
  assert study_of(workdir).run()
  return workdir


def numbers(rows):
  """The columns of records that hold plain numbers."""
  names = [name for name, value in rows[0].items() if isinstance(value, float)]
  return {name: np.array([row[name] for row in rows], np.float64) for name in names}


@pytest.mark.parametrize('make', [lambda: lambda rngs: Nnx(rngs), equinox], ids=['nnx', 'equinox'])
def test_the_same_network_in_another_library_has_the_same_records(make, finished, tmp_path):
  study = study_of(tmp_path, make())
  study.run()
  ours, other = (numbers(bsjax.load(where).rows()) for where in (finished, tmp_path))
  assert 'val_absolute_error' in ours
  for name in ('train_loss', 'val_loss', 'train_absolute_error', 'val_absolute_error'):
    np.testing.assert_allclose(other[name], ours[name], rtol=1e-6, atol=1e-6, err_msg=name)


def test_records_and_summary_have_the_metric_of_the_task_and_its_direction(finished):
  rows, summary = (
    bsjax.load(finished).rows(),
    json.loads((finished / 'summary.json').read_text()),
  )
  assert not [name for name in rows[0] if 'accuracy' in name or 'class' in name]
  sizes = {row['batch_size']: row for row in summary['batch_sizes']}
  finals = {size: row['val_absolute_error']['mean'] for size, row in sizes.items()}
  lowest = min(finals, key=finals.get)
  pairs = [claim for claim in summary['claims'] if claim['kind'] == 'pair']
  assert pairs[0]['subject'][0] == lowest and pairs[0]['question']['side'] == 'below'
  assert pairs[0]['effect'] < 0 and pairs[0]['unit'] == 'mm'
  best = summary['recommendation'][0]
  assert best['quantity'] == 'val_absolute_error' and best['goal'].endswith('absolute error')
  trend = next(claim for claim in summary['claims'] if claim['kind'] == 'trend')
  assert trend['question']['side'] == 'above' and 'reach lower validation' in trend['claim']
  for size, row in sizes.items():  # the rate that was chosen is the one of the lowest error
    end = max(r['examples'] for r in rows)
    by_rate = {}
    for r in rows:
      if r['examples'] == end and r['batch_size'] == size:
        by_rate.setdefault(r['learning_rate'], []).append(r['val_absolute_error'])
    assert row['learning_rate'] == pytest.approx(min(by_rate, key=lambda x: np.mean(by_rate[x])))
    gap = np.mean(by_rate[min(by_rate, key=lambda x: np.mean(by_rate[x]))])
    assert row['generalization_gap']['mean'] == pytest.approx(
      gap - row['train_absolute_error']['mean'], abs=1e-9
    )


def test_the_page_needs_no_code_and_says_nothing_of_classes(finished):
  page = bsjax.load(finished).report().read_text()
  keys = r'<table id="config">.*?</table>'  # of the configuration, which are what they are
  text = re.sub(rf'<(style|script).*?</\1>|<defs.*?</defs>|{keys}', '', page, flags=re.DOTALL)
  text = html.unescape(re.sub(r'<[^>]+>', ' ', text))
  for word in ('accurac', 'classes', 'classifi', 'percentage point', 'image', 'entropy', 'None'):
    assert word not in text, text[max(0, text.find(word) - 80) :][:160]
  for words in ('lowest mean', 'validation absolute error, mm', 'squared error', 'Linen'):
    assert words in text, words
  assert 'id="absolute_error"' in page
  method = (finished / 'methodology.txt').read_text()
  assert 'We minimized the mean squared error; runs are judged by the mean' in ' '.join(
    method.split()
  )


def test_a_study_goes_on_with_the_same_parts_and_no_others(finished):
  assert study_of(finished).run()
  for other, said in (
    (study_of(finished, Linen(width=7)), 'another model'),
    (study_of(finished, task=regression(loss=absolute_error)), 'another task'),
    (study_of(finished, task=regression(name='miss')), 'own.task.metric.name'),
  ):
    with pytest.raises(ConfigError, match=said):
      other.run()
  with pytest.raises(ConfigError, match=r'its task and model and data from outside.*bsjax.Study'):
    bsjax.Study(config_of(), finished).run()


def test_commands_without_the_parts_refuse_in_words(finished):
  with pytest.raises((ConfigError, data.DataError), match='only the script that began'):
    sharpness_study.load(finished)
  config = workdirs.read_config(finished)
  config.native_cost.measure = True
  assert [line for line in validate.problems(config) if 'native_cost.measure' in line]


def test_keys_that_say_nothing_are_refused(tmp_path):
  config = config_of()
  config.model.width, config.data.crop = 4, 2
  config.optimizer.momentum = 0.5
  study = bsjax.Study(
    config, tmp_path, model=Linen(), data=PARTS, task=regression(), optimizer=optax.adam
  )
  with pytest.raises(ConfigError) as error:
    study.run()
  for key in ('model.width', 'data.crop', 'optimizer.momentum'):
    assert key in str(error.value)
  with pytest.raises(ConfigError, match='model='):
    bsjax.Study(config_of(), tmp_path, data=PARTS, task=regression()).run()
  with pytest.raises(ConfigError, match='take no mean over them'):
    study_of(tmp_path, task=bsjax.Task(lambda outputs, targets: 0 * outputs.mean())).run()


class Tokens(nn.Module):
  @nn.compact
  def __call__(self, x, deterministic):
    x = nn.Embed(5, 6)(x)
    return nn.Dense(5)(nn.Dropout(0.2, deterministic=deterministic)(x))


def test_tokens_are_predicted_with_a_mask_and_without_metrics(tmp_path):
  """Outputs [example, position, class]; the optimizer is from outside too."""
  tokens = RNG.integers(0, 5, (60, 7))

  def loss(outputs, targets):
    return optax.softmax_cross_entropy_with_integer_labels(outputs[:, :-1], targets[:, 1:])

  task = bsjax.Task(loss, mask=lambda targets: targets[:, 1:] != 0, title='next-token loss')
  config = config_of(learning_rates=(0.01,), epochs=2.0)
  config.optimizer.momentum = 0.9
  study = bsjax.Study(
    config, tmp_path, Tokens(), (tokens[:48], tokens[48:]), task=task, optimizer=optax.adam
  )
  assert study.run()
  rows, summary = bsjax.load(tmp_path).rows(), study.summary()
  assert 'val_loss' in summary['batch_sizes'][0] and 'accuracy' not in str(rows[0].keys())
  assert summary['recommendation'][0]['goal'] == 'best validation next-token loss'
  assert any(row['confound'] == 'b2_time_scale' for row in summary['confounds'])
  adam = json.loads((tmp_path / 'config.json').read_text())['own']['optimizer']
  assert adam['name'] == 'adam' and adam['hyperparameters']['b2'] == 0.999
  assert all(rule['applies'] is not True for rule in summary['learning_rates']['rules'])
  losses = np.array([row['train_loss'] for row in rows if row['batch_size'] == 8])
  assert losses[-1] < losses[0]
  assert losses[0] == pytest.approx(np.log(5), rel=0.3)


@pytest.mark.slow
def test_several_labels_in_percent_and_a_model_with_batch_norm(tmp_path):
  class Labels(nn.Module):
    @nn.compact
    def __call__(self, x, train):
      x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x['a']))
      return nn.Dense(3)(x)

  labels = (X[:, :3] > 0).astype(np.int8)
  task = bsjax.Task(
    optax.sigmoid_binary_cross_entropy,
    [
      bsjax.Metric('labels_right', lambda o, t: (o > 0) == t, True, unit='fraction', margin=0.01),
      bsjax.Metric('first', lambda o, t: ((o > 0) == t)[:, 0], True, unit='fraction'),
    ],
  )
  parts = ({'a': X[:96]}, labels[:96]), ({'a': X[96:]}, labels[96:])
  config = config_of(learning_rates=(0.1,), epochs=2.0)
  study = bsjax.Study(config, tmp_path, Labels(), parts, task)
  with pytest.raises(ConfigError, match="normalization='batch'"):
    study.run()
  config.model.normalization = 'batch'
  study = bsjax.Study(config, tmp_path, Labels(), parts, task)
  assert study.run()
  rows, summary = study.rows(), study.summary()
  last = rows[-1]
  assert {'val_first', 'reestimated_val_labels_right', 'val_labels_right'} <= last.keys()
  assert 0 <= last['val_labels_right'] <= 1 and (24 * last['val_first']) % 1 < 1e-6
  assert 'reestimated_val_labels_right' in summary['batch_sizes'][0]
  of_metric = [claim for claim in summary['claims'] if claim['kind'] != 'exponent']
  same = [claim for claim in of_metric if claim['question']['margin']]
  assert same and all(claim['question']['margin'] == 0.01 for claim in same)
  text = html.unescape(study.report().read_text())
  assert 'validation<br>labels right, %' in text and 'accurac' not in text


@pytest.mark.slow
def test_arrays_of_a_source_train_bitwise_as_the_source(tmp_path):
  config = small_config(batch_sizes=(8, 16), learning_rates=(0.1,), epochs=1.0)
  digits = data.load(config.data, config.seed)
  parts = [(split.images, split.labels) for split in (digits.train, digits.validation)]
  bsjax.Study(config, tmp_path / 'source').run()
  plain = bsjax.base_config().data
  own = small_config(batch_sizes=(8, 16), learning_rates=(0.1,), epochs=1.0)
  own.data = plain
  bsjax.Study(own, tmp_path / 'arrays', data=tuple(parts)).run()
  ours, other = (records.read(tmp_path / name / 'records.jsonl') for name in ('arrays', 'source'))
  assert ours == other


@pytest.mark.slow
def test_the_readme_runs_as_it_stands_in_an_empty_directory(tmp_path):
  text = (ROOT / 'README.md').read_text()
  (block,) = re.findall(r'## Your own model.*?```python\n(.*?)```', text, re.DOTALL)
  assert len([line for line in block.splitlines() if line]) < 20
  command = [sys.executable, '-c', block]
  run = subprocess.run(command, cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(ROOT)})
  assert run.returncode == 0
  summary = json.loads((tmp_path / 'runs' / 'own' / 'summary.json').read_text())
  assert all(row['val_absolute_error']['mean'] < 1 for row in summary['batch_sizes'])
  assert (tmp_path / 'runs' / 'own' / 'report.html').is_file()


@pytest.mark.slow
def test_data_mapped_from_files_and_fed_from_the_host_give_the_same_records(
  tmp_path, monkeypatch, optimized_programs, blank_figures
):
  pairs = []
  for number, arrays in enumerate(PARTS):
    for part, array in enumerate(arrays):
      np.save(tmp_path / f'{number}{part}.npy', array)
    pairs.append(tuple(np.load(tmp_path / f'{number}{x}.npy', mmap_mode='r') for x in range(2)))
  monkeypatch.setattr(fed_data, 'WINDOW_BYTES', 4 * 32 * 20)  # two trials, two blocks
  made = {'model': Linen(), 'data': tuple(pairs), 'task': regression()}
  config, folders = config_of(), (tmp_path / 'device', tmp_path / 'host')
  assert bsjax.Study(config, folders[0], **made).run()
  config.execution.data = 'host'
  with terminated_in_call(monkeypatch, 5):
    assert not bsjax.Study(config, folders[1], **made).run()
  config.execution.data = 'auto'  # which changes nothing
  monkeypatch.setattr(fed_data, 'is_fed', lambda *_: True)
  assert bsjax.Study(config, folders[1], **made).run()
  there, here = ((workdir / 'records.jsonl').read_bytes() for workdir in folders)
  assert here == there
