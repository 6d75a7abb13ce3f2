"""Lanes at the end of a stretch: which are lost or dropped, what is said, in how many parts."""

import types

import numpy as np
import pytest

from bsjax.storage import records
from bsjax.storage.position import Divergence
from bsjax.train import loop
from bsjax.train.stage_run import StageRun
from bsjax.train.subset_evaluations import SubsetEvaluations
from bsjax.train.whole_evaluations import WholeEvaluations


def group_of(lanes, parts=1, index=0, **facts):
  """Stands for a group of lanes in parts of equally many seats."""
  seats = -(-len(lanes) // parts)
  group = types.SimpleNamespace(
    lanes=[types.SimpleNamespace(lane=lane) for lane in lanes], index=index
  )
  part = types.SimpleNamespace(order=np.zeros((1, seats), int))
  return types.SimpleNamespace(group=group, parts=[part] * parts, diverged={}, **facts)


def test_a_lane_that_was_frozen_stays_so_when_an_evaluation_finds_it_lost():
  """And no other becomes it: what grew trains on."""
  groups = [group_of([0, 1]), group_of([2])]
  frozen = Divergence(0, 8, 'loss_not_finite', frozen=True)
  groups[0].diverged[0] = frozen
  rows = [
    {'lane': lane, 'diverged': lane != 1, 'diverged_at': 16, 'diverged_because': 'loss_grown'}
    for lane in range(3)
  ]
  StageRun.note_diverged(types.SimpleNamespace(groups=groups), rows)
  assert groups[0].diverged == {0: frozen}
  assert groups[1].diverged == {2: Divergence(2, 16, 'loss_grown', frozen=False)}


@pytest.mark.parametrize(
  ('parts', 'then'),
  [((1, 1), {0: 2, 1: 2}), ((2, 1), {0: 3, 1: 2}), ((3, 2), {1: 4}), ((3, 5), None)],
)
def test_groups_take_turns_in_twice_as_many_parts_as_far_as_they_have_lanes(parts, then):
  groups = [group_of(range(3), parts[0]), group_of(range(3, 8), parts[1], index=1)]
  run = types.SimpleNamespace(groups=groups, parts={})
  assert StageRun.make_room(run) == (then is not None)
  assert run.parts == (then or {})


def agreed(told, monkeypatch):
  """What a process makes of what all of them say: whether asked, their pace, a save overdue."""
  monkeypatch.setattr(loop.processes, 'exchange', lambda mine: told(mine))
  pace, run = loop.Pace(), types.SimpleNamespace(asked=False, stop=False)
  run.saves = types.SimpleNamespace(overdue=False)
  overdue = loop.TrainLoop._agree(run, pace)
  return run.stop, pace.blocks, overdue


def test_all_stop_if_one_is_asked_and_go_by_the_clock_of_the_first(monkeypatch):
  others = (False, 8, True), (True, 2, False)
  assert agreed(lambda mine: [*others, mine], monkeypatch) == (True, 8, True)
  assert agreed(lambda mine: [mine, *others], monkeypatch) == (True, 1, False)
  assert agreed(lambda mine: [mine, others[0]], monkeypatch) == (False, 1, False)


ROWS = [
  {'lane': lane, 'dropped': lane > 1, 'diverged': lane == 2, 'diverged_at': 16} for lane in range(5)
]


def test_lanes_that_end_at_a_rung_are_counted_and_trained_no_more():
  given_up, said = [], []
  stage = types.SimpleNamespace(give_up=given_up.append)
  console = types.SimpleNamespace(print=said.append)
  run = types.SimpleNamespace(
    stage=stage, console=console, plan=types.SimpleNamespace(total_examples=4096)
  )
  loop.TrainLoop._drop(run, 1024, ROWS)
  assert given_up == [[2, 3, 4]] and len(said) == 1
  assert said[0].startswith('At 1,024 of 4,096 examples 3 of 5 lanes end: ')
  loop.TrainLoop._drop(run, 1024, ROWS[:2])
  assert len(said) == 1


def test_lanes_that_are_lost_are_warned_about_by_number_and_place(monkeypatch, caplog):
  noted = []
  monkeypatch.setattr(loop, 'best_line', lambda *_: 'the best')
  run = types.SimpleNamespace(
    line=types.SimpleNamespace(note=noted.append),
    plan=types.SimpleNamespace(lanes=[]),
    stage=types.SimpleNamespace(note_diverged=noted.append),
    _lost=lambda rows: all(row['diverged'] for row in rows),
  )
  for rows, lost in ((ROWS, False), (ROWS[2:3], True)):
    assert loop.TrainLoop._record(run, 32, lambda rows=rows: rows) == rows
    assert (run.evaluated, run.lost) == (32, lost) and noted[-2:] == ['the best', rows]
  assert [record.getMessage() for record in caplog.records] == [
    'lane 2 has diverged by 16 examples'
  ] * 2


@pytest.mark.parametrize('first', [True, False])
def test_the_first_process_alone_writes_rows_and_tells_writers(first, tmp_path, monkeypatch):
  told = []
  monkeypatch.setattr(loop.processes, 'is_first', lambda: first)
  halving = types.SimpleNamespace(noted=lambda _: ROWS, living=lambda _: ROWS)
  made = types.SimpleNamespace(
    _halving=halving,
    _path=tmp_path / 'rows.jsonl',
    _mirrors=types.SimpleNamespace(rows=told.append),
    _look_at=lambda _: None,
  )
  assert WholeEvaluations._record(made, [], {}) == ROWS
  assert told == ([ROWS] if first else [])
  assert SubsetEvaluations._record(made, [], {}, None) == ROWS
  written = records.read(made._path) if first else []
  assert written == (ROWS * 2 if first else []) and made._path.exists() == first
