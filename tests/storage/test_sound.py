"""Which rows of a damaged file can be kept, and what is wrong with the others."""

import math

import pytest

from bsjax.storage import records, sound

LANES, MARKS = (0, 1), (0, 64, 128)
ROWS = [{'lane': lane, 'examples': examples} for examples in MARKS for lane in LANES]


@pytest.fixture
def path(tmp_path):
  records.append(tmp_path / 'records.jsonl', ROWS)
  return tmp_path / 'records.jsonl'


def test_rows_that_are_whole_are_sound(path):
  assert sound.sound(path, LANES, MARKS) == (ROWS, '', math.inf, '')
  sound.check(ROWS, [{'lane': lane} for lane in LANES], path, MARKS)


@pytest.mark.parametrize(
  ('change', 'left', 'before', 'words'),
  [
    (lambda x: x[:3], 3, 64, r'rows of lanes \[1\] at 64 examples are missing'),
    (lambda x: [*x[:2], *x[3:]], 5, 64, r'rows of lanes \[0\] at 64 examples are missing'),
    (lambda x: [*x[:3], x[2], *x[3:]], 3, 64, 'row 4: lane 0 at 64 examples is there twice'),
    (lambda x: [*x, x[0]], 6, math.inf, 'row 7: lane 0 at 0 examples is there twice'),  # the same
    (lambda x: [*x, b'{"lane": 1, "examples": 64, "loss": 1}\n'], 6, 64, 'row 7: .* there twice'),
    (lambda x: [*x[:4], b'\x00\xff\n', *x[4:]], 4, 128, 'line 5 is damaged'),
    (lambda x: [x[0][:9] + b'\n', *x[1:]], 0, 0, 'line 1 is damaged'),
    (lambda x: [*x[:5], b'[7]\n', *x[5:]], 5, 128, 'line 6 is damaged'),
    (
      lambda x: [*x[:2], b'{"lane": 9, "examples": 64}\n', *x[2:]],
      2,
      64,
      'row 3: lane 9 .*plan',
    ),
    (lambda x: [*x[:2], b'{"lane": [], "examples": 64}\n', *x[2:]], 2, 64, 'row 3: .*planned'),
    (lambda x: [*x[:2], b'{"lane": true, "examples": 64}\n', *x[2:]], 2, 64, 'row 3: .*planned'),
    (lambda x: [*x[:2], b'{"lane": 1, "examples": {}}\n', *x[2:]], 2, 64, 'row 3: .*planned'),
    (lambda x: [*x[:5], x[5][:-3]], 5, 128, r'lanes \[1\] at 128'),  # by a kill
    (lambda x: [], 0, 0, r'lanes \[0, 1\] at 0'),
  ],
)
def test_rows_are_sound_up_to_the_first_damage(change, left, before, words, path):
  lines = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(b''.join(change(lines)))
  found = sound.sound(path, LANES, MARKS)
  assert len(found.rows) == left and found.before == before
  with pytest.raises(records.Damaged, match=words):
    raise records.Damaged(found.damage or found.missing)
  with pytest.raises(records.Damaged, match=r'damaged|missing|twice|planned'):
    sound.check(records.read(path), [{'lane': lane} for lane in LANES], path, MARKS)


@pytest.mark.parametrize(
  ('count', 'named'), [(5, r'\[0, 1, 2, 3, 4\] at'), (6, r'4\] and more at')]
)
def test_five_missing_lanes_are_named_and_others_counted_in(count, named, tmp_path):
  found = sound.sound(tmp_path / 'records.jsonl', range(count), (0,))
  with pytest.raises(records.Damaged, match=named):
    raise records.Damaged(found.missing)


def test_without_marks_a_lane_may_be_behind_and_lacks_nothing_before_that():
  plan = [{'lane': lane} for lane in (0, 1, 2)]  # the last has not begun
  rows = [{'lane': 0, 'examples': at} for at in (0, 8, 16)] + [{'lane': 1, 'examples': 0}]
  sound.check(rows, plan, 'here')
  with pytest.raises(records.Damaged, match=r'lanes \[1\] at 8 examples are missing'):
    sound.check([*rows, {'lane': 1, 'examples': 16}], plan, 'here')
  with pytest.raises(records.Damaged, match=r'lanes \[1, 2\] at 16 examples are missing'):
    sound.check(rows, plan, 'here', (0, 8, 16))


def test_a_cut_keeps_the_position_itself_and_drops_what_lies_beyond(path):
  assert sound.cut(path, ROWS, 64) == records.read(path) == ROWS[:4]
  assert [file.name for file in path.parent.iterdir()] == ['records.jsonl']


def test_a_file_that_is_missing_has_no_rows_and_stays_missing(tmp_path):
  path = tmp_path / 'records.jsonl'
  assert sound.sound(path, LANES, MARKS)[0] == sound.cut(path, [], 64) == []
  assert not list(tmp_path.iterdir())


def test_a_lane_that_was_dropped_has_rows_up_to_there_and_none_beyond():
  plan = [{'lane': 0}, {'lane': 1}]
  rows = [{'lane': lane, 'examples': at, 'dropped': False} for at in (0, 8, 16) for lane in (0, 1)]
  with pytest.raises(records.Damaged, match=r'lanes \[1\] at 16 examples are missing'):
    sound.check(rows[:-1], plan, 'here', (0, 8, 16))
  rows[3]['dropped'] = True
  assert records.dropped(rows) == {1: 8}
  sound.check(rows[:-1], plan, 'here', (0, 8, 16))
  sound.check(rows[:-1], plan, 'here')
  with pytest.raises(records.Damaged, match='lane 1 was dropped at 8 examples and has a row at 16'):
    sound.check(rows, plan, 'here')
  with pytest.raises(records.Damaged, match='at 8 examples are missing'):
    sound.check([*rows[:3], rows[4]], plan, 'here', (0, 8, 16), ended={1: 8})
  of_subset = [{**row, 'dropped': None} for row in rows[:-1]]
  sound.check(of_subset, plan, 'here', (0, 8, 16), ended=records.dropped(rows))
