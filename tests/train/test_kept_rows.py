"""What is noticed of rows that a training should have: at its end, and where it goes on."""

import math

import pytest
from helpers.small import small_config

from bsjax.plan import plan
from bsjax.storage import records
from bsjax.train.kept_rows import KeptRows

STUDY = plan.make_plan(small_config(batch_sizes=(8, 16), learning_rates=(0.1,)), 150)
MARKS, LANES = STUDY.first.evaluations, range(4)


def rows_of(marks, lost=()):
  return [{'lane': x, 'examples': at, 'diverged': x in lost} for at in marks for x in LANES]


def kept(tmp_path, rows):
  records.write(tmp_path / 'records.jsonl', rows)
  (tmp_path / 'checkpoints' / '1').mkdir(parents=True)
  return KeptRows(tmp_path, STUDY, of_subset=False)


def test_the_evaluation_at_a_position_must_be_on_record(tmp_path):
  assert len(MARKS) == 3
  found = kept(tmp_path, rows_of(MARKS[:2]))
  found.check(MARKS[1])
  with pytest.raises(records.Damaged, match=f'at {MARKS[2]} examples are missing'):
    found.check(MARKS[2])


@pytest.mark.parametrize(
  ('rows', 'wrong'),
  [
    (rows_of(MARKS), ''),
    (rows_of(MARKS)[:-1], f'lanes [3] at {MARKS[2]}'),
    (rows_of(MARKS[:2], lost=LANES), ''),  # where all have diverged training ends
    (rows_of(MARKS[:2], lost=LANES)[:-1], f'lanes [3] at {MARKS[1]}'),
    (rows_of(MARKS[:2], lost=(1,)), f'lanes [0, 1, 2, 3] at {MARKS[2]}'),
  ],
)
def test_a_study_has_ended_where_its_last_rows_are_whole(rows, wrong, tmp_path):
  said = kept(tmp_path, rows).at_the_end()
  assert wrong in said and bool(said) == bool(wrong)


def test_of_two_files_the_one_that_is_sound_for_less_long_counts(tmp_path):
  config = small_config(batch_sizes=(8, 16, 48), learning_rates=(0.05,), epochs=16.0)
  config.evaluation.subset = 40
  study = plan.make_plan(config, 150)
  marks, further = study.first.evaluations, study.first.further
  both = sorted({*marks, *further})
  lanes = [lane.lane for lane in study.lanes]
  for whole, subset, before in (
    (marks, both, math.inf),
    (marks, both[:2], both[2]),
    (marks[:1], both, marks[1]),
    (marks[:1], both[:2], both[2]),
  ):
    for name, at in (('records.jsonl', whole), (records.SUBSET, subset)):
      rows = [{'lane': lane, 'examples': mark} for mark in at for lane in lanes]
      records.write(tmp_path / name, rows)
    damage = KeptRows(tmp_path, study, of_subset=True).damage()
    assert damage.before == before and bool(damage.why) == (before != math.inf)
