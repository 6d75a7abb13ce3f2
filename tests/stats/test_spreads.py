"""The slope of log spreads over batch sizes: its interval holds whatever the tails."""

import numpy as np
import pytest

from bsjax.stats.spreads import slope_of_spreads

SIZES = (8, 16, 32, 64, 128, 256)


def test_a_planted_power_comes_back():
  values = np.array([-2.0, -1.0, 1.0, 2.0])
  found = slope_of_spreads(SIZES, [values * size**-0.5 for size in SIZES])
  assert found.value == pytest.approx(-0.5)
  assert (found.low, found.high) == (pytest.approx(-0.5), pytest.approx(-0.5))
  assert found.n == 4


@pytest.mark.parametrize('counts', [(8,) * 6, (3, 8, 8, 8, 8, 3)])
@pytest.mark.parametrize('tails', ['normal', 'heavy'])
def test_one_in_twenty_equal_spreads_is_called_a_trend(tails, counts):
  random, false = np.random.default_rng(0), 0
  for _ in range(1000):
    values = [
      random.normal(size=n) if tails == 'normal' else random.standard_t(2, n) for n in counts
    ]
    found = slope_of_spreads(SIZES, values)
    false += not found.low <= 0 <= found.high
  assert 30 <= false <= 75  # three standard errors about one in twenty
