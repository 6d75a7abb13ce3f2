"""Panels of made-up entries, of every sort that a summary may hold; `kept_panels.py` keeps them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bsjax.report.figures.drawing import Drawing, Panel, lines_of
from bsjax.report.panels import by_class, critical, learning_rate, noise
from bsjax.report.panels.source import Source
from helpers import kept_figures

Row = Mapping[str, Any]


def on(draw: Callable[..., None], *sources: Any, **said: Any) -> Panel:
  """A panel of a source of its own."""
  return lambda axes, _: draw(axes, *sources, **said)


def made(panels: Sequence[Panel]) -> Any:
  """What panels show that are no figure of a page."""
  lines = lines_of(panels, 4)
  whole = kept_figures.shown(Drawing('made', lambda _: lines, (16, 4 * len(lines))), None)
  return [panel for _, _, panel in whole['panels']]


def sizes_of(*sizes: int, **summary: Any) -> Source:
  rows = [{'batch_size': size, 'learning_rate': 0.1} for size in sizes]
  return Source({'batch_sizes': rows, **summary})


def targets() -> list[Panel]:
  """Critical batch sizes that are known, bounded on one side, and not at all."""
  status = ['reached', 'never', 'before first evaluation']
  points = [
    {'batch_size': 8, 'examples': [900.0, 1100.0, 1000.0], 'bounds': [None] * 3},
    {'batch_size': 16, 'examples': [1300.0, None, None], 'bounds': [None, 5000.0, 400.0]},
    {'batch_size': 64, 'examples': [None, None, None], 'bounds': [6000.0, 6100.0, 200.0]},
  ]
  ways = [status[:1] * 3, status, [status[1], status[1], status[2]]]
  points = [point | {'status': way} for point, way in zip(points, ways, strict=True)]
  rows = [
    {'target': 0.5, 'b_crit': 10.0, 'ci95': [5.0, None]},
    {'target': 0.25, 'undefined': 'x'},
    {'target': 0.125, 'b_crit': None, 'ci95': [9.0, 2000.0]},
    {'target': 0.06, 'b_crit': 30.0, 'ci95': [0.0, 41.0]},
    {'target': 0.05, 'b_crit': None, 'ci95': [None, None]},
  ]
  fit = {'quantity': 'train_loss', 'target': 0.06, 'targets': rows, 'points': points}
  fit |= {'b_crit': 30.0, 'ci95': [12.0, None], 'examples_min': 700.0, 'updates_min': 23.0}
  none = {'targets': [], 'undefined': 'too few', 'points': [], 'quantity': 'val_loss'}
  entries = [
    fit | {'validation': none},
    fit | {'ci95': [20.0, 44.0], 'validation': fit | {'targets': rows[:1], 'target': 0.1}},
    fit | {'ci95': [None, None], 'validation': fit | {'targets': rows[1:2]}},
    fit | {'b_crit': None, 'validation': none},
    none | {'validation': fit},
  ]
  sources = [sizes_of(8, 16, 64, critical_batch_size=entry) for entry in entries]
  losses = [(of, loss) for of in sources[:3] for loss in ('training', 'validation')]
  shown = [on(critical.draw_hyperbola, of) for of in sources]
  return shown + [on(critical.draw_targets, of, loss=loss) for of, loss in losses]


def optima(of: Source) -> list[Panel]:
  """Best rates found, bounded and unknown; rules that hold, may hold and do not."""
  rows = [
    {'state': 'found', 'learning_rate': 0.11, 'ci95': [0.08, 0.16], 'batch_size': 8},
    {'state': 'next_to_divergence', 'learning_rate': 0.3, 'ci95': [0.2, None], 'batch_size': 16},
    {'state': 'at_grid_edge', 'bound': {'above': 0.3}, 'learning_rate': None, 'batch_size': 64},
  ]
  other = [
    {'state': 'at_grid_edge', 'bound': {'below': 0.13}, 'learning_rate': None, 'batch_size': 8},
    {'state': 'undetermined', 'learning_rate': None, 'ci95': [None, None], 'batch_size': 16},
    {'state': 'found', 'learning_rate': 0.2, 'ci95': [None, None], 'batch_size': 64},
  ]
  curve = {'batch_size': [8, 16, 64], 'learning_rate': [0.1, 0.16, 0.4]}
  curve |= {'low': [0.05, 0.1, 0.3], 'high': [0.2, 0.3, 0.5]}
  bare, said = curve | {'low': None, 'high': None}, (True, None, False, True, False)
  rules = [
    {'rule': rule, 'rms_log_misfit': 0.126 * (place + 1), 'applies': applies, 'curve': along}
    for place, (rule, applies, along) in enumerate(
      zip(learning_rate._COLOURS, said, (curve, curve, curve, bare, bare), strict=True)
    )
  ]
  power = {'batch_sizes': [8, 16], 'value': 0.7, 'ci95': [0.5, 1.5]}
  entries = [
    {'merit': 'train_loss', 'optimum': rows, 'rules': rules[:3], 'exponent': power},
    {'merit': 'val_error', 'optimum': other, 'rules': rules[3:], 'exponent': {'undefined': 'x'}},
    {'merit': 'val_loss', 'optimum': rows[:2], 'rules': [{'undefined': 'x'}]}
    | {'exponent': power | {'ci95': [None, None]}},
  ]
  shown = [on(learning_rate.draw_optimum, of, entry=entry) for entry in entries]
  return shown + [on(learning_rate.draw_valleys, of, merit=merit) for merit in ('val_loss',)]


def noises() -> list[Panel]:
  """Noise scales of all kinds with values and bounds of every sort, and other measurements."""
  values = (
    (40.0, [30.0, 55.0]),
    (60.0, [20.0, None]),
    (None, [9.0, None]),
    (None, [None, None]),
    (25.0, [0.0, 900.0]),
    (12.0, [0.0, None]),
  )
  named = [kind.name for kind in noise._all()]

  def row(size: int, first: int) -> dict[str, Any]:
    turned = [values[(place + first) % len(values)] for place in range(len(named))]
    late = {
      name: {'value': value, 'ci95': ends}
      for place, (name, (value, ends)) in enumerate(zip(named, turned, strict=True))
      if place % 4 != first
    }
    along = [{'examples': 100 * (i + 1), **dict([*late.items()][i:])} for i in range(4)]
    return {'batch_size': size, 'late': late, 'training': along}

  known = [row(8, 0), row(32, 1), row(128, 2)]
  rates = {'b_learning_rate': 50.0, 'ci95': [33.0, None]}
  crit = {'b_crit': 20.0, 'ci95': [15.0, 31.0]}
  nothing = {'b_crit': None}, {'noise_scale': {'undefined': 'x'}}
  found = [sizes_of(8, 32, 128, noise_scales=known[:count]) for count in (3, 2, 0)]
  pairs = (crit, {'noise_scale': rates}), nothing, (crit | {'ci95': [None, None]}, nothing[1])
  whole = [
    Source(of.summary | {'critical_batch_size': pair[0], 'learning_rates': pair[1]})
    for of, pair in zip((*found, found[2]), (*pairs, nothing), strict=True)
  ]
  empty = Source(whole[1].summary | {'noise_scales': [{**known[0], 'training': [], 'late': {}}]})
  panels = [on(draw, of) for of in whole for draw in (noise.draw_late, noise.draw_training)]
  return [*panels, on(noise.draw_training, empty), on(noise.draw_late, empty)]


def estimate(mean: float | None, low: float | None = None, high: float | None = None) -> Row:
  return {'mean': mean, 'ci95': [low, high], 'n': 1 if low is None else 3}


def tables_of_classes() -> list[Panel]:
  of_classes = [estimate(0.9, 0.8, 1.2), estimate(0.7), estimate(None), estimate(0.02, -0.1, 0.1)]
  row = {'class_accuracy': of_classes, 'rare': estimate(0.1, -0.2, 0.3)}
  row |= {'frequent': estimate(0.9, 0.8, 1.1), 'balanced_accuracy': estimate(0.6)}
  rows = [row | {'batch_size': 8}, row | {'batch_size': 32, 'medium': estimate(0.5)}]
  rows.append({'batch_size': 64, 'undefined': 'x'})
  shown = []
  for counts in ([30, 10, 0, 20], [30, 30, 0, 30]):
    found = {'batch_sizes': rows, 'class_counts': {'train': counts}}
    of = sizes_of(8, 32, 64, by_class=found)
    shown += [on(by_class.draw_groups, of), on(by_class.draw_classes, of)]
  return [*shown, on(by_class.draw_groups, sizes_of(8, by_class={'batch_sizes': rows[2:]}))]
