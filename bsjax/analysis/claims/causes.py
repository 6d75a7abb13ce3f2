"""What besides the batch size may make the difference that is shown: confounds, with evidence.

The effect is what the headline rests on: the best batch size less the mean of those it is shown to
beat, else the trend over all. A confound is present or not, or unknown. Where the runs can tell, it
explains the effect or does not: it does where less than half of the effect, or less than the
margin, is shown to be left without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from bsjax.analysis.claims import confounds
from bsjax.analysis.claims.claim import (
  SUPPORTED,
  UNDETERMINED,
  Claim,
  Family,
  Kind,
  Question,
  within,
)
from bsjax.analysis.measures.batch_size_contrasts import Comparison
from bsjax.analysis.runs.histories import Tried
from bsjax.analysis.runs.reading import Reading
from bsjax.analysis.runs.selection import Chosen
from bsjax.config.metrics import REESTIMATED, judged
from bsjax.config.own import OWN
from bsjax.optim.entries import OPTIMIZERS
from bsjax.plan import hyperparameters
from bsjax.stats.estimate import Estimate, Reason
from bsjax.stats.paired import slope_weights

UNKNOWN = 'unknown'
LEFT = 0.5  # the share of an effect that may be left where a confound explains it
SAME_SCALE = 1.5  # time scales that differ by less than this factor are alike
LAG = REESTIMATED + 'lag'
# The codes of confounds, in the order of summary['confounds'].
UPDATES, RATES, EDGE, STALE = (
  'unequal_updates',
  'learning_rate_not_tuned',
  'optimum_at_grid_edge',
  'stale_batch_norm',
)
UNDERTRAINED = 'undertrained'  # of audits
# Those that can make the whole difference, so that it is not claimed while one is open.
DECISIVE = (RATES, EDGE, STALE, UNDERTRAINED)
# Key of `config.optimizer` -> the confound that its time scale is.
DECAYS = {
  'momentum': 'momentum_time_scale',
  'rmsprop_momentum': 'momentum_time_scale',
  'b1': 'b1_time_scale',
  'b2': 'b2_time_scale',
  'rmsprop_decay': 'b2_time_scale',
}
WEIGHT_DECAY = 'weight_decay_time_scale'


class Confound(NamedTuple):
  """Something that differs beside the batch size: a code, and True, False or UNKNOWN.

  `explains` is whether it accounts for the effect that is shown; None where none is.
  """

  code: str
  present: bool | str
  explains: bool | str | None
  evidence: tuple[Reason, ...]


class Effect(NamedTuple):
  """The effect that the headline rests on: sizes, and weights over them by which it is read."""

  sizes: tuple[int, ...]
  weights: Float[np.ndarray, ' size']

  def read(self, readings: Mapping[int, Reading], quantity: str = '') -> Estimate | None:
    """The effect with its 95% interval, wherever between records the values lie.

    Of the validation metric, unless another quantity is named. None where one of its batch sizes is
    missing.
    """
    quantity = quantity or judged().val
    compared = Comparison({size: readings[size] for size in self.sizes}, quantity)
    if compared.out:
      return None
    interval, low, high, _ = compared.contrast(self.weights)
    return replace(interval, low=low, high=high)


def shown_effect(claims: Sequence[Claim]) -> Effect | None:
  """The effect that the claims of the headline show, if any."""
  headline = [claim for claim in claims if claim.family == Family.HEADLINE]
  beaten = [c.subject for c in headline if c.kind == Kind.PAIR and c.verdict == SUPPORTED]
  if beaten:
    sizes = beaten[0][0], *(other for _, other in beaten)
    return Effect(sizes, np.array([1.0] + [-1.0 / len(beaten)] * len(beaten)))
  for claim in headline:
    if claim.kind == Kind.TREND and claim.verdict != UNDETERMINED:
      return _over_range(claim.subject)
  return None


def _over_range(sizes: tuple[int, ...]) -> Effect:
  """The change that the trend makes from the smallest to the largest batch size."""
  return Effect(sizes, math.log2(max(sizes) / min(sizes)) * slope_weights(sizes))


def causes(
  config: Mapping[str, Any],
  tried: Tried,
  chosen: Chosen,
  read: Mapping[str, Mapping[int, Reading]],
  claims: Sequence[Claim],
) -> list[Confound]:
  """All confounds of the comparison of batch sizes; `read` holds them at each budget."""
  effect, at_epochs = shown_effect(claims), read['epochs']
  sizes = effect.sizes if effect else tuple(chosen)
  if len(sizes) < 2:
    return []
  given = Given(effect, sizes, tried, chosen)
  return [
    _updates(given, read),
    _not_tuned(given),
    _at_edge(given),
    _stale(config, given, at_epochs),
    *_time_scales(config, given),
  ]


class Given(NamedTuple):
  """What is asked about: the effect, its batch sizes, and what was tried and chosen for them."""

  effect: Effect | None
  sizes: tuple[int, ...]
  tried: Tried
  chosen: Chosen


def _updates(given: Given, read: Mapping[str, Mapping[int, Reading]]) -> Confound:
  """Whether less of the effect is left at equal updates."""
  more = confounds.updates(given.chosen, given.sizes, read['epochs'])
  if not more or more[0].details['times'] < 1 + 1e-6:
    return Confound(UPDATES, False, given.effect and False, (Reason('equal_updates'),))
  if not given.effect:
    return Confound(UPDATES, True, None, tuple(more))
  there = read['updates']
  left, whole = given.effect.read(there), given.effect.read(read['epochs'])
  if left is None or left.low is None or whole is None:
    return Confound(UPDATES, True, UNKNOWN, (*more, Reason('nothing_at_equal_updates')))
  places = confounds.schedule(given.chosen, there, given.sizes)
  if confounds.other_place(places):
    why = Reason('other_place_of_schedule')
    return Confound(UPDATES, True, UNKNOWN, (*more, *places, why))
  verdict = _explains(whole, left)
  if verdict is True and within(_limit(whole)).verdict(left) != SUPPORTED:
    verdict = UNKNOWN  # It may have turned because the smaller batch has seen fewer examples there.
  evidence = Reason('at_equal_updates', **_left(whole, left))
  subset = confounds.on_subset(there[size] for size in given.sizes)
  return Confound(UPDATES, True, verdict, (*more, evidence, *subset))


def _explains(whole: Estimate, left: Estimate) -> bool | str:
  """Whether an effect is gone, or turned, where something is held equal; UNKNOWN if not shown."""
  limit = _limit(whole)
  question = Question('below', limit) if whole.value > 0 else Question('above', -limit)
  verdict = question.verdict(left)
  return UNKNOWN if verdict == UNDETERMINED else verdict == SUPPORTED


def _limit(whole: Estimate) -> float:
  """The largest part of an effect that counts as none of it."""
  return max(judged().margin, LEFT * abs(whole.value))


def _left(whole: Estimate, left: Estimate) -> dict[str, float | None]:
  """How much of an effect is left."""
  return {'whole': whole.value, 'value': left.value, 'low': left.low, 'high': left.high}


def _not_tuned(given: Given) -> Confound:
  single = [size for size in given.sizes if len(given.tried[size]) == 1]
  if single:
    return _unresolved(RATES, given, Reason('one_rate', sizes=single))
  if beside := confounds.skipped(given.chosen, given.sizes):
    # Only the better side of an effect that is shown may be: it would be larger still.
    return Confound(RATES, True, given.effect and False, tuple(beside))
  tried = {size: len(given.tried[size]) for size in given.sizes}
  fewest, most = min(tried.values()), max(tried.values())
  return _absent(RATES, given, Reason('rates_tried', fewest=fewest, most=most))


def _at_edge(given: Given) -> Confound:
  several = [size for size in given.sizes if len(given.tried[size]) > 1]
  if not several:
    return Confound(EDGE, UNKNOWN, given.effect and UNKNOWN, (Reason('no_grid'),))
  edge = [s for s in several if confounds.at_edge(given.tried[s], given.chosen[s])]
  if edge:
    return _unresolved(EDGE, given, Reason('chosen_at_grid_edge', sizes=edge))
  return _absent(EDGE, given, Reason('inside_grid'))


def _stale(config: Mapping[str, Any], given: Given, read: Mapping[int, Reading]) -> Confound:
  """Whether running statistics of BatchNorm lag further behind at some batch sizes."""
  if config['model']['normalization'] != 'batch':
    return _absent(STALE, given, Reason('no_batch_norm'))
  if not all(REESTIMATED + judged().val in read[size].values for size in given.sizes):
    return Confound(STALE, UNKNOWN, given.effect and UNKNOWN, (Reason('not_reestimated'),))
  asked = given.effect or _over_range(given.sizes)
  running, fresh = asked.read(read), asked.read(read, REESTIMATED + judged().val)
  lag = asked.read({size: _with_lag(read[size]) for size in given.sizes}, LAG)
  if None in (running, fresh, lag) or lag.low is None:
    one = lag is not None and lag.n == 1
    why = Reason('one_trial', over=lag.over) if one else Reason('not_reestimated')
    return Confound(STALE, UNKNOWN, given.effect and UNKNOWN, (why,))
  if lag.low <= 0 <= lag.high:
    present = False if within().verdict(lag) == SUPPORTED else UNKNOWN
  else:
    present = True
  evidence = Reason('with_fresh_statistics', **_left(running, fresh))
  explains = None if not given.effect else _explains(running, fresh) if present else False
  return Confound(STALE, present, explains, (evidence,))


def _with_lag(reading: Reading) -> Reading:
  """The reading with how much running statistics fall short of re-estimated ones."""

  def lag(part: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    return {LAG: part[REESTIMATED + judged().val] - part[judged().val]}

  values, lanes = lag(reading.values), lag(reading.lanes)
  moved = lag(reading.moved) if reading.moved else {}
  return reading._replace(values=values, low=values, high=values, lanes=lanes, moved=moved)


def _numbers(config: Mapping[str, Any]) -> dict[str, float]:
  """The hyperparameters that the optimizer of a config has, by its keys."""
  if OWN in config and 'optimizer' in config[OWN]:
    return dict(config[OWN]['optimizer']['hyperparameters'])
  settings = config['optimizer']
  keys = OPTIMIZERS[settings['name']].hyperparameters.values()
  decay = {'weight_decay': settings.get('weight_decay', 0.0)}
  return {key: settings[key] for key in keys if key in settings} | decay


def _time_scales(config: Mapping[str, Any], given: Given) -> list[Confound]:
  """The optimizer's averages, which reach back over updates, and so over more examples the larger
  the batch, where no rule makes up for that."""
  optimizer, ends = _numbers(config), (min(given.sizes), max(given.sizes))
  changed = {size: hyperparameters.of_lane(config, '', size) for size in ends}
  rows = []
  for key in optimizer:
    if key not in DECAYS or not 0 < optimizer[key] < 1:
      continue
    scales = [size / (1 - changed[size].get(key, optimizer[key])) for size in ends]
    if key in changed[ends[0]]:  # rules hold half-lives, which are the same but for short ones
      scales = [-size / math.log(changed[size][key]) for size in ends]
    rows.append(_scale(DECAYS[key], given, scales))
  if decay := optimizer.get('weight_decay', 0.0):
    rates = {size: given.chosen[size].best_rate for size in ends}
    decays = {size: changed[size].get('weight_decay', decay) for size in ends}
    scales = [size / (rates[size] * decays[size]) for size in ends]
    rows.append(_scale(WEIGHT_DECAY, given, scales))
  return rows


def _scale(code: str, given: Given, scales: Sequence[float]) -> Confound:
  ends = {'small': min(given.sizes), 'large': max(given.sizes), 'scales': list(scales)}
  evidence = Reason('time_scale', **ends)
  if max(scales) / min(scales) < SAME_SCALE:
    return _absent(code, given, evidence)
  return _unresolved(code, given, evidence)


def _unresolved(code: str, given: Given, *evidence: Reason) -> Confound:
  """One that is present, and of which these runs cannot tell what it does."""
  return Confound(code, True, UNKNOWN if given.effect else None, evidence)


def _absent(code: str, given: Given, *evidence: Reason) -> Confound:
  return Confound(code, False, False if given.effect else None, evidence)
