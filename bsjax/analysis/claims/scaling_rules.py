"""Scaling rules as runs: does a batch size with its learning rate scaled train like the base one?

The lanes of `scaling.base_batch_size` are the reference of every learning rate of the grid. The
others come at that rate scaled by each rule, and are compared with it within the trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bsjax.analysis.claims import tuned_runs, verdicts
from bsjax.analysis.claims.verdicts import MARGIN, SUPPORTED, UNDETERMINED, claim
from bsjax.analysis.measures.gap import estimate
from bsjax.analysis.runs import curve_distance
from bsjax.analysis.runs.curve_distance import aligned, curves
from bsjax.analysis.runs.histories import LaneHistory, Setting
from bsjax.plan.scaling_rules import names, same, scaled
from bsjax.stats.estimate import Estimate, Reason
from bsjax.stats.intervals import mean_interval
from bsjax.stats.paired import against_best

Found = Mapping[int, Sequence[Setting]]
NAMES = {
  'none': 'the learning rate kept',
  'sqrt': 'square-root scaling',
  'linear': 'linear scaling',
}
ACCURACIES = ('val_accuracy', 'reestimated_val_accuracy')


def scaling_rules(
  config: Mapping[str, Any], found: Found, margin: float = MARGIN
) -> dict[str, Any] | None:
  """The content of summary['scaling_rules'], or None where the config names one rule only.

  {'base_batch_size', 'rules', 'margin', 'rates': a row a learning rate of the grid, 'shown': the
  place of the one that is best at the base batch size, 'ways': as `tuned_runs.ways` gives it}, or
  'undefined' with the reason in place of the last three.
  """
  rules, base = names(config['scaling']['rule']), config['scaling']['base_batch_size']
  if len(rules) < 2:
    return None
  result: dict[str, Any] = {'base_batch_size': base, 'rules': rules, 'margin': margin}
  if why := _not_comparable(found, base):
    return result | {'undefined': why}
  rates = [_at_rate(found, base, rate, rules, margin) for rate in sorted(config['learning_rates'])]
  accuracies = [row['base']['val_accuracy']['mean'] for row in rates]
  known = [place for place, value in enumerate(accuracies) if value is not None]
  shown = max(known, key=lambda place: accuracies[place], default=0)
  ways = tuned_runs.ways(found, base, rules, margin)
  return result | {'rates': rates, 'shown': shown, 'ways': ways}


def setting_at(tried: Sequence[Setting], learning_rate: float) -> Setting | None:
  """The setting of a learning rate, but for rounding."""
  return next((each for each in tried if same(each.learning_rate, learning_rate)), None)


def _not_comparable(found: Found, base: int) -> str:
  if base not in found:
    return f'scaling.base_batch_size={base} is not a batch size of the study: nothing to compare to'
  if len(found) < 2:
    return f'batch size {base} is the only one'
  for setting in (setting for tried in found.values() for setting in tried):
    trials = [lane.plan['trial'] for lane in setting.lanes]
    if len(set(trials)) < len(trials):
      return 'a setting has several lanes a trial (branches), and none of them is the reference'
  return ''


def _at_rate(
  found: Found, base: int, rate: float, rules: Sequence[str], margin: float
) -> dict[str, Any]:
  """All rules and batch sizes at one rate of the grid; intervals of accuracies hold together."""
  reference, sizes = setting_at(found[base], rate), [size for size in found if size != base]
  confidence = 1 - 0.05 / (len(rules) * len(sizes))
  if reference is None:
    raise ValueError(f'the plan has no lanes of batch size {base} at learning rate {rate}.')
  own, why = curves(reference.lanes)
  grid = np.array(list(own.values())).T
  floor = curve_distance.noise_floor(grid).value if own else curve_distance.NOTHING.value
  runs = []
  for size in sizes:
    for rule in rules:
      value = scaled(rule, rate, size, base)
      other = setting_at(found[size], value)
      if other is None:
        raise ValueError(f'the plan has no lanes of batch size {size} at learning rate {value}.')
      runs.append({'rule': rule} | _run(reference, other, NAMES[rule], confidence, margin))
  return {
    'learning_rate': rate,
    'base': {'trials': len(reference.lanes), 'diverged': _diverged(reference)}
    | {'val_accuracy': _final(reference), 'problem': reference.problem or why or None},
    'noise_floor': _json(floor),
    'confidence': confidence,
    'runs': runs,
    'closest': [_closest(runs, size, len(sizes)) for size in sizes],
  }


def _run(
  reference: Setting, other: Setting, name: str, confidence: float, margin: float
) -> dict[str, Any]:
  """One rule at one batch size: the curve, the end, and what they show."""
  size, base = other.batch_size, reference.batch_size
  row: dict[str, Any] = {'batch_size': size, 'learning_rate': other.learning_rate}
  row |= {'trials': len(other.lanes), 'diverged': _diverged(other)}
  why = _unpaired(reference, other)
  if why:
    return row | {'undefined': why}
  row |= _curve(reference, other, f'with {name}, batch size {size}')
  differences = {
    key: _difference(other.lanes, reference.lanes, key, confidence)
    for key in ACCURACIES
    if all(key in lane.final for lane in (*reference.lanes, *other.lanes))
  }
  row |= {key: _json(interval) for key, interval in differences.items()}
  text = (
    f'{name} keeps the accuracy of batch size {base} at {size}, within {100 * margin:g} '
    'percentage points'
  )
  kinds, rule = list(differences.values()), verdicts.near(0.0, margin)
  return row | {'keeps': verdicts.of_accuracies(text, rule, kinds, confidence, margin)}


def _curve(reference: Setting, other: Setting, name: str) -> dict[str, Any]:
  """The distance of the curves, and how it compares with that of two seeds."""
  (own, why), (there, why_there) = curves(reference.lanes), curves(other.lanes)
  pair = aligned(own, there) if own and there else None
  if pair is None or not pair[0].size:
    nothing = why or why_there or 'they have no evaluation in common'
    return {'distance': {'undefined': nothing}, 'train_loss_ratio': {'undefined': nothing}}
  each, largest = curve_distance.paired(*pair), float(np.abs(pair[0] - pair[1]).max())
  ratio = curve_distance.against_seeds(*pair)
  ends = mean_interval(pair[1][:, -1] - pair[0][:, -1])
  text = f'{name} is as close to the curve of {reference.batch_size} as two seeds are'
  sound = ratio.log.value is not None
  why_not = 'Found: ' + _ratio_text(ratio.value) if sound else 'A distance is zero or unknown.'
  verdict = verdicts.below(ratio.log) if sound else UNDETERMINED
  return {
    'distance': _json(curve_distance.mean_distance(*pair).value)
    | {'largest': largest, 'each': each.tolist()},
    'against_seeds': _json(ratio.value),
    'as_close_as_seeds': claim(text, verdict, ratio.value, 'ratio of distances', [why_not]),
    'train_loss_ratio': _json(curve_distance.Ratio(ends).value),
  }


def _closest(runs: Sequence[Mapping[str, Any]], size: int, sizes: int) -> dict[str, Any]:
  """The rule whose curve is closest at a batch size, named only where it is shown."""
  mine = [run for run in runs if run['batch_size'] == size]
  usable = [run for run in mine if 'each' in run.get('distance', {})]
  out = [NAMES[run['rule']] for run in mine if run not in usable]
  row: dict[str, Any] = {'batch_size': size, 'rule': None, 'verdict': UNDETERMINED}
  note = f' Left out, without a distance: {", ".join(out)}.' if out else ''
  if len(usable) < 2:
    return row | {'why': f'{len(usable)} rule(s) have a distance: nothing to compare.{note}'}
  values = {place: -np.array(run['distance']['each']) for place, run in enumerate(usable)}
  pairs = against_best(values, 1 - 0.05 / sizes)
  name = lambda place: NAMES[usable[place]['rule']]
  level = [name(pair.other) for pair in pairs if verdicts.above(pair.interval) != SUPPORTED]
  best = pairs[0].best
  if level:
    why = f'{name(best)} has the smallest mean, not told apart from {", ".join(level)}.{note}'
    return row | {'why': why}
  gaps = [f'{name(pair.other)} is farther by {_gap_text(pair.interval)}' for pair in pairs]
  why = f'{"; ".join(gaps)}, at 95% for all pairs and batch sizes at once.{note}'
  return row | {'rule': usable[best]['rule'], 'verdict': SUPPORTED, 'why': why}


def _unpaired(reference: Setting, other: Setting) -> str | Reason:
  """Why two settings cannot be compared within trials, or nothing."""
  for setting in (reference, other):
    if setting.problem:
      return Reason('of_batch_size', batch_size=setting.batch_size, why=setting.problem)
  trials = [[lane.plan['trial'] for lane in setting.lanes] for setting in (reference, other)]
  return '' if trials[0] == trials[1] else f'the trials differ: {trials[0]} and {trials[1]}'


def _difference(
  a: Sequence[LaneHistory], b: Sequence[LaneHistory], key: str, confidence: float
) -> Estimate:
  columns = (np.array([lane.final[key] for lane in lanes], dtype=np.float64) for lanes in (a, b))
  return mean_interval(np.subtract(*columns), confidence)


def _diverged(setting: Setting) -> int:
  return sum(any(row['diverged'] for row in lane.rows) for lane in setting.lanes)


def _final(setting: Setting) -> dict[str, Any]:
  return estimate([]) if setting.problem else estimate(setting.finals('val_accuracy'))


def _json(interval: Estimate) -> dict[str, Any]:
  return {'mean': interval.value, 'ci95': [interval.low, interval.high], 'n': interval.n}


def _gap_text(interval: Estimate) -> str:
  return f'{interval.value:.3g} [{interval.low:.3g}, {interval.high:.3g}]'


def _ratio_text(ratio: Estimate) -> str:
  if ratio.low is None:
    return f'{ratio.value:.3g} times the distance of two seeds, n = {ratio.n}, without an interval.'
  return (
    f'{ratio.value:.3g} times the distance of two seeds, 95% interval {ratio.low:.3g} to '
    f'{ratio.high:.3g}, n = {ratio.n}.'
  )
