"""The top of a curve over log learning rate."""

import numpy as np
import pytest

from bsjax.stats import valley

UNEVEN = np.log([0.01, 0.02, 0.07, 0.1, 0.31])


def parabola(x, at, height=0.9, curvature=-0.001):
  return height + curvature * np.square(x - at)


@pytest.mark.parametrize('count', [3, 4, 5])
@pytest.mark.parametrize('share', [0.3, 0.5, 0.8])
def test_a_parabola_without_noise_is_read_exactly_at_its_top(count, share):
  x = UNEVEN[:count]
  at = x[0] + share * (x[-1] - x[0])
  values = parabola(x, at)
  top = valley.top(x, values, int(values.argmax()), near=0.02)
  assert top.window == tuple(range(count))
  assert top.at == pytest.approx(at, abs=1e-9)
  assert top.weights @ values == pytest.approx(0.9, abs=1e-12)


def test_it_is_the_least_squares_parabola_of_polyfit():
  rng = np.random.default_rng(0)
  for _ in range(200):
    count = int(rng.integers(3, 6))
    x = np.sort(rng.normal(size=count))
    values = parabola(x, rng.normal(scale=0.5), curvature=-1.0) + rng.normal(0, 0.1, count)
    top = valley.top(x, values, int(values.argmax()), near=np.inf)
    fit = np.polyfit(x, values, 2)
    at = -fit[1] / (2 * fit[0]) if fit[0] < 0 else x[values.argmax()]
    assert top.at == pytest.approx(np.clip(at, x[0], x[-1]), abs=1e-6)
    assert top.weights @ values == pytest.approx(np.polyval(fit, top.at), abs=1e-8)


def test_weights_add_up_to_one():
  rng = np.random.default_rng(1)
  for _ in range(200):
    count = int(rng.integers(1, 8))
    x, values = np.sort(rng.normal(size=count)), rng.normal(0, 0.01, count)
    top = valley.top(x, values, int(values.argmax()), near=0.02)
    assert len(top.weights) == len(top.window) <= valley.MOST
    assert top.weights.sum() == pytest.approx(1, abs=1e-9)
    assert x[top.window[0]] - 1e-12 <= top.at <= x[top.window[-1]] + 1e-12


@pytest.mark.parametrize('at, end', [(-9.0, 0), (3.0, 4)])
def test_a_top_beyond_the_window_is_read_at_its_end(at, end):
  values = parabola(UNEVEN, at)
  top = valley.top(UNEVEN, values, int(values.argmax()), near=1.0)
  assert top.at == pytest.approx(UNEVEN[end], abs=1e-12)
  assert top.weights @ values == pytest.approx(values[end], abs=1e-12)


def test_what_opens_upward_is_read_at_the_best_point():
  x, values = np.array([0.0, 1.0, 2.0, 3.5]), np.array([0.91, 0.9, 0.903, 0.92])
  top = valley.top(x, values, 3, near=0.05)
  assert top.window == (0, 1, 2, 3) and top.at == 3.5
  assert top.weights @ values == pytest.approx(np.polyval(np.polyfit(x, values, 2), 3.5))


def test_equal_values_are_read_at_the_best_point():
  top = valley.top(np.arange(4.0), np.full(4, 0.9), 1, near=0.02)
  assert top.weights @ np.full(4, 0.9) == pytest.approx(0.9)
  assert 0 <= top.at <= 3


@pytest.mark.parametrize(
  'values, best, window',
  [
    ([0.9], 0, (0,)),
    ([0.9, 0.89], 0, (0, 1)),
    ([0.8, 0.9, 0.8], 1, (1,)),
    ([0.8, 0.885, 0.9, 0.8], 2, (1, 2)),
    ([0.89, 0.87, 0.9], 2, (2,)),
  ],
)
def test_with_fewer_than_three_it_is_the_best_point_itself(values, best, window):
  top = valley.top(np.arange(len(values), dtype=float), np.array(values), best, near=0.02)
  assert top.window == window and top.at == best
  assert top.weights.tolist() == [float(place == best) for place in window]


def test_the_window_ends_at_the_first_point_that_falls_short():
  # The one at 4 is good again beyond a dip, and so of another valley.
  values = np.array([0.85, 0.889, 0.9, 0.881, 0.86, 0.895])
  assert valley.top(np.arange(6.0), values, 2, near=0.02).window == (1, 2, 3)


def test_a_window_of_many_keeps_the_five_nearest_to_the_best():
  values = np.full(9, 0.9)
  assert valley.top(np.arange(9.0), values, 4, near=0.02).window == (2, 3, 4, 5, 6)
  assert valley.top(np.arange(9.0), values, 0, near=0.02).window == (0, 1, 2, 3, 4)


def test_what_moves_the_top_and_how_steep_another_curve_is_there():
  x, values = UNEVEN, parabola(UNEVEN, -3.1) + np.array([1, -2, 0, 2, -1]) * 1e-5
  top = valley.top(x, values, int(values.argmax()), near=1.0)
  other = 0.3 + 0.2 * x - 0.01 * np.square(x)
  assert top.slope @ other == pytest.approx(0.2 - 0.02 * top.at, abs=1e-9)
  assert top.slope @ values == pytest.approx(0, abs=1e-12)
  for place in range(len(x)):
    step = 1e-7 * (np.arange(len(x)) == place)
    ends = [valley.top(x, values + side * step, 0, near=1.0).at for side in (1, -1)]
    assert top.shift[place] == pytest.approx((ends[0] - ends[1]) / 2e-7, rel=1e-4)


@pytest.mark.parametrize(
  'values, near', [(parabola(UNEVEN, -9.0), 1.0), (parabola(UNEVEN, -3.1, curvature=-1), 0.1)]
)
def test_a_top_at_an_end_or_without_a_parabola_does_not_move(values, near):
  top = valley.top(UNEVEN, values, int(values.argmax()), near)
  assert not top.shift.any() and len(top.shift) == len(top.slope) == len(top.window)
