"""The spread of runs about their trial and their setting: unbiased, and as REML has it."""

import itertools

import numpy as np
import pytest
from helpers.draws import draws
from scipy.optimize import minimize

from bsjax.stats.trial_effects import spreads


def groups_of(rng, counts, sds, trials, trial_sd=0.0, rho=0.0):
  """Runs by group: a trial effect, a mean of every setting, and errors alike within a trial."""
  effects = trial_sd * rng.normal(size=trials)
  return [
    rng.normal(size=(count, 1))
    + effects
    + sd
    * (np.sqrt(rho) * rng.normal(size=trials) + np.sqrt(1 - rho) * rng.normal(size=(count, trials)))
    for count, sd in zip(counts, sds, strict=True)
  ]


def means(counts):
  return [np.full(count, 1 / count) for count in counts]


def simulated(counts, sds, trials, studies=800, seed=0, weights=None, **kind):
  rng = np.random.default_rng(seed)
  weights = weights or means(counts)
  drawn = [spreads(groups_of(rng, counts, sds, trials, **kind), weights) for _ in draws(studies)]
  return np.array([[(one.variance, one.df) for one in spread] for spread in drawn])


COUNTS = [
  ((3, 3), (1, 1)),
  ((3, 3, 3), (1, 1, 4)),
  ((5, 3, 3, 2), (2, 1, 1, 1)),
  ((3, 3, 3, 3, 3, 1), (1, 1, 1, 1, 1, 1)),
  ((2, 2, 2, 2, 2, 2), (1, 1, 1, 1, 1, 3)),
  ((5, 5, 5, 5, 5, 5), (1, 2, 1, 2, 1, 1)),
]


@pytest.mark.parametrize('trial_sd', [0.0, 2.0])
@pytest.mark.parametrize('trials', [2, 3, 5])
@pytest.mark.parametrize('counts, sds', COUNTS)
def test_the_variance_of_a_single_run_is_unbiased(counts, sds, trials, trial_sd):
  alone = [np.eye(count)[0] for count in counts]
  found = simulated(counts, sds, trials, studies=400, trial_sd=trial_sd, weights=alone)[:, :, 0]
  ratios = found / np.square(sds)
  error = ratios.std(axis=0) / np.sqrt(len(ratios))
  assert (np.abs(ratios.mean(axis=0) - 1) < 0.1 + 2.5 * error).all()


def test_where_the_others_are_too_noisy_to_tell_the_variance_is_rather_too_large():
  found = simulated((5, 4), (1, 3), 3, trial_sd=1.0, weights=[np.eye(5)[0], np.eye(4)[0]])
  small, large = found[:, :, 0].mean(axis=0)
  assert 1.2 < small < 2.0 and large == pytest.approx(9, rel=0.1)


@pytest.mark.parametrize('counts, sds', COUNTS)
def test_that_of_a_mean_of_runs_is_not_too_small(counts, sds):
  # What is added for the correlation of runs is cut off at zero, and so is a little too much.
  found = simulated(counts, sds, 5, studies=400, trial_sd=2.0)[:, :, 0].mean(axis=0)
  truth = np.square(sds) / np.array(counts)
  assert (found / truth > 0.93).all() and (found / truth < 1.6).all()


def test_the_effect_of_a_trial_is_taken_off_whatever_its_size():
  counts, sds = (3, 4, 5), (1, 2, 1)
  rng = np.random.default_rng(2)
  groups = groups_of(rng, counts, sds, 4)
  moved = [group + np.array([5.0, -90.0, 0.5, 30.0]) for group in groups]
  plain, other = spreads(groups, means(counts)), spreads(moved, means(counts))
  assert np.array(other) == pytest.approx(np.array(plain), rel=1e-9)


def test_a_noisy_group_neither_hides_nor_fakes_what_others_show():
  quiet = simulated((3,) * 5, (1, 1, 1, 1, 1), 3, trial_sd=1.0)[:, :, 0]
  noisy = simulated((3,) * 5, (1, 1, 1, 1, 20), 3, trial_sd=1.0)[:, :, 0]
  assert noisy[:, :4].mean() == pytest.approx(quiet[:, :4].mean(), rel=0.15)
  assert noisy[:, 4].mean() == pytest.approx(400 / 3, rel=0.25)


@pytest.mark.parametrize('rho', [0.2, 0.5])
def test_runs_that_resemble_each_other_do_not_count_as_independent(rho):
  found = simulated((4,) * 6, (1,) * 6, 5, trial_sd=1.0, rho=rho)
  variances, dfs = found.transpose(2, 0, 1)
  truth = (1 - rho) / 4 + rho
  assert variances.mean() == pytest.approx(truth, rel=0.1)
  df = (2 * np.square(variances.mean(axis=0)) / variances.var(axis=0)).mean()
  assert dfs.mean() == pytest.approx(df, rel=0.35)  # 8 and 6; 16 were they independent


@pytest.mark.parametrize('counts', [(3, 3, 3), (5, 5, 5), (2,) * 6, (3, 3, 3, 3, 3, 1)])
def test_the_degrees_of_freedom_tell_how_much_the_variance_varies(counts):
  # Of a variance v with f degrees of freedom the variance is 2 v^2 / f. The errors of a group are
  # taken about what few others say of the trial, which leaves fewer than settings x (trials - 1).
  alone = [np.eye(count)[0] for count in counts]
  found = simulated(counts, (1,) * len(counts), 6, studies=1000, trial_sd=1.0, weights=alone)
  variances, dfs = found.transpose(2, 0, 1)
  truth = 2 * np.square(variances.mean(axis=0)) / variances.var(axis=0)
  assert dfs.mean(axis=0) == pytest.approx(truth, rel=0.25)
  assert (dfs.max(axis=0) < np.array(counts) * 5).all()


def reml(groups):
  """The variances of trial and groups of the highest restricted likelihood, by search."""
  counts, trials = [len(group) for group in groups], groups[0].shape[1]
  rows = np.concatenate(groups)
  # Of trials alike only contrasts between trials tell: so the likelihood is of those.
  basis = np.linalg.svd(np.eye(trials) - 1 / trials)[0][:, : trials - 1]
  contrasts = rows @ basis

  def cost(logs):
    trial, *errors = np.exp(logs)
    covariance = np.diag(np.repeat(errors, counts)) + trial
    quadratic = np.einsum('it,it->', contrasts, np.linalg.solve(covariance, contrasts))
    return (trials - 1) * np.linalg.slogdet(covariance)[1] + quadratic

  start = np.zeros(1 + len(groups))
  options = {'maxiter': 4000, 'xatol': 1e-4, 'fatol': 1e-6, 'maxfev': 4000}
  best = minimize(cost, start, method='Nelder-Mead', options=options)
  return np.exp(best.x[1:])


def test_it_agrees_with_restricted_maximum_likelihood():
  rng = np.random.default_rng(4)
  counts, sds, trials = (4, 4, 4), (1.0, 1.0, 2.0), 5
  pairs = []
  for _ in range(40):
    groups = groups_of(rng, counts, sds, trials, trial_sd=1.5)
    ours = [one.variance for one in spreads(groups, [np.eye(count)[0] for count in counts])]
    pairs.append((ours, reml(groups)))
  ours, theirs = np.array(pairs).transpose(1, 0, 2)
  assert ours.mean(axis=0) == pytest.approx(theirs.mean(axis=0), rel=0.08)
  for mine, other in zip(ours.T, theirs.T, strict=True):
    assert np.corrcoef(mine, other)[0, 1] > 0.75


def test_two_single_runs_that_agree_do_not_prove_each_other_exact():
  rng = np.random.default_rng(5)
  groups = groups_of(rng, (3, 3, 3, 1, 1), (1,) * 5, 4)
  groups[4] = groups[3] + 0.3  # alike in all trials but for a shift
  spread = spreads(groups, means((3, 3, 3, 1, 1)))
  alone = spreads(groups[:3], means((3, 3, 3)))
  assert spread[3].variance > 0.05
  # What the others show stays as it is without them.
  for one, same in itertools.islice(zip(spread, alone, strict=False), 3):
    assert one == pytest.approx(same, rel=1e-12)


def test_no_spread_at_all_is_a_variance_of_zero():
  groups = [np.full((3, 4), 0.9), np.tile(np.array([[0.8], [0.7]]), 4)]
  assert [one.variance for one in spreads(groups, means((3, 2)))] == [0.0, 0.0]


def test_one_group_without_spread_leaves_the_others_theirs():
  rng = np.random.default_rng(6)
  groups = [np.full((3, 4), 0.9), *groups_of(rng, (3, 3), (1.0, 1.0), 4)]
  spread = spreads(groups, means((3, 3, 3)))
  assert all(np.isfinite(one).all() for one in spread)
  assert spread[0].variance < min(spread[1].variance, spread[2].variance)


@pytest.mark.parametrize(
  'shapes', [[(3, 4)], [(3, 4), (1, 4)], [(3, 4), (3, 5)], [(3, 1), (3, 1)], [(1, 4), (1, 4)]]
)
def test_too_little_is_refused_with_the_shapes(shapes):
  groups = [np.zeros(shape) for shape in shapes]
  with pytest.raises(ValueError, match=r'groups have the shapes \[\(\d, \d\)'):
    spreads(groups, means([len(group) for group in groups]))
