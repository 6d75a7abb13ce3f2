"""Positions of evaluations: where lanes of all batch sizes have made equally many updates."""

import itertools
import math

import numpy as np
import pytest
from helpers.small import small_config

from bsjax.config.errors import ConfigError
from bsjax.plan import evaluations, plan, stages, table
from bsjax.plan.evaluations import EVEN, MATCHED, Timeline, equal_updates, positions

POWERS = (8, 16, 32, 64, 128, 256)


def timeline(sizes, total):
  block = math.lcm(*sizes)
  return Timeline((round(total / block) * block,), block, tuple((size,) for size in sizes))


def random_timelines(count):
  rng = np.random.default_rng(0)
  for _ in range(count):
    sizes = rng.choice([1, 2, 3, 4, 6, 8, 10, 12, 16, 24, 32, 40, 64, 100, 128, 256], 5, False)
    chosen = tuple(sorted(int(size) for size in sizes[: rng.integers(1, 6)]))
    yield timeline(chosen, math.lcm(*chosen) * int(rng.integers(1, 400))), int(rng.integers(1, 40))


@pytest.mark.parametrize('how', [MATCHED, EVEN])
def test_positions_are_whole_blocks_from_the_start_to_the_end_and_no_more_than_asked_for(how):
  for line, count in random_timelines(300):
    marks, end = positions(line, count, how), line.ends[-1]
    assert marks[0] == 0 and marks[-1] == end and list(marks) == sorted(set(marks))
    assert all(mark % line.block == 0 for mark in marks)
    assert len(marks) <= 1 + count
    if how == MATCHED:
      assert len(marks) == 1 + min(count, end // line.block)
    assert positions(line, count, how) == marks


def test_all_sizes_are_evaluated_at_equal_updates_wherever_there_are_any():
  met = 0
  for line, _ in random_timelines(300):
    common, most = equal_updates(line, positions(line, 40, MATCHED))
    everywhere = equal_updates(line, range(0, line.ends[-1] + 1, line.block))
    assert most == line.ends[-1] // max(line.paths)[0]
    if 2 * everywhere[0] >= most:
      assert 4 * common >= 3 * most or (common, most) == everywhere
      met += 1
  assert met > 200


@pytest.mark.parametrize(
  ('sizes', 'total', 'common', 'most'),
  [
    (POWERS, 43_140, 160, 169),
    ((16, 24, 40, 100), 43_200, 300, 432),
    ((16, 32, 64, 128, 256, 512, 1024), 1_350_000, 1280, 1318),
    ((8, 64), 64 * 64, 64, 64),
    ((8, 1024), 98 * 1024, 98, 98),  # 8 has made 128 in its first block, and takes no part
    ((64,), 6400, 100, 100),
  ],
)
def test_where_batch_sizes_meet(sizes, total, common, most):
  line = timeline(sizes, total)
  marks = positions(line, 16, MATCHED)
  assert equal_updates(line, marks) == (common, most)
  taking_part = [size for size in sizes if most * size >= line.block]
  assert {common * size for size in taking_part} <= set(marks)


def test_every_batch_size_meets_the_smaller_ones_late_in_its_training():
  """Where the largest diverges the next is the one at whose updates sizes are compared."""
  line = timeline((16, 24, 40, 100), 43_200)
  marks = set(positions(line, 24, MATCHED))
  for count in (2, 3, 4):
    smaller = Timeline(line.ends, line.block, line.paths[:count])
    common, most = equal_updates(smaller, sorted(marks))
    assert common >= 0.5 * most
  nested = timeline(POWERS, 43_140)  # those of the largest serve all
  needed = {160 * size for size in POWERS}
  ends = {0, nested.ends[-1]}
  assert evaluations._matched(nested, 16, ends) == ends | needed


def test_others_are_closer_together_at_first_and_not_at_the_ends_of_epochs():
  line = timeline((32, 128), 40 * 1000)
  marks = positions(line, 24, MATCHED)
  gaps = np.diff([*marks])
  early = gaps[np.array(marks[:-1]) < line.ends[-1] / 8]
  assert early[1:].max() < np.median(gaps[len(early) :])
  assert gaps.max() <= 2.5 * np.median(gaps)
  places = [mark / 1000 % 1 for mark in marks[1:-1]]
  assert len({round(4 * place) % 4 for place in places}) == 4  # in every quarter of an epoch
  # Neighbours of the evaluation after the start are a factor apart, and never far.
  assert all(b <= 2.2 * a for a, b in itertools.pairwise(marks[1:]))
  # In the first eighth neighbours are about the same factor apart.
  line = timeline(POWERS, 43_140)
  first = [mark for mark in positions(line, 32, MATCHED)[1:] if mark <= line.ends[-1] / 8]
  assert len(first) >= 5 and all(1.2 * a < b <= 1.5 * a for a, b in itertools.pairwise(first))


def test_too_few_evaluations_stay_as_few():
  line = timeline(POWERS, 43_140)
  for count in (1, 2, 6):
    marks = positions(line, count, MATCHED)
    assert len(marks) == 1 + count and equal_updates(line, marks)[0] == 0
  assert equal_updates(line, positions(line, 7, MATCHED))[0] == 160


def staged(rules, positions_='matched', **keys):
  config = small_config(batch_sizes=(8, 16, 64), evaluations=24, **keys)
  config.evaluation.positions = positions_
  stages.add(config, 'first', epochs=20.0)
  stages.add(config, 'last', epochs=20.0, batch_size=rules)
  return config


def marks_of(study):
  return [mark for part in study.stages for mark in part.evaluations]


def test_stages_end_on_evaluations_and_meet_in_each():
  config = staged(('keep', 'multiply:2'))
  study = plan.make_plan(config, 640)
  marks, ends = marks_of(study), [part.end for part in study.stages]
  assert marks[0] == 0 and set(ends) <= set(marks) and len(marks) <= 1 + 24 + 1
  assert all(part.start < mark for part in study.stages[1:] for mark in part.evaluations)
  block = study.first.block_examples
  line = evaluations.timeline(stages.of(config), ends, block, config.batch_sizes, 640)
  assert line.paths == ((8, 8), (8, 16), (16, 16), (16, 32), (64, 64), (64, 128))
  for end in ends:
    common, most = equal_updates(line, marks, end)
    assert most / 2 <= common <= most
  # 64 in both stages, 128 in the last: 200 and 100 updates there.
  common, most = equal_updates(line, marks)
  assert most == 300 and common > 250
  assert 'at equal updates, lanes are compared at' in table.notes(config, study)[-1]


def test_rules_that_follow_a_measurement_keep_even_positions():
  keys = {'largest_batch_size': 64, 'smallest_batch_size': 8}
  marks = []
  for how in (MATCHED, EVEN):
    config = staged(('noise:1.0',), how)
    for name, value in keys.items():
      config.stages.last[name] = value
    marks.append(marks_of(plan.make_plan(config, 640)))
    assert not any(
      'equal updates' in note for note in table.notes(config, plan.make_plan(config, 640))
    )
  assert marks[0] == marks[1]


def test_even_positions_are_those_of_versions_before():
  study = plan.make_plan(staged(('keep',), EVEN), 640)
  total = study.total_examples
  expected = {round(total * i / 24 / 64) * 64 for i in range(25)} | {
    part.end for part in study.stages
  }
  assert marks_of(study) == sorted(expected)


def test_a_person_is_told_where_batch_sizes_meet_or_that_they_do_not():
  def notes(**keys):
    config = small_config(batch_sizes=(8, 64), **keys)
    return ' '.join(table.notes(config, plan.make_plan(config, 640)))

  assert 'lanes are compared at 24 of the 30' in notes(epochs=3.0, evaluations=8)
  assert 'no evaluations fall on equal updates' in notes(epochs=3.0, evaluations=2)
  assert '3 evaluations or more' in notes(epochs=3.0, evaluations=2)
  assert 'equal updates' not in notes(epochs=3.0, evaluations=8, evaluation__positions='even')


def test_epochs_that_the_report_is_asked_for_are_evaluated():
  config = staged(('keep',))
  config.report.epochs = (3.0, 27.3)
  marks = marks_of(plan.make_plan(config, 640))
  assert {3 * 640, round(27.3 * 640 / 64) * 64} <= set(marks) and len(marks) <= 1 + 24 + 1
  config.report.epochs = (0.01,)  # closer to the start, where nothing has been trained
  assert 64 in marks_of(plan.make_plan(config, 640))
  config.report.epochs = tuple(float(epoch) for epoch in range(1, 40))
  assert len(marks_of(plan.make_plan(config, 640))) <= 1 + 24 + 1


@pytest.mark.parametrize(
  ('at', 'said'),
  [
    ((304,), None),  # the end itself
    ((16, 320), '320: '),  # beyond it
    ((1, 2, 3, 4, 5), '1, 2, 3, 4 and 5: '),
    ((1, 2, 3, 4, 5, 6), '1, 2, 3, 4 and 5 and more: '),
  ],
)
def test_given_positions_are_whole_blocks_up_to_the_end(at, said):
  config = small_config(batch_sizes=(8, 16), evaluation__at=at)
  if said is None:
    assert plan.make_plan(config, 150).first.evaluations == (0, 304)
  else:
    with pytest.raises(ConfigError, match=f'evaluation.at: {said}evaluations fall'):
      plan.make_plan(config, 150)
