"""The published analyses find what is planted in made-up studies, and their figures are drawn."""

import importlib.util
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import synthetic, training_times

from bsjax.storage import records

EXPERIMENTS = Path(__file__).parents[2] / 'experiments'


def load(name, file):
  path = EXPERIMENTS / name / f'{file}.py'
  spec = importlib.util.spec_from_file_location(f'{file}_{name}', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def draws(name, result):
  """Whether the figure of an experiment shows a result."""
  figure = load(name, 'figure').figures({'result': result})['figure.png']
  figure.draw_without_rendering()
  return all(axes.get_title() or axes.get_title('left') or axes.get_label() for axes in figure.axes)


def workdir(folder, plan, rows):
  folder.mkdir()
  records.write_json(folder / 'config.json', synthetic.config())
  records.write_plan(folder / 'plan.csv', plan)
  records.append(folder / 'records.jsonl', rows)
  return folder


def holds(entry, truth):
  low, high = entry['ci95']
  return low <= truth <= (math.inf if high is None else high)


# temperature


def valleys(folder, exponent, sizes=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96), seed=0):
  """A valley whose bottom goes as a power of the learning rate, with a wall at half of it."""
  random = np.random.default_rng(seed)
  plan = synthetic.plan(sizes, (0.03125, 0.0625, 0.125, 0.25, 0.5), trials=6, epochs=10.0)
  luck = random.normal(0, 0.003, 6)
  rows = []
  for lane in plan:
    best = 12 * (lane['learning_rate'] / 0.125) ** exponent
    u = math.log(lane['batch_size'] / best)
    error = 0.09 + 0.012 * u * u + luck[lane['trial']] + random.normal(0, 0.002)
    error = error if u > -math.log(2) else min(0.9, error - 2 * (u + math.log(2)))
    for share in (0, 0.5, 1):
      rows.append(synthetic.record(lane, share, val_accuracy=1 - error if share else 0.1))
  return workdir(folder, plan, rows)


@pytest.mark.parametrize(('exponent', 'other'), [(1.0, 0.5), (0.5, 1.0)])
def test_the_exponent_of_the_best_batch_size_is_found(tmp_path, exponent, other):
  result = load('temperature', 'analyze').analyze(valleys(tmp_path / 'study', exponent))
  assert [budget['epochs'] for budget in result['budgets']] == [5, 10]
  for law in ('law_of_the_best', 'law_of_the_smallest'):
    found = result['budgets'][-1][law]
    assert len(found['learning_rates']) == 5 and found['n'] == 6
    assert holds(found, exponent) and not holds(found, other)
    assert found['exponent'] == pytest.approx(exponent, abs=0.12)
    # What the grid leaves open is added to the luck of trials.
    widths = [np.ptp(found[key]['ci95']) for key in ('over_trials', 'worst')]
    assert widths[0] + 0.05 < np.ptp(found['ci95']) < widths[1]
  apart = result['budgets'][-1]['best_over_smallest']
  assert apart['factor'] == pytest.approx(2, rel=0.15) and draws('temperature', result)


def test_a_best_batch_size_at_the_end_of_the_grid_is_left_out(tmp_path):
  sizes = (12, 16, 24, 32, 48, 64, 96, 128)
  study = valleys(tmp_path / 'study', 1.0, sizes)
  last = load('temperature', 'analyze').analyze(study)['budgets'][-1]
  assert [bool(row['batch_size']) for row in last['best']] == [False, False, False, True, True]
  assert last['law_of_the_best']['exponent'] is None
  assert last['best'][0]['reason'] == 'the best batch size tried is the smallest'


# critical_batch_size


def with_noise(by_size, b_simple, b_noise):
  """The same runs with records of planted noise scales, each moment off by luck."""
  random = np.random.default_rng(5)
  for lane in (lane for tried in by_size.values() for one in tried for lane in one.lanes):
    for row in lane.rows:
      luck = np.exp(random.normal(0, 0.2, 2))
      grad_sq = row['train_loss'] ** 2
      entry = {'trace': b_simple * grad_sq * luck[0], 'grad_sq': grad_sq}
      row['exact'] = {
        'plain': entry,
        'curvature': {'trace': b_noise * grad_sq * luck[1], 'grad_sq': grad_sq},
      }
      row['noise'] = entry | synthetic.noise(8, **entry)
  return by_size


@pytest.fixture(scope='module')
def critical():
  """The analysis of a study with a critical batch size of 200 and best rates that level off at 79.

  All optima lie inside of the grid.
  """
  by_size = training_times.settings(
    np.random.default_rng(3),
    b_crit=200.0,
    trials=4,
    valley=training_times.parabola,
    lane_sd=0.03,
    evaluations=48,
    speed=30.0,
  )
  return load('critical_batch_size', 'analyze').study(with_noise(by_size, 600.0, 180.0))


def test_the_critical_batch_size_is_found_at_all_targets(critical):
  known = [row for row in critical['targets'] if 'undefined' not in row]
  assert len(known) == 5
  assert sum(holds(row, 200.0) for row in known) >= 4
  assert all(row['ci95'][1] / row['ci95'][0] < 2.5 for row in known)


def test_the_growth_of_the_best_learning_rate_is_found(critical):
  (growth,) = [
    row['growth'] for row in critical['targets'] if row['target'] == critical['growth_at']['target']
  ]
  at = training_times.B_RATE
  saturation = growth['saturation']
  assert saturation['ci95'][0] <= at <= saturation['ci95'][1] < 3 * at
  assert growth['all']['power_law_rejected']
  assert len(growth['local']) == 5
  for row in growth['local']:
    x = np.log(row['batch_sizes'])
    law = -np.log1p(at / np.exp(x))
    assert holds(row, np.polyfit(x, law, 1)[0])
  first, last = growth['local'][0], growth['local'][-1]
  assert first['ci95'][0] > last['value'] and last['ci95'][1] < 0.6


def test_noise_scales_are_those_where_runs_pass_the_target(critical):
  for row in critical['targets']:
    found = row['noise_scales']
    assert found['batch_sizes'] and max(found['batch_sizes']) < row['b_crit']
    for key, truth in (('b_simple', 600), ('b_noise', 180)):
      assert found[key]['all']['value'] == pytest.approx(truth, rel=0.15)
      assert found[key]['all']['ci95'][0] < 1.1 * truth and found[key]['all']['n'] == 4
    assert found['own_batches']['value'] == pytest.approx(600, rel=0.15)


def test_critical_batch_sizes_are_drawn(critical):
  assert draws('critical_batch_size', critical)


# flat_minima


def sharpness(folder, exponent=0.0, seed=0):
  """Sharpness goes as the loss, one over the rate and a power of the batch size."""
  random = np.random.default_rng(seed)
  settings = [(b, r, t) for b in (16, 64, 256, 1024) for r in (0.0125, 0.05, 0.2) for t in range(5)]
  rows = []
  for lane, (size, rate, trial) in enumerate(settings):
    luck = math.exp(random.normal(0, 0.1))
    for epochs in (0, 0.5, 1, 2, 4, 8, 16, 32, 64, 96):
      loss = 2.3 / (1 + 5000 * rate / size * epochs)
      measure = 100 * luck * loss * size**exponent / rate * math.exp(random.normal(0, 0.02))
      row = {'lane': lane, 'examples': 2000 * epochs, 'batch_size': size, 'learning_rate': rate}
      row |= {'trial': trial, 'train_loss': loss, 'val_accuracy': 0.9, 'sam': measure / 1000}
      rows.append(row | {'lambda_max': measure, 'trace': 9 * measure})
  folder.mkdir()
  records.write_json(folder / 'sharpness.json', {'rows': rows})
  return folder


def slopes(result, at, equal='learning rate'):
  rows = [row for row in result['comparisons'] if (row['at'], row['equal']) == (at, equal)]
  (row,) = rows
  return row


def test_sharpness_that_goes_as_the_loss_does_not_depend_on_the_batch_size(tmp_path):
  result = load('flat_minima', 'analyze').analyze(sharpness(tmp_path / 'study'))
  end = slopes(result, 'end')
  assert end['lambda_max']['ci95'][0] > 0.7 and not end['lambda_max']['within_margin']
  assert end['lambda_max']['slope'] == pytest.approx(end['train_loss']['slope'], abs=0.05)
  for level in ('0.3', '0.1', '0.03'):
    matched = slopes(result, level)
    for name in ('lambda_max', 'trace', 'sam'):
      assert holds(matched[name], 0) and matched[name]['within_margin']
      assert matched[name]['n'] == 5
  assert draws('flat_minima', result)


def test_sharpness_of_large_batches_shows_at_equal_loss(tmp_path):
  result = load('flat_minima', 'analyze').analyze(sharpness(tmp_path / 'study', exponent=0.5))
  for level in ('0.3', '0.1', '0.03'):
    matched = slopes(result, level)['trace']
    assert holds(matched, 0.5) and not matched['within_margin']


def test_lanes_that_failed_and_settings_that_a_trial_lacks_take_no_part(tmp_path):
  study = sharpness(tmp_path / 'study')
  rows = json.loads((study / 'sharpness.json').read_text())['rows']
  for row in rows:
    if row['lane'] == 0:  # the smallest batch size at the smallest rate, in the first trial
      row['train_loss'] = None
  records.write_json(study / 'sharpness.json', {'rows': rows})
  result = load('flat_minima', 'analyze').analyze(study)
  assert (result['lanes'], result['trained']) == (60, 59)
  ends = [(row['batch_size'], row['learning_rate']) for row in result['settings']['end']]
  assert (16, 0.0125) not in ends and (16, 0.05) in ends


# noise_scale


def noisy(folder, own=1.0, by='updates', seed=0):
  """Noise scales grow 30-fold with updates, or with examples; own batches find `own` times that."""
  random = np.random.default_rng(seed)
  plan = synthetic.plan((32, 128), (0.05,), trials=8, examples=61_440, epochs=5.0)
  last = {'updates': 480, 'examples': 61_440}[by]
  places = np.array([0, 0.0625, 0.09, *np.linspace(0.125, 1, 22)])
  rows = []
  for lane in plan:
    start = 15 * math.exp(np.random.default_rng(lane['trial']).normal(0, 0.2))
    for share in places:
      row = synthetic.record(lane, share)
      scale = start * 30 ** min(1, row[by] / last)
      luck = np.exp(random.normal(0, 0.15, 2))
      exact = {'trace': 2.0 * scale * luck[0], 'grad_sq': 2.0, 'noise_scale': None}
      row['exact'] = {'examples': 64, 'plain': exact | spread()}
      if share:
        before = rows[-1]['examples'], rows[-1]['updates']
        middle = {'examples': row['examples'], 'updates': row['updates']}
        middle = (middle[by] + before[by == 'updates']) / 2
        scale = own * start * 30 ** min(1, middle / last)
        count = row['updates'] - before[1]
        row['noise'] = synthetic.noise(count, 3.0 * scale * luck[1], 3.0) | variances()
      rows.append(row)
  return workdir(folder, plan, rows)


def spread():
  return {'n': 64, 'trace_var': 4.0, 'grad_sq_var': 1e-3, 'cov': 0.0}


def variances():
  return {'trace_var': 4.0, 'grad_sq_var': 1e-3, 'cov': 0.0}


def test_growth_and_agreement_of_noise_scales_are_found(tmp_path):
  result = load('noise_scale', 'analyze').analyze(noisy(tmp_path / 'study'))
  for size in ('32', '128'):
    assert result['agreement'][size]['equal'] and not result['agreement'][size]['different']
    # Late is the mean over the last half, at 128 of a growth that still goes on.
    assert result['growth'][size]['exact']['at_least'] and result['growth'][size]['exact']['n'] == 8
  assert result['growth']['32']['exact']['factor'] == pytest.approx(30, rel=0.15)
  assert holds(result['agreement']['all'], 1.0) and result['agreement']['all']['equal']
  equal = result['at_equal_updates']
  assert equal['updates'] == [120, 480] and equal['batch_sizes'] == [32, 128]
  assert all(equal[kind]['equal'] and holds(equal[kind], 1.0) for kind in ('exact', 'own'))
  assert draws('noise_scale', result)


def test_measurements_that_disagree_are_told_apart(tmp_path):
  result = load('noise_scale', 'analyze').analyze(noisy(tmp_path / 'study', own=0.7))
  found = result['agreement']['all']
  assert found['different'] and not found['equal'] and holds(found, 0.7)


def test_noise_scales_that_grow_with_examples_differ_at_equal_updates(tmp_path):
  result = load('noise_scale', 'analyze').analyze(noisy(tmp_path / 'study', by='examples'))
  for kind in ('exact', 'own'):
    assert result['at_equal_updates'][kind]['different']
    assert not result['at_equal_updates'][kind]['equal']


# scaling_rule


def rules_of_arms(nearer, noise=0.01, seed=0):
  """Arms, at three rates and two batch sizes, in which one rule's curve is nearer by so much."""
  random = np.random.default_rng(seed)
  arms = {}
  for name, (rule_nearer, by) in nearer.items():
    rates = []
    for rate in (0.02, 0.04, 0.08):
      runs = []
      for size in (64, 128):
        luck = random.normal(0.2, 0.05, 5)  # of the trials, shared by all rules
        for rule in ('none', 'sqrt', 'linear'):
          each = luck + random.normal(0, noise, 5) - by * (rule == rule_nearer)
          runs.append({'rule': rule, 'batch_size': size, 'distance': {'each': each.tolist()}})
      rates.append({'learning_rate': rate, 'runs': runs})
    arms[name] = {'rates': rates, 'shown': 1}
  return arms


def test_the_rule_of_the_closest_curve_is_found():
  closest = load('scaling_rule', 'analyze').closest
  rows = closest(rules_of_arms({'cnn': ('sqrt', 0.1), 'resnet8': ('linear', 0.0)}))
  assert len(rows) == 12 and sum(row['best_rate'] for row in rows) == 4
  by_arm = {name: [row for row in rows if row['arm'] == name] for name in ('cnn', 'resnet8')}
  assert {(row['rule'], row['verdict']) for row in by_arm['cnn']} == {('sqrt', 'supported')}
  assert {row['verdict'] for row in by_arm['resnet8']} == {'undetermined'}
  for other in (other for row in by_arm['cnn'] for other in row['others']):
    assert holds(other, 0.1) and other['n'] == 5


def test_the_closest_curve_is_corrected_for_all_that_is_looked_at():
  """Of 100 studies without any difference at most 5% may name a rule anywhere."""
  closest = load('scaling_rule', 'analyze').closest
  none = {'cnn': ('none', 0.0), 'resnet8': ('none', 0.0)}
  studies = [closest(rules_of_arms(none, seed=seed)) for seed in range(100)]
  named = sum(any(row['verdict'] == 'supported' for row in rows) for rows in studies)
  assert named <= 5
  (confidence,) = {row['confidence'] for rows in studies for row in rows}
  assert confidence == pytest.approx(1 - 0.05 / (12 * 3))


def test_speed(tmp_path, monkeypatch):
  module = load('speed', 'analyze')
  monkeypatch.setattr(module, 'HERE', tmp_path)
  for path in (EXPERIMENTS / 'speed').glob('*.json'):
    shutil.copy(path, tmp_path)
  for folder in ('xeon', 'scale'):
    shutil.copytree(EXPERIMENTS / 'speed' / folder, tmp_path / folder)
  module.main()
  for name in ('speed', 'scale'):
    assert (tmp_path / f'{name}.png').stat().st_size > 1000
