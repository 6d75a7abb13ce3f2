"""Whether batch sizes train along one curve when their learning rate is scaled, or kept."""

from __future__ import annotations

import itertools

from bsjax.analysis.claims.claim import BELOW, Claim, Kind, judge
from bsjax.analysis.measures.contrast import exact
from bsjax.analysis.runs import curve_distance
from bsjax.analysis.runs.histories import Setting
from bsjax.analysis.runs.selection import Tuned
from bsjax.audit.given import Given, unanswered
from bsjax.plan.scaling_rules import same, scaled
from bsjax.stats.estimate import Estimate, Reason, undefined

RULES = ('linear', 'sqrt', 'none')


def dynamics(of: Given) -> list[Claim]:
  """Batch sizes against the one before, their rate doubled, square-rooted or kept with it."""
  claims_, sizes = [], sorted(of.tried)
  for rule in RULES:
    neighbours = itertools.pairwise(sizes)
    pairs = [(*pair, *found) for pair in neighbours if (found := _partners(of, *pair, rule))]
    if not pairs:
      why = Reason('no_scaled_partner')
      claims_.append(unanswered('keeps_dynamics', BELOW, why, rule, unit='ratio'))
    for base, size, reference, other in pairs:
      ratio = _against_seeds(reference, other)
      about = {'kind': Kind.CURVE, 'subject': (rule, size, base)}
      about |= {'quantity': 'train_loss', 'budget': 'examples', 'unit': 'ratio'}
      claims_.append(judge(BELOW, exact(ratio), **about))
  return claims_


def _partners(of: Given, base: int, size: int, rule: str) -> tuple[Setting, Setting] | None:
  """The best rate of a batch size that was also run, scaled, at the next; None without one."""
  best: Tuned | None = of.chosen.get(base)
  rates = sorted(
    of.tried[base], key=lambda s: best is None or s.learning_rate != best.learning_rate
  )
  for reference in rates:
    rate = scaled(rule, reference.learning_rate, size, base)
    for other in of.tried[size]:
      if same(other.learning_rate, rate) and not reference.problem and not other.problem:
        return reference, other
  return None


def _against_seeds(reference: Setting, other: Setting) -> Estimate:
  """The log of the distance of two curves over that of two seeds."""
  (first, why), (second, also) = (curve_distance.curves(s.lanes) for s in (reference, other))
  if not first or not second:
    return undefined('no_curve', why=why or also)
  pair = curve_distance.aligned(first, second)
  if not pair[0].size or len(pair[0]) != len(pair[1]):
    return undefined('no_curve', why=Reason('curves_share_no_evaluation'))
  log = curve_distance.against_seeds(*pair).log
  return log if log.value is not None else undefined('no_distance')
