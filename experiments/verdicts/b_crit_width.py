"""Whether the interval of B_crit could be narrower: python experiments/verdicts/b_crit_width.py

The hyperbola linearized at B_crit = 200: log updates of each batch size at its fastest rate, off by
luck of its runs and by the distance of that rate from the best one. The interval is that of
`bsjax/stats/hyperbola_trials.py`, with a share of the errors that trials have in common. Prints
coverage and median width in log B_crit, a row for each grid, by trials and share.
"""

import numpy as np
from scipy.special import expit, stdtrit

B_CRIT, LANE_SD, STUDIES, SHARES = 200.0, 0.1, 3000, (1, 0.75, 0.5, 0)
SIXTEEN, EIGHT = 2.0 ** np.arange(4, 10), 2.0 ** np.arange(3, 10)  # batch sizes from there to 512
FACTOR_2, FACTOR_3 = 0.01 * 2.0 ** np.arange(-2, 10), 10 ** np.arange(-3, 1.6, 0.5)
# Batch sizes, learning rates, and the batch size up to which the best rate grows.
GRIDS = {
  'steps of 2': (EIGHT, FACTOR_2, 79.0),
  'steps of 3.2': (EIGHT, FACTOR_3, 79.0),
  'the world b_crit': (SIXTEEN, FACTOR_3, B_CRIT),
}


def study(random, sizes, rates, grows_to, trials):
  """The error of log B_crit, its variance over trials and that of errors in common."""
  gain = expit(np.log(B_CRIT / sizes))  # d log updates / d log B_crit
  gain -= gain.mean()
  step = np.log(rates[1] / rates[0])
  best = np.log(0.6) + step * (random.random() - 0.5) - np.log1p(grows_to / sizes)
  slowness = (best[:, None] - np.log(rates)) ** 2
  slow = slowness[..., None] + LANE_SD * random.normal(size=(*slowness.shape, trials))
  off = slow[np.arange(len(sizes)), slow.mean(axis=2).argmin(axis=1)]
  errors = gain @ off / (gain @ gain)  # of each trial
  rest = off - off.mean(axis=0) - errors.mean() * gain[:, None]
  means, degrees = rest.mean(axis=1), len(sizes) - 2
  within = ((rest - means[:, None]) ** 2).sum() / ((len(sizes) - 1) * (trials - 1))
  common = max(0.0, means @ means / degrees - within / trials)
  return errors.mean(), errors.var(ddof=1) / trials, common / (gain @ gain)


def interval(of_trials, common, trials, sizes):
  """Half of the 95% interval, with Satterthwaite's degrees of freedom."""
  total = of_trials + common
  degrees = total**2 / (of_trials**2 / (trials - 1) + common**2 / (sizes - 2))
  return stdtrit(degrees, 0.975) * np.sqrt(total)


def main():
  random = np.random.default_rng(1)
  for trials in (3, 5, 8):
    for name, (sizes, rates, grows_to) in GRIDS.items():
      studies = [study(random, sizes, rates, grows_to, trials) for _ in range(STUDIES)]
      error, of_trials, common = np.array(studies).T
      for share in SHARES:
        half = interval(of_trials, share**2 * common, trials, len(sizes))
        covered, width = 100 * np.mean(np.abs(error) <= half), 2 * np.median(half)
        print(f'{name}, n = {trials}, {share} of it: {covered:.1f} ({width:.2f})', flush=True)


if __name__ == '__main__':
  main()
