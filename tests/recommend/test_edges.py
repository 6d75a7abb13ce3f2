"""Advice where something is missing: kinds of noise, bounds of intervals, a short run's config."""

import math
import types

import pytest
from helpers.small import small_config

from bsjax.analysis.runs.histories import settings
from bsjax.config.errors import ConfigError
from bsjax.recommend import __main__ as command
from bsjax.recommend import advice, short_run
from bsjax.train import stopping

SIZES = (8, 16, 32, 64, 128, 256)
COST = {
  'hardware': 'x',
  'rows': [
    {'batch_size': s, 'examples_per_second': {'median': 1e6 * s / (64 + s)}, 'suggestion': None}
    for s in SIZES
  ],
}


def short(exact, online=lambda trial, epoch: None, trials=4):
  """A short run with the moments (tr(Sigma), |G|^2) of trials at epochs 0 to 3, or None."""
  plan, rows = [], []
  for trial in range(trials):
    lane = {'lane': trial, 'group': 0, 'batch_size': 64, 'learning_rate': 0.1, 'trial': trial}
    lane |= {'micro_batch': 16, 'accumulation': 4, 'examples': 192, 'epochs': 3.0, 'branch': ''}
    plan.append(lane | {'updates': 3})
    for epoch in range(4):
      row = {'lane': trial, 'examples': 64 * epoch, 'updates': epoch, 'epoch': float(epoch)}
      row |= dict.fromkeys(('train_loss', 'val_loss', 'train_accuracy', 'val_accuracy'), 0.5)
      row |= {'stage': '', 'diverged': False}
      if pair := exact(trial, epoch):
        row['exact'] = {'plain': dict(zip(('trace', 'grad_sq'), pair, strict=True))}
      if window := online(trial, epoch):
        row['noise'] = dict(zip(('trace', 'grad_sq', 'count'), window, strict=True))
      rows.append(row)
  ((setting,),) = settings(plan, rows).values()
  return setting


def kinds(setting):
  return [(one.kind, round(one.value, 9)) for one in advice.noise_scales(setting).path]


def test_the_exact_noise_scale_is_taken_where_all_trials_have_it():
  def whole(trial, epoch):
    return 100.0, 1.0

  def window(trial, epoch):
    return 30.0, 1.0, 5

  assert kinds(short(whole, window)) == [('exact', 100.0)] * 3  # none before training
  some = short(lambda trial, epoch: (100.0, 1.0) if trial or epoch == 1 else None, window)
  assert kinds(some) == [('exact', 100.0), ('b_simple', 30.0), ('b_simple', 30.0)]
  assert advice.noise_scales(some).growth.reasons[0].code == 'one_measurement'  # of two kinds
  nothing = short(lambda *_: None, lambda trial, epoch: (0.0, 0.0, 0))
  assert advice.advise(nothing, COST) == {'undefined': 'no_noise_scale'}


def test_growth_is_the_geometric_mean_over_trials_and_needs_positive_ends():
  def grows(trial, epoch):
    return 100.0 * (1 + 0.1 * trial) * (2.0 + 0.1 * trial) ** epoch, 1.0

  factors = [(2.0 + 0.1 * trial) ** 2 for trial in range(4)]
  growth = advice.noise_scales(short(grows)).growth
  assert growth.value == pytest.approx(math.prod(factors) ** 0.25)
  assert min(factors) > growth.low > 4 - 1.5 and growth.n == 4
  turned = short(lambda trial, epoch: (-1.0 if (trial, epoch) == (0, 1) else 100.0 * 9**epoch, 1.0))
  found = advice.advise(turned, COST)
  assert found['growth'] == {'value': None, 'ci95': [None, None]} and found['ramp'] is None


def test_an_interval_down_to_zero_allows_the_smallest_batch_size():
  lows = (-60.0, 300.0, 80.0, 100.0)
  found = advice.advise(short(lambda trial, epoch: (lows[trial], 1.0)), COST)
  assert found['noise_scale']['value'] == pytest.approx(105.0)
  assert found['noise_scale']['ci95'][0] == 0.0 and found['over_interval'][0] == 8
  unknown = advice.advise(short(lambda trial, epoch: (100.0, (-1.0) ** trial)), COST)
  assert unknown == {'undefined': 'noise_scale_unknown'}


def test_a_batch_size_as_fast_as_another_by_a_tenth_is_as_good():
  rows = [(8, 1.0), (16, 1.1), (32, 1.11)]
  rates = [
    {'batch_size': s, 'examples_per_second': {'median': (1 + s / 1e12) / t}, 'suggestion': None}
    for s, t in rows
  ]
  found = advice.advise(short(lambda *_: (1e12, 1.0)), {'hardware': 'x', 'rows': rates})
  assert found['as_good'] == [8, 16]
  assert [row['time'] for row in found['rows']] == pytest.approx([1.0, 1.1, 1.11])
  assert [row['examples_per_second'] for row in found['rows']] == pytest.approx(
    [1, 1 / 1.1, 1 / 1.11]
  )


def test_a_short_run_asks_for_no_more_than_it_needs():
  config = small_config(batch_sizes=(64, 8, 16, 32), trials=7, epochs=40.0)
  config.schedule.warmup_epochs = 0.5
  config.noise_scale.exact_examples, config.native_cost.batch_sizes = 99, (8, 24)
  config.evaluation.at, config.rounds = (32, 64), ()
  config.scaling.hyperparameters = 'keep,half_life'
  one = short_run.short_config(config, 100)
  assert (one.batch_sizes, one.trials, one.epochs) == ((32,), 7, 4.0)
  assert (one.schedule.warmup_epochs, one.noise_scale.exact_examples) == (0.5, 99)
  assert one.native_cost.batch_sizes == (8, 24) and one.native_cost.measure
  assert one.evaluation.at == () and one.evaluation.positions == 'even' and one.evaluations == 8
  assert one.scaling.hyperparameters == 'keep' and one.noise_scale.curvature_blocks == 0
  config.noise_scale.exact_examples, config.native_cost.batch_sizes = 0, ()
  for examples, largest in ((128, 128), (127, 64), (10**6, 65_536)):
    one = short_run.short_config(config, examples, share=1.0)
    assert one.native_cost.batch_sizes[0] == 8 and one.native_cost.batch_sizes[-1] == largest
    assert one.noise_scale.exact_examples == 1024 and one.epochs == 40.0
  with pytest.raises(ConfigError, match='at most 1'):
    short_run.short_config(config, 100, share=1.01)


@pytest.mark.parametrize('done', [True, False])
def test_the_command_writes_only_what_a_study_to_its_end_says(done, monkeypatch, tmp_path, capsys):
  from bsjax import data, study
  from bsjax.engine import validate
  from bsjax.report import stored_study
  from bsjax.storage import records

  shares = []
  asked = types.SimpleNamespace(config=small_config(), workdir=str(tmp_path), share=0.25)
  train = types.SimpleNamespace(labels=range(150))
  monkeypatch.setattr(command.flags, 'FLAGS', asked)
  monkeypatch.setattr(command.cli, 'set_up_machine', lambda: None)
  monkeypatch.setattr(data, 'load', lambda *_: types.SimpleNamespace(train=train))
  monkeypatch.setattr(validate, 'validate', lambda _: None)

  def made(config, workdir):
    shares.append(config.epochs / small_config().epochs)
    return types.SimpleNamespace(run=lambda: done)

  monkeypatch.setattr(study, 'Study', made)
  monkeypatch.setattr(stored_study, 'load', lambda _: types.SimpleNamespace(first=([], [])))
  records.write_json(tmp_path / 'native_cost.json', COST)
  if done:
    command.main([])
    assert records.read_json(tmp_path / 'recommend.json') == {'undefined': 'no_rate_ended_well'}
    assert 'Written:' in capsys.readouterr().out
  else:
    with pytest.raises(SystemExit) as stopped:
      command.main([])
    assert stopped.value.code == stopping.UNFINISHED
    assert not (tmp_path / 'recommend.json').exists()
  assert shares == [0.25]
