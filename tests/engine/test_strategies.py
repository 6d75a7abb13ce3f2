"""Which ways to run lanes are worth timing, at the most lanes that are compiled apart."""

import pytest

from bsjax.engine import strategies


@pytest.mark.parametrize(('kind', 'most'), [('cpu', 4), ('tpu', 16), ('nvidia', 16)])
def test_lanes_are_unrolled_up_to_so_many(kind, most):
  for lanes, unrolled in ((2, True), (most, True), (most + 1, False)):
    found = strategies.candidates(kind, True, lanes)
    assert any(way.vectorize == 'unrolled' for way in found) == unrolled
    assert found[0] == strategies.usual(kind)
