"""Panels of made-up comparisons, of every sort; `kept_panels.py` keeps them."""

from __future__ import annotations

from typing import Any

from bsjax.analysis.claims.conditions import Held
from bsjax.report.figures.drawing import Panel
from bsjax.report.panels import across_arms, audit, clocks, conditions, scaled_runs, stages
from bsjax.report.panels.audit import AuditSource
from bsjax.report.panels.conditions import Conditions
from bsjax.report.panels.source import Source
from helpers.kept_panel_edges import estimate, on, sizes_of


def rows_of_conditions(of: Source) -> list[Panel]:
  """Differences with every verdict, of few and of many pairs; what conditions reached and when."""

  def contrast(first: str, second: str, effect: float | None, **changes: Any) -> dict[str, Any]:
    ends = [None, None] if effect is None else [effect - 0.01, effect + 0.012]
    row = {'first': first, 'second': second, 'batch_size': 'pooled', 'effect': effect}
    row |= {'ci95': ends, 'clock': 'examples', 'verdict': 'undetermined', 'equivalent': None}
    return row | {'reestimated': None, 'quantity': 'val_accuracy'} | changes

  again = {'effect': -0.02, 'ci95': [-0.03, -0.01]}
  alike = {'equivalent': {'margin': 0.005}}
  few = [
    contrast('a', 'b', 0.01, verdict='supported', reestimated=again, **alike),
    contrast('a', 'b', 0.2, batch_size=8, verdict='refuted', ci95=[-9.0, 9.0]),
    contrast('a', 'b', None, batch_size=16),
    contrast('a', 'c' * 40, None),
    contrast('b', 'c' * 40, -0.04, verdict='refuted', ci95=[None, None]),
    contrast('b', 'c' * 40, -0.03, batch_size=16, reestimated=again | {'ci95': [None, None]}),
    contrast('a', 'b', 0.03, clock='updates', verdict='supported'),
    contrast('a', 'b', 0.05, clock='updates', batch_size=8),
    contrast('a', 'b', 0.3, quantity='gap'),
  ]
  many = [contrast('a', f'b{place}', 0.01 * place) for place in range(9)]
  many += [row | {'batch_size': 8} for row in many]
  names = ['a', 'b', 'c' * 40]
  table = [
    {'condition': name, 'batch_size': size, 'val_accuracy': estimate(*value), 'gap': estimate(0.02)}
    for name in names[:2]
    for size, value in ((8, (0.9, 0.8, 0.97)), (32, (0.93, 0.9, 1.2)), (64, (None,)))
  ]
  held = {name: Held({}, of.chosen, {}) for name in names[:2]} | {names[2]: Held({}, {}, {})}
  first = Conditions({'names': names, 'contrasts': few, 'table': table}, held)
  other = Conditions({'names': ['a', *map(str, range(9))], 'contrasts': many, 'table': []})
  shown = [on(conditions.draw_forest, first, clock=clock) for clock in ('examples', 'updates')]
  shown += [on(conditions.draw_forest, other, clock='examples')]
  shown += [on(conditions.draw_sizes, first, quantity=name) for name in ('val_accuracy', 'gap')]
  return shown + [on(conditions.draw_condition_curves, first, size=size) for size in (8, 16)]


def rules(of: Source) -> list[Panel]:
  """Scaling rules whose runs were lost, have no interval, or one that goes on."""

  def changed(**scaling: Any) -> Source:
    found = of.summary['scaling_rules'] | scaling
    return Source(of.summary | {'scaling_rules': found}, of.settings)

  rate, rows = scaled_runs.shown(of.summary), of.summary['scaling_rules']['ways']['rows']
  far = {'val_accuracy': estimate(0.01, -0.9, 0.02)}
  far |= {'reestimated_val_accuracy': estimate(-0.004, -0.02, 0.8)}
  lost = [row | ({'undefined': 'x'} if place == 1 else far if place == 2 else {})
          for place, row in enumerate(rows)]  # fmt: skip
  runs = [
    run | {'distance': {'undefined': 'x'} if place == 1 else run['distance']}
    for place, run in enumerate(rate['runs'])
  ]
  bare = rate | {'runs': runs, 'noise_floor': estimate(None)}
  wide = rate | {'noise_floor': estimate(0.05)}
  empty = rate | {'runs': [], 'base': {'problem': 'it diverged'}}
  shown = [on(scaled_runs.draw_distances, of, rate=one) for one in (bare, wide, empty)]
  ways = [{'rows': lost}, {'undefined': 'too few'}]
  ways.append({'rows': [{**row, 'undefined': f'never at {row["clock"]}'} for row in rows]})
  clocks_ = 'epochs', 'updates'
  shown += [
    on(scaled_runs.draw_forest, changed(ways=way), clock=clock) for way in ways for clock in clocks_
  ]
  return [*shown, on(scaled_runs.draw_curves, changed(rates=None, undefined='so'), rule='sqrt')]


def arms() -> list[Panel]:
  """Rules over arms, one of which has nothing."""
  values = ('a', 'sqrt', 0.2), ('a', 'linear', 0.3), ('b', 'none', 0.1), ('b', 'linear', 0.15)
  rows = [
    {'arm': arm, 'batch_size': size, 'rule': rule}
    | {'distance': estimate(value), 'val_accuracy': estimate(-value * size / 16)}
    for arm, rule, value in values
    for size in (16, 64)
  ]
  nothing = {'arm': 'b', 'batch_size': 16, 'rule': 'sqrt', 'distance': None}
  rows.append(nothing | {'val_accuracy': estimate(None)})
  means = [
    {'batch_size': 16, 'rule': 'linear', **estimate(0.1, 0.0, 0.2)},
    {'batch_size': 16, 'rule': 'sqrt', **estimate(0.5)},
    {'batch_size': 64, 'rule': 'none', **estimate(0.3, 0.1, 0.4)},
  ]
  across = {'rules': ['none', 'sqrt', 'linear'], 'arms': ['a', 'b'], 'rows': rows}
  across |= {'accuracies': means}
  return [
    on(across_arms.draw_arms, across, size=size, quantity=quantity)
    for size in (16, 64)
    for quantity in ('distance', 'val_accuracy')
  ]


def parts(of: Source) -> list[Panel]:
  """Stages of which one is narrow, and batch sizes that cannot be read at a place."""
  ends = [('head', 0.0, 1.0), ('body', 1.0, 6.0), ('tail', 6.0, 30.0)]
  named = [dict(zip(('name', 'start_epoch', 'epoch'), end, strict=True)) for end in ends]
  staged = Source(of.summary | {'stages': {'stages': named}}, of.settings)
  staged = Source(staged.summary, of.settings, branches={'': of.chosen, 'other': {}})
  row = {'val_accuracy': estimate(0.9, 0.8, 1.1), 'train_accuracy': estimate(0.95)}
  row |= {'gap': estimate(0.03, -0.01, 0.05), 'reestimated_gap': estimate(0.02, 0.0, 0.05)}
  row |= {'reestimated_val_accuracy': estimate(0.91)}
  places = [
    {'batch_sizes': [row | {'batch_size': 8}, {'batch_size': 16, 'undefined': 'it is so'}]},
    {'batch_sizes': [{'batch_size': 8, 'undefined': 'for that'}]},
    {'undefined': 'too early'},
    {},
  ]
  draws = stages.draw_accuracy_at, stages.draw_reestimated_at, stages.draw_gap_at
  shown = [on(draw, staged, at=at, title='title') for at in places for draw in draws[:2]]
  shown += [on(draws[2], staged, at=at, title='title') for at in places]
  branches = ('', 'val_accuracy'), ('', 'train_loss'), ('other', 'val_accuracy')
  return shown + [
    on(stages.draw_stage_curves, staged, branch=one, quantity=q) for one, q in branches
  ]


def equal_clocks() -> list[Panel]:
  """Series of which some are missing, read on a subset, or not at all."""
  rows = [{'batch_size': 8, 'gap': estimate(0.1, 0.0, 0.2), 'val_accuracy': estimate(0.9)}]
  rows.append({'batch_size': 32, 'undefined': 'it is so'})
  again = {'reestimated_gap': estimate(0.2), 'reestimated_val_accuracy': estimate(0.8, 0.7, 0.9)}
  chosen = {'updates': {'batch_sizes': rows, 'subset': 512}}
  chosen |= {'epochs': {'batch_sizes': [rows[0] | again, *rows[1:]]}}
  chosen |= {'learning_rate_updates': {'batch_sizes': rows[1:]}}
  gaps = {'chosen': chosen, 'common_learning_rate': {'updates': {'batch_sizes': rows[:1]}}}
  gaps |= {'common_learning_rate': gaps['common_learning_rate'] | {'undefined': 'x'}}
  nothing = {'chosen': {clock: {'batch_sizes': []} for clock in clocks.CLOCKS}}
  found = sizes_of(8, 32, generalization_gap=gaps)
  none = sizes_of(8, generalization_gap=nothing | {'common_learning_rate': {}})
  asked = [(clock, name) for clock in clocks.CLOCKS for name in ('gap', 'val_accuracy')]
  shown = [on(clocks.draw_clock, found, clock=clock, quantity=name) for clock, name in asked]
  return [*shown, on(clocks.draw_clock, none, clock='updates', quantity='gap')]


def cells() -> list[Panel]:
  """Trends over cells: few, more than have room, of losses."""

  def trend(effect: float | None, quantity: str = 'val_accuracy', **changes: Any) -> dict[str, Any]:
    ends = [None, None] if effect is None else [effect - 0.02, effect + 0.01]
    about = {'kind': 'trend', 'budget': 'epochs', 'quantity': quantity, 'ci95': ends}
    return about | {'question': {'margin': None}, 'effect': effect} | changes

  other = [trend(9.0, budget='updates'), trend(9.0, question={'margin': 0.1}), trend(9.0, 'gap')]
  few = [('a', 0.01), ('b' * 30, -0.02), ('c', None)]
  many = [(f'cell {place}', 0.001 * place - 0.02) for place in range(44)]
  sources = []
  for named, over, losses in ((few, 0.005, False), (many, None, False), (few, 0.1, True)):
    quantity = 'val_loss' if losses else 'val_accuracy'
    each = [{'cell': name, 'claims': [*other, trend(value, quantity)]} for name, value in named]
    result = {'cells': each, 'claims': [*other, trend(over, quantity)]}
    sources.append(AuditSource(result | {'read': {'loss_only': losses}}, ()))
  return [on(audit.draw_cells, of) for of in sources]
