"""What rows say of lanes that are lost, of their curvature, and what a loss is compared with."""

import math
import types

import pytest

import bsjax
from bsjax.models.task import CLASSIFICATION
from bsjax.stats.intervals import PairMoments
from bsjax.train.rows import _curvature_columns
from bsjax.train.whole_evaluations import WholeEvaluations


@pytest.mark.parametrize(
  ('weighted', 'along', 'grad_sq', 'scale', 'because', 'rate'),
  [
    (6.0, 2.0, 5.0, 3.0, None, 2.5),
    (6.0, -2.0, 5.0, None, 'curvature_along_gradient', None),
    (6.0, 0.0, 5.0, None, 'curvature_along_gradient', None),
    (-6.0, 2.0, 5.0, None, 'curvature_weighted_by_noise', 2.5),
    (0.0, 2.0, 5.0, None, 'curvature_weighted_by_noise', 2.5),
    (-6.0, -2.0, 5.0, None, 'curvature_along_gradient', None),
    (6.0, 2.0, -5.0, 3.0, None, None),  # an estimate of a square may be below 0
    (6.0, 2.0, 0.0, 3.0, None, None),
    (6.0, 2.0, None, 3.0, None, None),
  ],
)
def test_there_is_a_minimum_along_the_gradient_where_it_curves_upwards(
  weighted, along, grad_sq, scale, because, rate
):
  row = _curvature_columns(PairMoments(weighted, along, 1e-4, 1e-4, 0.0, 8), grad_sq)
  assert row['largest_learning_rate'] == rate
  if because:
    assert row['noise_scale'] is None and row['ci95'] == [None, None]
    assert row['reason'].code == because
  else:
    assert row['noise_scale'] == pytest.approx(scale, rel=1e-3)


def losses(*values, examples=0):
  return [{'train_loss': value, 'examples': examples} for value in values]


def test_a_loss_is_compared_with_the_largest_finite_one_before_training():
  found = types.SimpleNamespace(_began=0.0)
  for rows, began in (
    (losses(2.0, None, 3.0, math.inf, math.nan, 1.0), 3.0),
    (losses(50.0, examples=8), 3.0),  # after it lanes may have grown
    (losses(2.5), 3.0),  # of another group
    (losses(4.0), 4.0),
  ):
    WholeEvaluations._look_at(found, rows)
    assert found._began == began


def test_what_a_task_says_of_guessing_goes_before_the_loss_at_the_start():
  def error(outputs, targets):
    return abs(outputs - targets)

  for task, guessing in (
    (CLASSIFICATION, None),  # the records know it
    (bsjax.Task(error, guessing=0.5), 0.5),
    (bsjax.Task(error), 7.0),
  ):
    made = types.SimpleNamespace(_task=task, _began=7.0)
    assert WholeEvaluations.guessing.fget(made) == guessing
