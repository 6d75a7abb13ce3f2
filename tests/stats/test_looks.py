"""When to look at growing data, and that intervals at all looks hold together."""

import numpy as np
import pytest
from scipy.special import stdtrit

from bsjax.stats.looks import ladder, spending

ERROR = 0.05


def test_ladder_begins_and_ends_where_asked():
  assert ladder(3, 30) == (3, 5, 8, 12, 18, 30)
  assert ladder(2, 30) == (2, 3, 5, 8, 12, 18, 30)
  assert ladder(5, 5) == (5,)


@pytest.mark.parametrize(('first', 'most'), [(1, 30), (8, 5)])
def test_ladder_refuses_what_has_no_spread_or_no_end(first, most):
  with pytest.raises(ValueError, match=f'at {first} to {most} trials'):
    ladder(first, most)


def test_all_looks_together_spend_the_error_in_proportion_to_new_trials():
  spent = spending(ladder(3, 30), ERROR)
  assert sum(spent.values()) == pytest.approx(ERROR)
  assert spent[3] == pytest.approx(ERROR * 3 / 30)
  assert spent[30] == pytest.approx(ERROR * 12 / 30)


@pytest.mark.parametrize('first', [2, 3])
@pytest.mark.parametrize('tails', ['normal', 't2', 'outliers'])
def test_intervals_at_all_looks_hold_together(first, tails):
  rungs = ladder(first, 30)
  runs = _draws(tails)
  spent = np.array(list(spending(rungs, ERROR).values()))
  assert _ever_missed(runs, rungs, spent) < ERROR
  # What each look spends is what holds: with all of the error at each of them it does not.
  if tails == 'normal':
    assert _ever_missed(runs, rungs, np.full(len(rungs), ERROR)) > 3 * ERROR


def _draws(tails: str) -> np.ndarray:
  random = np.random.default_rng(4)
  shape = 4000, 30
  if tails == 't2':
    return random.standard_t(2, shape)
  if tails == 'outliers':  # differences of two that each have runs far below the others
    spoilt = (random.random((2, *shape)) < 0.1).astype(float)
    return random.standard_normal(shape) + 3.5 * (spoilt[0] - spoilt[1])
  return random.standard_normal(shape)


def _ever_missed(runs: np.ndarray, rungs: tuple[int, ...], spent: np.ndarray) -> float:
  """The share of studies of which some look's interval leaves the true mean, 0, out."""
  t = np.stack(
    [runs[:, :n].mean(1) / runs[:, :n].std(1, ddof=1) * np.sqrt(n) for n in rungs], axis=1
  )
  return float((abs(t) > stdtrit(np.array(rungs) - 1.0, 1 - spent / 2)).any(axis=1).mean())
