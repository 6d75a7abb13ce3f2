"""What an interval answers that ends where a question does, and what else is said of it."""

import pytest

from bsjax.analysis.claims.claim import ABOVE, BELOW, Kind, judge, within
from bsjax.analysis.claims.claims import exponent_claims
from bsjax.analysis.measures.contrast import exact
from bsjax.stats.estimate import Estimate, Reason


def interval(low, high, n=5, value=None):
  middle = 0.0 if None in (low, high) else (low + high) / 2
  return Estimate(middle if value is None else value, low, high, n)


@pytest.mark.parametrize(
  'question, low, high, verdict',
  [
    (BELOW, -0.003, 0.0, 'undetermined'),
    (BELOW, 0.0, 0.003, 'undetermined'),
    (ABOVE, -0.003, 0.0, 'undetermined'),
    (within(0.5), -0.5, 0.25, 'undetermined'),
    (within(0.5), -0.25, 0.5, 'undetermined'),
    (within(0.5), 0.5, 0.75, 'undetermined'),
    (within(0.5), -0.75, -0.5, 'undetermined'),
    (within(0.5, 1.0), 0.6, 1.4, 'supported'),
    (within(0.5, 1.0), 0.0, 0.4, 'refuted'),
    # What has no bound on a side is not bounded there.
    (ABOVE, None, -0.1, 'refuted'),
    (ABOVE, None, 0.1, 'undetermined'),
    (BELOW, None, -0.1, 'supported'),
    (within(0.5), None, 0.1, 'undetermined'),
    (within(0.5), None, -0.6, 'refuted'),
  ],
)
def test_an_end_on_a_bound_decides_nothing(question, low, high, verdict):
  assert question.verdict(interval(low, high)) == verdict


def test_an_exponent_without_a_lower_bound_refutes_what_lies_above():
  claims = exponent_claims({'value': 0.1, 'ci95': [None, 0.3], 'n': 4})
  assert [claim.verdict for claim in claims] == ['refuted', 'refuted', 'undetermined']


def claim(question, estimate, **about):
  fields = {'kind': Kind.PAIR, 'subject': (8, 64), 'quantity': 'val_accuracy', 'budget': 'epochs'}
  return judge(question, exact(estimate), **fields, **about)


def codes(one):
  return [reason.code for reason in one.reasons]


def test_what_would_decide_is_not_said_where_wrong_runs_are_compared():
  open_ = interval(-0.001, 0.003)
  assert codes(claim(ABOVE, open_)) == ['contains_zero']
  void = Reason('best_rates_unsafe', size=8, rates=[0.1])
  assert codes(claim(ABOVE, open_, void=[void])) == ['best_rates_unsafe']


def test_without_an_interval_over_several_trials_that_is_the_reason_and_not_their_number():
  assert codes(claim(ABOVE, Estimate(0.1, n=2))) == ['no_interval']
  assert codes(claim(ABOVE, Estimate(0.1, n=1))) == ['one_trial']


@pytest.mark.parametrize('value', [0.004, 0.006])
def test_a_margin_is_as_far_from_a_value_above_it_as_from_one_below(value):
  """By Student's interval of 5 trials, whose spread may be 2.37 times as large."""
  wide = interval(value - 0.003, value + 0.003)
  (reason,) = claim(within(0.005), wide).reasons
  assert reason.details['margin'] == 0.005
  assert (
    reason.details['trials']
    == claim(within(0.005), interval(0.001, 0.007)).reasons[0].details['trials']
  )
  assert reason.details['trials'] > 20
