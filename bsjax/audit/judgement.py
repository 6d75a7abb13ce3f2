"""From files or a DataFrame to what stands: read, identified, asked, answered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bsjax.analysis.claims.causes import Confound
from bsjax.analysis.claims.claim import Claim, Finding
from bsjax.analysis.claims.pooling import pooled
from bsjax.analysis.goals_to_target import run_alone
from bsjax.analysis.measures.critical_batch_size import critical_batch_size
from bsjax.analysis.measures.gap import estimate
from bsjax.analysis.recommend import recommendation
from bsjax.analysis.runs.budgets import at_end
from bsjax.analysis.runs.histories import Tried
from bsjax.audit import (
  answer,
  claims,
  clocks,
  confounds,
  exports,
  lanes,
  losses,
  runs,
  schedules,
  table,
)
from bsjax.audit.columns import LOSSES, METRICS, PER_RUN
from bsjax.audit.confounds import Facts
from bsjax.audit.files import Raw, names_of
from bsjax.audit.given import Given, given_of
from bsjax.audit.problem import Problem
from bsjax.config.metrics import USUAL
from bsjax.stats.estimate import Reason

ONE_RATE = 1.0  # stands for learning rates that nobody gave; it is never shown


class Options(NamedTuple):
  """What is said beside the tables; None is not known.

  `batch_norm` is the momentum of running statistics as Keras counts it (0.99: each update moves
  them by 1%), or 'none' for a model without BatchNorm.
  """

  columns: Mapping[str, str] = {}
  train_examples: int | None = None
  batch_norm: float | str | None = None
  momentum: float | None = None
  weight_decay: float | None = None
  price_per_hour: float | None = None


class Cell(NamedTuple):
  """One study: its runs, what was concluded, and the rows of its tables."""

  name: str
  given: Given
  claims: list[Claim]
  confounds: list[Confound]
  rows: list[dict[str, Any]]
  recommendation: list[Finding]
  answer: Finding


class Judged(NamedTuple):
  """All cells, what they say together, what was guessed to read them, and facts of the table."""

  files: list[str]
  cells: list[Cell]
  answer: Finding
  claims: list[Claim]
  confounds: list[Confound]
  notes: list[Reason]
  loss_only: bool
  rate_given: bool
  options: Options
  facts: Facts


def judge_files(paths: Sequence[str | Path], options: Options) -> Judged:
  """What stands on files; Problem where they cannot be read, with file, row, column, remedy."""
  raws = [raw for path in paths for raw in exports.read(Path(path).expanduser())]
  return judge_tables(raws, options)


def judge_frame(frame: pd.DataFrame, options: Options) -> Judged:
  """The same of a DataFrame, whose rows are named by its index."""
  frame = frame if frame.index.is_unique else frame.reset_index(drop=True)
  frame = frame.set_axis(frame.columns.map(str), axis=1)
  double = frame.columns[frame.columns.duplicated()]
  if len(double):
    raise Problem('DataFrame', 0, double[0], 'two columns have this name', 'Rename one of them')
  if not len(frame):
    raise Problem('DataFrame', 0, '', 'it has no rows', 'Give the rows of the runs')
  return judge_tables([Raw('DataFrame', frame)], options)


def judge_tables(raws: Sequence[Raw], options: Options) -> Judged:
  """What stands on tables that were read."""
  joined = table.join(raws, options.columns)
  keras = joined.kinds == {'keras'}
  timed = clocks.align(joined.rows, options.train_examples, keras)
  rows, notes = timed.rows, [*joined.notes, *timed.notes]
  rate_given = 'learning_rate' in rows
  rows = rows if rate_given else rows.assign(learning_rate=ONE_RATE)
  loss_only = USUAL.val not in rows or not rows[USUAL.val].notna().any()
  rows, more = runs.identify(rows)
  rows, of_metric = runs.completed(rows, 'val_loss' if loss_only else USUAL.val)
  if rows.empty:
    raise Problem(names_of(raws), 1, USUAL.val, 'no run has a value', 'Give the metric of each run')
  said = USUAL.val in options.columns or 'val_error' in options.columns
  rows, of_columns = runs.checked(rows, 'val_loss' if loss_only else USUAL.val, said)
  rows, changing = schedules.split(rows)
  if rows.empty:
    what, remedy = 'every run changes its batch size', 'Add runs that keep theirs'
    raise Problem(names_of(raws), 1, 'batch_size', what, remedy)
  of_schedules = schedules.claims(rows, changing, loss_only)
  rows, of_trials = runs.trials(rows)
  tried, of_ends = lanes.cells(rows, loss_only)
  notes += [*more, *of_metric, *of_columns, *of_trials, *of_ends]
  notes += [] if rate_given else [Reason('rate_not_given')]
  facts = _facts(rows, timed, joined, options, rate_given, keras)
  known = rows.columns[rows.notna().any()]
  present = frozenset(known) & {*METRICS, *LOSSES, *PER_RUN, 'seconds'}
  cells = [_cell(name, one, present, loss_only, facts, options) for name, one in tried.items()]
  files = list(dict.fromkeys(raw.name for raw in raws))
  if loss_only:
    of_schedules = [losses.claim_of_loss(claim) for claim in of_schedules]
  judged = _together(files, cells, notes, loss_only, facts, options)
  return judged._replace(claims=[*judged.claims, *of_schedules])


def _facts(
  rows: pd.DataFrame,
  timed: clocks.Clocks,
  joined: table.Joined,
  options: Options,
  rate_given: bool,
  keras: bool,
) -> Facts:
  def one(name: str, said: Any) -> Any:
    value = runs.digest(rows[name]) if name in rows and said is None else said
    return None if value is None or value != value else value

  return Facts(
    timed.train_examples,
    timed.logged,
    rate_given,
    one('batch_norm_momentum', options.batch_norm),
    one('momentum', options.momentum),
    one('weight_decay', options.weight_decay),
    joined.test,
    joined.smoothed,
    keras,
  )


def _cell(
  name: str,
  tried: Tried,
  columns: frozenset[str],
  loss_only: bool,
  facts: Facts,
  options: Options,
) -> Cell:
  known = {'epoch', 'updates'} if facts.train_examples else set(facts.logged) - {'epoch'}
  given = given_of(tried, columns, loss_only, frozenset(known))
  asked = claims.claims(given)
  around = confounds.confounds(given, asked, facts)
  said = answer.of_cell(given, asked, around)
  goals = _goals(given, facts.rate_given, options)
  if not facts.train_examples and 'epoch' not in facts.logged:
    asked = [_without_epochs(claim) for claim in asked]
  if not facts.rate_given:
    asked = [replace(claim, reasons=_of_unknown_rates(claim.reasons)) for claim in asked]
    goals = [replace(goal, reasons=_of_unknown_rates(goal.reasons)) for goal in goals]
  if loss_only:
    asked = [losses.claim_of_loss(claim) for claim in asked]
    around = [losses.confound_of_loss(confound) for confound in around]
    goals = [losses.finding_of_loss(goal) for goal in goals]
  return Cell(name, given, asked, around, _rows(given), goals, said)


def _without_epochs(claim: Claim) -> Claim:
  """Without what speaks of epochs where only examples are known."""
  kept = tuple(reason for reason in claim.reasons if reason.code != 'stand_at')
  return replace(claim, reasons=kept)


def _of_unknown_rates(reasons: Sequence[Reason]) -> tuple[Reason, ...]:
  """That rates are not given, where the one that stands for them seems the only one."""
  return tuple(Reason('rate_not_given') if r.code == 'one_rate' else r for r in reasons)


def _goals(given: Given, rate_given: bool, options: Options) -> list[Finding]:
  """What to take for each goal, never off the grid."""
  loss = next((name for name in ('train_loss', 'val_loss') if name in given.columns), None)
  critical: dict[str, Any] = {'undefined': Reason('no_column', columns=list(LOSSES)), 'points': ()}
  if not given.clocks:
    critical['undefined'] = Reason('train_examples_not_known')
  elif loss:
    critical = critical_batch_size(given.tried, loss)
  goals = recommendation(given.chosen, given.ranking, critical, given.tried)
  best, rows = goals[0], {row['batch_size']: row for row in _rows(given)}
  worse = [r.details['sizes'] for r in best.reasons if r.code == 'shown_worse']
  about = {
    'expected': rows[size]['value']['mean'] if (size := best.columns['batch_size']) else None
  }
  about['not_shown_worse'] = [one for one in rows if worse and one not in worse[0]]
  rates = [s.learning_rate for settings in given.tried.values() for s in settings]
  ends = [min(rates), max(rates)] if rate_given else []
  tested = Reason('tested', sizes=sorted(given.tried), rates=ends)
  goals[0] = Finding({**best.columns, **about}, (*best.reasons, tested))
  if 'seconds' in given.columns:  # without B_crit too: its points, or why there are none, decide
    goals.append(_fastest(given, critical, options))
  return goals


def _fastest(given: Given, critical: Mapping[str, Any], options: Options) -> Finding:
  """The least time to the target on the device of these runs, and what it costs."""
  rates = []
  for size, tuned in given.chosen.items():
    finals = [lane.final for lane in tuned.lanes]
    speeds = [row['examples'] / row['seconds'] for row in finals if row.get('seconds')]
    if speeds:
      middle = sorted(speeds)[len(speeds) // 2]
      row = {'low': min(speeds), 'median': middle, 'high': max(speeds)}
      rates.append({'batch_size': size, 'stage': '', 'examples_per_second': row})
  goal = run_alone(critical, {'rows': rates, 'hardware': 'the device of these runs'})
  least = [reason for reason in goal.reasons if reason.code == 'least_seconds']
  if not least or not options.price_per_hour:
    return goal
  cost = Reason('price', price=options.price_per_hour, seconds=least[0].details['seconds'])
  return Finding(goal.columns, (*goal.reasons, cost))


def _rows(given: Given) -> list[dict[str, Any]]:
  """What each batch size reached at its end, as the table and the figure show it."""
  rows = []
  for size, settings in given.tried.items():
    row: dict[str, Any] = {'batch_size': size, 'rates': len(settings), 'learning_rate': None}
    row |= {'trials': len(settings[0].lanes), 'value': estimate([]), USUAL.train: estimate([])}
    row |= {'at_grid_edge': None, 'updates': None}
    if size in given.chosen:
      tuned = given.chosen[size]
      reading = at_end(tuned)
      row |= {'learning_rate': tuned.learning_rate, 'trials': len(tuned.lanes)}
      row |= {
        'value': _shown(reading.repeated(USUAL.val), given.loss_only),
        USUAL.train: estimate(reading.repeated(USUAL.train), USUAL.train),
      }
      tried = [setting.learning_rate for setting in settings]
      edge = len(tried) > 1 and tuned.learning_rate in (min(tried), max(tried))
      updates = [lane.final['updates'] for lane in tuned.lanes]
      row |= {'at_grid_edge': edge, 'updates': sum(updates) / len(updates)}
    rows.append(row)
  return rows


def _shown(values: np.ndarray, loss_only: bool) -> dict[str, Any]:
  """The metric's mean and interval, or those of the loss, from what the analysis compared."""
  if not loss_only:
    return estimate(values, USUAL.val)
  result = estimate(values)
  mean, (low, high) = result['mean'], result['ci95']
  ends = [None if end is None else math.exp(-end) for end in (high, low)]
  return {'mean': None if mean is None else math.exp(-mean), 'ci95': ends, 'n': result['n']}


def _together(
  files: list[str],
  cells: list[Cell],
  notes: list[Reason],
  loss_only: bool,
  facts: Facts,
  options: Options,
) -> Judged:
  first = cells[0]
  about = (notes, loss_only, facts.rate_given, options, facts)
  if len(cells) == 1:
    return Judged(files, cells, first.answer, first.claims, first.confounds, *about)
  over_all = pooled([cell.claims for cell in cells], 'cells')
  around = confounds.over_cells([cell.confounds for cell in cells])
  said = answer.of_cells(over_all, around, len(cells))
  return Judged(files, cells, said, over_all, around, *about)
