"""What a batch size costs run alone: the step, its memory, what fits, the file and the report."""

import functools
import io
import json
import subprocess
import sys
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.small import largest_difference, small_config
from rich.console import Console

from bsjax import data, format, models
from bsjax import native_cost as native_cost_command
from bsjax.config.errors import ConfigError
from bsjax.config.keys import base_config
from bsjax.cost import memory, meter, run, timing
from bsjax.cost import step as steps
from bsjax.engine import lanes, spec, tick
from bsjax.engine.lanes import LaneParams, Source
from bsjax.engine.validate import validate
from bsjax.format import GIB
from bsjax.models import convolution
from bsjax.plan import arms, plan, stages
from bsjax.report.text import cost
from bsjax.storage import records, workdirs

COMPILE = meter._compile
ROW = {
  'batch_size',
  'stage',
  'trained_parameters',
  'memory_bytes',
  'fits',
  'examples_per_second',
  'seconds_per_epoch',
  'seconds',
  'compile_seconds',
  'cores_busy',
  'suggestion',
  'problem',
}


@pytest.fixture(autouse=True, scope='module')
def briefly():
  """A repetition is a single update, and a step compiled before is not compiled again."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(timing, 'SECONDS', 0.0)
    patch.setattr(meter, '_compile', lambda make: (make(), 1.0))
    yield


@pytest.fixture(scope='module')
def dataset():
  config = small_config()
  return data.load(config.data, config.seed)


def measured(config, dataset):
  study_plan = plan.make_plan(config, len(dataset.train.labels))
  return run.measure_study(config, dataset, study_plan)


@pytest.fixture(scope='module')
def free_of_bounds(dataset):
  return measured(small_config(), dataset)


def bounded(dataset, total, **keys):
  return measured(small_config(native_cost__memory=total / GIB, **keys), dataset)


def first_stage(config, dataset):
  """The training of a step in the first stage."""
  return steps.create(config, dataset, plan.make_plan(config, len(dataset.train.labels)).first)


def lane_and_step(dataset, ticks, stage=None, **keys):
  """A lane of 16 examples an update after its first one, and what the plain step needs for it."""
  keys = {'noise_scale__online': False, **keys}
  config = small_config(batch_sizes=(16,), micro_batch=16 // ticks, **keys)
  if stage:
    stages.add(config, 'first', **stage)
  study = plan.make_plan(config, len(dataset.train.labels)).first
  own = spec.lane_spec(config, dataset, study, study.groups[0])
  lane_params = LaneParams(jnp.float32(0.1), jnp.int32(ticks), jnp.int32(0))
  order = jnp.arange(len(dataset.train.labels), dtype=jnp.int32)[None, None]
  images, labels = map(jnp.asarray, (dataset.train.images, dataset.train.labels))
  source = Source(images, labels, order, jnp.int32(0))
  before = jax.jit(lambda: lanes.init(own, lane_params, dataset.image_shape))()
  move = jax.jit(functools.partial(tick.tick, own, lambda flag: flag))
  after = before
  for index in range(ticks):
    batch = lanes.read(own, lane_params, source, jnp.int32(index * own.micro_batch))
    after = move(after, lane_params, source, jnp.int32(index), batch)
  assert int(after.updates) == 1
  training = steps.create(config, dataset, study)
  state = jax.jit(functools.partial(steps.init, training))(jax.random.key(0))
  state = state.replace(params=before.params)
  size = 16 // ticks
  batches = [
    steps.Batch(dataset.train.images[i : i + size], dataset.train.labels[i : i + size], np.int32(i))
    for i in range(0, 16, size)
  ]
  return training, state, batches, before, after


@pytest.mark.parametrize('name, model', [('adamw', 'mlp'), ('sgd', 'cnn')])
def test_a_step_is_the_update_of_a_lane_of_one_tick(dataset, name, model):
  keys = {'model__name': model, 'model__width': 4}
  keys |= {'optimizer__name': name, 'optimizer__weight_decay': 0.01}
  training, state, (batch,), before, after = lane_and_step(dataset, 1, **keys)
  found = jax.jit(functools.partial(steps.step, training))(state, batch, jnp.float32(0.1))
  assert largest_difference(before.params, after.params) > 1e-3
  assert largest_difference(found.params, after.params) < 1e-5


def test_gathered_micro_batches_are_the_update_of_a_lane_of_as_many_ticks(dataset):
  training, state, batches, _, after = lane_and_step(dataset, 4)
  carried = state, jax.tree.map(jnp.zeros_like, state.params)
  gather = jax.jit(functools.partial(steps.gather, training))
  for i, batch in enumerate(batches):
    carried = gather(carried, batch, jnp.float32(0.1), jnp.float32(4), jnp.bool_(i == 3))
  assert largest_difference(carried[0].params, after.params) < 1e-6
  assert not any(np.any(x) for x in jax.tree.leaves(carried[1]))


class Counted(jax.stages.Compiled):
  """A compiled step that notes what it is called with, and changes nothing."""

  def __init__(self):
    self.calls = []

  def __call__(self, carried, batch, *given):
    self.calls.append(tuple(map(float, given)))
    return carried


def test_updates_that_are_timed_are_of_as_many_micro_batches_as_are_said(dataset):
  training = first_stage(small_config(), dataset)
  state = jax.jit(functools.partial(steps.init, training))(jax.random.key(0))
  whole, gathering = Counted(), Counted()
  timing.stepper(whole, training, state, 8)(2)
  timing.gatherer(gathering, training, state, 8, 3)(2)
  assert whole.calls == [(0.0,)] * 2
  assert gathering.calls == [(0.0, 3.0, 0.0), (0.0, 3.0, 0.0), (0.0, 3.0, 1.0)] * 2


def test_augmented_images_are_those_that_a_lane_sees(dataset):
  """A trial draws from its own key; the step takes any key, so the draws alone may differ."""
  training, state, (batch,), *_ = lane_and_step(dataset, 1, data__crop=1, data__flip=True)
  other = batch.__class__(batch.images, batch.labels, np.int32(999))
  step = jax.jit(functools.partial(steps.step, training))
  a, b, c = (step(state, each, jnp.float32(0.1)).params for each in (batch, batch, other))
  assert largest_difference(a, b) == 0 < largest_difference(a, c)


def test_what_is_frozen_is_neither_updated_nor_remembered_as_in_a_lane(dataset):
  stage = {'trainable': ('Dense_1',), 'epochs': 2.0}
  training, state, (batch,), before, after = lane_and_step(dataset, 1, stage)
  found = jax.jit(functools.partial(steps.step, training))(state, batch, jnp.float32(0.1))
  assert largest_difference(found.params, after.params) < 1e-5
  assert largest_difference(found.params['Dense_0'], before.params['Dense_0']) == 0
  assert largest_difference(found.params['Dense_1'], before.params['Dense_1']) > 1e-3
  whole = steps.state_shapes(first_stage(small_config(), dataset))
  assert memory.tree_bytes(state.opt_state) < memory.tree_bytes(whole.opt_state) / 2


def test_memory_is_what_xla_says_of_the_step_a_user_would_write(dataset):
  """The same step by hand, in plain flax and optax; the arguments by arithmetic as well."""
  config = small_config(model__name='cnn', model__width=4)
  training = first_stage(config, dataset)
  model = models.create(config.model, dataset.num_classes, conv=convolution.conv('native'))
  params = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False)['params']
  optimizer = optax.inject_hyperparams(optax.sgd)(0.0, momentum=0.9)

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def by_hand(params, opt_state, images, labels, rate):
    images = (images.astype(jnp.float32) - dataset.mean) / dataset.std

    def loss(params):
      logits = model.apply({'params': params}, images, train=True)
      return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    opt_state = opt_state._replace(hyperparams={**opt_state.hyperparams, 'learning_rate': rate})
    updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
    return optax.apply_updates(params, updates), opt_state

  totals = []
  for size in (8, 64):
    images, labels = jnp.zeros((size, 8, 8, 1), jnp.uint8), jnp.zeros(size, jnp.int32)
    arguments = params, optimizer.init(params), images, labels, jnp.float32(0)
    expected = by_hand.lower(*arguments).compile().memory_analysis()
    shapes = steps.state_shapes(training)
    found = memory.of_step(steps.compile_step(training, size), shapes, steps.shapes(training, size))
    assert found['arguments'] == expected.argument_size_in_bytes
    assert found['temporaries'] == pytest.approx(expected.temp_size_in_bytes, rel=0.02)
    assert (
      found['total']
      == sum(found[key] for key in ('arguments', 'outputs', 'temporaries')) - (found['aliased'])
    )
    parts = 'parameters', 'optimizer_state', 'batch_statistics', 'gradient_sum', 'batch'
    # All but the learning rate, which counts once in the state and is handed in beside it.
    assert 0 <= found['arguments'] - sum(found[key] for key in parts) <= 8
    assert found['batch'] == size * (8 * 8 + 4) and found['outputs'] >= found['aliased'] > 0
    assert found['temporaries'] > size * 4 * 8 * 8 * 4  # the first layer's activations
    totals.append(found['total'])
  assert totals[0] < totals[1]


def test_a_study_measured(dataset, free_of_bounds):
  found = json.loads(json.dumps(free_of_bounds))
  assert set(found) == {'hardware', 'device_memory_gib', 'model', 'parameters', 'rows'}
  assert 'CPU core' in found['hardware'] and found['device_memory_gib'] > 0.1
  assert found['parameters'] == 64 * 12 + 12 + 12 * 10 + 10
  assert [row['batch_size'] for row in found['rows']] == [8, 16, 32]
  totals = [row['memory_bytes']['total'] for row in found['rows']]
  assert totals == sorted(set(totals))
  for row in found['rows']:
    assert set(row) == ROW and row['fits'] and row['problem'] is row['suggestion'] is None
    rates, seconds = row['examples_per_second'], row['seconds_per_epoch']
    assert rates['n'] == 5 and 0 < rates['low'] <= rates['median'] <= rates['high']
    assert seconds['median'] == pytest.approx(150 / rates['median'])
    assert seconds['low'] == pytest.approx(150 / rates['high'])
    assert row['seconds']['high'] == pytest.approx(288 / rates['low'])  # nine blocks of 32
    assert row['compile_seconds'] > 0 and row['cores_busy'] > 0


def test_repetitions_are_rounds_over_all_batch_sizes(dataset, monkeypatch):
  calls = []
  monkeypatch.setattr(
    timing.Timed,
    'repeat',
    lambda self: calls.append(self.batch_size) or self.rates.append(1.0) or self.busy.append(1.0),
  )
  measured(small_config(native_cost__repeats=6), dataset)
  assert calls == [8, 16, 32] * 6


def test_throughput_counts_the_examples_of_the_updates_made(monkeypatch):
  clock = iter(range(100))
  monkeypatch.setattr(timing, 'now', lambda: float(next(clock)))
  monkeypatch.setattr(timing, 'SECONDS', 3.0)
  made = []
  own = timing.Timed({}, 8, lambda: made.append)
  own.repeat()
  own.repeat()
  # An update to warm up, one to see that it takes a second, three that are timed.
  assert made == [1, 1, 3, 1, 3]
  assert own.throughput() == {'median': 24.0, 'low': 24.0, 'high': 24.0, 'n': 2}


def test_what_does_not_fit_is_not_run_and_gets_the_largest_micro_batch_that_does(
  dataset, free_of_bounds, monkeypatch
):
  ran = []
  stepper = timing.stepper
  monkeypatch.setattr(timing, 'stepper', lambda *a: ran.append(a[-1]) or stepper(*a))
  whole = {row['batch_size']: row['memory_bytes']['total'] for row in free_of_bounds['rows']}
  bound = whole[16] + 100
  sizes = (8, 16, 96)
  found = bounded(dataset, bound, native_cost__batch_sizes=sizes)
  small, middle, large = found['rows']
  assert small['fits'] and middle['fits'] and set(ran) == {8, 16}
  assert large['fits'] is False and large['examples_per_second'] is None
  assert 'not run' in large['problem'] and large['seconds_per_epoch'] is None
  suggested = large['suggestion']
  micro = suggested['micro_batch']
  assert micro * suggested['accumulation'] == 96
  training = first_stage(small_config(), dataset)

  def total(m):
    return memory.of_step(
      steps.compile_gather(training, m), steps.state_shapes(training), steps.shapes(training, m)
    )['total']

  assert suggested['memory_bytes']['total'] == total(micro) <= bound
  larger = min(m for m in range(micro + 1, 97) if 96 % m == 0)
  assert total(larger) > bound
  assert suggested['memory_bytes']['gradient_sum'] == 4 * found['parameters']
  assert suggested['examples_per_second']['n'] == 5
  assert suggested['seconds_per_epoch']['median'] > 0


def test_one_batch_size_that_does_not_fit_has_a_suggestion_too(dataset, free_of_bounds):
  bound = free_of_bounds['rows'][1]['memory_bytes']['total']
  (row,) = bounded(dataset, bound, native_cost__batch_sizes=(64,))['rows']
  assert row['suggestion']['memory_bytes']['total'] <= bound


def test_where_nothing_fits_nothing_is_suggested(dataset):
  rows = bounded(dataset, 1000, native_cost__batch_sizes=(1, 8))['rows']
  assert [row['suggestion'] for row in rows] == [None, None]
  assert all('no micro-batch was found that fits' in row['problem'] for row in rows)


def test_a_line_that_promises_too_much_or_too_little_is_corrected():
  def needs(m):
    return 10 * m

  def ask(most, predict):
    return memory.largest_micro_batch(64, predict, most, lambda m: needs(m) <= most)

  for predict in (needs, lambda m: 0, lambda m: 10**9):
    assert ask(160, predict) == 16
    assert ask(10, predict) == 1 and ask(9, predict) is None
    assert ask(10**6, predict) == 32
  assert memory.largest_micro_batch(1, needs, 10**6, lambda m: True) is None
  fit = memory.line({8: 180, 16: 260, 32: 420})
  assert fit(64) == pytest.approx(740)


def test_running_out_of_memory_is_reported_and_not_raised(dataset, monkeypatch):
  """Batches of 32 run out, and so do gathered ones above 4: what is left is suggested."""
  exhausted = jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.')
  stepper, gatherer = timing.stepper, timing.gatherer
  gathered = []

  def out(*_):
    raise exhausted

  def gather(*arguments):
    if arguments[3] <= 4:
      return gatherer(*arguments)
    assert arguments[3] not in gathered, 'what ran out of memory is tried again'
    gathered.append(arguments[3])
    return out

  monkeypatch.setattr(timing, 'stepper', lambda *a: out if a[3] == 32 else stepper(*a))
  monkeypatch.setattr(timing, 'gatherer', gather)
  first, _, last = measured(small_config(), dataset)['rows']
  assert first['fits'] and first['problem'] is None
  assert last['fits'] is False and 'RESOURCE_EXHAUSTED' in last['problem']
  assert last['examples_per_second'] is None
  assert (last['suggestion']['micro_batch'], last['suggestion']['accumulation']) == (4, 8)
  assert set(last['suggestion']) == {*meter.SUGGESTED, 'seconds_per_epoch', 'seconds'}
  assert 'gathered from 8 micro-batches of 4' in cost.remark(last)


def test_running_out_of_memory_while_compiling_is_reported_too(dataset, monkeypatch):
  compile_step = steps.compile_step

  def short(training, size):
    if size == 32:
      raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: no room to try convolutions')
    return compile_step(training, size)

  monkeypatch.setattr(steps, 'compile_step', short)
  *_, last = measured(small_config(), dataset)['rows']
  assert last['memory_bytes'] is last['fits'] is None and 'compiling it ran out' in last['problem']
  assert last['suggestion']['micro_batch'] == 16


def test_other_errors_are_errors(dataset, monkeypatch):
  def fail(*_):
    raise jax.errors.JaxRuntimeError('INTERNAL: the device fell off')

  monkeypatch.setattr(timing, 'stepper', lambda *_: fail)
  with pytest.raises(jax.errors.JaxRuntimeError, match='fell off'):
    measured(small_config(), dataset)


def test_what_is_not_free_at_the_moment_is_not_run(dataset, monkeypatch):
  monkeypatch.setattr(memory, 'free', lambda device: 1000)
  rows = measured(small_config(), dataset)['rows']
  assert all(row['fits'] and row['examples_per_second'] is None for row in rows)
  assert all('free at this moment' in row['problem'] for row in rows)


def test_the_memory_of_a_device_is_the_bound_or_what_there_is(monkeypatch):
  device = jax.local_devices()[0]  # a CPU, which reports nothing
  assert 0 < memory.free(device) < memory.limit(device, 0.0)
  monkeypatch.setattr(memory, '_statistics', lambda _: {'bytes_limit': 100, 'bytes_in_use': 30})
  assert memory.limit(device, 0.0) == 100 and memory.free(device) == 70
  assert memory.limit(device, 2.0) == 2 * GIB


def test_stages_are_measured_apart_and_the_same_program_once(dataset, monkeypatch):
  config = small_config(batch_sizes=(8, 16))
  stages.add(config, 'head', trainable=('Dense_1',), examples=320)
  stages.add(config, 'body', batch_size=('multiply:2',), examples=640, largest_batch_size=32)
  stages.add(config, 'half', data_share=0.5, examples=320)
  compiled = []
  compile_step = steps.compile_step

  def spy(training, size):
    return compiled.append(size) or compile_step(training, size)

  monkeypatch.setattr(steps, 'compile_step', spy)
  found = measured(config, dataset)
  places = [(row['stage'], row['batch_size']) for row in found['rows']]
  expected = [('head', 8), ('head', 16), ('body', 16), ('body', 32), ('half', 16), ('half', 32)]
  assert places == expected and compiled == [8, 16, 16, 32]
  head, body, half = (row for row in found['rows'] if row['batch_size'] == 16)
  assert head['trained_parameters'] == 130 and body['trained_parameters'] == 910
  assert head['memory_bytes']['total'] < body['memory_bytes']['total']
  rate = body['examples_per_second']['median']
  assert half['examples_per_second']['median'] == rate
  assert body['seconds_per_epoch']['median'] == pytest.approx(150 / rate)
  assert half['seconds_per_epoch']['median'] == pytest.approx(75 / rate)
  assert body['seconds']['median'] == pytest.approx(640 / rate)
  assert 'half' in rendered(found)


def test_batch_sizes_that_only_a_later_stage_has_are_measured_too(dataset):
  config = small_config(batch_sizes=(8,))
  stages.add(config, 'half', data_share=0.5, examples=320)
  stages.add(config, 'body', batch_size=('multiply:2',), examples=640)
  rows = measured(config, dataset)['rows']
  assert [(row['stage'], row['batch_size']) for row in rows] == [('half', 8), ('body', 16)]


def test_a_stage_of_another_image_size_is_measured_at_it(dataset):
  config = small_config(model__name='resnet8', model__width=4)
  stages.add(config, 'large', image_size=16, crop=2, flip=1)
  training = first_stage(config, dataset)
  assert training.image_shape == (16, 16, 1)
  assert (training.spec.crop, training.spec.flip) == (2, True)
  assert steps.shapes(training, 8).images.shape == (8, 16, 16, 1)


def rendered(found):
  console = Console(width=200, file=io.StringIO())
  console.print(cost.table(found))
  return console.file.getvalue()


def test_the_table_says_what_was_measured(free_of_bounds):
  text = rendered(free_of_bounds)
  assert 'mlp, 910 parameters, run alone on' in text and 'median [lowest, highest]' in text
  for row in free_of_bounds['rows']:
    assert format.bytes_text(row['memory_bytes']['total']) in text
    assert cost.range_text(row['examples_per_second']) in text


def test_keys_are_checked():
  config = base_config()
  own = config.native_cost
  own.batch_sizes, own.repeats, own.memory = (8, 0), 4, -1.0
  with pytest.raises(ConfigError) as caught:
    validate(config)
  for text in ('native_cost.batch_sizes=(8, 0)', 'at least 1', 'native_cost.repeats=4 must be'):
    assert text in str(caught.value)
  assert 'native_cost.memory=-1.0' in str(caught.value) and '3 problem(s)' in str(caught.value)
  own.batch_sizes, own.repeats, own.memory = (8, 8), 5, float('nan')
  with pytest.raises(ConfigError, match='names a batch size twice') as caught:
    validate(config)
  assert 'native_cost.memory=nan' in str(caught.value)


def test_a_study_continues_with_other_keys_of_what_is_measured_beside_it(tmp_path):
  config = small_config()
  records.write_json(tmp_path / 'config.json', json.loads(config.to_json()))
  config.native_cost.measure = True
  workdirs.refuse_another(tmp_path, config)
  config.epochs = 3.0
  with pytest.raises(ConfigError, match='another study'):
    workdirs.refuse_another(tmp_path, config)


def command(*arguments):
  words = [sys.executable, '-m', 'bsjax.native_cost', *arguments]
  return subprocess.run(words, capture_output=True, text=True)


def test_the_config_of_a_workdir_comes_back_whole(tmp_path):
  """Stages, arms and what is pretrained have keys that no other study has."""
  config = small_config(execution__strategy='auto')
  with config.unlocked():
    config.pretrain = {'epochs': 1.0}
  stages.add(config, 'head', trainable=('Dense_1',), epochs=2.0)
  workdirs.write_config(tmp_path, config)
  assert workdirs.read_config(tmp_path).to_json() == config.to_json()
  assert stages.of(workdirs.read_config(tmp_path)) == stages.of(config)


def test_a_study_of_arms_is_measured_one_arm_at_a_time(tmp_path):
  config = small_config()
  arms.add(config, 'wide', {'model': {'width': 64}})
  workdirs.write_config(tmp_path, config)
  done = command(f'--workdir={tmp_path}')
  assert done.returncode == 1
  assert done.stderr.splitlines()[-1].endswith(f'--workdir={tmp_path / "arms" / "wide"}')


def test_costs_of_another_study_are_not_written_into_a_workdir(tmp_path, monkeypatch):
  workdirs.write_config(tmp_path, small_config())
  asked = types.SimpleNamespace(config=small_config(model__width=24), workdir=str(tmp_path))
  monkeypatch.setattr(native_cost_command.flags, 'FLAGS', asked)
  monkeypatch.setattr(native_cost_command.cli, 'set_up_machine', lambda: None)
  monkeypatch.setattr(native_cost_command.cli, 'mistake', lambda error: f'mine.py:3: {error}')
  # A value of a stored config was set elsewhere.
  for file, place in ('mine.py', 'mine.py:3: '), (str(native_cost_command.STORED), ''):
    monkeypatch.setattr(native_cost_command.cli, 'config_file', lambda file=file: file)
    with pytest.raises(SystemExit, match=rf'^bsjax.native_cost: {place}/(?s:.*)model\.width'):
      native_cost_command.main([])
  assert not (tmp_path / 'native_cost.json').exists()


@pytest.mark.slow
def test_the_command_measures_the_study_of_a_workdir(tmp_path):
  records.write_json(tmp_path / 'config.json', json.loads(small_config().to_json()))
  done = command(f'--workdir={tmp_path}', '--config.native_cost.batch_sizes=8,')
  assert done.returncode == 0, done.stderr
  found = json.loads((tmp_path / 'native_cost.json').read_text())
  assert [row['batch_size'] for row in found['rows']] == [8]
  assert found['rows'][0]['examples_per_second']['n'] == 5 and 'run alone on' in done.stdout


def test_the_command_refuses_what_is_no_study(tmp_path):
  with pytest.raises(SystemExit, match='holds no study; give --config'):
    native_cost_command.parse_flags(['native_cost', f'--workdir={tmp_path}'])


def test_compilation_is_timed_without_a_cache():
  compiled = []

  def make():
    compiled.append(jax.config.jax_enable_compilation_cache)
    time.sleep(0.05)
    return jax.jit(lambda x: x + 1).lower(1.0).compile()

  before = jax.config.jax_enable_compilation_cache
  _, seconds = COMPILE(make)
  assert compiled == [False] and seconds >= 0.05
  assert jax.config.jax_enable_compilation_cache == before
