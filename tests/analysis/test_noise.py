"""analysis.noise: all noise scales of a setting beside each other, from made-up records."""

import json
import math

import pytest
from helpers import synthetic

from bsjax.analysis.measures import noise
from bsjax.analysis.runs.histories import settings
from bsjax.noise.exact import ratio, spread
from bsjax.report.text.rendered import rendered
from bsjax.stats.estimate import Reason
from bsjax.stats.intervals import PairMoments, fieller_from_moments, harmonic_ratio


def window(count, trace, grad_sq, spread=0.0):
  moments = {'count': count, 'trace': trace, 'grad_sq': grad_sq, 'negative': 0.25}
  moments |= {'trace_var': spread, 'grad_sq_var': spread, 'cov': 0.0}
  return moments | {'spans': moments | {'count': count // 8}}


def exact(trace, grad_sq, n=100, var=1.0):
  value = trace / grad_sq if grad_sq else None
  spread = {'n': n, 'trace_var': var, 'grad_sq_var': var, 'cov': 0.0}
  return {'trace': trace, 'grad_sq': grad_sq, 'noise_scale': value, **spread}


def setting(measure, trials=2, records=5):
  """One batch size whose lanes have the columns `measure(trial, share)` beside the usual ones."""
  plan = synthetic.plan((8,), (0.1,), trials)
  rows = [
    synthetic.record(lane, i / (records - 1), **measure(lane['trial'], i / (records - 1)))
    for lane in plan
    for i in range(records)
  ]
  return settings(plan, rows)[8][0]


def test_one_probe_that_is_read_back_has_the_interval_with_which_it_was_recorded():
  """Variances of tr(Sigma) and of |G|^2 differ much."""
  moments = PairMoments(40.0, 2.0, 90.0, 0.5, 1.5, 100)
  recorded = ratio(moments) | spread(moments)
  row = {'exact': {'plain': recorded, 'examples': 100}}
  alone = noise.late(setting(lambda trial, share: row, trials=1, records=2))
  assert alone['measurement']['ci95'] == pytest.approx(recorded['ci95'])


def test_late_is_over_the_last_half_with_both_intervals():
  def measure(trial, share):
    trace = 40.0 + 4 * trial if share > 0.5 else 1e6
    return {'noise': window(80, trace, 2.0, 0.5) if share else synthetic.noise(0, None, None)}

  found = noise.late(setting(measure))
  assert found['b_simple'] == pytest.approx(2 / (2 / 40 + 2 / 44))
  expected = harmonic_ratio([40, 44], [2, 2])
  assert found['ci95'] == pytest.approx([expected.low, expected.high])
  low, high = found['measurement']['ci95']
  assert found['ci95'][0] < low < 21 < high < found['ci95'][1]  # trials differ more than they err
  assert found['measurement']['log_delta_ci95'] == pytest.approx([low, high], rel=0.02)
  assert found['measurement']['negative'] == 0.25
  assert (found['interval_over'], found['n']) == ('trials', 2)
  assert (found['kind'], found['examples'], found['measurements']) == ('b_simple', 8, 4 * 80)

  alone = noise.late(setting(measure, trials=1))
  assert alone['b_simple'] == 20 and alone['ci95'] == alone['measurement']['ci95']
  assert alone['interval_over'] == 'measurements of one trial'


def probes(trial, share):
  kinds = {'plain': exact(100.0 * (1 + trial) * (1 + share), 2.0), 'curvature': exact(30.0, 1.0)}
  return {'exact': {'examples': 100, **kinds}}


def test_single_examples_stand_beside_with_means_over_records_then_trials():
  found = noise.beside(setting(probes))
  written = rendered(found)
  assert json.loads(json.dumps(written, allow_nan=False)) == written
  # The records at shares 0.5, 0.75 and 1 of training, in two trials: 175 and 350, over 2.
  assert found['late']['exact']['value'] == pytest.approx(2 / (2 / 175 + 2 / 350))
  assert found['late']['b_noise']['value'] == pytest.approx(30)
  assert set(found['late']) == {'exact', 'b_noise'}
  assert [row['examples'] for row in found['training']] == [0, 10752, 21504, 32256, 43008]
  last = found['training'][-1]
  assert last['exact']['value'] == pytest.approx((200 + 400) / 2 / 2)
  # The variance of the mean of two probes: (1 / 100 + 1 / 100) / 4 each.
  half = 1.972 * math.sqrt(0.005 * (1 + 150**2)) / 2
  assert last['exact']['ci95'] == pytest.approx([150 - half, 150 + half], rel=0.02)


@pytest.mark.parametrize('bad', [None, -3.0])
def test_a_probe_without_a_noise_scale_leaves_the_moment_undefined(bad):
  def measure(trial, share):
    found = probes(trial, share)
    if share == 1 and trial == 0:
      found['exact']['plain'] |= {'grad_sq': bad, 'noise_scale': None}
      if bad is None:
        found['exact']['plain'] |= {'trace': None, 'trace_var': None}
    return found

  found = noise.beside(setting(measure))
  last = found['training'][-1]['exact']
  assert last['value'] is None and last['ci95'][1] is None and last['reason']
  if bad is None:
    late = found['late']['exact']
    assert late['value'] is None and late['reason'] == (Reason('moments_not_finite'),)


def test_nothing_measured_says_so():
  found = noise.late(setting(lambda trial, share: {}))
  assert found['b_simple'] is None and found['n'] == 0 and 'kind' not in found
  assert found['reason'] == Reason('no_late_measurement')
  assert noise.beside(setting(lambda trial, share: {}))['late'] == {}


def both_windows(early_count):
  """Of which those early in epochs have the larger noise scale, and `early_count` updates each."""

  def measure(trial, share):
    if not share:
      return {'noise': synthetic.noise(0, None, None), 'noise_early': window(0, None, None)}
    whole = {'noise': window(80, 40.0, 4.0, 0.5)}
    return whole | {'noise_early': window(early_count, 40.0 + trial, 2.0, 0.1)}

  return measure


def test_late_takes_what_was_measured_early_in_epochs():
  found = noise.late(setting(both_windows(10)))
  assert found['b_simple'] == pytest.approx(2 / (2 / 40 + 2 / 41)) and 'caveat' not in found
  assert found['measurements'] == 2 * 2 * 10
  beside = noise.beside(setting(both_windows(10)))
  assert beside['late']['b_simple']['value'] == found['b_simple']
  assert beside['training'][-1]['b_simple']['value'] == pytest.approx(10)  # of whole epochs
  (alone,) = [noise.late(setting(both_windows(10), trials=1))]
  assert alone['b_simple'] == pytest.approx(20) and alone['ci95'] == alone['measurement']['ci95']


def test_with_few_or_no_windows_early_in_epochs_all_must_do_and_it_is_said():
  few = noise.late(setting(both_windows(1)))
  assert few['b_simple'] == pytest.approx(10)
  assert few['caveat'] == Reason('few_early_updates', measured=2)
  assert noise.late(setting(both_windows(2)))['b_simple'] == pytest.approx(2 / (2 / 40 + 2 / 41))

  def old(trial, share):
    return {'noise': both_windows(1)(trial, share)['noise']}

  found = noise.late(setting(old))
  assert found['b_simple'] == pytest.approx(10) and found['caveat'] == Reason('no_early_windows')


def test_an_early_window_before_the_last_half_does_not_count():
  def measure(trial, share):
    found = both_windows(10)(trial, share)
    return found if share < 0.6 else found | {'noise_early': window(0, None, None)}

  found = noise.late(setting(measure))
  assert found['caveat'] == Reason('few_early_updates', measured=0)
  assert found['b_simple'] == pytest.approx(10)


def test_single_examples_are_preferred_to_batches():
  def measure(trial, share):
    return both_windows(10)(trial, share) | probes(trial, share)

  found, beside = noise.late(setting(measure)), noise.beside(setting(measure))['late']
  assert (found['kind'], found['examples'], found['measurements']) == ('exact', 100, 6)
  assert found['b_simple'] == beside['exact']['value'] != beside['b_simple']['value']
  assert found['ci95'] == beside['exact']['ci95']
  online = noise.late(setting(both_windows(10)))
  assert set(found) - {'reason'} == set(online)  # the keys are the same


def test_probes_that_all_stand_at_ends_of_epochs_say_so():
  def at(shares):
    plan = synthetic.plan((8,), (0.1,), 2)
    rows = [
      synthetic.record(lane, share, **probes(lane['trial'], share))
      for lane in plan
      for share in shares
    ]
    return settings(plan, rows)[8][0]

  ends = noise.late(at([0, 0.5, 0.8, 0.9 + 0.1 / 30, 1.0]))  # of 30 epochs
  assert ends['caveat'] == Reason('probes_at_epoch_ends', probes=4)
  assert 'caveat' not in noise.late(at([0, 0.5, 0.8, 0.9 + 0.3 / 30, 1.0]))


def test_trials_of_different_scale_leave_the_noise_scale_known():
  """Both means of a trial ten times those of another: Fieller's interval would bound nothing."""

  def measure(trial, share):
    scale = 10.0**trial
    return {'noise': window(80, scale * (40 + trial), scale * 2.0, 0.1 * scale**2)}

  found = noise.late(setting(measure, trials=3))
  assert not found['unbounded'] and found['ci95'][1] < 2 * found['ci95'][0]


def test_the_trial_with_the_fewest_updates_early_in_epochs_decides_whether_they_do():
  def measure(counts):
    def of_trial(trial, share):
      return both_windows(counts[trial])(trial, share)

    return noise.late(setting(of_trial))

  # In two windows each: 2 and 20 updates; 4 and 20 are enough.
  assert measure((1, 10))['caveat'] == Reason('few_early_updates', measured=2)
  assert 'caveat' not in measure((2, 10))


def test_measurements_weigh_by_their_updates_and_begin_where_the_first_trial_does():
  """One trial was measured from half of training on, the other in the last quarter alone."""

  def measure(trial, share):
    if not share or (trial == 1 and share < 1):
      return {'noise': window(0, None, None)}
    return {'noise': window(30 if trial else 10, 40.0, 2.0, 0.5) | {'negative': 0.5 * trial}}

  found = noise.late(setting(measure))
  assert found['from_examples'] == 43008 / 2 and found['measurements'] == 2 * 10 + 30
  assert found['measurement']['negative'] == pytest.approx(0.5 * 30 / 50)


def test_a_trial_without_any_measurement_takes_no_part():
  def measured(trials):
    def measure(trial, share):
      nothing = {'noise': window(0, None, None)}
      return {'noise': window(80, 40.0, 2.0, 0.5)} if share and trial in trials else nothing

    return noise.late(setting(measure)), noise.beside(setting(measure))

  found, along = measured([1])
  assert (found['n'], found['b_simple'], found['measurements']) == (1, 20, 160)
  # At a position of training the trials are pooled, or there is no number.
  assert 'b_simple' not in along['training'][-1]
  assert 'b_simple' in measured([0, 1])[1]['training'][-1]

  def probed(trial, share):
    return probes(trial, share) if trial else {}

  found, along = noise.late(setting(probed)), noise.beside(setting(probed))
  assert (found['n'], found['measurements'], found['from_examples']) == (1, 3, 43008 / 2)
  assert 'exact' not in along['training'][-1]


def test_a_probe_whose_gradient_is_zero_or_below_counts_as_negative():
  def measure(trial, share):
    return {
      'exact': {'examples': 100, 'plain': exact(30.0, {0.5: 0.0, 0.75: -1.0}.get(share, 3.0))}
    }

  assert noise.late(setting(measure))['measurement']['negative'] == pytest.approx(2 / 3)


def test_along_training_only_positions_that_all_trials_have_are_told():
  plan = synthetic.plan((8,), (0.1,), 2)
  shares = (0.0, 0.25, 0.5), (0.0, 0.3, 0.5)
  losses = 1.0, None, math.nan
  rows = [
    synthetic.record(lane, share, train_loss=losses[place] if lane['trial'] else 3.0)
    for lane, of_trial in zip(plan, shares, strict=True)
    for place, share in enumerate(of_trial)
  ]
  along = noise.beside(settings(plan, rows)[8][0])['training']
  assert [(row['epoch'], row['train_loss']) for row in along] == [(0.0, 2.0), (15.0, None)]


def test_the_spread_of_probes_has_the_degrees_of_freedom_of_all_their_examples():
  """Of 5 examples in each of two trials: two times four, and the mean's own one."""

  def measure(trial, share):
    return {'exact': {'examples': 5, 'plain': exact(30.0, 3.0, n=5)}}

  last = noise.beside(setting(measure))['training'][-1]['exact']
  # The variance of the mean of both is (1 / 5 + 1 / 5) / 4.
  expected = fieller_from_moments(PairMoments(30.0, 3.0, 0.9, 0.9, 0.0, 9.0))
  assert last['ci95'] == pytest.approx([expected.low, expected.high])
