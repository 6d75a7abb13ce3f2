"""claims: verdicts on studies with planted effects, confounds and faults; recommendations."""

import json
import math

import numpy as np
import pytest
from helpers.curves import first, study
from scipy import stats

from bsjax.analysis.claims.claim import ABOVE, BELOW, Kind, judge, within
from bsjax.analysis.claims.claims import all_claims, exponent_claims
from bsjax.analysis.claims.pairs import rank
from bsjax.analysis.claims.slopes import slope_claims
from bsjax.analysis.goals_to_target import EXAMPLES, UPDATES
from bsjax.analysis.measures.contrast import Effect, exact
from bsjax.analysis.measures.critical_batch_size import EARLY
from bsjax.analysis.recommend import recommendation
from bsjax.analysis.runs.budgets import CLOCKS, readings
from bsjax.analysis.runs.reading import of_columns
from bsjax.analysis.runs.selection import tune
from bsjax.config.metrics import judged
from bsjax.report.text.rendered import rendered
from bsjax.stats import paired
from bsjax.stats.estimate import Estimate, Reason
from bsjax.stats.intervals import mean_interval

NO_EXPONENT = {'undefined': 'not asked'}
NO_TARGET = {'undefined': 'no target'}


def claims_of(found, chosen):
  """All claims of a study at the settings chosen, and the ranking they rest on."""
  read = {budget: readings(chosen, budget) for budget in CLOCKS}
  ranking = rank(read['epochs'])
  return all_claims(found, chosen, read, ranking, NO_EXPONENT), ranking


def trends(found, chosen):
  return slope_claims(found, chosen, {budget: readings(chosen, budget) for budget in CLOCKS})


def one(claims, kind, side=None, **fields):
  """The one claim of a kind with these fields, whose question takes a side."""
  (claim,) = [
    claim
    for claim in claims
    if claim.kind == kind
    and side in (None, claim.question.side)
    and all(getattr(claim, name) == value for name, value in fields.items())
  ]
  return claim


def falls(claims, budget):
  """The claim that accuracy falls with batch size."""
  return one(claims, Kind.TREND, 'below', budget=budget, quantity='val_accuracy')


def reasons(claim):
  """code -> details, of a claim's or a finding's reasons."""
  found = {reason.code: reason.details for reason in claim.reasons}
  assert len(found) == len(claim.reasons) or 'left_out' in found or 'falls_short' in found
  return found


def ends(claim):
  return [claim.estimate.low, claim.estimate.high]


def by_updates(noise, spread=0.05):
  """Accuracy that depends on updates alone, but for luck of the trial and noise of the lane."""

  def curve(lane, updates):
    luck = spread * math.cos(lane['trial']) + noise(lane)
    val = 0.5 + luck + 0.3 * (1 - math.exp(-updates / 300))
    return {'val_accuracy': val, 'train_accuracy': val + 0.02 + noise(lane) / 3}

  return curve


def lane_noise(scale, seed=0):
  draws = np.random.default_rng(seed).normal(scale=scale, size=1000)
  return lambda lane: float(draws[lane['lane']])


def test_a_confound_of_updates_is_an_effect_at_equal_epochs_and_none_at_equal_updates():
  found = study((8, 16, 32, 64), (0.1, 0.2, 0.4), 6, by_updates(lane_noise(3e-4)))
  chosen = {size: tune(tried[1:2]) for size, tried in found.items()}
  claims, _ = claims_of(found, chosen)
  json.dumps(rendered(claims), allow_nan=False)
  epochs = falls(claims, 'epochs')
  assert epochs.verdict == 'supported' and ends(epochs)[1] < -0.03
  assert reasons(epochs) == {'more_updates': {'small': 8, 'large': 64, 'times': 8.0}}
  assert epochs.subject == (8, 16, 32, 64)
  updates = falls(claims, 'updates')
  assert updates.verdict == 'undetermined' and ends(updates)[0] < 0 < ends(updates)[1]
  assert reasons(updates).keys() == {'contains_zero', 'stand_at'}
  assert reasons(updates)['stand_at']['epochs'] == [2.0, 16.0]
  change = one(claims, Kind.TREND, 'within', quantity='val_accuracy')
  assert change.verdict == 'supported' and change.budget == 'updates'
  assert ends(change) == pytest.approx([3 * bound for bound in ends(updates)])  # 3 doublings
  pair = one(claims, Kind.PAIR, 'above', subject=(8, 64))
  assert pair.verdict == 'supported' and pair.columns['p_adjusted'] < 1e-6
  assert one(claims, Kind.PAIR, 'within', subject=(8, 64)).verdict == 'refuted'
  powers = [claim for claim in claims if claim.kind == Kind.EXPONENT]
  assert len(powers) == 3 and all(claim.estimate.value is None for claim in powers)
  assert reasons(powers[0]) == {'no_exponent': {'why': 'not asked'}}


def test_a_gap_that_grows_with_batch_size_is_found_and_one_that_shrinks_refuted():
  for sign, verdict in ((1, 'supported'), (-1, 'refuted')):

    def curve(lane, updates, sign=sign):
      luck = 0.1 * math.cos(lane['trial'])
      step = sign * 0.004 * math.log2(lane['batch_size']) + 0.001 * math.sin(7 * lane['lane'])
      return {'val_accuracy': 0.5 + luck, 'train_accuracy': 0.6 + luck + step}

    found = study((8, 16, 64), (0.1,), 4, curve)
    claims = trends(found, first(found))
    for budget in ('epochs', 'updates', 'learning_rate_updates'):
      claim = one(claims, Kind.TREND, 'above', budget=budget, quantity='gap')
      assert claim.verdict == verdict
      assert claim.estimate.value == pytest.approx(sign * 0.004, abs=1e-3)
      assert claim.estimate.n == 4
    assert reasons(claim)['one_rate'] == {'sizes': [8, 16, 64]}


def test_pairing_sees_what_intervals_of_means_cannot():
  rng = np.random.default_rng(2)
  luck = rng.normal(scale=0.05, size=6)  # ten times the effect
  values = {8: luck + 0.005 + rng.normal(scale=3e-4, size=6), 64: luck.copy()}
  (pair,) = paired.against_best(values)
  assert (pair.best, pair.other) == (8, 64) and ABOVE.verdict(pair.interval) == 'supported'
  assert stats.ttest_ind(values[8], values[64]).pvalue > 0.5
  found = ended_with(values)
  claims, _ = claims_of(found, first(found))
  assert one(claims, Kind.PAIR, 'above', subject=(8, 64)).verdict == 'supported'
  # The effect is as large as the margin.
  assert one(claims, Kind.PAIR, 'within', subject=(8, 64)).verdict == 'undetermined'


def ended_with(values):
  """A study whose batch sizes end with these accuracies, one for each trial."""
  trials = len(next(iter(values.values())))
  return study(
    tuple(values),
    (0.1,),
    trials,
    lambda lane, updates: {'val_accuracy': values[lane['batch_size']][lane['trial']]},
  )


def family(rng, means, replications, trials):
  shape = (replications, len(means), trials)
  lucky = 5 * rng.normal(size=(replications, 1, trials))
  return np.asarray(means)[:, None] + rng.normal(size=shape) + lucky


def test_family_wise_error_under_no_effect():
  rng, replications, sizes = np.random.default_rng(3), 2000, (8, 16, 32, 64, 128)
  errors = {'intervals': 0, 'holm': 0, 'only pairs with the best': 0}
  for values in family(rng, [0.0] * len(sizes), replications, 8):
    pairs = paired.against_best(dict(zip(sizes, values, strict=True)))
    errors['intervals'] += any(ABOVE.verdict(p.interval) == 'supported' for p in pairs)
    errors['holm'] += any(p.p_holm <= 0.05 for p in pairs)
    least = min(p.p_holm for p in pairs)  # ten pairs, and four of them with the best
    errors['only pairs with the best'] += least * 4 / 10 <= 0.05
  limit = 0.05 + 4 * math.sqrt(0.05 * 0.95 / replications)
  assert 0.01 < errors['intervals'] / replications < limit
  assert 0.01 < errors['holm'] / replications < limit
  assert errors['only pairs with the best'] / replications > limit


def test_coverage_of_differences():
  rng, replications, sizes, means = np.random.default_rng(4), 2500, (8, 64), (1.0, 0.0)
  held = 0
  for values in family(rng, means, replications, 6):
    (pair,) = paired.against_best(dict(zip(sizes, values, strict=True)))
    truth = 1.0 if pair.best == 8 else -1.0
    held += pair.interval.low <= truth <= pair.interval.high
  assert 0.93 < held / replications < 0.97
  together, means = 0, np.array([0.0, 0.3, 2.0])
  for values in family(rng, means, 1500, 6):
    pairs = paired.against_best(dict(enumerate(values)))
    together += all(
      p.interval.low <= means[p.best] - means[p.other] <= p.interval.high for p in pairs
    )
  assert together / 1500 > 0.95 - 4 * math.sqrt(0.05 * 0.95 / 1500)


def test_holm_by_hand_and_the_p_value_against_scipy():
  adjusted = paired.holm([0.01, 0.04, None, 0.03, 0.005])
  assert adjusted == pytest.approx([0.04, 0.09, None, 0.09, 0.025])
  rng = np.random.default_rng(5)
  a, b = rng.normal(size=(2, 7))
  (pair,) = paired.against_best({8: a, 16: b})
  assert pair.p_holm == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
  three = paired.against_best({8: a, 16: b, 32: a - 0.1 + 0.01 * b})
  assert [(pair.best, pair.other) for pair in three] == [(16, 8), (16, 32)]
  test = stats.ttest_rel(b, a).confidence_interval(1 - 0.05 / 3)
  assert [three[0].interval.low, three[0].interval.high] == pytest.approx(
    [test.low, test.high], rel=1e-9
  )
  assert three[0].confidence == pytest.approx(1 - 0.05 / 3)


def interval(low, high, n=5):
  return Estimate((low + high) / 2, low, high, n)


@pytest.mark.parametrize(
  'question, low, high, n, verdict',
  [
    (ABOVE, 0.001, 0.003, 5, 'supported'),
    (ABOVE, -0.003, -0.001, 5, 'refuted'),
    (ABOVE, -0.001, 0.003, 5, 'undetermined'),
    (ABOVE, 0.0, 0.003, 5, 'undetermined'),
    (BELOW, 0.001, 0.003, 5, 'refuted'),
    (BELOW, -0.003, -0.001, 5, 'supported'),
    (within(0.005), -0.004, 0.004, 5, 'supported'),
    (within(0.005), 0.001, 0.004, 5, 'supported'),
    (within(0.005), 0.001, 0.006, 5, 'undetermined'),
    (within(0.005), 0.006, 0.009, 5, 'refuted'),
    (within(0.005), -0.009, -0.006, 5, 'refuted'),
    (ABOVE, 0.002, 0.002, 5, 'undetermined'),
    (within(0.005), 0.0, 0.0, 5, 'undetermined'),
    (ABOVE, 0.001, 0.003, 1, 'undetermined'),
  ],
)
def test_questions(question, low, high, n, verdict):
  assert question.verdict(interval(low, high, n)) == verdict


def test_an_equivalence_margin_must_be_above_zero():
  with pytest.raises(ValueError, match='margin is 0'):
    within(0.0)


def test_trials_needed_is_the_least_number_that_makes_it():
  x = np.random.default_rng(6).normal(0.3, 1.0, size=8)
  needed = paired.trials_needed(mean_interval(x), 0.3)

  largest = x.std(ddof=1) * math.sqrt(7 / stats.chi2.ppf(0.05, 7))  # the spread's upper limit

  def half(n):
    return stats.t.ppf(0.975, n - 1) * largest / math.sqrt(n)

  assert half(needed) < 0.3 <= half(needed - 1)
  assert paired.trials_needed(mean_interval(x), 1e-4) is None
  assert paired.trials_needed(mean_interval(x), 0.0) is None


def of_effect(plain, again=None, question=ABOVE):
  about = {'kind': Kind.PAIR, 'subject': (8, 64), 'quantity': 'val_accuracy', 'budget': 'epochs'}
  return judge(question, plain, again, **about)


def test_a_verdict_stands_by_both_statistics_and_wherever_between_records():
  sure = exact(interval(0.001, 0.003))
  assert of_effect(sure, sure).verdict == 'supported' and not of_effect(sure, sure).reasons
  wrong = exact(interval(-0.003, -0.001))
  claim = of_effect(sure, wrong)
  assert claim.verdict == 'undetermined'
  assert reasons(claim) == {
    'statistics_disagree': {'running': 'supported', 'reestimated': 'refuted'}
  }
  for plain, again in (
    (Effect(sure.interval, -0.001, 0.004), sure),
    (sure, Effect(sure.interval, -0.001, 0.004)),
  ):
    claim = of_effect(plain, again)
    assert claim.verdict == 'undetermined'
    assert reasons(claim)['interpolated']['low'] == -0.001
  # Undetermined by itself: what would decide it is told, and nothing else is in doubt.
  assert reasons(of_effect(exact(interval(-0.001, 0.003)))).keys() == {'contains_zero'}
  claim = of_effect(exact(interval(0.001, 0.006)), question=within(0.005))
  assert reasons(claim)['crosses_margin']['margin'] == 0.005


@pytest.mark.parametrize('trials, code', [(1, 'one_trial'), (4, 'no_width')])
def test_one_trial_and_no_width_prove_nothing(trials, code):
  accuracy = {8: 0.75, 64: 0.5}
  found = study(
    (8, 64), (0.1,), trials, lambda lane, updates: {'val_accuracy': accuracy[lane['batch_size']]}
  )
  claims, _ = claims_of(found, first(found))
  assert {claim.verdict for claim in claims} == {'undetermined'}
  pair = one(claims, Kind.PAIR, 'above')
  assert pair.subject == (8, 64) and pair.estimate.value == 0.25
  assert code in reasons(pair) and pair.columns['p_adjusted'] is None
  assert code in reasons(falls(claims, 'epochs'))
  json.dumps(rendered(claims), allow_nan=False)


def test_statistics_of_batchnorm_that_decide_the_verdict_leave_it_open():
  def curve(lane, updates):
    noise = 1e-3 * math.sin(5 * lane['lane'])
    running = 0.7 - 0.02 * math.log2(lane['batch_size']) + noise
    again = 0.6 + 1e-3 * math.cos(3 * lane['lane'])
    keys = 'val_accuracy', 'train_accuracy'
    values = {key: running for key in keys} | {f'reestimated_{key}': again for key in keys}
    return values | {'reestimated_val_loss': 1.0, 'reestimated_train_loss': 1.0}

  found = study((8, 64), (0.1,), 4, curve)
  chosen = first(found)
  claims, ranking = claims_of(found, chosen)
  for claim in (falls(claims, 'epochs'), one(claims, Kind.PAIR, 'above')):
    assert claim.verdict == 'undetermined' and 'statistics_disagree' in reasons(claim)
    low, high = ends(claim)
    assert low * high > 0  # the running statistics alone would decide it
    assert claim.again.low < 0 < claim.again.high
  best = recommendation(chosen, ranking, NO_TARGET)[0]
  assert best.columns['batch_size'] == 8 and reasons(best)['not_shown_worse']['sizes'] == [64]
  plain = [pair._replace(again=None) for pair in ranking.pairs]
  alone = recommendation(chosen, ranking._replace(pairs=plain), NO_TARGET)[0]
  assert alone.columns['batch_size'] == 8 and reasons(alone)['shown_worse']['sizes'] == [64]


def test_a_verdict_that_rests_on_straight_lines_between_records_is_left_open():
  # A drop within the stretch that the readings of batch size 8 lie in: 64 of 43 to 85 updates.
  def curve(lane, updates):
    height = 0.3 + 1e-5 * math.sin(3 * lane['lane'])
    return {'val_accuracy': height - 1e-4 * lane['batch_size'] + 4e-4 * updates}

  sparse, dense = (study((8, 16, 64), (0.1,), 4, curve, n) for n in (12, 16))
  for found, verdict in ((sparse, 'undetermined'), (dense, 'supported')):
    chosen = first(found)
    at = {'epochs': None, 'updates': 64, 'learning_rate_updates': None}
    read = {budget: readings(chosen, budget, value) for budget, value in at.items()}
    claim = falls(slope_claims(found, chosen, read), 'updates')
    assert ends(claim)[1] < 0 and claim.verdict == verdict
    assert ('interpolated' in reasons(claim)) == (verdict == 'undetermined')


def test_batch_sizes_without_all_trials_are_left_out_and_named():
  values = {8: [0.9, 0.91, 0.92], 16: [0.8, None, 0.8], 32: [0.5, 0.52], 64: [0.7, 0.72, 0.715]}
  read = {
    size: of_columns(range(len(column)), {'val_accuracy': column})
    for size, column in values.items()
  }
  ranking = rank(read)
  assert [(pair.best, pair.other) for pair in ranking.pairs] == [(8, 64)]
  assert ranking.out == [
    Reason('left_out', size=16, why=Reason('trial_not_finite')),
    Reason('left_out', size=32, why=Reason('fewer_trials', trials=2, of=3)),
  ]
  broken = {8: of_columns((0, 1), {'val_accuracy': [0.5, 0.6]})}
  broken[16] = of_columns((0, 1), {'val_accuracy': [math.nan, 0.5]})
  assert rank(broken).pairs == []


@pytest.mark.parametrize(
  'ci, found',
  [
    ((0.93, 1.06), ('supported', 'refuted', 'refuted')),
    ((0.42, 0.58), ('refuted', 'supported', 'refuted')),
    ((-0.05, 0.09), ('refuted', 'refuted', 'supported')),
    ((0.55, 0.95), ('undetermined', 'undetermined', 'refuted')),
    ((0.7, None), ('undetermined', 'refuted', 'refuted')),
    ((None, None), ('undetermined',) * 3),
    ((math.nan, 1.0), ('undetermined',) * 3),
  ],
)
def test_exponent_of_the_learning_rate(ci, found):
  claims = exponent_claims({'value': 0.75, 'ci95': list(ci), 'n': 5, 'rules': {}})
  assert tuple(claim.verdict for claim in claims) == found
  assert [claim.subject for claim in claims] == [(1.0,), (0.5,), (0.0,)]
  json.dumps(rendered(claims), allow_nan=False)
  assert {claim.verdict for claim in exponent_claims(NO_EXPONENT)} == {'undetermined'}
  single = exponent_claims({'value': 0.5, 'ci95': [0.45, 0.55], 'n': 1})
  assert {claim.verdict for claim in single} == {'undetermined'}


def recommended(values):
  """The recommendation by accuracy of a study that ends with these."""
  found = ended_with(values)
  chosen = first(found)
  return recommendation(chosen, rank(readings(chosen, 'epochs')), NO_TARGET)[0]


def test_the_largest_batch_size_shown_to_be_as_good_is_recommended():
  noise = 1e-3 * np.random.default_rng(7).normal(size=(3, 6))
  means = 0.9, 0.9, 0.8
  values = {b: list(m + e) for b, m, e in zip((8, 32, 64), means, noise, strict=True)}
  accuracy = recommended(values)
  assert accuracy.columns == {'goal': judged().val, 'batch_size': 32, 'learning_rate': 0.1}
  assert reasons(accuracy)['shown_worse']['sizes'] == [64]
  row = recommended({8: [0.9, 0.7, 0.8, 0.6], 64: [0.7, 0.8, 0.65, 0.7]})
  assert row.columns['batch_size'] == 8 and reasons(row)['at_stake']['other'] == 64
  for few, code in (
    ({8: [0.9], 64: [0.8]}, 'one_trial_highest'),
    ({8: [0.9, 0.8], 64: [None, 0.8]}, 'nothing_to_compare'),
    ({8: [0.9, 0.8]}, 'nothing_to_compare'),
  ):
    row = recommended(few)
    assert row.columns == {'goal': judged().val, 'batch_size': None, 'learning_rate': None}
    assert code in reasons(row)


def test_a_smaller_mean_shown_to_be_as_good_is_preferred_for_its_fewer_updates():
  noise = 1e-3 * np.array([1, -1, 2, -2, 0.5, -0.5])
  values = {8: list(0.9002 + noise), 32: list(0.9 - noise), 64: list(0.8 + noise[::-1])}
  assert np.mean(values[8]) > np.mean(values[32])
  row = recommended(values)
  assert row.columns['batch_size'] == 32
  assert reasons(row)['as_good'] == {'size': 32, 'best': 8, 'margin': 0.005}


def test_recommendations_for_a_target():
  noise = 0.02 * np.random.default_rng(8).normal(size=(5, 5))
  cost = {8: 1000.0, 16: 1000.0, 64: 1150.0, 128: 1600.0, 256: 1000.0}
  points = [
    {'batch_size': b, 'learning_rate': b / 80, 'examples': list(e * np.exp(z))}
    for (b, e), z in zip(cost.items(), noise, strict=True)
  ]
  points[-1]['examples'][2] = None  # never reached it in one trial
  critical = {'b_crit': 400.0, 'ci95': [300.0, 500.0], 'target': 0.9, 'points': points}
  _, examples, updates = recommendation({}, rank({}), critical)
  assert examples.columns == {'goal': EXAMPLES, 'batch_size': 8, 'learning_rate': 0.1}
  assert reasons(examples)['not_shown_to']['sizes'] == [16]
  assert reasons(examples)['shown_to_need_more']['sizes'] == [64, 128]
  assert updates.columns == {'goal': UPDATES, 'batch_size': 64, 'learning_rate': 0.8}
  assert reasons(updates)['falls_short'] == {'size': 256}
  for nothing, code in (
    (NO_TARGET, 'target_unknown'),
    (critical | {'points': points[:1]}, 'too_few_reach'),
  ):
    for row in recommendation({}, rank({}), nothing)[1:]:
      assert row.columns['batch_size'] is None and code in reasons(row)
  early = [points[0] | {'status': ['reached', EARLY]}, *points[1:]]
  for row in recommendation({}, rank({}), critical | {'points': early})[1:]:
    assert row.columns['batch_size'] is None and reasons(row) == {'reached_early': {'sizes': [8]}}
  broken = [point | {'examples': [-1.0, 0.0, math.inf, math.nan, None]} for point in points]
  rows = recommendation({}, rank({}), critical | {'points': broken})
  assert all(row.columns['batch_size'] is None for row in rows)


def test_schedules_edges_and_turning_means_are_named():
  means = {8: 0.8, 16: 0.9, 64: 0.5}

  def curve(lane, updates):
    rate = lane['learning_rate'] * (1 - updates / lane['updates'])
    return {
      'val_accuracy': means[lane['batch_size']] + 1e-4 * math.sin(3 * lane['lane']),
      'learning_rate': rate,
    }

  found = study((8, 16, 64), (0.1, 0.2), 3, curve)
  claim = falls(trends(found, first(found)), 'updates')
  # The interval shows it, but what is compared is not only the batch size.
  assert claim.verdict == 'undetermined' and 'means_turn' in reasons(claim)
  assert ends(claim)[1] < 0 and 'other_place_of_schedule' in reasons(claim)
  assert reasons(claim)['stand_at']['shares'] == pytest.approx([0.875, 0.0])
  assert reasons(claim)['chosen_at_grid_edge'] == {'sizes': [8, 16, 64]}


def steep(diverged):
  """All batch sizes alike; a trial of 32 diverges at the best rates, at 0.4 only or also above."""

  def curve(lane, updates):
    away = math.log(lane['learning_rate'] / 0.2) / math.log(2)
    size, rate, trial = lane['batch_size'], lane['learning_rate'], lane['trial']
    val = 0.9 - 0.021 * away**2 + 0.003 * math.cos(trial * size + 7 * rate)
    bad = size == 32 and trial == 1 and any(math.isclose(rate, one) for one in diverged)
    return {'val_accuracy': val, 'train_accuracy': val, 'diverged': bad}

  return study([8, 16, 32], (0.05, 0.1, 0.2, 0.4, 0.8), 4, curve)


def test_nothing_is_shown_of_a_batch_size_that_is_read_beside_its_best_rates():
  found = steep((0.1, 0.2, 0.4))  # 0.05 and 0.8 are left, 8 points below
  chosen = {size: tune(settings) for size, settings in found.items()}
  claims, ranking = claims_of(found, chosen)
  (best,) = {pair.best for pair in ranking.pairs}
  for side in ('above', None):
    worse = [
      c for c in claims if c.kind == Kind.PAIR and 32 in c.subject and c.question.side == side
    ]
    for claim in worse:
      assert claim.verdict == 'undetermined' and claim.estimate.low > 0.05
      assert reasons(claim)['best_rates_unsafe']['size'] == 32
  assert falls(claims, 'epochs').verdict == 'undetermined'
  assert 'best_rates_unsafe' in reasons(falls(claims, 'epochs'))
  other = [c for c in claims if c.kind == Kind.PAIR and 32 not in c.subject]
  assert best != 32 and other and all('best_rates_unsafe' not in reasons(c) for c in other)


def test_a_batch_size_is_worse_where_its_best_rates_are_beyond_a_limit():
  found = steep((0.1, 0.2, 0.4, 0.8))  # only 0.05 is safe
  claims, _ = claims_of(found, {size: tune(settings) for size, settings in found.items()})
  worse = [c for c in claims if c.kind == Kind.PAIR and 32 in c.subject]
  assert {c.verdict for c in worse} == {'supported', 'refuted'}
  assert falls(claims, 'epochs').verdict == 'supported'
