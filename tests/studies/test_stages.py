"""Stages against plain optax loops: freezing, batch sizes, learning rates, data, resuming."""

import dataclasses
import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict
from helpers.interrupted import terminated_in_call
from helpers.small import largest_difference, small_config

from bsjax import data, models
from bsjax.config.errors import ConfigError
from bsjax.data import stream, views
from bsjax.engine import lanes, programs, stage_lanes
from bsjax.engine.spec import lane_spec
from bsjax.engine.validate import validate
from bsjax.models import convolution
from bsjax.optim import freezing
from bsjax.plan import plan, stages
from bsjax.storage import records
from bsjax.storage.position import Position
from bsjax.train import stage_check, study_run
from bsjax.train.stage_run import StageRun


def staged_config(*stage_changes, **overrides):
  """A small study of one batch size whose stages are called a, b, ..."""
  config = small_config(batch_sizes=(16,), learning_rates=(0.1,), trials=1, **overrides)
  for name, changes in zip('abcd', stage_changes, strict=False):
    stages.add(config, name, **changes)
  return config


def run_stages(config):
  """Trains all stages without a workdir; returns the first plan, the dataset and final states."""
  validate(config)
  dataset = data.load(config.data, config.seed)
  first = plan.make_plan(config, len(dataset.train.labels))
  run = StageRun(config, dataset, first, {}, print)
  run.start()
  passed = []
  while True:
    for group in run.groups:
      while group.position < run.plan.end:
        left = (run.plan.end - group.position) // run.plan.block_examples
        group.advance(run.data, left)
    passed.append((run.plan, stage_lanes.all_lanes(run.groups)))
    if run.plan.end == first.total_examples:
      return first, dataset, passed, run
    run.next()


def test_lanes_that_took_turns_do_so_again_from_the_start():
  config = small_config(execution__devices=1)
  dataset = data.load(config.data, config.seed)
  first = plan.make_plan(config, len(dataset.train.labels))
  run = StageRun(config, dataset, first, {}, print, parts={0: 3})
  run.start()
  assert [len(group.parts) for group in run.groups] == [3] and run.parts == {0: 3}


def plain_loop(config, dataset, plans, lane):
  """Trains one lane's setting through the stages of `plans` as anybody would."""
  model = models.create(config.model, dataset.num_classes, conv=convolution.conv('native'))
  key = stream.trial_key(config.seed, jnp.int32(lane.trial))
  shape = (1, *views.view(dataset, plans[0].stage).image_shape)
  variables = model.init(jax.random.fold_in(key, lanes.INIT), jnp.zeros(shape), train=False)
  params, opt_state = variables['params'], None
  for study in plans:
    own = {x.lane: x for x in study.lanes}[lane.lane]
    view = views.view(dataset, study.stage)
    trained = freezing.trainable_paths(params, study.stage.trainable, 'here')
    before, (part, frozen) = opt_state, freezing.split(params, trained)
    fresh = optax.sgd(0.1, momentum=0.9).init(part)
    keep = before is not None and not study.stage.reset_optimizer
    opt_state = freezing.carry_over(fresh, before) if keep else fresh
    order = _order(config, dataset, study, own.trial)
    for first in range(study.start - study.origin, study.end - study.origin, own.batch_size):
      chosen = order[first : first + own.batch_size]
      images = jnp.float32((view.train.images[chosen] - dataset.mean) / dataset.std)
      labels = jnp.asarray(dataset.train.labels[chosen])
      state = part, frozen, opt_state
      part, opt_state = _step(model, own.learning_rate, *state, images, labels)
    params = freezing.join(part, frozen)
  return params


def _order(config, dataset, study, trial):
  """The indices of examples along the stream of a stage, from its origin on."""
  used = views.examples_in_use(study.stage, dataset.train.labels, config.seed)
  count = study.train_examples
  key = stream.stream_key(config.seed, jnp.int32(trial), study.stream)
  epochs = -(-(study.end - study.origin) // count)
  order = np.asarray(stream.epoch_orders(key, jnp.int32(0), epochs, count)).reshape(-1)
  return order if used is None else used[order]


@functools.partial(jax.jit, static_argnums=0)
def _step(model, rate, part, frozen, opt_state, images, labels):
  def loss(part):
    logits = model.apply({'params': freezing.join(part, frozen)}, images, train=True)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

  updates, opt_state = optax.sgd(rate, momentum=0.9).update(jax.grad(loss)(part), opt_state, part)
  return optax.apply_updates(part, updates), opt_state


def assert_equals_plain_loops(config, atol=1e-5):
  first, dataset, passed, run = run_stages(config)
  plans = [study for study, _ in passed]
  final = passed[-1][1].params
  for lane in first.lanes:
    own = jax.tree.map(lambda x, i=lane.lane: x[i], final)
    plain = plain_loop(config, dataset, plans, lane)
    assert largest_difference(own, plain) < atol, lane
  sums = {lane: rate for group in run.groups for lane, rate in group.rates()[1].items()}
  for lane in first.lanes:  # also over stages that run other programs
    stages_of_lane = [(p, x) for p in plans for x in p.lanes if x.lane == lane.lane]
    rates = [x.learning_rate * (p.end - p.start) / x.batch_size for p, x in stages_of_lane]
    assert sums[lane.lane] == pytest.approx(sum(rates)), lane
  return first, dataset, passed, run


@pytest.mark.parametrize('reset', [True, False])
def test_freezing_then_training_all_equals_a_plain_loop(reset):
  config = staged_config(
    {'trainable': ('Dense_1',)}, {'learning_rate_factor': 0.5, 'reset_optimizer': reset}
  )
  *_, passed, _ = assert_equals_plain_loops(config)
  (_, middle), (_, final) = passed
  assert largest_difference(middle.params, final.params) > 1e-3  # the second stage did train


def test_training_all_then_freezing_leaves_the_frozen_bitwise_unchanged():
  config = staged_config({}, {'trainable': ('Dense_1', '*/bias')}, model__depth=2)
  *_, passed, _ = assert_equals_plain_loops(config)
  before, after = (flatten_dict(states.params, sep='/') for _, states in passed)
  for path, leaf in after.items():
    if path.startswith('Dense_1') or path.endswith('bias'):
      assert np.abs(leaf - before[path]).max() > 1e-5, path
    else:
      np.testing.assert_array_equal(leaf, before[path], err_msg=path)


def test_batch_size_changes_equal_plain_loops_and_compile_nothing(monkeypatch):
  rules = {'batch_size': ('multiply:0.5',)}, {'batch_size': ('set:32',)}
  config = staged_config({}, *rules, {'batch_size': ('grow:4',), 'largest_batch_size': 64})
  traced, tick = [], programs.tick
  monkeypatch.setattr(programs, 'tick', lambda *args: traced.append(1) or tick(*args))
  *_, passed, run = assert_equals_plain_loops(config)
  assert [study.lanes[0].batch_size for study, _ in passed] == [16, 8, 32, 64]
  assert len(traced) == 1  # of four stages one program
  # Of a factor of 4 a factor of 2 is left to the learning rate.
  assert passed[-1][0].lanes[0].learning_rate == pytest.approx(0.05)
  assert run.groups[0].rates()[1][0] == pytest.approx(
    sum(s.lanes[0].learning_rate * (s.end - s.start) / s.lanes[0].batch_size for s, _ in passed)
  )


def test_branches_begin_alike_and_end_apart():
  rules = ('multiply:0.5', 'keep', 'multiply:4')
  config = staged_config({}, {'batch_size': rules}, noise_scale__online=False)
  first, _, passed, _ = assert_equals_plain_loops(config)
  assert [lane.branch for lane in first.lanes] == [f'b={rule}' for rule in rules]
  assert [lane.batch_size for lane in passed[1][0].lanes] == [8, 16, 64]
  middle, final = (states.params['Dense_0']['kernel'] for _, states in passed)
  np.testing.assert_array_equal(middle[0], middle[1])
  np.testing.assert_array_equal(middle[0], middle[2])
  assert min(np.abs(final[0] - final[1]).max(), np.abs(final[1] - final[2]).max()) > 1e-3


def test_whole_batches_change_groups_between_stages():
  config = staged_config({}, {'batch_size': ('keep', 'multiply:2')}, micro_batch='batch')
  *_, passed, _ = assert_equals_plain_loops(config)
  assert [[g.micro_batch for g in study.groups] for study, _ in passed] == [[16], [16, 32]]


def test_a_share_of_the_data_and_another_image_size_equal_a_plain_loop():
  first = {'data_share': 0.5, 'epochs': 2.0}
  config = staged_config(first, {}, data__train_examples=160)
  first, dataset, passed, _ = assert_equals_plain_loops(config)
  assert [study.train_examples for study, _ in passed] == [80, 160]
  assert [study.stream for study, _ in passed] == [0, 1]
  used = views.examples_in_use(first.first.stage, dataset.train.labels, config.seed)
  assert len(used) == 80


def test_another_image_size_needs_a_model_that_pools():
  config = staged_config({'image_size': 4}, {})
  dataset = data.load(config.data, config.seed)
  first = plan.make_plan(config, len(dataset.train.labels))
  with pytest.raises(ConfigError, match=r'stages\.b\.image_size.*Dense_0/kernel'):
    stage_check.check(config, dataset, first)


@pytest.mark.slow
def test_following_the_noise_scale_equals_a_plain_loop(tmp_path):
  config = staged_config(
    {'epochs': 4.0, 'batch_size': ('noise:0.3',), 'largest_batch_size': 64},
    evaluations=6,
    noise_scale__every=1,
  )
  study_run.run_study(config, tmp_path)
  rows = records.read(tmp_path / 'records.jsonl')
  sizes = [row['batch_size'] for row in rows]
  assert sizes == sorted(sizes) and sizes[0] == 16 and sizes[-1] > 16
  # The same lane by hand: a stage for every stretch between evaluations.
  ends = [row['examples'] for row in rows]
  pieces = [
    {'examples': b - a, 'batch_size': ('keep' if i == 0 else f'set:{rows[i + 1]["batch_size"]}',)}
    for i, (a, b) in enumerate(itertools.pairwise(ends))
  ]
  by_hand = staged_config(evaluations=6)
  for i, piece in enumerate(pieces):
    stages.add(by_hand, f's{i}', **piece)
  passed = run_stages(by_hand)[2]
  from bsjax.storage import checkpoint

  with checkpoint.open_to_read(tmp_path) as manager:
    weights, _ = checkpoint.restore_weights(manager, manager.latest_step())
  assert largest_difference(weights[0]['params'], passed[-1][1].params) < 1e-5


def test_frozen_layers_cost_no_backward_pass():
  config = staged_config({}, {'trainable': ('Dense_3',)}, model__depth=3, model__width=64)
  dataset = data.load(config.data, config.seed)
  first = plan.make_plan(config, len(dataset.train.labels))

  def flops(study):
    own = lane_spec(config, dataset, study, study.groups[0])
    lane_params = lanes.LaneParams(jnp.float32(0.1), jnp.int32(1), jnp.int32(0))
    state = lanes.init(own, lane_params, dataset.image_shape)
    images, zero = jnp.zeros((16, *dataset.image_shape)), (jnp.int32(0), jnp.int32(0))

    def gradients(state):
      return lanes.gradients(own, state, *zero, images, jnp.zeros(16, jnp.int32))

    return jax.jit(gradients).lower(state).compile().cost_analysis()['flops']

  every, head = flops(first.first), flops(first.stages[1])
  # A forward pass is about a third of it all; the head's own gradient is small beside it.
  assert head < 0.45 * every


def test_lanes_that_come_to_one_tick_an_update_have_probes():
  """Where the batch size, of two micro-batches, is halved."""
  for rule, probes in ('multiply:0.5', 16), ('multiply:2', 0):
    config = staged_config({'batch_size': (rule,)}, micro_batch=8)
    dataset = data.load(config.data, config.seed)
    for study in plan.make_plan(config, len(dataset.train.labels)).stages:
      found = lane_spec(config, dataset, study, study.groups[0])
      assert (found.micro_batch, found.probe_every) == (8, probes)


@pytest.mark.slow
def test_interrupted_in_a_later_stage_a_study_ends_as_undisturbed(tmp_path, monkeypatch):
  config = staged_config(
    {'trainable': ('Dense_1',)},
    {'batch_size': ('multiply:0.5', 'keep'), 'epochs': 2.0},
    {'learning_rate_factor': 0.1, 'reset_optimizer': True},
    evaluations=8,
    optimizer__name='adam',
    optimizer__eps=1e-3,
  )
  config.trials = 2
  study_run.run_study(config, tmp_path / 'whole')
  expected = (tmp_path / 'whole' / 'records.jsonl').read_bytes()
  for stop_at in (2, 4, 3):
    with terminated_in_call(monkeypatch, stop_at):
      study_run.run_study(config, tmp_path / 'parts')
  assert not (tmp_path / 'parts' / 'summary.json').exists()
  study_run.run_study(config, tmp_path / 'parts')
  assert (tmp_path / 'parts' / 'records.jsonl').read_bytes() == expected
  rows = records.read(tmp_path / 'parts' / 'records.jsonl')
  assert {row['stage'] for row in rows} == {0, 1, 2}
  assert json.loads((tmp_path / 'parts' / 'summary.json').read_text())


def test_a_continued_stage_keeps_the_bounds_that_it_began_with():
  config = staged_config(
    {'epochs': 4.0, 'batch_size': ('cabs',), 'largest_batch_size': 64}, optimizer__momentum=0.0
  )
  dataset = data.load(config.data, config.seed)
  study_plan = plan.make_plan(config, len(dataset.train.labels))

  def row(wanted):
    noise = {'trace': wanted / 0.1, 'grad_sq': 1.0}
    row = {'lane': 0, 'noise': noise, 'learning_rate': 0.1, 'train_loss': 1.0}
    return row | {'diverged': False}

  run, continued = (StageRun(config, dataset, study_plan, {}, print) for _ in range(2))
  run.start()
  run.groups[0].advance(run.data, 1)
  run.follow([row(wanted=64)])
  position = Position.from_json(json.loads(json.dumps(run.position(64, 'data').to_json())))
  continued.enter(position)
  continued.load([group.to_host() for group in run.groups], position)
  assert continued.position(64, 'data') == run.position(64, 'data') == position
  assert [lane.batch_size for lane in continued.plan.lanes] == [64]
  continued.follow([row(wanted=1) | {'diverged': True}])  # which has no say
  continued.groups[0].given_up[0] = 64
  continued.follow([row(wanted=1)])
  assert [lane.batch_size for lane in continued.plan.lanes] == [64]
  continued.groups[0].given_up.clear()
  continued.follow([row(wanted=1)])
  assert [lane.batch_size for lane in continued.plan.lanes] == [16]  # what it began with, not 64
  assert continued.groups[0].rates()[1] == run.groups[0].rates()[1]


def test_frozen_batch_norm_uses_running_statistics_or_goes_on():
  for mode, moves in (('running', False), ('batch', True)):
    config = staged_config(
      {},
      {'trainable': ('Dense_1',), 'frozen_batch_norm': mode},
      model__normalization='batch',
    )
    passed = run_stages(config)[2]
    before, after = (flatten_dict(states.batch_stats, sep='/') for _, states in passed)
    moved = max(np.abs(after[path] - before[path]).max() for path in before)
    assert (moved > 1e-4) == moves
    assert moves or moved == 0.0


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'epochs': 0.0}, r'stages\.a\.epochs=0\.0 must be finite and above 0'),
    ({'data_share': 1.5}, r'data_share=1\.5 must be above 0'),
    ({'batch_size': ('multiply',)}, "the rule 'multiply' is none of"),
    ({'batch_size': ('multiply:2',)}, 'changes the batch size where training begins'),
    ({'batch_size': ('set:32',)}, 'changes the batch size where training begins'),
    ({'batch_size': ('noise:x',)}, 'needs a number'),
    ({'frozen_batch_norm': 'off'}, 'frozen_batch_norm'),
  ],
)
def test_a_wrong_stage_is_refused_before_anything_compiles(changes, message):
  with pytest.raises(ConfigError, match=message):
    validate(staged_config(changes))


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'batch_size': ('multiply:0.3',)}, r'4\.8 examples of batch size 16'),
    ({'batch_size': ('set:7',)}, 'coincide only every 112'),
    ({'batch_size': ('noise:1',), 'largest_batch_size': 8}, 'its bounds are'),
    ({'trainable': ('Conv_0',)}, 'match none of the 4 parameters.*Dense_0, Dense_1'),
    ({'epochs': 0.01}, 'larger than the'),
  ],
)
def test_a_stage_that_does_not_fit_is_refused_before_anything_compiles(tmp_path, changes, message):
  config = staged_config({'epochs': 0.7}, changes)
  with pytest.raises(ConfigError, match=message):
    study_run.run_study(config, tmp_path / 'w')
  assert not (tmp_path / 'w').exists()


def test_a_batch_larger_than_the_first_stage_is_refused_by_its_name(tmp_path):
  config = staged_config({'epochs': 1.0}, {'epochs': 9.0})
  config.batch_sizes = (8, 256)
  with pytest.raises(ConfigError, match=r"256 is larger than the 150 examples of stage 'a'"):
    study_run.run_study(config, tmp_path / 'w')
  assert not (tmp_path / 'w').exists()


def test_a_batch_larger_than_the_training_set_goes_on_into_its_next_epoch():
  """In the first of two stages, of three epochs; the second halves it, to fewer than there are."""
  config = staged_config({'epochs': 3.0}, {'epochs': 2.0, 'batch_size': ('multiply:0.5',)})
  config.batch_sizes = (160,)
  assert_equals_plain_loops(config)


def test_stages_are_overridden_and_left_out_by_flags():
  config = staged_config({'epochs': 3.0}, {'epochs': 1.0})
  config.stages.order = ('b',)
  config.stages.b.epochs = 2.5
  (only,) = stages.of(config)
  assert (only.name, only.epochs, only.index) == ('b', 2.5, 0)
  config.stages.order = ('b', 'x')
  with pytest.raises(ConfigError, match=r"stages\.order='x' is unknown.*known: a, b"):
    validate(config)


def test_every_stage_key_is_a_field():
  assert {f.name for f in dataclasses.fields(stages.Stage)} == {'index', 'name', *stages.DEFAULTS}


@pytest.mark.slow
def test_frozen_features_train_as_whole_images_do(tmp_path, blank_figures):
  """Lanes that begin with the same layers: with and without computing these once."""
  lent = {'model': {'name': 'cnn', 'width': 8, 'normalization': 'batch'}}
  found = {}
  for once in (True, False):
    config = staged_config(
      {'trainable': ('Dense_1',)},
      {'trainable': ('Dense_0', 'BatchNorm_2', 'Dense_1'), 'learning_rate_factor': 0.5},
      evaluations=4,
      execution__frozen_features=once,
      model__name='cnn',
      model__width=8,
      model__normalization='batch',
    )
    config.trials, config.batch_sizes = 2, (8, 16)
    config.learning_rates = (0.02,)  # small, or a unit falls silent in one of them alone
    with config.unlocked():
      config.pretrain = {'epochs': 1.0, 'trials': 1, 'batch_sizes': (16,), **lent}
    study_run.run_study(config, tmp_path / str(once))
    found[once] = records.read(tmp_path / str(once) / 'records.jsonl')
  for fast, slow in zip(found[True], found[False], strict=True):
    for key in ('train_loss', 'val_loss', 'reestimated_val_loss', 'learning_rate_sum'):
      assert fast[key] == pytest.approx(slow[key], rel=1e-4), key
    assert fast['updates'] == slow['updates']
