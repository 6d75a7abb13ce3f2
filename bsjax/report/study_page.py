"""report.html and report.md: a study's answer, figures and details, without a network.

Rebuild it with `python -m bsjax.report --workdir=DIR`, also while the study still runs, and also
where DIR is a study of arms, whose page is that of `arms_page.py`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bsjax.analysis.goals_to_target import run_alone, seconds_to_target
from bsjax.analysis.runs import histories
from bsjax.analysis.runs.histories import Row
from bsjax.analysis.runs.selection import select
from bsjax.config.metrics import judged, judging
from bsjax.config.own import OWN
from bsjax.format import by_reason, from_to
from bsjax.noise import entries
from bsjax.report import comparisons, interactive, page
from bsjax.report.audit_page import spanned
from bsjax.report.figures.scaling import SCALING
from bsjax.report.figures.study import BY_CLASS, NATIVE_COST, STUDY
from bsjax.report.panels import clocks, learning_rate, noise, sharpness
from bsjax.report.panels.source import Source
from bsjax.report.stored_study import StoredStudy, load
from bsjax.report.text import words
from bsjax.report.text.answer import CONFOUNDS, answer
from bsjax.report.text.changes import of_study
from bsjax.report.text.claim_blocks import blocks
from bsjax.report.text.decision import rounds
from bsjax.report.text.formats import nouns
from bsjax.report.text.method_setup import data_name, trials_of_settings
from bsjax.report.text.methodology import paragraph
from bsjax.report.text.own_parts import model_name, optimizer_name
from bsjax.report.text.remarks import noise_remark
from bsjax.report.text.rendered import rendered
from bsjax.report.text.results import noise_kind, noise_source
from bsjax.storage import records, shards

FIGURES = {'study': STUDY, 'by_class': BY_CLASS, 'scaling': SCALING, 'native_cost': NATIVE_COST}


def write(workdir: str | os.PathLike) -> Path:
  """Writes report.html and report.md from the files of `workdir`; returns the path of the former.

  A summary.json by an older version is written anew: page and file must not disagree. Shards that
  have all ended are merged.

  Raises:
    FileNotFoundError: the directory does not hold a study (names what is missing).
  """
  shards.merge_if_ended(Path(workdir))
  study, path = load(Path(workdir)), Path(workdir) / 'report.html'
  html, plain = render(study)
  records.write_text(path, html)
  records.write_text(path.with_suffix('.md'), plain)
  if study.outdated:
    records.write_json(path.with_name('summary.json'), study.summary)
  return path


def render(study: StoredStudy) -> tuple[str, str]:
  """The page, and the same in plain text."""
  with judging(study.judged):
    source = source_of(study)
    parts = comparisons.parts(study, source)
    with _figures(source) as figures:  # which are drawn while the rest is written
      context = _context(study, source) | parts
      context['figures'] = figures(context)
    return page.render('report.html', **context), page.render('report.md', **context)


def source_of(study: StoredStudy) -> Source:
  """What the figures are drawn from: the first branch, and of stages the others too."""
  sharp = sharpness.latest(study.sharpness) if study.sharpness else []
  settings = histories.settings(*study.first)
  branches = {}
  if 'stages' in study.summary:
    parts = histories.by_branch(study.plan, study.rows)
    branches = {branch: select(histories.settings(*part)).chosen for branch, part in parts.items()}
  return Source(study.summary, settings, sharp, study.native_cost, branches)


def _context(study: StoredStudy, source: Source) -> dict[str, Any]:
  """What the templates of the page and the captions of its figures take."""
  summary, cost = study.summary, study.native_cost
  whole, pairs = blocks(summary['claims'])
  plan, rows = study.first
  critical = summary['critical_batch_size']
  # Of stages each has a cost of its own, and a target may lie in any.
  timed = cost and not any(row['stage'] for row in cost['rows'])
  return {
    'study': study,
    'config': study.config,
    'model': {**study.config['model'], 'name': model_name(study.config)},
    'optimizer_name': optimizer_name(study.config),
    'data': study.config['data'],
    'data_name': data_name(study.config['data']),
    'last': study.plan[0],
    'summary': summary,
    'rows': summary['batch_sizes'],
    'diverged': summary.get('diverged', []),
    'goals': summary['recommendation'] + rendered([run_alone(critical, cost)] if timed else []),
    'seconds_to_target': seconds_to_target(critical, cost) if timed else {},
    'answer': answer(summary, brief=True),
    'rounds': rounds(summary['decision']) if 'decision' in summary else [],
    'noises': noise_remark(summary['batch_sizes']),
    'spanned': spanned([row['batch_size'] for row in summary['batch_sizes']]),
    'changes': of_study(summary),
    'limits': [f'Data: {doubt}.' for doubt in study.doubts],
    'curves': _curves(source),
    'curves_of': f'of the branch {summary["branch"]}' if 'branch' in summary else '',
    'any_result': source.any_result,
    'words': _words(summary),
    'claims': whole,
    'pairs': pairs,
    'confounds': CONFOUNDS,
    'sharpness': source.sharpness,
    'cost': cost,
    'colours': source.colours,
    'spectrum': list(source.colours.values()),
    'bars': _bars(summary['batch_sizes']),
    'updates': _updates(plan, rows),
    'trials': len({row['trial'] for row in plan}),
    'trials_each': from_to(trials_of_settings(plan)),
    'over': _over(plan),
    'setup': _setup(study),
    'reestimated': judged().reestimated_val in summary['batch_sizes'][0],
    'plan_columns': list(records.PLAN_COLUMNS),
    'settings': list(_flat(study.config)),
    'methodology': paragraph(study.config, study.plan, summary, cost),
    'hardware': summary.get('hardware', ''),
  }


def _over(plan: Sequence[Mapping[str, Any]]) -> str:
  """Over what intervals are; settings of several rounds have more trials and fewer."""
  counts = trials_of_settings(plan)
  if max(counts) < 2:
    return 'one trial, hence no intervals'
  return f'n = {from_to(counts)} trials'


def _setup(study: StoredStudy) -> Markup:
  """What was trained and how, for captions."""
  config, model = study.config, study.config['model']
  kind = 'no' if model['normalization'] == 'none' else model['normalization']
  normalization = '' if model['name'] == OWN else f' ({kind} normalization)'
  hardware = study.summary.get('hardware', '')
  text = (
    f'{model_name(config)}{normalization} on {data_name(config["data"])}, '
    f'{optimizer_name(config)}, {config["schedule"]["name"]} schedule, '
    f'{study.plan[0]["epochs"]:.3g} epochs{f"; {hardware}" if hardware else ""}'
  )
  return Markup('<span class="setup">{}.</span>').format(text)


def _curves(source: Source) -> dict[str, Any] | None:
  if not source.any_result:
    return None
  runs = {'': (source.settings, source.chosen)}
  return interactive.data(runs, interactive.quantities(), list(interactive.CLOCKS), source.colours)


@contextlib.contextmanager
def _figures(source: Source) -> Iterator[Callable[[Mapping[str, Any]], dict[str, Any]]]:
  """The figures of each part of the page, none without any result; the first is the 'top' one.

  They are begun here, and what is given fills the captions from the context of the page.
  """
  if not source.any_result:
    yield lambda context: {'top': None} | {part: [] for part in FIGURES}
    return
  compared = source.summary.get('scaling_rules', {})
  facts = {'base': compared.get('base_batch_size'), 'margin': compared.get('margin')}

  def figures(context: Mapping[str, Any]) -> dict[str, Any]:
    shown = {figure.name: figure for figure in drawn({**context, **facts})}
    by_part = {
      part: [shown[drawing.name] for drawing in drawings if drawing.name in shown]
      for part, drawings in FIGURES.items()
    }
    top, *by_part['study'] = by_part['study']
    by_part['study'][0] = by_part['study'][0]._replace(wide=True)  # its neighbour is on top
    return {'top': top, **by_part}

  with page.begun(itertools.chain.from_iterable(FIGURES.values()), source) as drawn:
    yield figures


def _updates(plan: list[Row], rows: list[Row]) -> dict[int, int]:
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
        'merit': nouns()[entry['merit']],
        'exponent': words.exponent(entry['exponent']),
        'noise_scale': words.rate_noise_scale(entry['noise_scale'], entry['exponent']),
        'undetermined': words.undetermined(entry),
        'rules': words.rules(entry),
      }
      for entry in (training, training['validation'])
    ],
    'noise_kind': noise_kind(summary['batch_sizes']),
    'noise_source': noise_source(summary['batch_sizes']),
    'of_rules': f'{entries.title(shape["kind"])} at batch size {shape["batch_size"]}'
    if 'kind' in shape
    else '',
    'selection': words.selection(summary['batch_sizes']),
    'common_rate': gap['common_learning_rate'],
    'not_at_clock': {
      name: by_reason({row['batch_size']: row['undefined'] for row in rows if 'undefined' in row})
      for clock, name in clocks.CLOCKS.items()
      for rows in [gap['chosen'][clock]['batch_sizes']]
    },
    'meeting': {clock: gap['chosen'][clock]['value'] for clock in clocks.CLOCKS},
    'middle': middle['batch_size'] if middle else None,
  }


def _bars(rows: list[Row]) -> dict[int, dict[str, float]]:
  """Where to draw each validation interval in the table, in percent of a scale common to all."""
  ends = {row['batch_size']: _ends(row[judged().val]) for row in rows}
  known = {size: triple for size, triple in ends.items() if triple}
  numbers = [number for triple in known.values() for number in triple]
  if not numbers:
    return {}
  start, span = min(numbers), (max(numbers) - min(numbers)) or 1.0
  return {
    size: {
      name: 4 + 92 * (number - start) / span
      for name, number in zip(('low', 'mean', 'high'), triple, strict=True)
    }
    for size, triple in known.items()
  }


def _ends(estimate: Row) -> tuple[float, float, float] | None:
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
