"""A made-up study as the workdir of a finished run, and what the product's analysis says of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from bsjax.analysis.runs.histories import progress, provisional
from bsjax.config import base_config
from bsjax.plan import plan
from bsjax.report.summaries import summarize
from bsjax.storage import records
from helpers.world_runs import Runs, simulate
from helpers.worlds import EPOCHS, EVALUATIONS, TRAIN_EXAMPLES, VALIDATION_EXAMPLES, World

CLASSES = 10


class Made(NamedTuple):
  """A study as its workdir holds it."""

  config: ConfigDict
  lanes: Sequence[Mapping[str, Any]]
  rows: Sequence[Mapping[str, Any]]
  facts: Mapping[str, Any]

  def summary(self) -> dict[str, Any]:
    """What `python -m bsjax.report` finds in the workdir before it draws a page."""
    config, finished = json.loads(self.config.to_json()), progress(self.lanes, self.rows) == 1
    reached = self.lanes if finished else provisional(self.lanes, self.rows)
    return summarize(config, reached, self.rows, facts=self.facts)

  def write(self, workdir: Path) -> None:
    """Writes config.json, plan.csv, data.json and records.jsonl."""
    (workdir / 'config.json').write_text(self.config.to_json())
    records.write_plan(workdir / 'plan.csv', self.lanes)
    records.write_json(workdir / 'data.json', self.facts)
    records.write(workdir / 'records.jsonl', self.rows)


def config_of(world: World, trials: int) -> ConfigDict:
  config = base_config()
  config.batch_sizes, config.learning_rates = world.batch_sizes, world.learning_rates
  config.trials, config.epochs, config.evaluations = trials, EPOCHS, EVALUATIONS
  config.model.normalization = 'batch' if world.stale else 'none'
  config.noise_scale.online = False
  return config


def made(world: World, trials: int, seed: int | tuple[int, ...]) -> Made:
  """A study that is simulated."""
  config = config_of(world, trials)
  planned = plan.make_plan(config, TRAIN_EXAMPLES)
  lanes, examples = plan.lane_rows(planned), np.array(planned.first.evaluations)
  runs = simulate(world, lanes, examples, seed)
  return Made(config, lanes, list(rows(runs, lanes, examples)), facts(VALIDATION_EXAMPLES))


def write_workdir(
  workdir: Path,
  config: ConfigDict,
  lanes: Sequence[Mapping[str, Any]],
  record_rows: Iterable[Mapping[str, Any]],
  validation_examples: int,
) -> None:
  """Writes what a study leaves on disk that the report reads."""
  Made(config, lanes, list(record_rows), facts(validation_examples)).write(workdir)


def rows(
  runs: Runs, lanes: Sequence[Mapping[str, Any]], examples: np.ndarray
) -> Iterator[dict[str, Any]]:
  """The rows of records.jsonl, in the order in which a study writes them."""
  val, train = runs.val.tolist(), runs.train.tolist()
  losses = np.where(np.isnan(runs.loss), None, runs.loss).tolist()
  val_losses = np.where(np.isnan(runs.loss), None, 1.1 * runs.loss + 0.02).tolist()
  again = [curve.tolist() for curve in runs.reestimated or ()]
  seen, diverged = runs.seen.tolist(), runs.diverged.tolist()
  for at, position in enumerate(examples.tolist()):
    for i, lane in enumerate(lanes):
      if seen[i][at]:
        loss, val_loss = losses[i][at], val_losses[i][at]
        measured = {'train': (loss, train[i][at]), 'val': (val_loss, val[i][at])}
        for prefix, curve in zip(('val', 'train'), again, strict=False):
          fresh_loss = val_loss if prefix == 'val' else loss
          measured[f'reestimated_{prefix}'] = fresh_loss, curve[i][at]
        yield row(lane, position, position / TRAIN_EXAMPLES, measured, diverged[i][at])


def row(
  lane: Mapping[str, Any],
  examples: int,
  epoch: float,
  measured: Mapping[str, tuple[float | None, float]],
  diverged: bool,
) -> dict[str, Any]:
  """A row of records.jsonl; `measured` holds loss and accuracy by the prefix of their columns."""
  updates = examples // lane['batch_size']
  columns = {
    'lane': lane['lane'],
    'examples': examples,
    'epoch': epoch,
    'stage': 0,
    'updates': updates,
    'batch_size': lane['batch_size'],
    'learning_rate': lane['learning_rate'],
    'learning_rate_sum': updates * lane['learning_rate'],
  }
  for prefix, (loss, accuracy) in measured.items():
    columns |= {f'{prefix}_loss': loss, f'{prefix}_accuracy': accuracy}
    columns[f'{prefix}_balanced_accuracy'] = accuracy
  nothing = {'b_simple': None, 'b_simple_ci95': [None, None], 'b_simple_unbounded': False}
  return columns | {'diverged': diverged} | nothing | {'noise': NO_NOISE, 'noise_early': NO_NOISE}


_EMPTY = dict.fromkeys(('trace', 'grad_sq', 'trace_var', 'grad_sq_var', 'cov', 'negative'))
NO_NOISE = {'count': 0, **_EMPTY, 'spans': {'count': 0, **_EMPTY}}


def facts(validation_examples: int) -> dict[str, Any]:
  """The content of data.json: ten classes, all alike."""
  counts = {'train': TRAIN_EXAMPLES, 'validation': validation_examples}
  return {
    'fingerprint': 'of no data',
    'class_names': [str(label) for label in range(CLASSES)],
    'class_counts': {split: [whole // CLASSES] * CLASSES for split, whole in counts.items()},
    'copies': {'shared': 0, 'within': 0, 'ambiguous': 0},
    'doubts': [],
    'classes_per_batch': [],
  }
