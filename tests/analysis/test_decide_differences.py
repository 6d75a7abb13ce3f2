"""What may have made the differences that several looks have shown: of all of them together."""

import pytest

from bsjax.analysis.claims.causes import UNKNOWN, Confound
from bsjax.analysis.claims.claim import Claim, better, within
from bsjax.analysis.decide import differences
from bsjax.analysis.decide.looks import Look, leader, shown
from bsjax.analysis.decide.rates import Rates
from bsjax.analysis.runs.selection import Tuned
from bsjax.config.decide_keys import BEST, EQUIVALENT, TREND, Asked
from bsjax.stats.estimate import Estimate, Reason

SIZES = (16, 32, 64)


def look(*claims, states=None):
  tuned = {size: Tuned(size, 0.1, ()) for size in SIZES}
  rates = dict.fromkeys(SIZES, Rates('bracketed')) | (states or {})
  return Look(3, SIZES, 0, 0, rates, tuned, {}, 0.01, claims)


def pair(best, other, low, high):
  about = Estimate((low + high) / 2, low, high, n=3)
  asked = better(), within(0.005)
  return [Claim('pair', (best, other), '', '', one, about, one.verdict(about)) for one in asked]


WORSE = 0.01, 0.03


@pytest.mark.parametrize(
  'present, explains, together',
  [
    ((True, False), (True, True), (True, True)),
    ((False, UNKNOWN), (False, False), (UNKNOWN, False)),
    ((UNKNOWN, True), (UNKNOWN, True), (True, UNKNOWN)),
    ((False, False), (True, False), (False, UNKNOWN)),
  ],
)
def test_a_confound_of_several_looks(monkeypatch, present, explains, together):
  asked = []

  def causes(config, tried, chosen, read, claims):
    number = len(asked)
    asked.append([claim.subject for claim in claims])
    evidence = Reason('time_scale', small=8), Reason('of_look', number=number)
    return [Confound('a', present[number], explains[number], evidence)]

  monkeypatch.setattr(differences, 'causes', causes)
  monkeypatch.setattr(differences, 'readings', lambda chosen, budget: {})
  looks = [look(*pair(16, 64, *WORSE)), look(*pair(16, 32, *WORSE))]
  (found,) = differences.confounds({}, Asked(BEST), SIZES, looks)
  assert asked == [[(16, 32)], [(16, 64)]]
  assert (found.present, found.explains) == together
  # What both looks say is said once.
  assert [reason.code for reason in found.evidence] == ['time_scale', 'of_look', 'of_look']


def test_confounds_are_those_of_batch_sizes_whose_best_rate_is_surrounded(monkeypatch):
  seen = []
  monkeypatch.setattr(differences, 'causes', lambda config, tried, chosen, *_: seen.append(chosen))
  monkeypatch.setattr(differences, 'readings', lambda chosen, budget: {})
  monkeypatch.setattr(differences, '_together', lambda same: same)
  one = look(*pair(16, 64, *WORSE), states={32: Rates('edge', (0.2,))})
  with pytest.raises(TypeError):  # of the stand-in, which says nothing
    differences.confounds({}, Asked(BEST), SIZES, [one])
  assert list(seen[0]) == [16, 64]


ALIKE, NEAR, OPEN = (-0.001, 0.001), (0.001, 0.004), (-0.01, 0.02)


@pytest.mark.parametrize(
  'kind, ends, expected',
  [
    (BEST, WORSE, True),
    (BEST, ALIKE, False),
    (EQUIVALENT, WORSE, True),
    (EQUIVALENT, NEAR, False),  # better, by less than what matters
    (EQUIVALENT, OPEN, False),
    (TREND, NEAR, True),
    (TREND, OPEN, False),
  ],
)
def test_what_counts_as_a_difference_that_was_shown(kind, ends, expected):
  asked = Asked(kind, (16, 32) if kind == EQUIVALENT else ())
  assert differences.differ(asked, SIZES, [look(*pair(16, 32, *ends))]) is expected


def test_the_leader_is_the_best_of_the_last_look_that_compares():
  first, second = look(*pair(16, 32, *OPEN)), look(*pair(32, 16, *OPEN))
  assert leader([first, second, look()]) == 32
  assert leader([look()]) is None


def test_what_is_alike_is_told_as_the_leader_less_the_other_and_no_other_way_round():
  found = look(*pair(16, 32, -0.001, 0.003), *pair(16, 64, *WORSE))
  of_32, of_64 = shown(Asked(BEST), SIZES, [found])
  assert (of_32.state, of_32.size, of_32.best) == ('alike', 32, 16)
  assert (of_32.claim.subject, of_32.claim.estimate.value) == ((16, 32), pytest.approx(0.001))
  assert (of_64.state, of_64.claim.estimate.value) == ('worse', pytest.approx(0.02))
