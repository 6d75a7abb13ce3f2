"""What helpers.draws and tests/conftest.py do to the checks of types."""

import pytest
from helpers.draws import draws
from jaxtyping import TypeCheckError, config

from bsjax.stats import intervals


def raises_of_types():
  try:
    intervals.mean_interval([0.0, 1.0], confidence='high')
  except TypeCheckError:
    return True
  except Exception:
    return False


def test_types_are_checked_in_the_first_draws_and_after_the_last():
  assert [raises_of_types() for _ in draws(22)] == [True] * 20 + [False] * 2
  assert raises_of_types()


STOPPED = []


@pytest.mark.parametrize('number', [0, 1])
def test_what_a_test_stops_in_the_midst_of_is_no_matter_of_the_next(number):
  assert not config.jaxtyping_disable
  STOPPED.append(draws(22))  # stays as it is, as in the frames of a test that fails
  for _ in range(21):
    next(STOPPED[-1])
  assert config.jaxtyping_disable
