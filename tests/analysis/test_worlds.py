"""The simulator of studies plants what it says, in the files of a real run."""

import dataclasses
import json
import math

import numpy as np
import pytest
from helpers import null_studies, verdicts, world_files, world_runs
from helpers.small import small_config
from helpers.world_catalogue import WORLDS
from helpers.worlds import BATCH_SIZES, EVALUATIONS, TRAIN_EXAMPLES, World

from bsjax.plan import plan
from bsjax.report import stored_study
from bsjax.report.text.answer import answer
from bsjax.storage import records

TRIALS = 200  # standard errors of spreads are then about 5%


def drawn(world, trials=TRIALS, seed=0):
  """Lanes of the plan of a study, positions of evaluations, runs."""
  planned = plan.make_plan(world_files.config_of(world, trials), TRAIN_EXAMPLES)
  lanes, examples = plan.lane_rows(planned), np.array(planned.first.evaluations)
  return lanes, examples, world_runs.simulate(world, lanes, examples, seed)


def finals(world, trials=TRIALS):
  """Final accuracies in points, [size, rate, trial]."""
  lanes, _, runs = drawn(world, trials)
  shape = len(world.batch_sizes), len(world.learning_rates), trials
  assert [lane['trial'] for lane in lanes[:trials]] == list(range(trials))
  return 100 * runs.val[:, -1].reshape(shape)


def own(values):
  """What is left of lanes without the means of settings and the effects of trials."""
  values = values - values.mean(axis=2, keepdims=True)
  return values - values.mean(axis=(0, 1), keepdims=True)


def test_means_are_a_parabola_in_the_log_learning_rate():
  means = finals(WORLDS['real_effect']).mean(axis=2)
  for size, worse, row in zip(BATCH_SIZES, (0, 0, 0, 0.5, 1.0, 1.5), means, strict=True):
    for rate, mean in zip(World('x').learning_rates, row, strict=True):
      expected = 95 - worse - 0.2 * math.log(rate / 0.1) ** 2
      assert mean == pytest.approx(expected, abs=4 * 0.43 / math.sqrt(TRIALS)), (size, rate)


def test_spreads_of_trials_lanes_and_evaluations():
  values = finals(WORLDS['no_effect'])
  of_trial = values.mean(axis=(0, 1)).std(ddof=1)
  assert of_trial == pytest.approx(math.hypot(0.3, 0.3 / 6), rel=0.12)
  assert own(values).std() == pytest.approx(math.hypot(0.3, 0.07) * math.sqrt(35 / 36), rel=0.03)
  _, _, runs = drawn(WORLDS['no_effect'], 20)
  late = 100 * runs.val[:, -8:]  # where curves have ended, only evaluations differ
  assert late.std(axis=1, ddof=1).mean() == pytest.approx(0.07, rel=0.1)


def test_lanes_err_by_themselves_unless_their_batch_size_has_an_effect_in_the_trial():
  for name, expected in (('no_effect', 0.0), ('common_within_size', 0.28)):
    rest = own(finals(WORLDS[name]))
    pairs = np.array([np.corrcoef(of_size)[np.triu_indices(6, 1)] for of_size in rest])
    assert pairs.mean() == pytest.approx(expected - 1 / 36, abs=0.05), name


def test_unequal_variance_tails_and_outliers():
  spread = own(finals(WORLDS['unequal_variance'])).std(axis=(1, 2))
  assert spread[2] / np.delete(spread, 2).mean() > 3.5
  normal, heavy = (own(finals(WORLDS[name])) for name in ('no_effect', 'heavy_tails'))
  quartiles = [np.diff(np.quantile(x, [0.25, 0.75]))[0] for x in (normal, heavy)]
  assert quartiles[1] == pytest.approx(quartiles[0], rel=0.1)
  assert np.quantile(np.abs(heavy), 0.99) > 2 * np.quantile(np.abs(normal), 0.99)
  far = finals(WORLDS['outliers'])
  far = far - np.median(far, axis=2, keepdims=True) - np.median(far, axis=(0, 1), keepdims=True)
  middle = far - np.median(far)
  assert (middle < -0.9).mean() == pytest.approx(0.1, abs=0.02)


def test_the_best_rate_moves_with_batch_size():
  means = finals(WORLDS['best_rate_scales'], 100).mean(axis=2)
  best = np.array(World('x').learning_rates)[means.argmax(axis=1)]
  np.testing.assert_allclose(best, [0.01, 0.03, 0.03, 0.1, 0.1, 0.3])
  critical = WORLDS['b_crit']
  assert critical.best_rate(200) == pytest.approx(0.05 / 2 * (16 + 200) / 16)
  random = np.random.default_rng(0)
  moved = np.log([critical.placed(random).best_rate(64) for _ in range(500)])
  assert np.ptp(moved) == pytest.approx(math.log(10) / 2, rel=0.02)
  assert moved.mean() == pytest.approx(math.log(critical.best_rate(64)), abs=0.06)
  edge = finals(WORLDS['optimum_at_edge'], 100).mean(axis=2)
  assert (edge.argmax(axis=1) == 5).all()


def test_a_cliff_is_diverged_above_its_best_rate():
  lanes, _, runs = drawn(WORLDS['cliff'], 2)
  failed = np.array([lane['learning_rate'] > 0.1 for lane in lanes])
  assert (runs.diverged[:, -1] == failed).all() and not runs.diverged[:, 0].any()


def test_accuracies_are_whole_examples_and_ceilings_hold():
  for name in ('no_effect', 'ceiling'):
    _, _, runs = drawn(WORLDS[name], 5)
    whole = runs.val * 5000
    np.testing.assert_allclose(whole, np.round(whole), atol=1e-9)
    assert runs.val.max() <= 1.0
  assert (runs.val[:, -1] == 1.0).any()


def test_where_only_updates_count_sizes_agree_at_equal_updates_and_not_at_equal_examples():
  world = dataclasses.replace(WORLDS['only_updates'], trial_sd=0.0, lane_sd=0.0, evaluation_sd=0.0)
  lanes, examples, runs = drawn(world, 1)
  at_best = [i for i, lane in enumerate(lanes) if lane['learning_rate'] == 0.1]
  target = examples[-1] // 256
  values = [
    float(np.interp(target, examples / lanes[i]['batch_size'], 100 * runs.val[i])) for i in at_best
  ]
  np.testing.assert_allclose(values, 93.0, atol=0.011)
  ends = [100 * runs.val[i, -1] for i in at_best]
  assert ends[0] - ends[-1] == pytest.approx(2 * (1 - 32**-0.6), abs=0.03)
  truth = world.truth()
  assert truth.slope('epochs') < -0.2 and truth.slope('updates') == 0
  assert [truth.best[size] for size in BATCH_SIZES] == pytest.approx(ends, abs=0.011)


def test_updates_to_a_target_follow_the_hyperbola():
  for name, law in (
    ('b_crit', lambda size: 1 + 200 / size),
    ('b_crit_grid_too_narrow', lambda size: 200 / size),
    ('no_effect', lambda size: 1 + 200 / size),
  ):
    world = dataclasses.replace(WORLDS[name], slowness=0.0)
    lanes, examples, runs = drawn(world, 40)
    of_size = {}
    for lane, loss in zip(lanes, runs.loss, strict=True):
      reached = np.interp(-math.log(0.5), -np.log(loss), examples / lane['batch_size'])
      of_size.setdefault(lane['batch_size'], []).append(math.log(reached))
    # Interpolated over few evaluations at first, so not exact.
    found = np.array([np.mean(logs) for logs in of_size.values()])
    expected = np.log([law(size) for size in of_size])
    np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=0.06)


def test_stale_statistics_cost_with_batch_size_and_reestimated_ones_do_not():
  lanes, _, runs = drawn(WORLDS['stale_batch_norm'], 50)
  sizes = np.array([lane['batch_size'] for lane in lanes])
  running = [100 * runs.val[sizes == size, -1].mean() for size in BATCH_SIZES]
  again = [100 * runs.reestimated[0][sizes == size, -1].mean() for size in BATCH_SIZES]
  np.testing.assert_allclose(np.subtract(again, running), 0.3 * np.arange(6), atol=0.03)
  np.testing.assert_allclose(again, np.mean(again), atol=0.15)


def test_one_lane_diverges_in_each_trial_and_stays_so():
  lanes, _, runs = drawn(WORLDS['diverged_lane'], 7)
  lost = [lane['trial'] for lane, row in zip(lanes, runs.diverged, strict=True) if row.any()]
  assert sorted(lost) == list(range(7))
  assert runs.diverged[:, -1].sum() == 7 and np.isnan(runs.loss[runs.diverged]).all()
  _, _, unstable = drawn(WORLDS['unstable_rates'], 40)
  assert unstable.diverged[:, -1].mean() == pytest.approx(0.3 * 2 / 6, abs=0.02)


def test_seeds_repeat_a_study_and_differ():
  first, again, other = (drawn(WORLDS['no_effect'], 2, seed)[2].val for seed in (1, 1, 2))
  assert (first == again).all() and (first != other).any()


@pytest.mark.parametrize('name', ['diverged_lane', 'stale_batch_norm', 'unfinished'])
def test_files_are_those_that_a_study_writes(name, tmp_path):
  made = world_files.made(WORLDS[name], 2, 0)
  made.write(tmp_path)
  rows = records.read(tmp_path / 'records.jsonl')
  records.append(tmp_path / 'again.jsonl', rows)
  assert (tmp_path / 'again.jsonl').read_text() == (tmp_path / 'records.jsonl').read_text()
  lanes = records.read_plan(tmp_path / 'plan.csv')
  assert len(lanes) == 72 and lanes[-1]['updates'] == 320
  study = stored_study.load(tmp_path)
  assert study.rows == made.rows and study.summary == made.summary()
  finished = name != 'unfinished'
  assert (study.progress == 1) == finished
  positions = {row['examples'] for row in rows}
  missing = 0 if finished else 2 * sum(position > 40960 for position in positions)
  assert len(rows) == 72 * len(positions) - missing and len(positions) > EVALUATIONS


def test_columns_are_those_of_a_real_run(tmp_path):
  from bsjax import Study

  real, made = tmp_path / 'real', tmp_path / 'made'
  made.mkdir()
  config = small_config(
    batch_sizes=(8,),
    learning_rates=(0.1,),
    trials=1,
    epochs=0.5,
    evaluations=1,
    noise_scale__online=False,
    model__normalization='batch',
  )
  assert Study(config, real).run()
  world_files.made(WORLDS['stale_batch_norm'], 2, 0).write(made)
  columns = [set(records.read(folder / 'records.jsonl')[-1]) for folder in (real, made)]
  assert {key for key in columns[0] if not key.endswith('class_accuracy')} == columns[1]
  for name in ('config.json', 'data.json'):
    keys = [json.loads((folder / name).read_text()).keys() for folder in (real, made)]
    assert keys[0] == keys[1]


def test_null_studies_deal_each_real_trial_once(tmp_path):
  null_studies.made(null_studies.REAL_NULL, 8, 3).write(tmp_path)
  runs = null_studies.real_runs()
  assert runs.values.shape == (60, 6, 33, 4)
  at_best = {
    lane['lane']
    for lane in records.read_plan(tmp_path / 'plan.csv')
    if lane['learning_rate'] == 0.1
  }
  curves = {lane: [] for lane in at_best}
  for row in records.read(tmp_path / 'records.jsonl'):
    if row['lane'] in at_best:
      curves[row['lane']].append(row['val_loss'])
  dealt = {tuple(curve) for curve in curves.values()}
  assert len(dealt) == 48
  assert dealt <= {tuple(curve) for curve in runs.values[:, 3, :, 2].tolist()}
  assert stored_study.load(tmp_path).progress == 1


def test_the_headline_by_codes_is_that_of_the_page():
  named = 0
  for name in ('no_effect', 'real_effect', 'untuned', 'grid_too_narrow', 'two_rates'):
    summary = world_files.made(WORLDS[name], 3, 0).summary()
    headline, said = answer(summary).headline, verdicts.named(summary)
    assert bool(said.pairs) == ('beats' in headline or 'does best' in headline), headline
    assert (said.trend is not None) == ('batches do better' in headline), headline
    named += bool(said.pairs or said.trend)
  assert named
