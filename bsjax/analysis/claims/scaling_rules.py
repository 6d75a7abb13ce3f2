"""Scaling rules as runs: does a batch size with its learning rate scaled train like the base one?

The lanes of `scaling.base_batch_size` are the reference of every learning rate of the grid. The
others come at that rate scaled by each rule, and are compared with it within the trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bsjax.analysis.claims import tuned_runs
from bsjax.analysis.claims.claim import (
  ABOVE,
  BELOW,
  SUPPORTED,
  UNDETERMINED,
  Claim,
  Family,
  Finding,
  Kind,
  judge,
  within,
)
from bsjax.analysis.measures.contrast import exact
from bsjax.analysis.measures.gap import estimate
from bsjax.analysis.runs import curve_distance
from bsjax.analysis.runs.budgets import at_end
from bsjax.analysis.runs.curve_distance import aligned, curves
from bsjax.analysis.runs.histories import Setting, Tried
from bsjax.config.metrics import judged
from bsjax.plan.scaling_rules import names, same, scaled
from bsjax.stats.estimate import Reason, undefined
from bsjax.stats.intervals import mean_interval
from bsjax.stats.paired import against_best, simultaneous


def scaling_rules(
  config: Mapping[str, Any], tried: Tried, margin: float | None = None
) -> dict[str, Any] | None:
  """The content of summary['scaling_rules'], or None where the config names one rule only.

  {'base_batch_size', 'rules', 'margin', 'rates': one row for each learning rate of the grid,
  'shown': the place of the one that is best at the base batch size, 'ways': as `tuned_runs.ways`
  gives it}, or 'undefined' with the reason in place of the last three.
  """
  rules, base = names(config['scaling']['rule']), config['scaling']['base_batch_size']
  if len(rules) < 2:
    return None
  margin = judged().margin if margin is None else margin
  result: dict[str, Any] = {'base_batch_size': base, 'rules': rules, 'margin': margin}
  if why := _not_comparable(tried, base):
    return result | {'undefined': why}
  rates = [_at_rate(tried, base, rate, rules, margin) for rate in sorted(config['learning_rates'])]
  means = [row['base'][judged().val]['mean'] for row in rates]
  known = [place for place, value in enumerate(means) if value is not None]
  shown = max(known, key=lambda place: judged().metric.merit(means[place]), default=0)
  ways = tuned_runs.ways(tried, base, rules, margin)
  return result | {'rates': rates, 'shown': shown, 'ways': ways}


def setting_at(tried: Sequence[Setting], learning_rate: float) -> Setting | None:
  """The setting of a learning rate, but for rounding."""
  return next((one for one in tried if same(one.learning_rate, learning_rate)), None)


def _not_comparable(tried: Tried, base: int) -> Reason | None:
  if base not in tried:
    return Reason('base_not_run', base=base)
  if len(tried) < 2:
    return Reason('base_alone', base=base)
  for setting in (setting for settings in tried.values() for setting in settings):
    trials = [lane.plan['trial'] for lane in setting.lanes]
    if len(set(trials)) < len(trials):
      return Reason('several_lanes_per_trial')
  return None


def _at_rate(
  tried: Tried, base: int, rate: float, rules: Sequence[str], margin: float
) -> dict[str, Any]:
  """All rules and batch sizes at one rate of the grid; intervals of accuracies hold together."""
  reference, sizes = setting_at(tried[base], rate), [size for size in tried if size != base]
  confidence = simultaneous(len(rules) * len(sizes))
  if reference is None:
    raise ValueError(f'the plan has no lanes of batch size {base} at learning rate {rate}.')
  by_examples, why = curves(reference.lanes)
  grid = np.array(list(by_examples.values())).T
  floor = curve_distance.noise_floor(grid).value if by_examples else curve_distance.NOTHING.value
  runs = []
  for size in sizes:
    for rule in rules:
      value = scaled(rule, rate, size, base)
      other = setting_at(tried[size], value)
      if other is None:
        raise ValueError(f'the plan has no lanes of batch size {size} at learning rate {value}.')
      runs.append({'rule': rule} | _run(reference, other, rule, confidence, margin))
  return {
    'learning_rate': rate,
    'base': {'trials': len(reference.lanes), 'diverged': _diverged(reference)}
    | {judged().val: _final(reference), 'problem': reference.problem or why or None},
    'noise_floor': floor.to_json(),
    'confidence': confidence,
    'runs': runs,
    'closest': [_closest(runs, size, len(sizes)) for size in sizes],
  }


def _run(
  reference: Setting, other: Setting, rule: str, confidence: float, margin: float
) -> dict[str, Any]:
  """One rule at one batch size: the curve, the end, and what they show."""
  subject = rule, other.batch_size, reference.batch_size
  row: dict[str, Any] = {'batch_size': other.batch_size, 'learning_rate': other.learning_rate}
  row |= {'trials': len(other.lanes), 'diverged': _diverged(other)}
  if why := _unpaired(reference, other):
    return row | {'undefined': why}
  row |= _curve(reference, other, subject)
  ends = at_end(other), at_end(reference)
  plain, again, intervals = tuned_runs.accuracies(*ends, confidence)
  about = {
    'kind': Kind.SCALING,
    'family': Family.SCALING,
    'subject': subject,
    'quantity': judged().val,
    'budget': 'epochs',
  }
  return row | intervals | {'keeps': judge(within(margin), plain, again, **about)}


def _curve(reference: Setting, other: Setting, subject: tuple[str, int, int]) -> dict[str, Any]:
  """The distance of the curves, and how it compares with that of two seeds."""
  (base_curves, why), (other_curves, why_other) = curves(reference.lanes), curves(other.lanes)
  pair = aligned(base_curves, other_curves) if base_curves and other_curves else None
  if pair is None or not pair[0].size:
    nothing = why or why_other or Reason('curves_share_no_evaluation')
    return {'distance': {'undefined': nothing}, 'train_loss_ratio': {'undefined': nothing}}
  distances, largest = curve_distance.paired(*pair), float(np.abs(pair[0] - pair[1]).max())
  ratio = curve_distance.against_seeds(*pair)
  ends = mean_interval(pair[1][:, -1] - pair[0][:, -1])
  return {
    'distance': curve_distance.mean_distance(*pair).value.to_json()
    | {'largest': largest, 'each': distances.tolist()},
    'against_seeds': ratio.value.to_json(),
    'as_close_as_seeds': _as_close_as_seeds(ratio, subject),
    'train_loss_ratio': curve_distance.Ratio(ends).value.to_json(),
  }


def _as_close_as_seeds(ratio: curve_distance.Ratio, subject: tuple[str, int, int]) -> Claim:
  """Whether curves are closer than those of two seeds."""
  log = ratio.log if ratio.log.value is not None else undefined('no_distance')
  about = {'kind': Kind.CURVE, 'subject': subject, 'quantity': 'train_loss', 'budget': 'examples'}
  return judge(BELOW, exact(log), unit='ratio', **about)


def _closest(runs: Sequence[Mapping[str, Any]], size: int, sizes: int) -> Finding:
  """The rule whose curve is closest at a batch size, named only where it is shown."""
  mine = [run for run in runs if run['batch_size'] == size]
  usable = [run for run in mine if 'each' in run.get('distance', {})]
  missing = [run['rule'] for run in mine if run not in usable]
  out = [Reason('rules_without_distance', rules=missing)] if missing else []
  row: dict[str, Any] = {'batch_size': size, 'rule': None, 'verdict': UNDETERMINED}
  if len(usable) < 2:
    return Finding(row, (Reason('too_few_distances', rules=len(usable)), *out))
  # The smallest distance is the best: so the values are minus distances.
  values = {run['rule']: -np.array(run['distance']['each']) for run in usable}
  pairs = against_best(values, simultaneous(sizes))
  best = pairs[0].best
  level = [pair.other for pair in pairs if ABOVE.verdict(pair.interval) != SUPPORTED]
  if level:
    return Finding(row, (Reason('not_told_apart', rule=best, others=level), *out))
  gaps = [[p.other, p.interval.value, p.interval.low, p.interval.high] for p in pairs]
  row |= {'rule': best, 'verdict': SUPPORTED}
  return Finding(row, (Reason('others_farther', others=gaps), *out))


def _unpaired(reference: Setting, other: Setting) -> Reason | None:
  """Why two settings cannot be compared within trials, if they cannot."""
  for setting in (reference, other):
    if setting.problem:
      return Reason('unreadable', problems=[[setting.batch_size, setting.problem]])
  trials = [[lane.plan['trial'] for lane in setting.lanes] for setting in (reference, other)]
  return (
    None if trials[0] == trials[1] else Reason('trials_differ', first=trials[0], second=trials[1])
  )


def _diverged(setting: Setting) -> int:
  return sum(lane.diverged for lane in setting.lanes)


def _final(setting: Setting) -> dict[str, Any]:
  return estimate([] if setting.problem else setting.finals(judged().val), judged().val)
