"""report.html: a study's answer, figures and details in one file that opens without a network.

Rebuild it with `python -m bsjax.report --workdir=DIR`, also while the study still runs, and also
where DIR is a study of arms, whose page is that of `arms_report.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from bsjax import format
from bsjax.analysis.recommend import run_alone, seconds_to_target
from bsjax.analysis.runs import histories
from bsjax.report import comparisons
from bsjax.report.figures import plots, scaling_plots
from bsjax.report.panels import clocks, learning_rate, noise, sharpness, style
from bsjax.report.stored_study import StoredStudy, load
from bsjax.report.text import cost as cost_words
from bsjax.report.text import results, words
from bsjax.report.text.answer import answer
from bsjax.report.text.claim_blocks import blocks, effect_text
from bsjax.report.text.methodology import paragraph
from bsjax.report.text.rendered import rendered
from bsjax.storage import records

_FIGURES = {
  'accuracy': plots.accuracy,
  'gap': plots.gap,
  'learning_rates': plots.learning_rates,
  'optimum': plots.optimum,
  'critical_batch_size': plots.critical_batch_size,
  'noise_scale': plots.noise_scale,
  'noise_by_part': plots.noise_by_part,
  'equal_clocks': plots.equal_clocks,
  'curves': plots.curves,
}


def write(workdir: str | os.PathLike) -> Path:
  """Writes report.html from the files of `workdir` and returns its path.

  Raises:
    FileNotFoundError: the directory does not hold a study (names what is missing).
  """
  path = Path(workdir) / 'report.html'
  records.write_text(path, render(load(Path(workdir))))
  return path


def render(study: StoredStudy) -> str:
  """The page."""
  sharp = sharpness.latest(study.sharpness) if study.sharpness else []
  whole, pairs = blocks(study.summary['claims'])
  plan, rows = study.first
  any_result = _any_result(study.summary)
  cost, critical = study.native_cost, study.summary['critical_batch_size']
  # Of stages each has a cost of its own, and a target may lie in any.
  timed = cost and not any(row['stage'] for row in cost['rows'])
  return (
    environment()
    .get_template('report.html')
    .render(
      study=study,
      config=study.config,
      summary=study.summary,
      rows=study.summary['batch_sizes'],
      goals=study.summary['recommendation']
      + rendered([run_alone(critical, cost)] if timed else []),
      seconds_to_target=seconds_to_target(critical, cost) if timed else {},
      answer=answer(study.summary),
      any_result=any_result,
      **comparisons.parts(
        study.config, study.plan, study.rows, study.summary, any_result, study.native_cost
      ),
      figures=_figures(study, sharp),
      words=_words(study.summary),
      claims=whole,
      pairs=pairs,
      sharpness=sharp,
      colours=style.colours(study.summary),
      bars=_bars(study.summary['batch_sizes']),
      updates=_updates(plan, rows),
      trials=len({row['trial'] for row in plan}),
      plan_columns=list(records.PLAN_COLUMNS),
      settings=list(_flat(study.config)),
      methodology=paragraph(study.config, study.plan, study.summary, study.native_cost),
      hardware=study.summary.get('hardware', ''),
    )
  )


def _any_result(summary: Mapping[str, Any]) -> bool:
  return any(row['learning_rate'] is not None for row in summary['batch_sizes'])


def environment() -> jinja2.Environment:
  """Templates of the package, in which a missing value is an error."""
  # StrictUndefined: a value that the template misses must fail here, not leave a hole in the page.
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / 'templates'),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
  )
  environment.filters |= {
    'percent': format.percent,
    'noise_scale': results.noise_scale_text,
    'number': format.number,
    'memory': format.bytes_text,
    'range': cost_words.range_text,
    'cost_remark': cost_words.remark,
    'effect': effect_text,
  }
  return environment


def _figures(study: StoredStudy, sharp: list[histories.Row]) -> dict[str, Markup]:
  """All figures by name, none without any result; of what is measured beside only where it was."""
  if not _any_result(study.summary):
    return {}
  found = histories.settings(*study.first)
  drawn = {name: draw(study.summary, found) for name, draw in _FIGURES.items()}
  if 'batch_sizes' in study.summary.get('by_class', {}):
    drawn['by_class'] = plots.by_class(study.summary)
  if 'rates' in study.summary.get('scaling_rules', {}):
    drawn |= {name: draw(study.summary, found) for name, draw in scaling_plots.FIGURES.items()}
  if sharp:
    drawn['sharpness'] = plots.sharpness(study.summary, sharp)
  if study.native_cost:
    drawn['native_cost'] = plots.native_cost(study.native_cost)
  return {name: Markup(plots.svg(figure, name)) for name, figure in drawn.items()}


def _updates(plan: list[histories.Row], rows: list[histories.Row]) -> dict[int, int]:
  """By batch size the updates of a whole run, or of the longest where its batch size changes."""
  ends = {row['lane']: row['examples'] for row in plan}
  made = {row['lane']: row['updates'] for row in rows if row['examples'] == ends[row['lane']]}
  by_size: dict[int, int] = {}
  for row in plan:
    updates = made.get(row['lane'], row['updates'])
    by_size[row['batch_size']] = max(updates, by_size.get(row['batch_size'], 0))
  return by_size


def _words(summary: Mapping[str, Any]) -> dict[str, Any]:
  """The sentences of the page that follow from the summary."""
  critical = summary['critical_batch_size']
  gap, training = summary['generalization_gap'], learning_rate.by_training(summary)
  middle = noise.middle(summary)
  shape = training.get('noise_scale_of_rules', {})
  return {
    'critical': words.critical_batch_size(critical),
    'critical_validation': words.critical_batch_size(critical['validation']),
    'rates': [
      {
        'merit': words.MERITS[found['merit']],
        'exponent': words.exponent(found['exponent']),
        'noise_scale': words.rate_noise_scale(found['noise_scale'], found['exponent']),
        'undetermined': words.undetermined(found),
        'rules': words.rules(found),
      }
      for found in (training, training['validation'])
    ],
    'of_rules': f'{noise.KINDS[shape["kind"]][0]} at batch size {shape["batch_size"]}'
    if 'kind' in shape
    else '',
    'selection': words.selection(summary['batch_sizes']),
    'common_rate': gap['common_learning_rate'],
    'not_at_clock': {
      name: format.by_reason(
        {row['batch_size']: row['undefined'] for row in rows if 'undefined' in row}
      )
      for clock, name in clocks.CLOCKS.items()
      for rows in [gap['chosen'][clock]['batch_sizes']]
    },
    'meeting': {clock: gap['chosen'][clock]['value'] for clock in clocks.CLOCKS},
    'middle': middle['batch_size'] if middle else None,
  }


def _bars(rows: list[histories.Row]) -> dict[int, dict[str, float]]:
  """Where to draw each validation interval in the table, in percent of a scale common to all."""
  ends = {row['batch_size']: _ends(row['val_accuracy']) for row in rows}
  numbers = [number for triple in ends.values() if triple for number in triple]
  if not numbers:
    return {}
  start, span = min(numbers), (max(numbers) - min(numbers)) or 1.0
  place = lambda number: 4 + 92 * (number - start) / span
  return {
    size: dict(zip(('low', 'mean', 'high'), map(place, triple), strict=True))
    for size, triple in ends.items()
    if triple
  }


def _ends(estimate: histories.Row) -> tuple[float, float, float] | None:
  mean, (low, high) = estimate['mean'], estimate['ci95']
  if mean is None:
    return None
  return (mean, mean, mean) if low is None else (low, mean, high)


def _flat(config: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, str]]:
  """The keys of a nested config as flags name them, with their values."""
  for key, value in config.items():
    if isinstance(value, Mapping):
      yield from _flat(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}', json.dumps(value)
