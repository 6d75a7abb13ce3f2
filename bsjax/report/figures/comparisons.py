"""Figures of conditions and of stages; those of a plain study are in study.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from bsjax.analysis.runs.histories import Row
from bsjax.config.metrics import judged
from bsjax.format import by_reason, number
from bsjax.report.figures.drawing import Drawing, Panel, batch_sizes, lines_of
from bsjax.report.panels import conditions, stages
from bsjax.report.panels.conditions import Conditions

MOST_PANELS = 6


def panel_sizes(source: Conditions) -> list[int]:
  """The batch sizes that get a panel: the smallest, the largest and some between."""
  sizes = sorted({size for held in source.held.values() for size in held.chosen})
  if len(sizes) <= MOST_PANELS:
    return sizes
  step = (len(sizes) - 1) / (MOST_PANELS - 1)
  return [sizes[round(step * i)] for i in range(MOST_PANELS)]


def _curves(source: Conditions) -> list[Sequence[Panel]]:
  sizes = panel_sizes(source)
  panels = [partial(conditions.draw_condition_curves, size=size) for size in sizes]
  return lines_of(panels, 2 if len(sizes) in (2, 4) else 3)


FOREST = Drawing(
  'forest',
  lambda source: [[partial(conditions.draw_forest, clock=clock) for clock in source.clocks]],
  size=lambda source: (11, 1.5 + 0.32 * len(source.contrasts('examples'))),
  caption="""Differences in validation {{ metric.title }} within trials: mean and interval. Large:
  averaged over the batch sizes that both have; small: at one batch size. Intervals hold at 95% for
  all large ones of a panel at once, and for all small ones at once; one that ends at the frame goes
  on. Green: shown to be {{ judged.better_side }} zero, red: {{ judged.worse_side }}, grey: not
  told apart{% if at_updates %}, be it that values between two records might make
  up for it{% endif %}. {% if again %}Orange diamonds:
  with BatchNorm statistics re-estimated; a verdict needs both. {% endif %}The shaded band is the
  margin of {{ margin }}{{ points_of }} within which a difference counts as none.
  {% if at_updates %}Not compared at equal updates are conditions that make as many, or that
  cannot be read there.{% else %}All make as many updates, so equal updates are equal examples.
  {%- endif %}""",
)
CONDITIONS = (
  FOREST,
  Drawing(
    'condition_sizes',
    lambda _: [[partial(conditions.draw_sizes, quantity=q) for q in (judged().val, 'gap')]],
    size=(11, 4.2),
    legend=conditions.legend,
    caption="""Validation {{ metric.title }} and generalization gap at the end of training: mean and
    95% Student interval over trials.""",
  ),
  Drawing(
    'condition_curves',
    _curves,
    size=lambda source: (11, 0.8 + 3.1 * len(_curves(source))),
    legend=conditions.legend,
    caption="""Validation {{ metric.title }} against the examples seen, at the learning rate of the
    table: mean over trials, with the 95% interval at the end. The steep start is cut off.""",
  ),
)

STAGE_CURVES = Drawing(
  'stage_curves',
  lambda source: [
    [
      partial(stages.draw_stage_curves, branch=branch, quantity=quantity)
      for quantity in (judged().val, judged().train)
    ]
    for branch in source.branches
  ],
  size=lambda source: (11, 0.8 + 3.6 * len(source.branches)),
  legend=batch_sizes,
  caption="""Validation and training {{ metric.title }} by batch size, at each batch size's reported
  learning rates: mean over trials, with the 95% interval at the end
  {{- '; dashed with BatchNorm statistics re-estimated' if again }}. Broken lines across mark where
  a stage ends. The steep start is cut off.""",
)

_AT = """{% if branch %}Branch {{ branch }}: {{ metric.title }}{% else %}
{{- metric.title | capitalize }}{% endif %} and
generalization gap against batch size at {% if clock == 'epochs' %}{{ asked }}, when all have seen
the same examples{% else %}equal updates: the last by {{ asked }} at which all were evaluated,
so that smaller ones stand earlier in training{% endif %}. Mean and 95% Student interval over
trials.
{% if again %}The middle column and the orange gap take BatchNorm statistics estimated afresh on
training data. {% endif %}{{ missing | join(' ') }}"""


def at_epochs(name: str, branch: str, rows: Sequence[Row], clock: str) -> Drawing:
  """Accuracies and gap against batch size, one line of panels per epoch asked about.

  `rows` are those of `branch` in the summary. Where `clock` is 'updates' they are read at the
  updates of the largest batch size by that epoch.
  """
  again = stages.reestimated(rows)
  return Drawing(
    name,
    lambda _: [_at_one(row, clock, again) for row in rows],
    size=(11, 0.8 + 3.0 * len(rows)),
    legend=lambda _: stages.at_legend(rows),
    caption=_AT,
    facts={'branch': branch, 'clock': clock, 'missing': _missing(rows, clock)},
  )


def stage_figures(summary: Mapping[str, Any]) -> list[Drawing]:
  """The figures of the stages of a study, of each branch at both clocks."""
  by_branch: dict[str, list[Row]] = {}
  for row in summary['stages']['at']:
    by_branch.setdefault(row['branch'], []).append(row)
  asked = [(*item, clock) for item in by_branch.items() for clock in ('epochs', 'updates')]
  return [STAGE_CURVES, *(at_epochs(f'at_epochs_{i}', *each) for i, each in enumerate(asked, 1))]


def _at_one(row: Row, clock: str, again: bool) -> list[Panel]:
  """The panels of one epoch."""
  at = f'epoch {row["epoch"]:.4g}'
  if clock == 'updates':
    updates = row['updates'].get('value')
    at = f'{number(updates)} updates' if updates is not None else f'{at}, equal updates'
  kinds = [(stages.draw_accuracy_at, judged().metric.title.capitalize())]
  kinds += [(stages.draw_reestimated_at, 'The same re-estimated')] * again
  kinds += [(stages.draw_gap_at, 'Gap')]
  return [partial(draw, at=row[clock], title=f'{name}, {at}') for draw, name in kinds]


def _missing(rows: Sequence[Row], clock: str) -> list[str]:
  """A sentence for each epoch at which some batch size has nothing to show."""
  lines = []
  for row in rows:
    sizes = row[clock].get('batch_sizes', ())
    reasons = {size['batch_size']: size['undefined'] for size in sizes if 'undefined' in size}
    if reasons:
      lines.append(f'Crosses, of epoch {row["epoch"]:.4g}: {"; ".join(by_reason(reasons))}.')
  return lines
