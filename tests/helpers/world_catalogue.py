"""The worlds that verdicts are measured in, by name."""

from __future__ import annotations

import math

from helpers.worlds import World

WORSE = (0.0, 0.0, 0.0, 0.5, 1.0, 1.5)  # points: three equal batch sizes, then three worse ones
CRITICAL_SIZES = (16, 32, 64, 128, 256, 512)
FINE_RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)

_WORLDS = (
  # What is asked first: nothing, something, and something that has another cause.
  World('no_effect'),
  World('real_effect', worse=WORSE),
  World('graded_effect', worse=(0.9, 0.3, 0.0, 0.1, 0.5, 1.2)),
  World('only_updates', updates_cost=2.0, b_crit=0.0, confound='updates'),
  World(
    'untuned', learning_rates=(0.1,), optimum=0.01, optimum_power=1.0, confound='learning_rate'
  ),
  World('best_rate_scales', optimum=0.01, optimum_power=1.0),
  World('stale_batch_norm', stale=0.3, confound='batch_norm'),
  World(
    'grid_too_narrow',
    learning_rates=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
    optimum=0.1,
    optimum_power=1.0,
    confound='learning_rate',
  ),
  # Noise that is not normal, not equal, not independent.
  World('unequal_variance', noisier={32: 5.0}),
  World('unequal_variance_largest', noisier={256: 5.0}),
  World('heavy_tails', heavy_tails=True),
  World('outliers', outliers=0.1),
  World('common_within_size', within_size=0.3),
  World('ceiling', top=99.8),
  # Runs that fail or are missing.
  World('diverged_lane', diverged_per_trial=1),
  World('diverged_lane_real_effect', diverged_per_trial=1, worse=WORSE),
  World('unstable_rates', unstable_above=0.2, unstable_share=0.3),
  World('unfinished', unfinished=2),
  # Valleys that are no parabola inside the grid, and few rates.
  World('kink', valley='kink', curvature=0.4),
  World('cliff', valley='cliff', curvature=0.4),
  World('cliff_real_effect', valley='cliff', curvature=0.4, worse=WORSE),
  World('optimum_between_rates', optimum=0.055),
  World('optimum_at_edge', optimum=1.0),
  World('three_rates', learning_rates=(0.03, 0.1, 0.3)),
  World('two_rates', learning_rates=(0.03, 0.1), optimum=0.06),
  World('one_rate', learning_rates=(0.1,)),
  World('one_rate_real_effect', learning_rates=(0.1,), worse=WORSE),
  # The critical batch size: best rates as theory has them; at x times the best rate an update gets
  # 2 x - x^2 as far, so that near it log updates grow as the square of log x. How far each batch
  # size is from a rate of the grid is luck of the study.
  World(
    'b_crit',
    batch_sizes=CRITICAL_SIZES,
    learning_rates=FINE_RATES,
    optimum=0.05,
    optimum_power=None,
    unaligned=math.log(10) / 2,
    slowness=1.0,
  ),
  World(
    'b_crit_grid_too_narrow',
    batch_sizes=CRITICAL_SIZES,
    learning_rates=(0.001, 0.003, 0.01, 0.03),
    optimum=0.01,
    optimum_power=1.0,
    b_crit=math.inf,
    confound='learning_rate',
  ),
)
WORLDS = {world.name: world for world in _WORLDS}
