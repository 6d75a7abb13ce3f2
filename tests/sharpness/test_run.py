"""The command on a trained study: rows, lanes together and alone, BatchNorm, what is undefined."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small import largest_difference, small_config

from bsjax.config.errors import ConfigError
from bsjax.engine.device_data import DeviceSplit
from bsjax.engine.evaluate import evaluate
from bsjax.plan import stages
from bsjax.sharpness import __main__, rows, run, slices, study
from bsjax.sharpness.lane import Options, as_state, in_float32
from bsjax.sharpness.objective import lane_objective
from bsjax.storage import checkpoint, records, workdirs
from bsjax.storage.position import Position
from bsjax.train import study_run

OPTIONS = Options(examples=40, chunk=16, steps=6, starts=2, probes=3, eigenvalues=2)
FLAGS = ['--examples=40', '--chunk=16', '--steps=6', '--starts=2', '--probes=3', '--eigenvalues=2']


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """Lanes 0 and 2 train with batch sizes 8 and 16, lanes 1 and 3 diverge; BatchNorm."""
  path = tmp_path_factory.mktemp('study')
  config = small_config(
    batch_sizes=(8, 16), learning_rates=(0.1, 1e30), trials=1, model__width=4, evaluations=2
  )
  config.model.normalization = 'batch'
  config.schedule.name = 'cosine'
  config.checkpoint.keep_all = True
  study_run.run_study(config, path)
  return path


@pytest.fixture(scope='module')
def together(workdir):
  """What the command writes of all lanes at all checkpoints."""
  arguments = [f'--workdir={workdir}', '--checkpoint=all', '--interpolate=0,2', '--slices']
  __main__.main([*arguments, *FLAGS])
  return json.loads((workdir / 'sharpness.json').read_text())


@pytest.fixture(scope='module')
def last(workdir):
  """(study, weights of all lanes) at the last checkpoint."""
  found = study.load(workdir)
  with checkpoint.open_to_read(workdir) as manager:
    return found, study.weights_at(manager, manager.latest_step(), found)[0]


def on_device(split):
  return DeviceSplit(images=jnp.asarray(split.images), labels=jnp.asarray(split.labels))


@pytest.mark.slow
def test_every_evaluation_is_kept_with_its_examples(workdir, together):
  marks = sorted({row['examples'] for row in records.read(workdir / 'records.jsonl')})
  with checkpoint.open_to_read(workdir) as manager:
    assert list(checkpoint.steps(manager)) == marks == [0, 160, 304]
  assert [row['examples'] for row in together['rows']] == np.repeat(marks, 4).tolist()
  assert [row['lane'] for row in together['rows']] == [0, 1, 2, 3] * 3


def test_only_the_newest_two_are_kept_otherwise(tmp_path):
  for keep_all, kept in ((False, [16, 24]), (True, [8, 16, 24])):
    path = tmp_path / str(keep_all)
    with checkpoint.open_manager(path, keep_all) as manager:
      for examples in (8, 16, 24):
        values = {'examples': examples, 'evaluated': 0, 'ticks': [], 'data': ''}
        checkpoint.save(manager, [{'params': np.ones(2)}], Position.from_json(values))
    with checkpoint.open_to_read(path) as manager:
      assert list(checkpoint.steps(manager)) == kept
      with pytest.raises(ConfigError, match='16, 24 examples; give one of these'):
        study.chosen_steps(checkpoint.steps(manager), '9')


def test_every_row_has_its_loss_and_learning_rate(together):
  at = {(row['lane'], row['examples']): row for row in together['rows']}
  row = at[0, 160]
  assert row['undefined'] == {}
  assert row['learning_rate'] == 0.1
  factor = (1 + np.cos(np.pi * 160 / 304)) / 2
  assert row['learning_rate_now'] == pytest.approx(0.1 * factor, rel=1e-5)
  product = row['lambda_max'] * row['learning_rate_now']
  assert row['lambda_max_times_learning_rate'] == product
  assert row['stability_threshold'] == pytest.approx(3.8)  # 2 (1 + 0.9)
  assert row['lambda_max'] == row['eigenvalues'][0]['value'] > row['eigenvalues'][1]['value']
  assert row['examples_used'] == 40 and row['mode'] == 'evaluation'
  assert row['sam'] > 0 and row['keskar_0.001'] > row['keskar_0.0005'] > 0
  assert at[0, 304]['undefined'] == {'stability_threshold': 'the learning rate is 0 here'}
  assert len({at[0, e]['train_loss'] for e in (0, 160, 304)}) == 3
  assert at[0, 0]['trace'] == at[2, 0]['trace']  # one trial: the same start, the same probes


def test_a_diverged_lane_is_undefined_with_a_reason_and_leaves_the_others_alone(together, workdir):
  diverged = next(r for r in together['rows'] if (r['lane'], r['examples']) == (1, 304))
  for name in ('train_loss', 'lambda_max', 'trace', 'sam', 'keskar_0.001', 'density'):
    assert diverged[name] is None
    assert 'not finite' in diverged['undefined'][name]
  alone = run.measure_study(workdir, OPTIONS, lanes='2', devices=1)['rows'][0]
  row = next(r for r in together['rows'] if (r['lane'], r['examples']) == (2, 304))
  for name in ('train_loss', 'trace', 'lambda_max', 'gradient_curvature', 'keskar_0.001', 'sam'):
    assert alone[name] == pytest.approx(row[name], rel=1e-4)
  table = rows.table([diverged, row])
  assert table.row_count == 2 and 'unequal training loss' in table.caption.replace('\n', ' ')


def test_the_lanes_own_statistics_are_used_and_not_changed(last, together):
  found, weights = last
  own = jax.tree.map(lambda x: jnp.asarray(x[0]), weights)
  spec = in_float32(found.spec)
  state = as_state(spec, found.dataset.image_shape, own)
  examples = on_device(study.subset(found.dataset, 40, 0))

  def value(s):
    return float(lane_objective(spec, s, examples, 16).value(s.params))

  row = next(r for r in together['rows'] if (r['lane'], r['examples']) == (0, 304))
  assert row['train_loss'] == pytest.approx(value(state), rel=1e-5)
  assert largest_difference(state.batch_stats, own['batch_stats']) == 0
  other = state.replace(batch_stats=jax.tree.map(lambda x: 2 * x + 1, state.batch_stats))
  assert abs(value(other) - value(state)) > 0.01


def test_interpolation_meets_both_lanes_with_statistics_of_its_own(last, together):
  found, weights = last
  spec = in_float32(found.spec)
  examples = on_device(study.subset(found.dataset, 40, 0))
  line = together['interpolations'][-1]
  assert [end['batch_size'] for end in line['lanes']] == [8, 16]
  assert line['batch_norm_statistics'] == 're-estimated at every point'
  points = {p['at'][0]: p for p in line['points']}
  assert len(points) == len(slices.BETWEEN) and min(points) == -1 and max(points) == 2
  for alpha, lane in ((0.0, 0), (1.0, 2)):
    own = jax.tree.map(lambda x, i=lane: jnp.asarray(x[i]), weights)
    state = as_state(spec, found.dataset.image_shape, own)
    sums = evaluate(spec, 16, state, examples, examples)
    fresh, running = sums.reestimated['train'].loss / 40, sums.train.loss / 40
    assert points[alpha]['train_loss'] == pytest.approx(float(fresh), rel=1e-4)
    assert abs(fresh - running) > 1e-3


def test_slices_pass_through_the_lane(together):
  of_lane = next(s for s in together['slices'] if (s['lane'], s['examples']) == (0, 304))
  row = next(r for r in together['rows'] if (r['lane'], r['examples']) == (0, 304))
  assert of_lane['learning_rate_now'] == row['learning_rate_now'] != row['learning_rate']
  for name, count in (('line', 41), ('plane', 121)):
    middle = next(p for p in of_lane[name] if p['at'] == [0.0, 0.0])
    assert middle['train_loss'] == pytest.approx(row['train_loss'], rel=1e-5)
    assert middle['val_accuracy'] == row['val_accuracy']
    assert len(of_lane[name]) == count
    assert len({p['train_loss'] for p in of_lane[name]}) == count
  diverged = next(s for s in together['slices'] if s['lane'] == 1 and s['examples'] == 304)
  assert diverged['line'][0]['train_loss'] is None


def test_thresholds_and_rises_that_are_undefined_say_why():
  optimizer = small_config().optimizer
  optimizer.nesterov = True
  assert rows.stability_threshold(optimizer, 0.1)[0] == pytest.approx(3.8 / 2.8)
  optimizer.name = 'adam'
  value, why = rows.stability_threshold(optimizer, 0.1)
  assert value is None and 'adam' in why
  assert rows._rise(1e-7, 1.0, '')[0] is None
  assert 'float32' in rows._rise(1e-7, 1.0, '')[1]
  assert rows._rise(float('inf'), 1.0, 'why') == (None, 'why')


def test_the_subset_is_stratified_and_the_same_for_the_same_seed(last):
  found, _ = last
  a, b, c = (study.subset(found.dataset, 40, seed) for seed in (0, 0, 1))
  assert (a.images == b.images).all() and (a.images != c.images).any()
  counts = np.bincount(a.labels, minlength=10)
  share = np.bincount(found.dataset.train.labels, minlength=10) * 40 / 150
  assert (np.abs(counts - share) < 1).all()
  assert study.subset(found.dataset, 0, 0) is found.dataset.train


@pytest.mark.parametrize(
  'arguments, message',
  [
    (['--lanes=7'], 'from 0 to 3'),
    (['--interpolate=1'], 'give two lanes'),
    (['--checkpoint=7'], 'checkpoints at 0, 160, 304 examples'),
    (['--steps=0'], 'steps=0 must be at least 1'),
  ],
)
def test_mistakes_are_sentences(arguments, message, workdir):
  with pytest.raises(SystemExit, match=message):
    __main__.main([f'--workdir={workdir}', *arguments])


def test_a_directory_without_a_study_is_refused(tmp_path):
  with pytest.raises(SystemExit, match=r'lacks config\.json, plan\.csv'):
    __main__.main([f'--workdir={tmp_path}'])


def test_a_study_of_stages_is_refused(tmp_path, workdir):
  shutil.copy(workdir / 'plan.csv', tmp_path)
  config = workdirs.read_config(workdir)
  stages.add(config, 'only', epochs=2.0)
  workdirs.write_config(tmp_path, config)
  with pytest.raises(SystemExit, match=r'holds a study of stages \(only\)'):
    __main__.main([f'--workdir={tmp_path}'])


def test_a_study_whose_lanes_shared_devices_is_measured_without_them(tmp_path, workdir):
  shutil.copy(workdir / 'plan.csv', tmp_path)
  config = workdirs.read_config(workdir)
  config.execution.devices_per_lane = 64
  workdirs.write_config(tmp_path, config)
  assert len(study.load(tmp_path).plan.lanes) == 4
