"""Sizes that meet by themselves: near enough to the end, nothing is added."""

import pytest

from bsjax.plan.evaluations import MATCHED, Timeline, equal_updates, positions


@pytest.mark.parametrize('given, common', [(60, 100), (74, 100), (76, 76), (80, 80)])
def test_sizes_that_meet_before_three_quarters_of_training_meet_once_more(given, common):
  """They are asked for after so many updates of both; the slower one makes 100."""
  line = Timeline((1600,), 16, ((8,), (16,)))
  marks = positions(line, 4, MATCHED, asked=(8.0 * given, 16.0 * given))
  assert equal_updates(line, marks) == (common, 100)
