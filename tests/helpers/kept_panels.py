"""All panels on small sources, with what is lost, single or unbounded; kept by test_kept.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bsjax.analysis.runs import histories
from bsjax.config.metrics import judged_of, judging
from bsjax.report.figures import scaling, study
from bsjax.report.panels import stages
from bsjax.report.panels.source import Source
from bsjax.report.summaries import summarize
from helpers import kept_figures, planted_scaling, synthetic
from helpers import kept_panel_edges as edges
from helpers import kept_panel_rows as rows_
from helpers.kept import Kept
from helpers.kept_costs import native_cost as measured_costs
from helpers.kept_records import SCORE, tokens

Row = Mapping[str, Any]
OF_STUDIES = *study.STUDY, *study.NATIVE_COST, study.OVERVIEW


def sharp(*sizes: int) -> list[dict[str, Any]]:
  """Sharpness of lanes of which some did not converge, or were not measured in some way."""
  row = synthetic.sharpness(sizes[:2] * 2, 0.1)['rows'][0]
  rows = [row | {'batch_size': sizes[0]}, row | {'batch_size': sizes[-1], 'sam': None}]
  rows.append(row | {'batch_size': sizes[0], 'lambda_max': 7.0, 'trace': 0.0, 'sam': 0.04})
  rows.append(row | {'batch_size': sizes[-1], 'lambda_max': None, 'trace': 12.0, 'sam': -0.1})
  rows.append(row | {'batch_size': sizes[0], 'lambda_max': 30.0, 'val_accuracy': None})
  rows[2]['eigenvalues'] = [{'value': 7.0, 'residual': 2.0, 'converged': False}]
  return [row | {'learning_rate_now': 0.05 + 0.05 * place} for place, row in enumerate(rows)]


def layered(row: dict[str, Any], lane: Row) -> None:
  """Single examples were measured too, of layers of which one has no noise scale."""
  size = lane['batch_size']
  pairs = {'first': (4.0 + size, 2.0), 'second': (-1.0, 1.0), 'third': (3.0, 0.5 - 0.04 * size)}
  layers = {
    name: dict(zip(('trace', 'grad_sq'), pair, strict=True)) for name, pair in pairs.items()
  }
  plain = {
    'trace': 6.0 + size / 8,
    'grad_sq': 1.0,
    'trace_var': 0.2,
    'grad_sq_var': 0.01,
    'cov': 0.0,
  }
  plain |= {'layers': layers, 'noise_scale': 6.0, 'n': 50}
  row['exact'] = {'examples': 50, 'plain': plain}


def fresh(row: dict[str, Any], lane: Row) -> None:
  """BatchNorm statistics were re-estimated, of which large batches gain."""
  gain = 2e-4 * lane['batch_size'] * (row['examples'] > 0)
  row |= {f'reestimated_{key}': row[key] for key in ('train_loss', 'val_loss', 'train_accuracy')}
  row['reestimated_val_accuracy'] = row['val_accuracy'] + gain


def source(
  sizes: Sequence[int],
  rates: Sequence[float],
  trials: int,
  change: Callable[[dict[str, Any], Row], None] = lambda row, lane: None,
  normalization: str = 'group',
  diverges: Callable[[Row], bool] = lambda lane: False,
  **beside: Any,
) -> Source:
  """A small study of random numbers."""
  plan = synthetic.plan(sizes, rates, trials)
  rows = synthetic.realistic(plan, evaluations=5, diverges=diverges)
  for row in rows:
    change(row, plan[row['lane']])
  summary = summarize(synthetic.config(normalization), plan, rows)
  return Source(summary, histories.settings(plan, rows), **beside)


def lost(lane: Row) -> bool:
  """All of the largest batch size, one trial of others at the largest rate."""
  return lane['batch_size'] == 64 or (lane['learning_rate'], lane['trial']) == (0.4, 1)


def judged_otherwise() -> dict[str, Any]:
  """A study of scores, of which more is better and which have no percent."""
  config, plan, rows, *_ = tokens(SCORE, 'score', -1.0)
  with judging(judged_of(config)):
    found = Source(summarize(config, plan, rows), histories.settings(plan, rows))
    whole = {one.label: kept_figures.shown(one, found) for one in study.STUDY[:4]}
    few = Source(found.summary, found.settings, branches={'': found.chosen})
    cell = [stages.draw_reestimated_at, stages.draw_gap_at]
    at = {'batch_sizes': found.summary['batch_sizes']}
    panels = [edges.on(draw, few, at=at, title='title') for draw in cell]
    return whole | {'at': edges.made(panels)}


def of_studies() -> dict[str, Any]:
  """Every figure of studies of few runs."""
  costs = measured_costs() | {'device_memory_gib': None}
  sources = {
    'lost': source((8, 16, 64), (0.1, 0.2, 0.4), 3, layered, diverges=lost, sharpness=sharp(8, 16)),
    'alone': source((16,), (0.1,), 1, native_cost=costs),
    'fresh': source((8, 32), (0.1, 0.2), 2, fresh, 'batch', native_cost=measured_costs()),
    'nothing': source((8, 16), (0.2,), 2, diverges=lambda lane: True, sharpness=sharp(16, 8)[1:4]),
  }
  return {
    name: {one.name: kept_figures.shown(one, of) for one in OF_STUDIES if one.applies(of)}
    for name, of in sources.items()
  }


def of_rules() -> tuple[Source, dict[str, Any]]:
  """Figures of scaling rules, and what they are drawn from."""
  config = planted_scaling.config()
  plan = planted_scaling.plan(config, trials=2)
  rows = planted_scaling.records(plan, evaluations=4)
  of = Source(summarize(config, plan, rows), histories.settings(plan, rows))
  return of, {one.name: kept_figures.shown(one, of) for one in scaling.SCALING if one.applies(of)}


def panels() -> Kept:
  """Every panel, on figures of studies or alone."""
  few = source((8, 16, 64), (0.1, 0.2, 0.4), 3)
  compared, scaled = of_rules()
  shown = {
    'targets': edges.targets(),
    'optima': edges.optima(few),
    'noises': edges.noises(),
    'classes': edges.tables_of_classes(),
    'conditions': rows_.rows_of_conditions(few),
    'rules': rows_.rules(compared),
    'arms': rows_.arms(),
    'stages': rows_.parts(few),
    'clocks': rows_.equal_clocks(),
    'cells': rows_.cells(),
  }
  numbers = {name: edges.made(each) for name, each in shown.items()}
  return Kept(numbers | of_studies() | {'compared rules': scaled, 'scores': judged_otherwise()}, {})
