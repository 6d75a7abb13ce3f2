"""Simulations of many studies, of which the first are made with types checked."""

from collections.abc import Iterator

from jaxtyping import config

CHECKED = 20


def draws(count: int) -> Iterator[int]:
  """Counts to `count`; beyond the first 20 no type is checked, which takes half of the time.

  A test that fails in between is followed by one that checks again; see tests/conftest.py.
  """
  try:
    for number in range(count):
      if number == CHECKED:
        config.update('jaxtyping_disable', True)
      yield number
  finally:
    config.update('jaxtyping_disable', False)
