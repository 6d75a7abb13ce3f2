"""The published analyses run on small made-up studies, and write what their pages show."""

import importlib.util
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import synthetic

from bsjax.storage import records

EXPERIMENTS = Path(__file__).parents[2] / 'experiments'


@pytest.fixture
def analysis(tmp_path, monkeypatch):
  """Loads the analysis of an experiment, which writes into an empty folder beside the test's."""

  def load(name):
    path = EXPERIMENTS / name / 'analyze.py'
    spec = importlib.util.spec_from_file_location(f'analyze_{name}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / 'out').mkdir()
    monkeypatch.setattr(module, 'HERE', tmp_path / 'out')
    return module

  return load


def workdir(tmp_path, sizes, rates, trials=3, epochs=10.0, change=lambda row: None):
  """A workdir of a made-up study; `change` edits its records."""
  folder = tmp_path / 'workdir'
  folder.mkdir()
  plan = synthetic.plan(sizes, rates, trials, epochs=epochs)
  rows = synthetic.realistic(plan, evaluations=10)
  for row in rows:
    change(row)
  records.write_json(folder / 'config.json', synthetic.config())
  records.write_plan(folder / 'plan.csv', plan)
  records.append(folder / 'records.jsonl', rows)
  return folder


def result(tmp_path, *figures):
  for name in figures:
    assert (tmp_path / 'out' / name).stat().st_size > 1000
  return json.loads((tmp_path / 'out' / 'result.json').read_text())


def test_critical_batch_size(analysis, tmp_path):
  study = workdir(tmp_path, (16, 32, 64, 128, 256), (0.05, 0.1, 0.2, 0.4))
  analysis('critical_batch_size').main(study)
  names = ('critical_batch_size', 'optimum', 'noise_scale')
  found = result(tmp_path, *(f'{name}.png' for name in names))
  assert {row['batch_size'] for row in found['batch_sizes']} == {16, 32, 64, 128, 256}
  assert found['claims'] and found['recommendation'] and found['rules']


def test_temperature(analysis, tmp_path):
  study = workdir(tmp_path, (16, 32, 64, 128, 256), (0.025, 0.05, 0.1, 0.2, 0.4))
  analysis('temperature').main(study)
  budgets = result(tmp_path, 'figure.png')['budgets']
  assert [budget['epochs'] for budget in budgets] == [5, 10]
  assert all(len(budget['optima']) == 5 for budget in budgets)


def test_noise_scale(analysis, tmp_path):
  random = np.random.default_rng(0)

  def with_probe(row):
    spread = {'n': 100, 'trace_var': 4.0, 'grad_sq_var': 1e-3, 'cov': 0.0}
    scale = random.uniform(0.9, 1.1)
    probe = {'trace': 20.0 * scale, 'grad_sq': 0.1 * scale, 'noise_scale': 200.0} | spread
    layers = {name: probe for name in ('Conv_0', 'Dense_0')}
    if row['noise']['count']:
      row['noise'] |= {'trace': 18.0, 'grad_sq': 0.1, 'trace_var': 9.0, 'grad_sq_var': 0.01}
      row['noise']['cov'] = 0.0
    row['exact'] = {'examples': 100, 'plain': probe | {'layers': layers}, 'curvature': probe}

  analysis('noise_scale').main(workdir(tmp_path, (32, 128), (0.1,), change=with_probe))
  found = result(tmp_path, 'figure.png')
  assert len(found['agreement']) == 6 and set(found['growth']) == {'32', '128'}
  single = found['growth']['32']['single_examples']
  assert single['factor'] == pytest.approx(1.0, rel=0.1) and single['n'] == 3


def test_flat_minima(analysis, tmp_path):
  """A planted law: sharpness falls with the rate, and not with the batch size, at equal rate."""
  rows = [
    {
      'lane': lane,
      'examples': examples,
      'batch_size': size,
      'learning_rate': rate,
      'trial': trial,
      'train_loss': 1.0 * math.exp(-examples / 100),
      'val_accuracy': 0.9,
      'lambda_max': 2 / rate,
      'trace': 30 / rate,
      'sam': 0.1 / rate * (1 + 0.01 * trial),
      'keskar_0.001': 1.0,
    }
    for lane, (size, rate, trial) in enumerate(
      (size, rate, trial)
      for size in (16, 64, 256, 1024)
      for rate in (0.05, 0.1, 0.2, 0.4, 0.8)
      for trial in range(3)
    )
    for examples in (0, 100, 200, 300, 400)
  ]
  records.write_json(tmp_path / 'sharpness.json', {'rows': rows})
  analysis('flat_minima').main(tmp_path)
  slopes = result(tmp_path, 'figure.png')['slopes']
  assert slopes['end, equal learning rate']['lambda_max']['slope'] == pytest.approx(0, abs=1e-9)
  per_example = slopes['end, equal learning rate per example of the batch']
  assert per_example['lambda_max']['slope'] == pytest.approx(-1)
  assert slopes['at training loss 0.1, equal learning rate']['trace']['n'] == 3


def test_speed(analysis, tmp_path):
  module = analysis('speed')
  for path in (EXPERIMENTS / 'speed').glob('*.json'):
    shutil.copy(path, module.HERE)
  module.main()
  assert (module.HERE / 'speed.png').stat().st_size > 1000
