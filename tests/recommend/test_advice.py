"""Advice on batch sizes against closed forms, and the command on a short real study."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from helpers.small import small_config

from bsjax.analysis.runs.histories import settings
from bsjax.config.errors import ConfigError
from bsjax.plan import stages
from bsjax.recommend import advice, short_run
from bsjax.report.text import advice as text

SIZES = tuple(2**i for i in range(3, 13))


def cost(seconds, hardware='1 x TPU v9'):
  """native_cost.json of steps that take `seconds(batch size)`; None: it does not fit."""
  rows = []
  for size in SIZES:
    taken = seconds(size)
    rates = None if taken is None else {'median': size / taken}
    rows.append({'batch_size': size, 'examples_per_second': rates, 'suggestion': None})
  return {'hardware': hardware, 'rows': rows}


def overhead(size):
  """A step of 64 examples' time beside that of its examples."""
  return 1e-6 * (64 + size)


def short(noise_at, trials=5, spread=0.0, evaluations=6):
  """The setting of a short run whose noise scale is `noise_at(epoch)`, but for trials' spread."""
  plan, rows = [], []
  for trial in range(trials):
    lane = {'lane': trial, 'group': 0, 'batch_size': 64, 'learning_rate': 0.1, 'trial': trial}
    lane |= {'micro_batch': 16, 'accumulation': 4, 'examples': 64 * evaluations, 'epochs': 6.0}
    plan.append(lane | {'branch': '', 'updates': evaluations})
    for i in range(evaluations + 1):
      factor = math.exp(spread * (trial - (trials - 1) / 2) * (-1) ** i)
      probe = {'trace': noise_at(i) * factor, 'grad_sq': 1.0, 'examples': 100}
      row = {'lane': trial, 'examples': 64 * i, 'updates': i, 'epoch': float(i), 'stage': ''}
      row |= dict.fromkeys(('train_loss', 'val_loss', 'train_accuracy', 'val_accuracy'), 0.5)
      rows.append(row | {'diverged': False, 'exact': {'plain': probe}})
  ((setting,),) = settings(plan, rows).values()
  return setting


@pytest.mark.parametrize('noise', [30.0, 500.0, 4000.0])
def test_the_fastest_batch_size_is_that_of_the_closed_form(noise):
  """(1 + B / N)(64 + B) / B is least at the root of 64 N."""
  found = advice.advise(short(lambda _: noise), cost(overhead))
  best = math.sqrt(64 * noise)
  assert found['fastest'] == min(SIZES, key=lambda size: abs(math.log(size / best)))
  assert found['noise_scale']['value'] == pytest.approx(noise)
  assert found['noise_scale']['n'] == 5 and found['ramp'] is None and not found['at_edge']
  row = next(row for row in found['rows'] if row['batch_size'] == 64)
  assert (row['examples'], row['updates']) == (
    pytest.approx(1 + 64 / noise),
    pytest.approx(1 + noise / 64),
  )
  times = {row['batch_size']: row['time'] for row in found['rows']}
  assert min(times.values()) == times[found['fastest']] == 1
  low, high = found['as_good']
  assert {size for size, time in times.items() if time <= 1.1} == {
    size for size in SIZES if low <= size <= high
  }
  assert found['few_examples'] == max((s for s in SIZES if s <= 0.2 * noise), default=None)


def test_what_is_not_known_widens_the_range():
  found = advice.advise(short(lambda _: 500.0, spread=0.8), cost(overhead))
  low, high = found['noise_scale']['ci95']
  assert low < 500 / 2 and (high is None or high > 500 * 2)
  ends = found['over_interval']
  assert ends[0] < found['fastest'] < ends[1]
  assert any(
    f'goes from {ends[0]} to {ends[1]}' in said for said in text.sentences(found, cost(overhead))
  )


def test_a_ramp_follows_growth_that_is_shown():
  found = advice.advise(short(lambda epoch: 20.0 * 2**epoch, spread=0.1), cost(overhead))
  assert found['growth']['value'] == pytest.approx(32) and found['growth']['ci95'][0] > 16
  sizes = [step['batch_size'] for step in found['ramp']]
  assert sizes == sorted(set(sizes)) and sizes[0] == 64 and sizes[-1] == found['fastest'] == 256
  for step in found['ramp']:
    assert step['batch_size'] == advice.fastest(
      advice.seconds_per_example(cost(overhead)), 20.0 * 2 ** step['epoch']
    )
  noisy = advice.advise(short(lambda epoch: 20.0 * 2 ** (epoch / 3), spread=2.0), cost(overhead))
  assert noisy['ramp'] is None and noisy['growth']['ci95'][0] < 1


def test_what_cannot_be_told_is_said_in_words():
  lost = short(lambda _: -3.0)
  nowhere = cost(lambda _: None)
  for setting, costs, code in (
    (short(lambda _: 5.0), nowhere, 'no_step_ran'),
    (lost, cost(overhead), 'noise_scale_unknown'),
  ):
    found = advice.advise(setting, costs)
    assert found == {'undefined': code}
    assert text.sentences(found, costs) == [text.UNDEFINED[code]]


@pytest.mark.parametrize('noise, best', [(1e9, SIZES[-1]), (1e-3, SIZES[0])])
def test_a_best_size_at_the_end_of_what_was_timed_says_so(noise, best):
  found = advice.advise(short(lambda _: noise), cost(overhead))
  assert found['at_edge'] and found['fastest'] == best
  assert any(
    'a better one may lie beyond' in said for said in text.sentences(found, cost(overhead))
  )


def test_a_batch_that_must_be_gathered_is_given_so_to_other_trainers():
  costs = cost(lambda size: overhead(size) if size < 512 else None)
  gathered = {'micro_batch': 256, 'accumulation': 4, 'examples_per_second': {'median': 9e5}}
  next(row for row in costs['rows'] if row['batch_size'] == 1024)['suggestion'] = gathered
  assert advice.seconds_per_example(costs)[1024] == pytest.approx(1 / 9e5)
  assert 512 not in advice.seconds_per_example(costs)
  given = dict(text.trainers(1024, costs))
  assert given['Hugging Face Trainer'] == (
    '--per_device_train_batch_size=256 --gradient_accumulation_steps=4'
  )


def test_the_short_run_is_the_beginning_of_training_at_one_batch_size():
  config = small_config(epochs=50.0, schedule__name='cosine', schedule__warmup_epochs=20.0)
  config.optimizer.name, config.axes.b2 = 'adam', (0.9, 0.99)
  short_one = short_run.short_config(config, 150, share=0.1)
  assert (short_one.batch_sizes, short_one.epochs, short_one.trials) == ((16,), 5.0, 5)
  assert short_one.schedule.name == 'constant' and short_one.schedule.warmup_epochs == 2.5
  assert short_one.native_cost.batch_sizes == (8, 16, 32, 64, 128) and short_one.axes.b2 == ()
  assert config.axes.b2 == (0.9, 0.99)  # which stays as it is
  with pytest.raises(ConfigError, match='--share=0 must be above 0'):
    short_run.short_config(config, 150, share=0.0)
  stages.add(config, 'first')
  with pytest.raises(ConfigError, match='arms and stages'):
    short_run.short_config(config, 150)


@pytest.mark.slow
def test_the_command_recommends_and_goes_on_where_it_was(tmp_path):
  keys = {'epochs': 20.0, 'data.train_examples': 300, 'model.width': 8, 'trials': 5}
  keys |= {'learning_rates': '0.1,', 'noise_scale.exact_examples': 300}
  keys |= {'native_cost.batch_sizes': '8,32,128', 'execution.strategy': 'map-canonical'}
  command = [sys.executable, '-m', 'bsjax.recommend', '--config=configs/digits.py']
  command += [f'--config.{key}={value}' for key, value in keys.items()]
  command += [f'--workdir={tmp_path / "short"}']
  for _ in range(2):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
  found = json.loads((tmp_path / 'short' / 'recommend.json').read_text())
  assert found['fastest'] in (8, 32, 128) and found['noise_scale']['n'] == 5
  assert found['noise_scale']['kind'] == 'exact'
  assert np.isfinite([found['growth']['value'], *found['growth']['ci95']]).all()
  shown = ' '.join(done.stdout.split())
  assert f'Batch size {found["fastest"]} is predicted to train fastest on' in shown
  assert f'--per_device_train_batch_size={found["fastest"]} ' in shown
