"""What a study says of learning rates that were dropped within its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.runs.histories import Row
from bsjax.config.keys import BY_NAME
from bsjax.format import joined, sizes_text
from bsjax.report.text.key_phrases import shown


def remarks(summary: Mapping[str, Any]) -> list[str]:
  """How many runs ended early, and which batch sizes are best next to a dropped rate."""
  dropped_lanes = summary.get('dropped')
  if not dropped_lanes or not dropped_lanes['rates']:
    return []
  lanes = sum(len(row['lanes']) for row in dropped_lanes['rates'])
  said = [
    f'{lanes} runs ended early, after {_counts(dropped_lanes["rungs"])} examples, as the mean of '
    'all trials at their learning rate was not among the better ones of their batch size there. No '
    'number of theirs is one of the end; best rates are the best of those that were trained to it.'
  ]
  return said + beside(summary['batch_sizes'])


def beside(rows: Sequence[Row]) -> list[str]:
  """The batch sizes that may be better at a rate that was dropped."""
  near = {row['batch_size']: row['beside_dropped'] for row in rows if row.get('beside_dropped')}
  if not near:
    return []
  each = [f'{joined(f"{rate:.4g}" for rate in rates)} at {size}' for size, rates in near.items()]
  return [
    f'At {sizes_text(list(near))} the best learning rate is next to one that was dropped '
    f'({joined(each)}): tried, and worse when it was dropped, but it may be better in the end. '
    'The edge of what is left is not the edge of what was tried.'
  ]


def method(config: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
  """The sentences of the paragraph on method; '' where nothing is dropped."""
  halving, found = config.get('halving', {}), summary.get('dropped')
  if not halving.get('rungs'):
    return ''
  rungs, keep = (shown(BY_NAME[f'halving.{key}'], halving[key]) for key in ('rungs', 'keep'))
  text = (
    f'Learning rates were dropped within training, at the first evaluations after {rungs} of it: '
    f'at each, of every batch size the {keep} with the best means over trials went on, three '
    'neighbours around the best one at least, and all that lay between.'
  )
  if not found:
    return text
  share = 100 * found['lane_examples'] / found['of']
  return f'{text} This took {share:.3g}% of the examples of all runs whole.'


def _counts(rungs: Sequence[int]) -> str:
  return joined((f'{mark:,}' for mark in rungs), 'or')
