"""How types are checked while the tests run, and what helpers.draws and conftest.py do to it."""

import dataclasses

import numpy as np
import pytest
from helpers import typed
from helpers.draws import draws
from jaxtyping import Float, Int, TypeCheckError, config

from bsjax.stats import hyperbola, intervals
from bsjax.stats.estimate import Estimate


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


@typed.checked
def doubled(
  values: Float[np.ndarray, ' n'], weights: Float[np.ndarray, ' n'], wrong: str = ''
) -> Float[np.ndarray, ' n']:
  inner = np.array(doubled(values[1:], weights[1:])) if len(values) > 3 else None  # its own n
  assert inner is None or len(inner) == len(values) - 1
  return {'': 2 * values * weights, 'shape': values[:2], 'type': list(values)}[wrong]


@typed.checked
def ones(count: int, other: int) -> Int[np.ndarray, ' {count}']:
  return np.ones(other, int)


@typed.checked
@dataclasses.dataclass(frozen=True)
class Pair:
  first: Float[np.ndarray, ' n']
  second: Float[np.ndarray, ' n']

  @property
  @typed.checked
  def name(self) -> str:
    return 'pair' if len(self.first) < 3 else 3


def test_axes_of_one_name_are_equal_among_arguments_and_in_what_is_returned():
  four = np.arange(4.0)
  assert doubled(four, weights=four).tolist() == [0, 2, 8, 18]
  for arguments in ((four, four[:3]), (four, 4), (four, four.astype(int))):
    with pytest.raises(TypeCheckError, match='weights'):
      doubled(*arguments)
  for wrong in ('shape', 'type'):
    with pytest.raises(TypeCheckError, match='return'):
      doubled(four, four, wrong)
  assert doubled(four, four).tolist() == [0, 2, 8, 18]  # an error leaves no scope behind


def test_an_axis_is_named_by_an_argument_and_data_classes_check_their_fields():
  assert len(ones(3, 3)) == 3
  with pytest.raises(TypeCheckError, match='return'):
    ones(3, 4)
  two = np.ones(2)
  assert Pair(two, second=two).name == 'pair'
  with pytest.raises(TypeCheckError, match='second'):
    Pair(two, np.ones(3))
  with pytest.raises(TypeCheckError):
    _ = Pair(np.ones(3), np.ones(3)).name


def test_the_package_is_imported_with_its_types_checked():
  sizes, updates = np.array([8, 16, 32]), np.ones((2, 4))
  with pytest.raises(TypeCheckError, match='updates'):
    hyperbola.fit_hyperbola(sizes, updates, np.zeros((2, 4), int))
  with pytest.raises(TypeCheckError, match='value'):
    Estimate('high', n=3)
