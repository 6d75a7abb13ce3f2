"""Scaling rules as runs: planted laws are found, noise is not, and intervals hold."""

import math

import numpy as np
import pytest
from helpers import planted_scaling as planted
from helpers.draws import draws

from bsjax.analysis.claims import claim, scaling_rules
from bsjax.analysis.claims.claim import ABOVE, REFUTED, SUPPORTED, UNDETERMINED
from bsjax.analysis.runs import curve_distance, histories
from bsjax.config import metrics
from bsjax.report.summaries import summarize
from bsjax.report.text.rendered import rendered
from bsjax.stats.intervals import mean_interval
from bsjax.stats.jackknife import log_jackknife
from bsjax.stats.paired import against_best

SIZES = (32, 64, 128)


def found(power=1.0, trials=5, rates=(0.1, 0.2, 0.4), rule=planted.RULE, **options):
  """The content of summary['scaling_rules'] of a made-up study."""
  config = planted.config(rates, rule)
  plan = planted.plan(config, SIZES, trials)
  rows = planted.records(plan, power, **options)
  return compared(config, plan, rows)


def compared(config, plan, rows):
  return rendered(scaling_rules.scaling_rules(config, histories.settings(plan, rows)))


def codes(row):
  return [reason['code'] for reason in row['reasons']]


def at(result, rule, size, rate=1):
  runs = result['rates'][rate]['runs']
  return next(run for run in runs if (run['rule'], run['batch_size']) == (rule, size))


def way(result, name, size, clock='epochs'):
  keys = (name, size, clock)
  rows = result['ways']['rows']
  return next(row for row in rows if (row['way'], row['batch_size'], row['clock']) == keys)


@pytest.mark.parametrize('rule, power', [('linear', 1.0), ('sqrt', 0.5), ('none', 0.0)])
def test_the_law_that_is_true_is_closest_and_keeps_the_accuracy(rule, power):
  result = found(power, trials=6, seeds=0.2)
  assert [row['rule'] for row in result['rates'][1]['closest']] == [rule, rule]
  for name in ('none', 'sqrt', 'linear'):
    run = at(result, name, 128)
    expected = SUPPORTED if name == rule else REFUTED
    assert run['keeps']['verdict'] == expected, (name, run['keeps'])
    assert (run['as_close_as_seeds']['verdict'] == SUPPORTED) == (name == rule)
    assert way(result, name, 128)['keeps']['verdict'] == expected
  wrong = 'none' if rule != 'none' else 'linear'
  # Accuracy falls by 0.02 an e-fold of the rate, and here by |1 - 0| log 4 or |1/2 - 0| log 4.
  gap = 0.02 * math.log(4) * max(power, 1 - power if rule == 'none' else power)
  low, high = at(result, wrong, 128)['val_accuracy']['ci95']
  assert low < -gap < high


def test_the_learning_rate_that_is_shown_is_best_by_what_runs_are_judged_by():
  """Accuracy is highest at the middle one of three, and the loss is least at the largest."""
  assert found()['shown'] == 1
  loss = metrics.MetricEntry('loss', 'loss', 'losses', higher_is_better=False)
  with metrics.judging(metrics.Judged(loss)):
    assert found()['shown'] == 2


def test_noise_names_no_rule_and_decides_nothing():
  result = found(trials=3, own=1.0, accuracy_noise=0.03)
  for rate in result['rates']:
    assert all(row['rule'] is None for row in rate['closest'])
    assert codes(rate['closest'][0]) == ['not_told_apart']
    for run in rate['runs']:
      assert run['keeps']['verdict'] == run['as_close_as_seeds']['verdict'] == 'undetermined'
  assert {row[key]['verdict'] for row in result['ways']['rows'] for key in ('better', 'keeps')} == {
    'undetermined'
  }


def test_distances_by_hand():
  base, other = np.log([[1.0, 0.5], [2.0, 0.5], [4.0, 0.5]]), np.log([[2.0, 0.5]] * 3)
  np.testing.assert_allclose(
    curve_distance.paired(base, other), math.log(2) * np.array([1, 0, 1]) / 2
  )
  floor = curve_distance.noise_floor(base)
  assert floor.value.value == pytest.approx(math.log(2) * (1 + 2 + 1) / 2 / 3)
  ratio = curve_distance.against_seeds(base, other)
  assert ratio.value.value == pytest.approx(0.5) and ratio.value.n == 3
  # The jackknife of a mean of logs is Student's interval of the mean itself.
  values = np.array([1.0, 3.0, 2.0, 7.0])
  geometric = log_jackknife(lambda keep: math.exp(values[keep].mean()), 4, 1)
  spread = 3.182446305284263 * values.std(ddof=1) / 2
  log = geometric
  ends = log.value, log.low, log.high
  assert ends == pytest.approx((3.25, 3.25 - spread, 3.25 + spread))


def test_distances_are_read_from_the_records_at_equal_examples():
  result = found(trials=4, seeds=0.3, own=0.0)
  # In the planted law a lane's log loss is -3 share sqrt(rate / best) + the trial's own.
  share = np.arange(1, 9) / 8
  expected = np.mean(3 * share * (1 - math.sqrt(0.25)))
  run = at(result, 'none', 128)
  assert run['distance']['mean'] == pytest.approx(expected)
  assert run['distance']['largest'] == pytest.approx(3 * (1 - math.sqrt(0.25)))
  assert run['train_loss_ratio']['mean'] == pytest.approx(math.exp(1.5))
  shared = np.random.default_rng(0).normal(0, 0.3, 4)
  pairs = [abs(a - b) for i, a in enumerate(shared) for b in shared[:i]]
  assert result['rates'][1]['noise_floor']['mean'] == pytest.approx(np.mean(pairs))


def test_fixed_scaled_and_tuned_against_the_base_at_both_clocks():
  result = found(trials=6, accuracy_noise=0.001, seeds=0.01)
  assert result['ways']['base']['learning_rate'] == 0.2
  assert way(result, 'none', 128)['better']['verdict'] == SUPPORTED
  assert way(result, 'linear', 128)['better']['verdict'] == UNDETERMINED
  assert way(result, 'tuned', 128)['learning_rate'] == 0.8  # the linear one is right
  assert way(result, 'tuned', 128)['at_grid_edge'] is False
  assert [row['updates_per_epoch'] for row in result['ways']['rows'][::8]] == [16, 8]
  late = way(result, 'linear', 128, 'updates')
  # Batch size 32 stands at a quarter of its training where 128 ends; both lie on records.
  expected = 0.8 * (math.exp(-8) - math.exp(-2))
  assert late['at'] == 32 and not late['interpolated']
  assert late['val_accuracy']['mean'] == pytest.approx(expected, abs=0.005)
  assert late['better']['verdict'] == REFUTED and codes(late['better']) == ['stand_at']
  assert late['better']['reasons'][0]['epochs'] == pytest.approx([1.0, 4.0])


def test_what_rests_on_lines_between_records_is_not_decided():
  config = planted.config((0.1, 0.2, 0.4), planted.RULE)
  plan = planted.plan(config, SIZES, 6)
  rows = planted.records(plan, accuracy_noise=0.001, evaluations=3)
  size = {lane['lane']: lane['batch_size'] for lane in plan}
  # Where 64 has its second of three, 32 would have made as many with its first.
  kept = [row for row in rows if not (size[row['lane']] == 64 and 2.5 < row['epoch'] < 3)]
  assert len(kept) < len(rows)
  row = way(compared(config, plan, kept), 'linear', 64, 'updates')  # half lies between two
  assert row['interpolated'] and 'interpolated' in codes(row['keeps'])
  assert row['keeps']['verdict'] == UNDETERMINED


def test_divergence_is_counted_and_leaves_the_rule_out():
  def high(lane):
    return lane['batch_size'] == 128 and lane['learning_rate'] > 0.7 and lane['trial'] == 1

  result = rendered(found(trials=4, diverges=high))
  run = at(result, 'linear', 128)
  assert run['diverged'] == 1 and 'trial 1 diverged' in run['undefined']
  assert at(result, 'linear', 64)['diverged'] == 0
  closest = result['rates'][1]['closest'][1]
  assert closest['rule'] == 'sqrt'
  assert codes(closest) == ['others_farther', 'rules_without_distance']
  assert closest['reasons'][1]['rules'] == ['linear']
  assert 'trial 1 diverged' in way(result, 'linear', 128)['undefined']
  base = found(trials=4, diverges=lambda lane: lane['batch_size'] == 32)
  assert 'undefined' in base['ways'] and base['rates'][0]['base']['diverged'] == 4
  assert all('undefined' in run for rate in base['rates'] for run in rate['runs'])


def test_one_trial_shows_nothing():
  result = found(trials=1)
  for run in result['rates'][1]['runs']:
    assert run['val_accuracy']['ci95'] == [None, None]
    assert run['keeps']['verdict'] == 'undetermined'
  assert result['rates'][1]['noise_floor']['mean'] is None
  assert all(row['rule'] is None for row in result['rates'][1]['closest'])


def test_both_kinds_of_statistics_must_agree():
  config = planted.config(normalization='batch')
  plan = planted.plan(config, SIZES, 6)
  rows = planted.records(plan, 1.0, accuracy_noise=0.0005)
  by_lane = {lane['lane']: lane for lane in plan}
  for row in rows:
    worse = 0.05 * (by_lane[row['lane']]['batch_size'] == 128)
    row['reestimated_val_accuracy'] = row['val_accuracy'] - worse
    row |= {'reestimated_train_accuracy': 0.5, 'reestimated_val_loss': 1.0}
    row['reestimated_train_loss'] = 1.0
  result = compared(config, plan, rows)
  assert at(result, 'linear', 64)['keeps']['verdict'] == SUPPORTED
  run = at(result, 'linear', 128)
  assert run['keeps']['verdict'] == UNDETERMINED
  assert 'statistics_disagree' in codes(run['keeps'])
  assert way(result, 'none', 128)['better']['verdict'] == SUPPORTED  # by both
  tuned = way(result, 'linear', 128)['keeps']  # by running statistics alone it is kept
  assert tuned['verdict'] == UNDETERMINED and 'statistics_disagree' in codes(tuned)


def test_what_cannot_be_compared_says_why():
  assert found(rule='linear') is None
  config = planted.config(base=48)
  plan = planted.plan(config)
  undefined = compared(config, plan, planted.records(plan))['undefined']
  assert 'base_batch_size=48 is not' in undefined
  config = planted.config()
  plan = planted.plan(config, (32,))
  assert 'the only one' in compared(config, plan, planted.records(plan))['undefined']
  plan = planted.plan(config)
  rows = planted.records(plan)
  twice = [{**lane, 'trial': 0} for lane in plan]
  assert 'branches' in compared(config, twice, rows)['undefined']


def test_a_loss_of_zero_has_no_distance():
  config = planted.config()
  plan = planted.plan(config)
  rows = planted.records(plan)
  for row in rows:
    if row['lane'] == plan[-1]['lane'] and row['updates'] == plan[-1]['updates']:
      row['train_loss'] = 0.0
  run = at(compared(config, plan, rows), 'linear', 128, rate=2)
  assert 'training loss of trial 4 is 0.0' in run['distance']['undefined']
  assert run['keeps']['n'] == 5  # the accuracy is still compared


def test_the_summary_has_it_only_for_several_rules():
  config, alone = planted.config(), planted.config(rule='linear')
  plan = planted.plan(config, SIZES, 2)
  rows = planted.records(plan)
  assert summarize(config, plan, rows)['scaling_rules']['rules'] == ['none', 'sqrt', 'linear']
  assert 'scaling_rules' not in summarize(alone, plan, rows)


def seed_curves(random, n, shift, shared, sd=0.05, points=10):
  """Log losses of a base and another batch size whose trials have part of their luck in common."""
  luck, own = random.normal(0, sd, (2, n, 1))
  noise = random.normal(0, 0.4 * sd, (2, n, points))
  base = luck + noise[0]
  return base, shift + shared * luck + math.sqrt(1 - shared**2) * own + noise[1]


@pytest.mark.parametrize('n', [3, 5])
@pytest.mark.parametrize('shift, shared', [(0.0, 0.9), (0.1, 0.5)])
def test_intervals_of_distances_hold_at_their_level(n, shift, shared):
  random = np.random.default_rng(n)
  base, other = seed_curves(random, 3000, shift, shared)
  distance = np.abs(other - base).mean()
  floor = np.abs(base[:1500] - base[1500:]).mean()
  truths = math.log(distance), math.log(floor), math.log(distance / floor)
  held, count = np.zeros(3), 300
  for _ in draws(count):
    base, other = seed_curves(random, n, shift, shared)
    three = (
      curve_distance.mean_distance(base, other),
      curve_distance.noise_floor(base),
      curve_distance.against_seeds(base, other),
    )
    held += [
      each.log.low <= truth <= each.log.high for each, truth in zip(three, truths, strict=True)
    ]
  # 90% leaves room for the skew of few distances; three standard errors of 300 draws are 3.8%.
  assert (held / count > 0.90).all(), held / count


def test_intervals_of_accuracies_hold_together(monkeypatch):
  """All rules and batch sizes of a rate at once; in 95.3% if the differences are exactly normal."""
  monkeypatch.setattr(scaling_rules.tuned_runs, 'ways', lambda *arguments: {})
  monkeypatch.setattr(scaling_rules, '_curve', lambda *arguments: {})
  monkeypatch.setattr(claim, 'trials_needed', lambda *arguments: None)  # takes most of the time
  config, held, count = planted.config((0.2,)), 0, 400
  plan = planted.plan(config, trials=4)
  for seed in draws(count):
    rows = planted.records(plan, seed=1000 + seed, accuracy_noise=0.01, evaluations=1)
    result = scaling_rules.scaling_rules(config, histories.settings(plan, rows))
    inside = []
    for run in result['rates'][0]['runs']:
      rate = run['learning_rate'] * 32 / run['batch_size']
      truth = -0.02 * abs(math.log(rate / 0.2)) * (1 - math.exp(-8))
      low, high = run['val_accuracy']['ci95']
      inside.append(low <= truth <= high)
    held += all(inside)
  assert abs(held / count - 0.953) < 0.033, held / count


def test_the_closest_rule_is_shown_at_95_percent_for_all_pairs_and_batch_sizes_at_once():
  decided_by_the_correction = 0
  for seed in range(20):
    result = found(trials=6, rates=(0.2,), own=0.2, seed=seed)
    for row in result['rates'][0]['closest']:
      distances = {
        run['rule']: np.array(run['distance']['each'])
        for run in result['rates'][0]['runs']
        if run['batch_size'] == row['batch_size']
      }
      best = min(distances, key=lambda rule: distances[rule].mean())
      gaps = [other - distances[best] for rule, other in distances.items() if rule != best]

      def shown(confidence, gaps=gaps):
        return all(mean_interval(gap, confidence).low > 0 for gap in gaps)

      assert row['rule'] == (best if shown(1 - 0.05 / (3 * 2)) else None)  # pairs, batch sizes
      decided_by_the_correction += shown(1 - 0.05 / 3) and not shown(1 - 0.05 / (3 * 2))
  assert decided_by_the_correction >= 2


def test_intervals_of_accuracies_are_those_of_all_that_is_compared():
  result = found(trials=3, rates=(0.2,))
  runs, ways = result['rates'][0]['runs'], result['ways']['rows']
  # Two batch sizes by three rules; and at each budget by three rules and the tuned rate.
  assert [run['keeps']['confidence'] for run in runs] == pytest.approx([1 - 0.05 / 6] * 6)
  both = [row[key]['confidence'] for row in ways for key in ('better', 'keeps')]
  assert both == pytest.approx([1 - 0.05 / 8] * 32)
  for row in (*runs, *ways):
    assert row['keeps']['ci95'] == row['val_accuracy']['ci95']


def test_equal_rules_are_seldom_told_apart():
  random, wrong, count = np.random.default_rng(0), 0, 400
  for _ in draws(count):
    distances = {rule: -np.abs(random.normal(0.05, 0.02, 5)) for rule in range(3)}
    pairs = against_best(distances)
    wrong += all(ABOVE.verdict(pair.interval) == SUPPORTED for pair in pairs)
  assert wrong / count < 0.05
