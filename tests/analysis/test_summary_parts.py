"""Parts of a summary that follow from several batch sizes, on records with planted numbers."""

import math

import pytest
from helpers import synthetic

from bsjax.analysis.summary import summarize

RATES = (0.1, 0.2, 0.4)


def study(sizes=(8, 16, 32, 64), best=0.2, **columns):
  """Plan and records; `columns` are functions of lane and share."""
  plan = synthetic.plan(sizes, RATES, 2)
  rows = []
  for lane in plan:
    off = math.log(lane['learning_rate'] / best)
    for share in (0.0, 0.5, 1.0):
      value = 0.8 - 0.1 * off**2 + 0.001 * math.sin(lane['lane'])
      about = {'val_accuracy': value, 'train_accuracy': value}
      about |= {name: column(lane, share) for name, column in columns.items()}
      rows.append(synthetic.record(lane, share, **about))
  return synthetic.config(), plan, rows


@pytest.mark.parametrize('best, edge', [(0.1, True), (0.2, False), (0.4, True)])
def test_the_lowest_and_the_highest_rate_are_the_edge_of_the_grid(best, edge):
  rows = summarize(*study((8,), best))['batch_sizes']
  assert [(row['learning_rate'], row['at_grid_edge']) for row in rows] == [(best, edge)]


def noise(kind):
  def column(lane, share):
    if kind != 'exact':
      return synthetic.noise(20, 40.0 * lane['batch_size'], 2.0 if share else -1.0)
    found = {'n': 50, 'trace_var': 1.0, 'grad_sq_var': 0.1, 'cov': 0.0}
    plain = found | {'trace': 60.0, 'grad_sq': 2.0, 'noise_scale': 30.0}
    return {'examples': 50, 'plain': plain, 'curvature': plain | {'trace': 90.0}}

  return column


def test_rules_speak_of_the_noise_scale_of_the_upper_of_two_middle_batch_sizes():
  rates = summarize(*study(noise=noise('online')))['learning_rates']
  found = rates['noise_scale_of_rules']
  assert (found['kind'], found['batch_size']) == ('b_simple', 32)
  assert found['b_simple'] == pytest.approx(20.0 * 32)


def test_rules_take_the_noise_scale_of_the_curvature_before_the_plain_ones():
  rates = summarize(*study(noise=noise('online'), exact=noise('exact')))['learning_rates']
  found = rates['noise_scale_of_rules']
  assert (found['kind'], found['b_simple']) == ('b_noise', pytest.approx(45.0))


def test_why_the_noise_scale_of_rules_has_no_end_comes_along():
  def column(lane, share):
    return synthetic.noise(20, 40.0, 2.0 if lane['trial'] else -1.0)

  found = summarize(*study(noise=column))['learning_rates']['noise_scale_of_rules']
  assert found['unbounded'] is True and found['ci95'][1] is None
  assert found['reason']


def test_training_and_validation_have_an_optimum_and_a_critical_size_of_their_own():
  losses = {f'{split}_loss': loss for split, loss in (
    ('train', lambda lane, share: 1 + math.log(lane['learning_rate'] / 0.2) ** 2),
    ('val', lambda lane, share: 1.0),
  )}  # fmt: skip
  summary = summarize(*study(best=0.2, **losses))
  rates = summary['learning_rates']
  assert (rates['merit'], rates['validation']['merit']) == ('train_loss', 'val_error')
  critical = summary['critical_batch_size']
  assert (critical['quantity'], critical['validation']['quantity']) == ('train_loss', 'val_loss')
