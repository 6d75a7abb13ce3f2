"""Functions of the analysis that are called with the runs of drawn studies."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from bsjax.analysis.claims import confounds
from bsjax.analysis.decide import power, rates
from bsjax.analysis.measures import borrowed_rates, critical_batch_size, gap, optimum
from bsjax.analysis.runs import budgets, curve_distance, histories, selection, targets
from bsjax.stats.estimate import Reason
from helpers import drawn_columns, drawn_spoils, drawn_studies
from helpers.draw import Draw
from helpers.kept_calls import Calls


def grid(draw: Draw) -> dict[int, list[histories.Setting]]:
  """The settings of a small study, which may lack something."""
  sizes, tried = draw.one(*drawn_studies.FEW[:4]), draw.one(*drawn_studies.RATES)

  def fewer(config: ConfigDict) -> None:
    config.trials = min(config.trials, 4)

  _, _, lanes, rows = drawn_studies.grid(draw, sizes, tried, fewer)
  drawn_columns.noise(draw, lanes, rows)
  return histories.settings(*drawn_spoils.spoiled(draw, lanes, rows))


def chosen(draw: Draw) -> dict[int, selection.Tuned]:
  return selection.select(grid(draw)).chosen


def clock_value(draw: Draw) -> tuple[str, float | None]:
  clock = draw.one(*budgets.KEYS)
  scale = {'epochs': 10, 'updates': 3000, 'learning_rate_updates': 300, 'examples': 81920}[clock]
  return clock, draw.one(None, scale * draw.random.random(), float(scale), 0.01 * scale)


def _reaches(draw: Draw) -> Any:
  tried, quantity = grid(draw), draw.one('train_loss', 'val_loss', 'val_accuracy', 'val_noise')
  if why := targets.problem(tried, quantity):
    return why
  levels = targets.choose_targets(tried, quantity, draw.one(1, 3))
  level = draw.one(0.3, 0.9, 1.5) if isinstance(levels, Reason) else draw.one(*levels, 0.7)
  use = targets.trials(tried)
  return [levels, [targets.soonest(one, quantity, level, use) for one in tried.values()]]


def _critical(draw: Draw) -> Any:
  quantity = draw.one('train_loss', 'val_accuracy')
  wanted = draw.one(None, [0.8, 1.2], [0.5], [])
  return critical_batch_size.critical_batch_size(grid(draw), quantity, wanted)


def _curves(draw: Draw) -> list[Any]:
  """Distances of curves of two settings of one study."""
  settings = [setting for tried in grid(draw).values() for setting in tried]
  logs = [curve_distance.curves(draw.one(*settings).lanes) for _ in range(2)]
  if any(one.reason for one in logs):
    return [one.reason for one in logs]
  a, b = curve_distance.aligned(*(one.by_examples for one in logs))
  n = min(len(a), len(b))
  of = draw.one(0.95, 0.8)
  distances = [curve_distance.mean_distance(a[:n], b[:n], of), curve_distance.noise_floor(a, of)]
  return [*distances, curve_distance.against_seeds(a[:n], b[:n], of)]


def _at_clock(draw: Draw) -> Any:
  clock, value = clock_value(draw)
  return gap.at_clock(chosen(draw), clock if clock in budgets.CLOCKS else 'epochs', None, value)


def _read(draw: Draw) -> list[Any]:
  best, (clock, value) = chosen(draw), clock_value(draw)
  late = draw.one(0.5, 0.75)
  return [
    budgets.meeting_point(best, clock, late),
    list(budgets.readings(best, clock, value).values()),
  ]


def _meeting(draw: Draw) -> list[Any]:
  best, clock = chosen(draw), draw.one(*budgets.CLOCKS)
  found = budgets.met(best, clock, draw.one(0.5, 0.75))
  return [found[1], [len(one.lanes[0].rows) for one in found[0].values()]]


def _tuned(draw: Draw) -> list[Any]:
  found = []
  for tried in grid(draw).values():
    best = selection.tune(tried)
    found.append([rates.rates_of(tried, best), best if isinstance(best, Reason) else best.parts])
    if not isinstance(best, Reason):
      found[-1][1] = [best.best_rate, best.selection, best.weights, best.slope, best.shifts]
      found[-1] += [best.unsafe, best.skipped, rates.kept(tried, best)]
  return found


def _optima(draw: Draw) -> list[Any]:
  quantity = draw.one('val_loss', 'train_loss', 'val_error', 'val_accuracy')
  return [
    optimum.as_json(size, optimum.optimum_of(tried, quantity)) for size, tried in grid(draw).items()
  ]


def _noise_curves(draw: Draw) -> list[Any]:
  return [histories.noise_curve(one) for tried in grid(draw).values() for one in tried[:1]]


def _confounds(draw: Draw) -> list[Any]:
  tried = grid(draw)
  best = selection.select(tried).chosen
  sizes = sorted(best)
  if len(sizes) < 2:
    return sizes
  read = {size: one for size, one in budgets.readings(best, 'epochs').items() if not one.problem}
  whose = draw.one({}, {'condition': 'b2=0.9'})
  found = [confounds.tuning(tried, best, sizes, **whose), confounds.skipped(best, sizes, **whose)]
  found += [confounds.updates(best, sizes), confounds.updates(best, sizes, read)]
  if len(read) == len(sizes):
    found.append(confounds.schedule(best, read, sizes))
    found.append(confounds.places(found[-1]))
  return found


RUNS: Calls = {
  **{'reaches': _reaches, 'critical': _critical, 'curves': _curves, 'at_clock': _at_clock},
  **{'read': _read, 'meeting': _meeting, 'tuned': _tuned, 'noise_curves': _noise_curves},
  **{'confounds': _confounds, 'optima': _optima},
  'borrowed_rates': lambda draw: borrowed_rates.borrowed_rates(chosen(draw)),
  'common_settings': lambda draw: [
    (found := budgets.common_settings(grid(draw))).reason,
    [*found.settings],
  ],
  'smallest': lambda draw: power.smallest(draw.one(0.002, 0.02), 0.005, draw.one(2, 300)),
  'gap_curves': lambda draw: gap.curves(chosen(draw)),
}
