"""summary.json and report.html of a study of arms: whole studies of its workdir, compared.

Each arm is a study in WORKDIR/arms/NAME with a report of its own; this page compares those that are
finished. Rebuild it with `python -m bsjax.report --workdir=WORKDIR`.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bsjax.analysis.claims.across_arms import rules_across
from bsjax.analysis.claims.condition_contrasts import claims, compare
from bsjax.analysis.claims.conditions import Condition, of_study
from bsjax.config.metrics import Judged, judged, judging
from bsjax.format import from_to
from bsjax.plan.arms import FOLDER
from bsjax.report import comparisons, methods, page, stored_study, study_page
from bsjax.report.figures.scaling import ACROSS
from bsjax.report.text.across_arms import detail, headline
from bsjax.report.text.answer import Answer, answer
from bsjax.report.text.condition_words import condition_answer
from bsjax.report.text.method_setup import data_name, trials_of_settings
from bsjax.report.text.own_parts import model_name
from bsjax.report.text.rendered import rendered
from bsjax.storage import records, shards


def write(workdir: str | os.PathLike, names: Sequence[str] | None = None) -> Path:
  """Writes summary.json and report.html of the arms, and a missing report.html of each arm.

  Without `names` they are those of the study's config, or else the folders there, by name. Returns
  the path of the page.

  Raises:
    FileNotFoundError: no arm has started.
  """
  workdir = Path(workdir)
  names = list(names or arm_names(workdir))
  for name in names:
    shards.merge_if_ended(workdir / FOLDER / name)
  started = {
    name: stored_study.load(workdir / FOLDER / name)
    for name in names
    if stored_study.has_records(workdir / FOLDER / name)
  }
  if not started:
    raise FileNotFoundError(
      f'{workdir / FOLDER} holds no arm that has started, of {names}: run the study of arms first.'
    )
  finished = {name: study for name, study in started.items() if study.progress == 1}
  for name in started:
    if not (workdir / FOLDER / name / 'report.html').is_file():
      study_page.write(workdir / FOLDER / name)
  progress = {name: started[name].progress if name in started else 0.0 for name in names}
  with judging(_judged(started)):
    summary = summarize(finished, progress)
    records.write_json(workdir / 'summary.json', summary)
    records.write_text(workdir / 'report.html', render(summary, finished))
  return workdir / 'report.html'


def _judged(arms: Mapping[str, stored_study.StoredStudy]) -> Judged:
  """By what all arms are judged: one task, and where it says no margin the middle of theirs."""
  by_arm = [study.judged for study in arms.values()]
  return replace(by_arm[0], margin=statistics.median(by.margin for by in by_arm))


def arm_names(workdir: Path) -> list[str]:
  """The arms in the order of the config, the baseline first; without a config, by name."""
  path = workdir / 'config.json'
  if path.is_file():
    order = records.read_json(path).get('arms', {}).get('order', ())
    if order:
      return list(order)
  return sorted(arm.name for arm in (workdir / FOLDER).iterdir() if arm.is_dir())


def conditions(arms: Mapping[str, stored_study.StoredStudy]) -> list[Condition]:
  """The arms as conditions; an arm with branches is one for each of them."""
  return [condition for of_arm in _by_arm(arms).values() for condition in of_arm]


def _by_arm(arms: Mapping[str, stored_study.StoredStudy]) -> dict[str, list[Condition]]:
  return {
    name: of_study(study.config, study.plan, study.rows, name) for name, study in arms.items()
  }


def summarize(
  arms: Mapping[str, stored_study.StoredStudy], progress: Mapping[str, float] | None = None
) -> dict[str, Any]:
  """The content of a study of arms' summary.json, from its finished arms.

  {'answer', 'arms': [{'name', 'workdir', 'answer', 'batch_sizes'}], 'unfinished': {name: share
  done}, 'conditions', 'scaling_rules' (as `rules_across`, where arms compare several), 'claims',
  'hardware', 'provenance': {name: starts}}. The answer is that on scaling rules, if there is one.
  """
  comparison = compare(conditions(arms))
  compared = rendered(comparison)
  rules = rendered(rules_across({name: study.summary for name, study in arms.items()}))
  hardware = {name: study.summary.get('hardware', '') for name, study in arms.items()}
  return {
    'answer': headline(rules) if rules else condition_answer(compared).headline,
    'arms': [
      {
        'name': name,
        'workdir': f'{FOLDER}/{name}',
        'answer': answer(study.summary).headline,
        'batch_sizes': study.summary['batch_sizes'],
      }
      for name, study in arms.items()
    ],
    'unfinished': {name: share for name, share in (progress or {}).items() if name not in arms},
    'conditions': compared,
    **({'scaling_rules': rules} if rules else {}),
    'claims': [*(rules['distances'] if rules else ()), *rendered(claims(comparison))],
    'hardware': '; '.join(dict.fromkeys(filter(None, hardware.values()))),
    'provenance': {name: list(study.starts) for name, study in arms.items()},
  }


def render(summary: Mapping[str, Any], arms: Mapping[str, stored_study.StoredStudy]) -> str:
  """The page of a study of arms."""
  compared, rules = summary['conditions'], summary.get('scaling_rules')
  studies = list(arms.values())
  costs = {
    condition.name: arms[name].native_cost
    for name, of_arm in _by_arm(arms).items()
    if arms[name].native_cost
    for condition in of_arm
  }
  of_rules = Answer(headline(rules), detail(rules), []) if rules else None
  part = comparisons.condition_part(compared, conditions(arms), costs, 'Arms', own_page=not rules)
  context = {'base': rules['base_batch_size']} if rules else {}
  across = page.figures([ACROSS], rules, context) if rules else []
  figures = across or part['figures']
  top = figures.pop(0) if figures else None
  return page.render(
    'arms.html',
    summary=summary,
    answer=of_rules or condition_answer(compared),
    top=top,
    limits=_limits(studies),
    rules=rules,
    rules_answer=of_rules,
    rules_figures=across,
    conditions=part,
    spectrum=list(part['colours'].values()),
    methodology=methods.of_studies(arms),
    rows=[{**row, **_facts(arms[row['name']])} for row in summary['arms']],
    runs=sum(len(study.plan) for study in studies),
    trials_each=from_to([n for study in studies for n in trials_of_settings(study.plan)] or [0]),
    data=sorted({_data(study) for study in studies}),
  )


def _limits(studies: Sequence[stored_study.StoredStudy]) -> list[str]:
  """What is doubtful about the data, and makes the arms unlike."""
  doubts = dict.fromkeys(doubt for study in studies for doubt in study.doubts)
  limits = [f'Data: {doubt}.' for doubt in doubts]
  seeds = sorted({study.config['seed'] for study in studies})
  if len(seeds) > 1:
    limits.append(
      f'The arms have different seeds ({", ".join(map(str, seeds))}), so their trials share '
      'nothing: pairing them by number gains nothing.'
    )
  if len(data := sorted({_data(study) for study in studies})) > 1:
    limits.append(
      f'The arms have different data ({", ".join(data)}): their {judged().metric.plural} are not '
      'of one task.'
    )
  return limits


def _facts(study: stored_study.StoredStudy) -> dict[str, Any]:
  plan = study.plan
  return {
    'model': model_name(study.config),
    'sizes': sorted({row['batch_size'] for row in plan}),
    'examples': max(row['examples'] for row in plan),
    'runs': len(plan),
  }


def _data(study: stored_study.StoredStudy) -> str:
  return data_name(study.config['data'])
