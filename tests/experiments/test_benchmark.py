"""The speed benchmark: its sides compute the same; its arithmetic, what it refuses and omits."""

import dataclasses
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmark import jax_loop, lanes_side, processes, protocol, sides, start, works
from benchmark.jax_loop import Sample
from benchmark.protocol import Budget, WrongResult, check, measure, pairs
from benchmark.works import Work
from helpers.small import small_config

from bsjax import cli, data
from bsjax.models.own import adapted
from bsjax.train import loop

needs_torch = pytest.mark.skipif(
  importlib.util.find_spec('torch') is None, reason='PyTorch is not installed'
)


def tiny_work(**overrides):
  """Three batch sizes of small lanes on 150 digits, 128 of them seen."""
  config = small_config(
    trials=1, epochs=128 / 150, evaluations=1, noise_scale__online=False, **overrides
  )
  dataset = data.load(config.data, config.seed)
  return Work('tiny', config, dataset, 'digits', examples=128, chunk=64)


@pytest.fixture(scope='module')
def work():
  # The width that the PyTorch model has.
  return tiny_work(model__width=256, model__depth=2)


@pytest.fixture(scope='module')
def reference(work):
  return jax_loop.step_loop(work)(work.examples, None)


def test_a_step_is_sgd_with_momentum_by_hand(work):
  params = works.initial_params(work, 0)
  model = works.model(work)
  images, labels = (jnp.asarray(x[:8]) for x in works.examples(work, 0))

  def loss(params):
    scores = jax.nn.log_softmax(model.apply({'params': params}, images, train=True))
    return -scores[np.arange(8), labels].mean()

  state, by_hand = jax_loop.initial(params), params
  momentum = jax.tree.map(np.zeros_like, params)
  for _ in range(2):
    grads = jax.grad(loss)(by_hand)
    momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, grads)
    by_hand = jax.tree.map(lambda p, m: p - 0.1 * m, by_hand, momentum)
    state = jax_loop.train_step(model, state, jnp.float32(0.1), images, labels)
  for own, other in zip(jax.tree.leaves(state[0]), jax.tree.leaves(by_hand), strict=True):
    np.testing.assert_allclose(own, other, atol=1e-6)


def test_training_changes_the_losses(work, reference):
  loss = jax_loop.evaluator(work)(works.initial_params(work, 0))
  assert min(abs(loss - own) for own in reference.losses) > 0.1
  assert len({round(own, 3) for own in reference.losses}) == len(work.settings) == 6


def test_a_scan_computes_what_the_loop_does(work, reference):
  found = jax_loop.scan_loop(work)(work.examples, None)
  np.testing.assert_allclose(found.losses, reference.losses, rtol=1e-4)


@pytest.mark.slow
def test_lanes_compute_what_the_loop_does(work, reference, tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))  # where timings are remembered
  on, off = lanes_side.noise_on_and_off(work)
  for run in (on, off, off):  # every measurement starts anew
    found = run(work.examples, None)
    np.testing.assert_allclose(found.losses, reference.losses, rtol=1e-4)


@pytest.fixture(scope='module')
def text():
  """The text of char_lm with a narrower decoder: batch size 16 of two ticks, 32 windows seen."""
  work = works.make('char_lm', works.Options(micro_batch='8', strategy='map-canonical'))
  decoder = work.own.model.module.clone(width=8, heads=2)
  work.config.batch_sizes = (16,)
  own = dataclasses.replace(work.own, model=adapted(decoder))
  return dataclasses.replace(work, examples=32, chunk=16, own=own)


def test_sides_train_a_model_from_outside_alike(text):
  losses = jax_loop.step_loop(text)(text.examples, None).losses
  assert len(losses) == len(text.settings) == 2
  begun = jax_loop.evaluator(text)(works.initial_params(text, 0))
  assert begun == pytest.approx(text.own.task.guessing, abs=0.5)
  for side in (jax_loop.scan_loop(text), lanes_side.lanes(text, lanes_side.chosen(text))):
    np.testing.assert_allclose(side(text.examples, None).losses, losses, rtol=1e-5)
  # Far enough apart, and from where they began, for that to mean something.
  apart = np.abs(np.subtract.outer([begun, *losses], losses))
  assert np.sort(apart, axis=None)[len(losses)] > 1e-3


def test_targets_are_the_next_letters_and_no_torch_side_is_offered(text):
  tokens, following = works.examples(text, 0)
  assert tokens.shape == following.shape == (32, 64)
  np.testing.assert_array_equal(tokens[:, 1:], following[:, :-1])
  assert list(sides.makers(text, works.Options(), [])) == [
    'bsjax',
    'sequential',
    'sequential scan',
    'processes',
  ]


def test_some_settings_can_be_trained_alone(work, reference):
  found = jax_loop.step_loop(work)(work.examples, [4, 1])
  np.testing.assert_allclose(found.losses, [reference.losses[4], reference.losses[1]], rtol=1e-6)


def test_processes_give_losses_in_order_and_the_time_of_the_busiest(work, monkeypatch):
  workers = [object.__new__(subprocess.Popen) for _ in range(2)]
  spent = {worker: [] for worker in workers}

  def answer(worker, command):
    _, (i,) = command
    spent[worker].append(float(i + 1))
    time.sleep(0.01)  # or the other would never get a turn
    return {'seconds': float(i + 1), 'losses': [10.0 * i]}

  monkeypatch.setattr(processes, '_ask', answer)
  pool = object.__new__(processes.Pool)
  pool.work, pool.workers = work, workers
  found = pool.run(work.examples)
  assert found.losses == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
  assert all(spent.values())
  assert found.seconds == max(map(sum, spent.values()))
  assert sorted(itertools.chain(*spent.values())) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


@needs_torch
@pytest.mark.parametrize('name', [x for x, recipe in works.RECIPES.items() if not recipe.parts])
def test_torch_models_compute_the_logits_of_flax(name):
  import torch
  from benchmark import torch_models

  work = works.make(name, works.Options())
  params = works.initial_params(work, 0)
  rng = np.random.default_rng(0)
  # Scales start at zero in the residual branches, and biases everywhere: neither would be seen.
  params = jax.tree.map(
    lambda x: x if x.ndim > 1 else rng.normal(0.5, 0.2, x.shape).astype(np.float32), params
  )
  shape = work.dataset.image_shape
  model = torch_models.MODELS[name](shape, work.dataset.num_classes)
  model.load_state_dict(torch_models.from_flax(name, params))
  images = rng.normal(size=(5, *shape)).astype(np.float32)
  logits = jax.jit(lambda params, x: works.model(work).apply({'params': params}, x, train=True))
  wanted = np.asarray(logits(params, images))
  with torch.no_grad():
    found = model(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
  np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@needs_torch
@pytest.mark.parametrize(
  ('side', 'trials'), [('eager', 1), ('lanes_of_a_batch_size', 1), ('lanes_of_a_batch_size', 2)]
)
def test_torch_trains_to_the_same_losses(work, reference, side, trials):
  from benchmark import torch_loops

  if trials == 2:
    work = tiny_work(model__width=256, model__depth=2)
    work.config.trials = 2
    reference = jax_loop.step_loop(work)(work.examples, None)
  found = getattr(torch_loops, side)(work)(work.examples, None)
  np.testing.assert_allclose(found.losses, reference.losses, rtol=1e-4)


def fake(seconds, losses=(1.0, 2.0)):
  """A side that takes the next of some made-up times."""
  times = iter(seconds)
  return lambda: lambda examples, which: Sample(float(next(times)), list(losses))


def measured(work, sides, repeats=2, budget=1e9):
  rows, saved, said = {}, [], []

  def save():
    return saved.append(json.loads(json.dumps(rows)))

  budget = Budget(budget)
  measure(work, sides, 'sequential', repeats, budget, said.append, rows, save)
  return rows, saved, said


def test_ratios_are_taken_within_rounds(work):
  sides = {'bsjax': fake([9, 9, 1, 2, 10]), 'sequential': fake([9, 9, 3, 10, 10])}
  rows, saved, _ = measured(work, sides, repeats=3)
  ratios = rows['sequential']['times_first']
  assert ratios['samples'] == [3.0, 5.0, 1.0]
  # The medians have the ratio 5.
  assert (ratios['median'], ratios['min'], ratios['max'], ratios['n']) == (3.0, 1.0, 5.0, 3)
  assert rows['bsjax']['seconds']['median'] == 2
  steps = 2 * (128 // 8 + 128 // 16 + 128 // 32)
  assert rows['bsjax']['ms_per_lane_step'] == pytest.approx(1e3 * 2 / steps)
  assert rows['bsjax']['us_per_lane_example'] == pytest.approx(1e6 * 2 / (6 * 128))
  assert saved[-1] == rows


def test_what_was_measured_is_saved_before_the_next(work):
  sides = {'bsjax': fake([1, 1, 1]), 'sequential': fake([1, 1])}  # its third measurement fails
  rows, saved = {}, []

  def save():
    return saved.append(json.loads(json.dumps(rows)))

  with pytest.raises(StopIteration):
    measure(work, sides, 'sequential', 1, Budget(1e9), lambda x: None, rows, save)
  assert saved[-1]['bsjax']['seconds']['n'] == 1
  assert saved[-1]['sequential']['not_measured'] == 'no time was left'


def test_a_wrong_side_gets_no_time(work):
  right = dataclasses.replace(work)
  faulty = dataclasses.replace(work, config=work.config.copy_and_resolve_references())
  faulty.config.learning_rates = tuple(1.05 * rate for rate in work.config.learning_rates)
  sides = {
    'bsjax': lambda: jax_loop.step_loop(faulty),
    'sequential': lambda: jax_loop.step_loop(right),
  }
  rows, _, said = measured(work, sides, repeats=1)
  assert set(rows['bsjax']) == {'wrong'}
  assert any(line.startswith('WRONG: bsjax') for line in said)
  assert rows['sequential']['seconds']['n'] == 1
  assert rows['sequential']['times_first'] is None  # there is nothing to compare with


def test_a_side_must_be_right_after_a_few_updates_and_after_all(work):
  samples = {'few': [1.005, 1.0], 'all': [1.0, 1.05], 'none': [1.0, 1.005]}
  sides = {'sequential': fake([1] * 3, [1.0])}
  for name, losses in samples.items():
    own = iter([*losses, 1.0])
    sides[name] = lambda own=own: lambda examples, which: Sample(1.0, [next(own)])
  rows, _, _ = measured(work, sides, repeats=1)
  assert [name for name in sides if 'wrong' in rows[name]] == ['few', 'all']


@pytest.mark.parametrize('loss', [1.0 + 3e-3, float('nan'), float('inf')])
def test_the_check_refuses_what_rounding_cannot_do(loss):
  truth = Sample(1.0, [1.0, 1e-4])
  check('near', Sample(1.0, [1.0 + 5e-4, 1.2e-4]), truth, protocol.TOLERANCE_AT_FIRST)
  with pytest.raises(WrongResult, match='setting 0'):
    check('off', Sample(1.0, [loss, 1e-4]), truth, protocol.TOLERANCE_AT_FIRST)
  with pytest.raises(WrongResult, match='setting 1'):
    check('off', Sample(1.0, [1.0, 2e-3]), truth, protocol.TOLERANCE_AT_FIRST)


def test_without_time_nothing_is_measured(work):
  rows, saved, _ = measured(work, {'bsjax': fake([]), 'sequential': fake([])}, budget=-1.0)
  assert rows == {name: {'not_measured': 'no time was left'} for name in rows}
  assert set(saved[-1]) == {'bsjax', 'sequential'}
  assert pairs(lambda: 1.0, lambda: 1.0, 3, Budget(-1.0)) is None


def test_what_would_take_longer_than_is_left_is_not_begun(work):
  sides = {
    'bsjax': fake([1, 1, 1, 1]),
    'sequential': fake([2, 2, 2, 2]),
    'slow': fake([1, 10_000]),
  }
  rows, _, _ = measured(work, sides, budget=500.0)
  assert rows['slow']['not_measured'] == 'no time was left'
  assert rows['sequential']['times_first']['samples'] == [2.0, 2.0]


def test_a_side_that_cannot_run_is_named(work):
  def missing():
    raise ModuleNotFoundError("No module named 'torch'", name='torch')

  def broken():
    raise RuntimeError('no such device\nand more')

  sides = {'bsjax': missing, 'sequential': fake([1, 1, 1]), 'other': broken}
  rows, _, _ = measured(work, sides, repeats=1)
  assert rows['bsjax'] == {'not_measured': 'torch is not installed'}
  assert rows['other'] == {'not_measured': 'RuntimeError: no such device'}


def test_pairs_are_measured_in_turn():
  calls = []

  def first():
    return calls.append('a') or 3.0

  def second():
    return calls.append('b') or 2.0

  found = pairs(first, second, 2, Budget(1e9))
  assert calls == ['a', 'b', 'a', 'b']
  assert found['first_by_second']['median'] == 1.5


def test_operations_of_the_mlp_are_those_of_its_matrices():
  from benchmark import ceilings

  work = works.make('mlp', works.Options())
  inputs, hidden = 64 * 256, 256 * 256 + 256 * 10
  by_hand = 4 * inputs + 6 * hidden  # no gradient of the images is needed
  assert ceilings.flops_per_example(work) == pytest.approx(by_hand, rel=0.1)


def test_the_script_finds_the_benchmark(tmp_path):
  """From any folder, with the Python at hand."""
  script = Path(__file__).parents[2] / 'scripts' / 'benchmark'
  environment = {**os.environ, 'PYTHON': sys.executable}
  environment.pop('PYTHONPATH', None)
  command = [script, '--accelerator', '--help']
  run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
  assert '--[no]accelerator' in run.stdout, run.stderr


def test_a_start_ends_at_the_first_stretch(tmp_path, monkeypatch, capsys):
  heard = []
  monkeypatch.setattr(loop, 'Pace', loop.Pace)  # which `start.main` replaces
  monkeypatch.setattr(jax.monitoring, 'register_event_duration_secs_listener', heard.append)
  monkeypatch.setattr(cli, 'set_up_machine', lambda: None)
  config = tmp_path / 'small.py'
  small = 'trials=1, batch_sizes=(8,), learning_rates=(0.1,), noise_scale__online=False'
  config.write_text(
    'from helpers.small import small_config\n\n\n'
    f"def get_config():\n  return small_config({small}, execution__strategy='map-canonical')\n"
  )
  start.main([str(config), str(tmp_path / 'workdir'), repr(time.time())])
  line = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert line['seconds'] > 0 and len(heard) == 1
  assert not (tmp_path / 'workdir' / 'summary.json').exists()
