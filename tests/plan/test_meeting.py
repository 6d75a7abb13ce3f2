"""Sizes that meet by themselves: near enough to the end, nothing is added."""

import pytest

from bsjax.plan.evaluations import MATCHED, Timeline, equal_updates, further, positions


@pytest.mark.parametrize(
  'end, given, common',
  [
    (1600, 60, 100),
    (1600, 74, 100),
    (1600, 76, 76),
    (1600, 80, 80),
    (1280, 58, 80),
    (1280, 60, 60),
  ],
)
def test_sizes_that_meet_before_three_quarters_of_training_meet_once_more(end, given, common):
  """They are asked for after so many updates of both; the slower one makes a 16th of `end`."""
  line = Timeline((end,), 16, ((8,), (16,)))
  marks = positions(line, 4, MATCHED, asked=(8.0 * given, 16.0 * given))
  assert equal_updates(line, marks) == (common, end // 16)


def test_where_sizes_meet_in_a_later_stage_is_not_where_they_meet_in_an_earlier_one():
  """After 80 updates of both, of which the slower has made 50 by the end of the first stage."""
  line = Timeline((800, 1600), 16, ((8, 8), (16, 16)))
  marks = positions(line, 8, MATCHED, asked=(640.0, 1280.0))
  assert equal_updates(line, marks, 800) == (50, 50) and 400 in marks


@pytest.mark.parametrize('end, last', [(None, 100), (1600, 100), (800, 50)])
def test_updates_are_equal_at_the_end_of_a_stage_too(end, last):
  line = Timeline((800, 1600), 16, ((16, 16),))
  assert equal_updates(line, (0, 400, 800, 1200, 1600), end) == (last, last)


def test_a_size_takes_part_that_has_made_as_many_updates_at_its_first_block():
  """Of 8 and 32, which makes 4 in all, 8 has made 4 after 32 examples: at the first block."""
  line = Timeline((128,), 32, ((8,), (32,)))
  assert equal_updates(line, (0, 128)) == (0, 4) and equal_updates(line, (0, 32, 128)) == (4, 4)
  line = Timeline((96,), 32, ((8,), (32,)))  # 3 after 24, where 32 has not updated
  assert equal_updates(line, (0, 96)) == (3, 3)


def test_half_of_a_stage_is_late_enough_to_meet():
  """16 and 24 meet on whole blocks of 48 after every 6 updates: of 4 to 8 in the middle."""
  line = Timeline((96, 192), 48, ((16, 16), (24, 24)))
  assert further(line, (0, 96, 192)) == (144,)
  assert further(line, (0, 96, 144, 192)) == ()
