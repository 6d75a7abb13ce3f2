"""The base batch size against the others, their learning rate fixed, scaled by a rule, or tuned.

The base batch size is read at its best learning rate. 'Fixed' and 'scaled' take the runs at the
same rates as they are or scaled, with the same weights, so they cost no tuning of their own;
'tuned' is read at the other batch size's own best rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bsjax.analysis.claims import confounds
from bsjax.analysis.claims.claim import Family, Kind, better, judge, within
from bsjax.analysis.measures.contrast import Effect, both_kinds, difference
from bsjax.analysis.runs import budgets
from bsjax.analysis.runs.histories import Setting, Tried
from bsjax.analysis.runs.reading import Reading
from bsjax.analysis.runs.selection import Tuned, tune
from bsjax.config.metrics import REESTIMATED, judged
from bsjax.plan.scaling_rules import same, scaled
from bsjax.stats.estimate import Reason
from bsjax.stats.paired import simultaneous

TUNED = 'tuned'
BUDGETS = ('epochs', 'updates')


def ways(tried: Tried, base: int, rules: Sequence[str], margin: float) -> dict[str, Any]:
  """{'base', 'confidence', 'rows'}, one row for each batch size, way and budget ('clock').

  Or {'undefined': why}. A difference is the accuracy of the base batch size less that of the other,
  within the trial. Intervals of all rows of a budget hold together with 95%. Rows have the claims
  'better' (the base is) and 'keeps' (both are within the margin).
  """
  chosen = tune(tried[base])
  if isinstance(chosen, Reason):
    return {'undefined': Reason('nothing_to_scale', base=base, why=chosen)}
  sizes = [size for size in tried if size != base]
  confidence = simultaneous(len(sizes) * (len(rules) + 1))
  rows = []
  for size in sizes:
    for way in (*rules, TUNED):
      other = tune(tried[size]) if way == TUNED else _carried(tried[size], chosen, way)
      row = {'batch_size': size, 'way': way} | _about(tried[size], other, way)
      for budget in BUDGETS:
        compared = (
          {'undefined': other}
          if isinstance(other, Reason)
          else _compared(chosen, other, way, budget, confidence, margin)
        )
        rows.append(row | {'clock': budget} | compared)
  about = {'batch_size': base, 'selection': chosen.selection}
  about |= _about(tried[base], chosen, TUNED)
  return {'base': about, 'confidence': confidence, 'rows': rows}


def _carried(tried: Sequence[Setting], base: Tuned, rule: str) -> Tuned | Reason:
  """What is read of the base, at the rates that the rule makes of its own; or why there is none."""
  size, window = tried[0].batch_size, []
  for part in base.window:
    rate = scaled(rule, part.learning_rate, size, base.batch_size)
    setting = next((one for one in tried if same(one.learning_rate, rate)), None)
    trials = [lane.plan['trial'] for lane in part.lanes]
    lanes = {lane.plan['trial']: lane for lane in setting.lanes} if setting else {}
    if missing := [trial for trial in trials if trial not in lanes]:
      return Reason('trial_not_run', trial=missing[0], learning_rate=rate)
    paired_lanes = tuple(lanes[trial] for trial in trials)
    if failed := [[lane.plan['trial'], lane.problem] for lane in paired_lanes if lane.problem]:
      return Reason('lanes_failed', trials=failed)
    window.append(replace(setting, lanes=paired_lanes))
  nearest = window[[part.learning_rate for part in base.window].index(base.learning_rate)]
  best_rate = scaled(rule, base.best_rate, size, base.batch_size)
  at_rate = {'learning_rate': nearest.learning_rate, 'lanes': nearest.lanes, 'skipped': ()}
  return replace(base, batch_size=size, window=tuple(window), best_rate=best_rate, **at_rate)


def _about(tried: Sequence[Setting], chosen: Tuned | Reason, way: str) -> dict[str, Any]:
  """What was trained: learning rates, updates, and whether a tuned rate is at the grid's edge."""
  plan = tried[0].lanes[0].plan
  known = isinstance(chosen, Tuned)
  return {
    'learning_rate': chosen.learning_rate if known else None,
    'best_rate': chosen.best_rate if known else None,
    'at_grid_edge': confounds.at_edge(tried, chosen) if known and way == TUNED else None,
    'updates': plan['updates'],
    'updates_per_epoch': plan['updates'] / plan['epochs'],
  }


def _compared(
  base: Tuned, other: Tuned, way: str, budget: str, confidence: float, margin: float
) -> dict[str, Any]:
  """Both where they meet by this budget."""
  pair = {one.batch_size: one for one in (base, other)}
  read = budgets.readings(pair, budget)
  problems = [[size, reading.problem] for size, reading in read.items() if reading.problem]
  if problems:
    return {'undefined': Reason('unreadable', problems=problems)}
  plain, again, intervals = accuracies(*read.values(), confidence)
  if budget == 'epochs':
    context = confounds.updates(pair, list(pair))
  else:
    context = [*confounds.schedule(pair, read, list(pair)), *confounds.on_subset(read.values())]
  about = {
    'kind': Kind.WAY,
    'family': Family.SCALING,
    'subject': (base.batch_size, other.batch_size, way),
    'quantity': judged().val,
  }
  about['budget'] = budget
  sides = [confounds.skipped(pair, [size]) for size in pair]
  either = [*sides[0], *sides[1]]
  # A rate carried over from one beside the best of the base is none that the rule would give.
  void = confounds.of_worse(plain.interval, *sides) if way == TUNED else either
  places = confounds.places(context)
  return {
    'at': budgets.met(pair, budget)[1],
    'interpolated': any(reading.between for reading in read.values()),
    **intervals,
    'better': judge(better(), plain, again, context, [*void, *places], **about),
    'keeps': judge(within(margin), plain, again, context, [*either, *places], **about),
  }


def accuracies(
  first: Reading, second: Reading, confidence: float
) -> tuple[Effect, Effect | None, dict[str, Any]]:
  """The accuracy of the first less the second, by both kinds of statistics, and as columns."""

  def measure(quantity: str) -> Effect:
    return difference(first, second, quantity, confidence)

  plain, again = both_kinds(measure, (first, second), judged().val)
  columns = {judged().val: plain.interval.to_json()}
  if again is not None:
    columns[REESTIMATED + judged().val] = again.interval.to_json()
  return plain, again, columns
