"""A paragraph on method, ready for a paper: every figure in it is of the study, none is assumed.

What the files of a study do not hold is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bsjax.analysis.runs.histories import Row
from bsjax.format import joined, sizes_text
from bsjax.report.text import (
  dropped,
  method_measured,
  method_results,
  method_rounds,
  method_scaling,
  method_setup,
  own_parts,
)

Config = Mapping[str, Any]


class Joined(NamedTuple):
  """The methods of several arms: what all share, and by topic what differs, one text per arm."""

  text: str
  differs: dict[str, dict[str, str]]


def paragraph(
  config: Config,
  plan_rows: Sequence[Row],
  summary: Mapping[str, Any],
  native_cost: Mapping[str, Any] | None = None,
) -> str:
  """The method of a study, from what its workdir holds."""
  return ' '.join(topics(config, plan_rows, summary, native_cost).values())


def topics(
  config: Config,
  plan_rows: Sequence[Row],
  summary: Mapping[str, Any],
  native_cost: Mapping[str, Any] | None = None,
) -> dict[str, str]:
  """The sentences of the paragraph by topic, in order; what nothing is known of is left out.

  native_cost: the content of native_cost.json (`native_cost.run.measure_study`).
  """
  sizes = sorted({row['batch_size'] for row in plan_rows})
  texts = {
    'model': method_setup.model(config),
    'task': own_parts.task(config),
    'data': method_setup.data(config, plan_rows, summary),
    'sampling': method_setup.sampling(config) if plan_rows else '',
    'batch sizes': f'We trained with {sizes_text(sizes)}.' if sizes else '',
    'length': method_setup.length(config, plan_rows, sizes),
    'optimizer': method_setup.optimizer(config),
    'schedule': method_setup.schedule(config),
    'initial weights': method_setup.initial_weights(config),
    'stages': method_setup.stages(config),
    'learning rates': method_setup.rates(config),
    'dropped': dropped.method(config, summary),
    'scaling': method_scaling.sentences(config, sizes, summary),
    'hyperparameters': method_scaling.hyperparameter_rules(config, plan_rows),
    'selection': method_results.selection(summary),
    'trials': method_setup.trials(config, plan_rows),
    'rounds': method_rounds.sentences(summary),
    'micro-batches': method_results.micro_batches(plan_rows, native_cost),
    'normalization': method_measured.batch_norm(config, plan_rows),
    'evaluation': method_measured.evaluation(config, plan_rows),
    'measurement of noise': method_measured.noise_scale(config, plan_rows),
    'intervals': method_results.intervals(plan_rows, summary),
    'noise scale': method_results.noise_scale(summary),
    'critical batch size': method_results.critical(summary),
    'hardware': method_results.hardware(summary, native_cost),
  }
  return {topic: text for topic, text in texts.items() if text}


def joined_arms(arms: Mapping[str, Mapping[str, str]]) -> Joined:
  """The topics of several arms brought together: what is the same in all is said once."""
  order = list(dict.fromkeys(topic for texts in arms.values() for topic in texts))
  texts = {topic: {arm: said.get(topic, '') for arm, said in arms.items()} for topic in order}
  same = [topic for topic in order if len(set(texts[topic].values())) == 1]
  common = ' '.join(next(iter(texts[topic].values())) for topic in same)
  about = f'{len(arms)} studies were run: {joined(arms)}. {common}'.strip()
  return Joined(about, {topic: texts[topic] for topic in order if topic not in same})


def as_text(methods: Joined) -> str:
  """The same as plain text, the differences as a list."""
  lines = [methods.text]
  for topic, texts in methods.differs.items():
    lines += ['', f'{topic[0].upper()}{topic[1:]}']
    lines += [f'- {arm}: {text or "not known"}' for arm, text in texts.items()]
  return '\n'.join(lines)
