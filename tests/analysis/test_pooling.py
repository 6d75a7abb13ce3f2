"""Claims of several studies together: each study is one of the sample, whatever it answers."""

import pytest

from bsjax.analysis.claims.claim import ABOVE, BELOW, Claim, Kind, within
from bsjax.analysis.claims.pooling import better_side, overall, pooled, trend_ends
from bsjax.stats.estimate import Estimate


def trend(value, low=-0.03, high=-0.01, verdict='supported', question=BELOW, **more):
  about = {'kind': Kind.TREND, 'subject': (8, 64), 'quantity': 'val_accuracy', 'budget': 'epochs'}
  estimate = Estimate(value, low, high, 3)
  return Claim(**about | more, question=question, estimate=estimate, verdict=verdict)


@pytest.mark.parametrize(
  'verdict, side', [('supported', 'smaller'), ('refuted', 'larger'), ('undetermined', '')]
)
def test_the_better_side_is_that_of_the_trend_of_the_metric_at_equal_epochs(verdict, side):
  others = [
    trend(0.9, verdict='supported', budget='updates'),
    trend(0.9, verdict='supported', question=within(0.005)),
    trend(0.9, verdict='supported', quantity='gap'),
  ]
  asked = [*others, trend(-0.02, verdict=verdict)]
  assert better_side(asked) == side
  assert trend_ends(asked) == [-0.02, -0.03, -0.01]
  assert overall(asked) == {
    'better': side,
    'slope': [-0.02, -0.03, -0.01],
    'shown': 4 - (side == ''),
    'asked': 4,
  }
  assert better_side(others) == '' and trend_ends(others) == [None] * 3


def test_of_a_table_without_the_metric_it_is_the_trend_of_the_loss():
  loss = trend(0.1, 0.05, 0.15, quantity='val_loss', question=ABOVE)
  assert better_side([loss]) == 'smaller' and trend_ends([loss]) == [0.1, 0.05, 0.15]


def test_a_study_that_answers_twice_counts_once_and_one_without_a_value_not_at_all():
  twice = [trend(-0.01), trend(-0.03)]
  (claim,) = pooled([twice, [trend(-0.05)], [trend(None, None, None)]], 'studies')
  assert claim.estimate.value == pytest.approx(-0.035)
  assert (claim.estimate.n, claim.estimate.over, claim.subject) == (2, 'studies', ())
  assert dict(claim.reasons[-1].details) == {'known': 2, 'of': 3, 'over': 'studies'}


def test_a_ratio_is_pooled_by_its_logarithm():
  def curve(value):
    about = {'kind': Kind.CURVE, 'subject': ('linear', 64, 32), 'quantity': 'train_loss'}
    return trend(value, 0.5, 8.0, unit='ratio', **about)

  (claim,) = pooled([[curve(1.0), curve(4.0)], [curve(8.0)]], 'studies')
  assert claim.estimate.value == pytest.approx(4.0) and claim.unit == 'ratio'
  assert (claim.kind, claim.subject) == (Kind.AUDIT, ('keeps_dynamics', 'linear'))


def test_pairs_of_batch_sizes_are_of_one_study_and_other_questions_are_others():
  pair = trend(0.02, kind=Kind.PAIR)
  both = [trend(-0.01), trend(-0.02, question=within(0.005)), trend(-0.03, budget='updates'), pair]
  found = pooled([both, both], 'studies')
  assert [claim.estimate.value for claim in found] == pytest.approx([-0.01, -0.02, -0.03])
  assert pooled([[pair]], 'studies') == []
