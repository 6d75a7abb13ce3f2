"""What people conclude from such curves, each asked as a claim: the same judge as for a study."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from bsjax.analysis.claims.claim import (
  ABOVE,
  BELOW,
  Claim,
  Family,
  Kind,
  Question,
  judge,
  within,
)
from bsjax.analysis.claims.claims import exponent_claims
from bsjax.analysis.claims.pairs import pair_claims
from bsjax.analysis.claims.slopes import GAP_GROWS, metric_worsens, trend
from bsjax.analysis.measures.batch_size_contrasts import Comparison
from bsjax.analysis.measures.contrast import Effect
from bsjax.analysis.measures.exponent import exponent, points
from bsjax.analysis.measures.optimum import optimum_of
from bsjax.analysis.runs.budgets import common_settings, of_finals, readings
from bsjax.analysis.runs.histories import LaneHistory, Setting, Tried
from bsjax.audit.dynamics import dynamics
from bsjax.audit.given import BUDGETS, Given, ask, unanswered
from bsjax.audit.good_rates import narrowing
from bsjax.config.metrics import USUAL
from bsjax.stats.estimate import Estimate, Reason, undefined
from bsjax.stats.intervals import mean_interval
from bsjax.stats.paired import slope_weights
from bsjax.stats.spreads import slope_of_spreads

BEND = 0.25  # exponents of the best rate that differ by less are of one power law
Asked = Callable[['Given'], Sequence[Claim]]


def claims(of: Given) -> list[Claim]:
  """All claims about one cell, the headline's first."""
  asked: tuple[Asked, ...] = (
    _trends,
    _pairs,
    _rate_is_cause,
    _rate_matters_more,
    _optima,
    _narrowing,
    dynamics,
    _flatter,
    _alike,
    _time,
  )
  return [claim for one in asked for claim in one(of)]


def _trends(of: Given) -> list[Claim]:
  asked = [(budget, *metric_worsens()) for budget in BUDGETS]
  asked += [('updates', USUAL.val, within(USUAL.margin))]
  if USUAL.train in of.columns and not of.loss_only:
    asked += [(budget, *GAP_GROWS) for budget in BUDGETS]
  claims = []
  for budget, quantity, question in asked:
    headline = (budget, quantity, question) == ('epochs', *metric_worsens())
    mine = {'confidence': of.ranking.confidence, 'family': Family.HEADLINE} if headline else {}
    claims.append(trend(question, quantity, budget, of.tried, of.chosen, of.read[budget], **mine))
  if USUAL.train not in of.columns and not of.loss_only:
    why = Reason('no_column', columns=[USUAL.train])
    claims += [unanswered('', ABOVE, why, kind=Kind.TREND, quantity='gap', unit='per_doubling')]
  return claims


def _pairs(of: Given) -> list[Claim]:
  return pair_claims(of.tried, of.chosen, of.read['epochs'], of.ranking)


def _rate_is_cause(of: Given) -> list[Claim]:
  """Whether what batch sizes differ by at one rate is gone where each has its best."""
  code, unit = 'rate_is_cause', 'over_range'
  common, why = common_settings(of.tried)
  if all(len(settings) == 1 for settings in of.tried.values()):
    why = Reason('no_grid')
  if why:
    return [unanswered(code, within(), why, unit=unit)]
  at_one = Comparison(readings(common, 'epochs'), USUAL.val)
  tuned = Comparison({size: of.read['epochs'][size] for size in at_one.sizes
                      if size in of.read['epochs']}, USUAL.val)  # fmt: skip
  if at_one.sizes != tuned.sizes or len(at_one.sizes) < 2:
    return [unanswered(code, within(), Reason('no_common_rate_ended_well'), unit=unit)]
  weights = math.log2(max(tuned.sizes) / min(tuned.sizes)) * slope_weights(tuned.sizes)
  whole, left = at_one.contrast(weights).interval, tuned.contrast(weights)
  rate = next(iter(common.values())).learning_rate
  ends = {'value': whole.value, 'low': whole.low, 'high': whole.high}
  shown = whole.low is not None and not whole.low <= 0 <= whole.high
  context = [Reason('at_one_rate', rate=rate, **ends)]
  limit = max(USUAL.margin, abs(whole.value or 0) / 2)
  question = Question('below', limit) if (whole.value or 0) > 0 else Question('above', -limit)
  void = [] if shown else [Reason('nothing_at_one_rate')]
  about = {'kind': Kind.AUDIT, 'subject': (code,), 'quantity': USUAL.val, 'budget': 'epochs'}
  return [judge(question, left, None, context, void, unit=unit, **about)]


def _rate_matters_more(of: Given) -> list[Claim]:
  """Of the variance over the grid, the share that goes with rates less that with batch sizes."""
  code, unit = 'rate_matters_more', 'share'
  by_rate = [
    {s.learning_rate: s for s in settings if s.problem is None} for settings in of.tried.values()
  ]
  shared = sorted(set.intersection(*map(set, by_rate))) if by_rate else []
  lanes = [[_by_trial(rates[rate]) for rate in shared] for rates in by_rate]
  trials = sorted(set.intersection(*(set(x) for row in lanes for x in row))) if shared else []
  if len(lanes) < 2 or len(shared) < 2 or not trials:
    return [unanswered(code, ABOVE, Reason('no_common_grid'), unit=unit)]
  values = np.array([[[x[trial] for x in row] for row in lanes] for trial in trials])
  centred = values - values.mean(axis=(1, 2), keepdims=True)
  total = np.square(centred).mean(axis=(1, 2))
  if not (total > 0).all():
    return [unanswered(code, ABOVE, Reason('no_common_grid'), unit=unit)]
  by_size, by_rate_ = (np.square(centred.mean(axis=axis)).mean(axis=1) for axis in (2, 1))
  spanned = Reason(
    'grid_spans', rates=[shared[0], shared[-1]], sizes=[min(of.tried), max(of.tried)]
  )
  return [ask(code, ABOVE, mean_interval((by_rate_ - by_size) / total), unit, spanned)]


def _by_trial(setting: Setting) -> dict[int, float]:
  return {lane.plan['trial']: lane.final[USUAL.val] for lane in setting.lanes}


def whole_settings(tried: Tried) -> Tried:
  """The settings that have all trials, of batch sizes that have them all."""
  trials = {size: {lane.plan['trial'] for setting in settings for lane in setting.lanes}
            for size, settings in tried.items()}  # fmt: skip
  most = max(map(len, trials.values()))
  return {
    size: [setting for setting in settings if len(setting.lanes) == most]
    for size, settings in tried.items()
    if len(trials[size]) == most
  }


def _optima(of: Given) -> list[Claim]:
  """The power of the best rate, and whether it is one."""
  by_loss = of.loss_only or 'val_loss' in of.columns
  objective = 'val_loss' if by_loss else 'val_error'
  optima = {size: optimum_of(s, objective) for size, s in whole_settings(of.tried).items() if s}
  growth = exponent(points(optima))
  if 'undefined' in growth:
    bend = undefined('no_exponent', why=growth['undefined'])
  else:
    change = growth['change']
    bend = Estimate(change['value'], *change['ci95'], n=change['n'])
  return [*exponent_claims(growth), ask('one_power_law', within(BEND), bend, 'exponent')]


def _narrowing(of: Given) -> list[Claim]:
  widths, reasons = narrowing(whole_settings(of.tried))
  if isinstance(widths, Reason):
    return [unanswered('good_rates_narrow', BELOW, widths, unit='octaves')]
  return [ask('good_rates_narrow', BELOW, mean_interval(widths), 'octaves', *reasons)]


def _slope_of_finals(of: Given, value: Callable[[LaneHistory], float]) -> Effect:
  """The change per doubling of what a function makes of the end of each run."""
  read = {
    s: of_finals(tuned, lambda lane: {'value': value(lane)}) for s, tuned in of.chosen.items()
  }
  return Comparison(read, 'value').slope()


def _flatter(of: Given) -> list[Claim]:
  about = {'quantity': 'sharpness'}
  if 'sharpness' not in of.columns:
    why = Reason('no_column', columns=['sharpness'])
    return [unanswered('flatter_minima', ABOVE, why, **about)]
  slope = _slope_of_finals(of, lambda lane: _log(lane.final.get('sharpness')))
  careful = Reason('sharpness_moves_with_loss')
  return [ask('flatter_minima', ABOVE, slope.interval, 'exponent', careful, **about)]


def _time(of: Given) -> list[Claim]:
  question, about = within(0.1, -1.0), {'quantity': 'seconds'}
  if 'seconds' not in of.columns:
    why = Reason('no_column', columns=['seconds'])
    return [unanswered('halves_time', question, why, **about)]
  per_epoch = _slope_of_finals(
    of, lambda lane: _log(lane.final.get('seconds')) - _log(lane.final['epoch'])
  )
  in_powers = per_epoch.interval.map(lambda slope: slope / math.log(2))
  return [ask('halves_time', question, in_powers, 'exponent', **about)]


def _log(value: float | None) -> float:
  return math.log(value) if value is not None and value > 0 else math.nan


def _alike(of: Given) -> list[Claim]:
  """How the spread of trials goes with batch size."""
  code = 'more_alike'
  finals = {size: np.array(tuned.finals(USUAL.val)) for size, tuned in of.chosen.items()}
  finals = {size: values for size, values in finals.items() if len(values) > 1}
  if len(finals) < 3 or not all(values.std() > 0 for values in finals.values()):
    return [unanswered(code, BELOW, Reason('too_few_spreads', sizes=len(finals)))]
  return [ask(code, BELOW, slope_of_spreads([*finals], [*finals.values()]), 'exponent')]
