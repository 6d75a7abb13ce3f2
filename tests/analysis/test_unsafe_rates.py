"""What is read beside its best rates, as some trial diverged there by accident, is not shown worse.

Accuracy falls by 2.1 points from 0.2 to the next rates, and by 8.4 to those after them. Of one
batch size, or condition, a trial diverges at each of the three best rates, though none does at the
largest: what it reaches is read 8.4 points too low.
"""

import math

import pytest
from helpers import synthetic
from helpers.curves import study

from bsjax.analysis.claims import causes, classes, condition_contrasts, tuned_runs
from bsjax.analysis.claims.claim import REFUTED, SUPPORTED, UNDETERMINED
from bsjax.analysis.claims.claims import all_claims
from bsjax.analysis.claims.conditions import Condition
from bsjax.analysis.claims.pairs import rank
from bsjax.analysis.recommend import recommendation
from bsjax.analysis.runs.budgets import CLOCKS, readings
from bsjax.analysis.runs.selection import select
from bsjax.config.metrics import judged
from bsjax.report.text.rendered import rendered

RATES, BEST = (0.05, 0.1, 0.2, 0.4, 0.8), (0.1, 0.2, 0.4)
UNSAFE = 'best_rates_unsafe'


def curve_of(unlucky, higher=0.0, turn=0):
  """All alike, but that `unlucky` lanes are `higher` and diverge at the best rates in a trial."""

  def curve(lane, updates):
    size, rate, trial = lane['batch_size'], lane['learning_rate'], lane['trial']
    val = (
      0.7 - 0.021 * math.log2(rate / 0.2) ** 2 + 0.001 * math.cos(trial * size + 7 * rate + turn)
    )
    val += higher * unlucky(lane)
    bad = unlucky(lane) and trial == 1 and any(math.isclose(rate, one) for one in BEST)
    by_class = [val + 1e-4 * label for label in range(3)]
    classes_ = {'val_class_accuracy': by_class, 'val_balanced_accuracy': val}
    return {'val_accuracy': val, 'train_accuracy': val, 'diverged': bad} | classes_

  return curve


def of_size(size):
  return lambda lane: lane['batch_size'] == size


def tried_of(higher=0.0, sizes=(8, 16, 32)):
  """A study in which batch size 32 is unlucky."""
  return study(sizes, RATES, 4, curve_of(of_size(32), higher))


def codes(claim):
  return [reason.code for reason in claim.reasons]


def way(tried, base, name, budget='epochs', rules=('none',)):
  """The claims on the base and the other of two batch sizes."""
  rows = tuned_runs.ways(tried, base, rules, judged().margin)['rows']
  (row,) = [row for row in rows if (row['way'], row['clock']) == (name, budget)]
  return row['better'], row['keeps']


@pytest.mark.parametrize('base, low', [(8, 0.05), (32, -0.1)])
def test_a_tuned_batch_size_is_not_worse_than_another(base, low):
  for claim in way(tried_of(sizes=(8, 32)), base, tuned_runs.TUNED):
    assert claim.verdict == UNDETERMINED and UNSAFE in codes(claim)
    assert low < claim.estimate.low < claim.estimate.high < low + 0.1


def test_what_is_carried_over_from_beside_the_best_rates_shows_nothing():
  tried = tried_of(sizes=(8, 32))
  for claim in (*way(tried, 32, 'none'), *way(tried_of(0.2, (8, 32)), 32, 'none')):
    assert claim.verdict == UNDETERMINED
    assert [r.details['size'] for r in claim.reasons if r.code == UNSAFE] == [32]
  # Of the other batch size only what lies at the rates of the base counts, whatever is best there.
  assert 'undefined' in tuned_runs.ways(tried, 8, ('none',), judged().margin)['rows'][0]


@pytest.mark.parametrize('base, verdict', [(8, REFUTED), (32, SUPPORTED)])
def test_a_tuned_batch_size_is_better_even_so(base, verdict):
  better, keeps = way(tried_of(0.2, (8, 32)), base, tuned_runs.TUNED)
  assert better.verdict == verdict and UNSAFE not in codes(better)
  assert keeps.verdict == UNDETERMINED and UNSAFE in codes(keeps)


def condition(name, curve, sizes=(8, 16)):
  plan = [row | {'branch': ''} for row in synthetic.plan(sizes, RATES, 4, examples=1024)]
  rows = []
  for lane in plan:
    shares = (0.0, 0.5, 1.0)
    rows += [synthetic.record(lane, share, **curve(lane, share)) for share in shares]
  return Condition(name, synthetic.config(), plan, rows)


def contrasts_of(*both, batch_size='pooled'):
  """The contrast of validation accuracy, and its claim of no difference."""
  found = condition_contrasts.compare(both)['contrasts']
  (claim,) = [
    claim
    for claim in found
    if claim.quantity == 'val_accuracy' and claim.columns['batch_size'] == batch_size
  ]
  return claim, claim.columns['equivalent']


@pytest.mark.parametrize('order', [1, -1])
def test_a_condition_is_not_worse_than_another(order):
  calm, hit = curve_of(of_size(0), turn=1), curve_of(of_size(16))
  conditions = [condition('calm', calm), condition('hit', hit)]
  for place in ('pooled', 16):
    for claim in contrasts_of(*conditions[::order], batch_size=place):
      assert claim.verdict == UNDETERMINED and not claim.estimate.low < 0 < claim.estimate.high
      (reason,) = [reason for reason in claim.reasons if reason.code == UNSAFE]
      assert (reason.details['size'], reason.details['condition']) == (16, 'hit')
      assert 'Batch size 16 of hit is read beside its best rates' in rendered(claim)['why']
  claim, same = contrasts_of(*conditions[::order], batch_size=8)
  assert UNSAFE not in codes(claim) + codes(same) and same.verdict == SUPPORTED


def test_a_condition_is_better_even_so():
  claim, same = contrasts_of(
    condition('calm', curve_of(of_size(0))), condition('hit', curve_of(of_size(16), 0.4))
  )
  assert claim.verdict == SUPPORTED and UNSAFE not in codes(claim)
  assert same.verdict == UNDETERMINED and UNSAFE in codes(same)


def test_a_batch_size_is_not_worse_by_class():
  facts = {'class_names': list('abc'), 'class_counts': {'train': [9, 5, 1], 'validation': [9] * 3}}
  tried = tried_of()
  found = classes.by_class(tried, select(tried).chosen, facts)
  hit = [row for row in found['pairs'] if row['other'] == 32]
  assert [row['quantity'] for row in hit] == ['rare', 'balanced_accuracy']
  assert all(row['verdict'] == UNDETERMINED and row['ci95'][0] > 0.05 for row in hit)
  assert {claim.verdict for claim in found['claims'] if UNSAFE in codes(claim)} == {UNDETERMINED}
  lucky = select(tried_of(0.2)).chosen
  better = classes.by_class(tried_of(0.2), lucky, facts)['pairs']
  assert {(row['best'], row['verdict']) for row in better} == {(32, SUPPORTED)}


def found_in(tried):
  chosen = select(tried).chosen
  read = {budget: readings(chosen, budget) for budget in CLOCKS}
  ranking = rank(read['epochs'])
  claims = all_claims(tried, chosen, read, ranking, {'undefined': 'not asked'})
  row = recommendation(chosen, ranking, {'undefined': 'no target'})[0]
  why = {reason.code: reason.details for reason in row.reasons}
  rows = causes.causes(synthetic.config(), tried, chosen, read, claims)
  return row, why, next(row for row in rows if row.code == causes.RATES)


def test_the_recommendation_does_not_call_it_worse():
  row, why, _ = found_in(tried_of())
  assert row.columns['batch_size'] in (8, 16)
  assert why['shown_worse']['sizes'] == [] and 32 in why['not_shown_worse']['sizes']
  assert why[UNSAFE]['size'] == 32 and why['at_stake']['low'] > 0.05
  row, why, _ = found_in(tried_of(0.2))
  assert row.columns['batch_size'] == 32 and why['shown_worse']['sizes'] == [8, 16]


def test_its_learning_rate_counts_as_not_tuned():
  *_, confound = found_in(tried_of())
  assert (confound.present, confound.explains) == (True, None)
  assert [reason.code for reason in confound.evidence] == [UNSAFE]
  *_, confound = found_in(tried_of(0.2))  # where it is the best all the same
  assert (confound.present, confound.explains) == (True, False)
