"""analysis.noise: all noise scales of a setting beside each other, from made-up records."""

import json
import math

import pytest
from helpers import synthetic

from bsjax.analysis.measures import noise
from bsjax.analysis.runs.histories import settings
from bsjax.stats.estimate import Reason
from bsjax.stats.intervals import fieller


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


def test_late_is_a_ratio_of_means_over_the_last_half_with_both_intervals():
  def measure(trial, share):
    trace = 40.0 + 8 * trial if share > 0.5 else 1e6
    return {'noise': window(80, trace, 2.0, 0.5) if share else synthetic.noise(0, None, None)}

  found = noise.late(setting(measure))
  assert found['b_simple'] == pytest.approx(44 / 2)
  expected = fieller([40, 48], [2, 2])
  assert found['ci95'] == pytest.approx([expected.low, expected.high])
  low, high = found['measurement']['ci95']
  assert found['ci95'][0] < low < 22 < high < found['ci95'][1]  # trials differ more than they err
  assert found['measurement']['log_delta_ci95'] == pytest.approx([low, high], rel=0.02)
  assert found['measurement']['negative'] == 0.25
  assert (found['interval_over'], found['n']) == ('trials', 2)

  alone = noise.late(setting(measure, trials=1))
  assert alone['b_simple'] == 20 and alone['ci95'] == alone['measurement']['ci95']
  assert alone['interval_over'] == 'measurements of one trial'


def probes(trial, share):
  kinds = {'plain': exact(100.0 * (1 + trial) * (1 + share), 2.0), 'curvature': exact(30.0, 1.0)}
  return {'exact': {'examples': 100, **kinds}}


def test_single_examples_stand_beside_with_means_over_records_then_trials():
  found = noise.beside(setting(probes))
  assert json.loads(json.dumps(found, allow_nan=False)) == found
  # The records at shares 0.5, 0.75 and 1 of training, in two trials: 175 and 350, over 2.
  assert found['late']['exact']['value'] == pytest.approx((175 + 350) / 2 / 2)
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
  assert found['b_simple'] is None and found['n'] == 0 and 'no noise scale' in found['reason']
  assert noise.beside(setting(lambda trial, share: {}))['late'] == {}
