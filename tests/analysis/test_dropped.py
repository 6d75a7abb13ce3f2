"""What is made of learning rates that were dropped: tried, never bad, known up to their rung."""

import json
import math
from dataclasses import replace

import pytest
from helpers import world_files
from helpers.halved import halved
from helpers.worlds import World

from bsjax.analysis.decide.rates import rates_of
from bsjax.analysis.measures.critical_batch_size import at_target
from bsjax.analysis.measures.optimum import optimum_of
from bsjax.analysis.runs import dropped
from bsjax.analysis.runs.histories import progress, provisional, settings
from bsjax.analysis.runs.selection import select
from bsjax.analysis.runs.targets import soonest
from bsjax.report.text.dropped import method, remarks
from bsjax.storage import records, sound

RATES = tuple(0.0125 * 2**i for i in range(7))
WORLD = World('dropped', batch_sizes=(16, 64, 128), learning_rates=RATES, curvature=0.5)
CROSS = replace(WORLD, optimum=0.2, crossing=math.log(16.0))


@pytest.fixture(scope='module')
def study():
  return halved(world_files.made(WORLD, 3, 0), (1 / 4,))


@pytest.fixture(scope='module')
def crossed():
  """The best rate is the fifth and was dropped, at all batch sizes."""
  return halved(world_files.made(CROSS, 3, 1), (1 / 8, 1 / 4))


def test_no_number_of_a_dropped_run_is_one_of_the_end(study):
  sound.check(study.rows, study.lanes, 'here')
  tried = settings(study.lanes, study.rows)
  ended = records.dropped(study.rows)
  assert 0 < len(ended) < len(study.lanes)
  for size, one in select(tried).chosen.items():
    by_rate = {setting.learning_rate: setting for setting in tried[size]}
    out = [setting for setting in tried[size] if setting.dropped]
    assert out and all(setting.problem for setting in out)
    assert {lane.problem.code for setting in out for lane in setting.lanes} == {'dropped'}
    assert not any(by_rate[part.learning_rate].dropped for part in one.window)
    assert not one.unsafe


def test_a_study_is_done_when_the_others_are(study):
  assert progress(study.lanes, study.rows) == 1.0
  end = max(row['examples'] for row in study.rows)
  rung = max(records.dropped(study.rows).values())
  before = [row for row in study.rows if row['examples'] < end]
  assert 0.9 < progress(study.lanes, before) < 1.0
  reached = provisional(study.lanes, before)
  last = max(row['examples'] for row in before)
  assert {row['examples'] for row in reached} == {last}
  assert all(setting.dropped is None or setting.problem for setting in _all(reached, before))
  at_rung = [row for row in study.rows if row['examples'] <= rung]
  # Up to the rung all of them are there, and compared.
  assert not any(setting.problem for setting in _all(provisional(study.lanes, at_rung), at_rung))


def _all(lanes, rows):
  return [setting for tried in settings(lanes, rows).values() for setting in tried]


def test_the_summary_says_what_was_dropped_and_what_it_took(study):
  said = study.summary()
  found, ended = said['dropped'], records.dropped(study.rows)
  assert sorted(lane for row in found['rates'] for lane in row['lanes']) == sorted(ended)
  whole = study.lanes[0]['examples']
  assert found['of'] == whole * len(study.lanes)
  assert found['lane_examples'] == found['of'] - sum(whole - at for at in ended.values())
  assert found['rungs'] == [max(ended.values())]
  assert f'{len(ended)} runs ended early' in remarks(said)[0]
  assert f'{100 * found["lane_examples"] / found["of"]:.3g}%' in method(
    json.loads(study.config.to_json()), said
  )
  assert not any(row['at_grid_edge'] for row in said['batch_sizes'])
  plain = world_files.made(WORLD, 3, 0)
  assert 'dropped' not in plain.summary()


def test_a_best_rate_beside_a_dropped_one_is_neither_at_the_edge_nor_taken_for_the_best(crossed):
  said = crossed.summary()
  near = {row['batch_size']: row for row in said['batch_sizes'] if 'beside_dropped' in row}
  assert set(near) == set(CROSS.batch_sizes)
  assert not any(row['at_grid_edge'] for row in near.values())
  assert all(row['learning_rate'] < row['beside_dropped'][-1] for row in near.values())
  assert any('may be better in the end' in remark for remark in said['answer']['remarks'])
  pairs = [claim for claim in said['claims'] if claim['kind'] in ('pair', 'trend')]
  assert pairs and {claim['verdict'] for claim in pairs} == {'undetermined'}
  causes = {one['confound']: one for one in said['confounds']}
  assert causes['learning_rate_not_tuned']['present'] is True
  states = {row['state'] for row in said['learning_rates']['validation']['optimum']}
  assert 'at_grid_edge' not in states and 'undetermined' in states


def test_a_rate_next_to_a_diverged_one_or_inside_others_is_beside_none(crossed):
  tried = settings(crossed.lanes, crossed.rows)[16]
  left = [setting.learning_rate for setting in tried if not setting.dropped]
  above = next(one.learning_rate for one in tried if one.learning_rate > left[-1])
  assert dropped.beside(tried, left[-1]) == (above,)
  assert not dropped.beside(tried, left[len(left) // 2])
  lost = [_diverged(one) if one.learning_rate == above else one for one in tried]
  assert not dropped.beside(lost, left[-1])
  assert optimum_of(tried, 'val_error').rate.reasons[0].code == 'next_to_dropped'


def _diverged(setting):
  lanes = [replace(one, rows=({**one.rows[-1], 'diverged': True},)) for one in setting.lanes]
  return replace(setting, lanes=tuple(lanes))


def test_a_round_adds_rates_on_both_sides_of_the_dropped_one(crossed):
  tried = settings(crossed.lanes, crossed.rows)[16]
  best = select({16: tried}).chosen[16]
  rates = rates_of(tried, best)
  (beside,) = best.dropped_beside
  low, high = rates.add
  assert rates.state == 'edge' and best.learning_rate < low < beside < high
  assert not {low, high} & set(RATES)


def test_what_reaches_a_target_beside_a_dropped_rate_only_bounds_it(crossed):
  tried = settings(crossed.lanes, crossed.rows)
  hard = min(row['train_loss'] for row in crossed.rows) * 1.05
  found = at_target(tried, 'train_loss', hard)
  assert found['best_rates_dropped']
  # A target that all reach before the first rung tells them apart.
  rung = min(records.dropped(crossed.rows).values())
  early = max(row['train_loss'] for row in crossed.rows if row['examples'] == rung)
  for settings_of_size in tried.values():
    assert not soonest(settings_of_size, 'train_loss', early, (0, 1, 2)).dropped
