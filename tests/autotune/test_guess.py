"""How long training should take before anything is timed, against what is counted by hand."""

import pytest
from helpers.small import small_config

from bsjax import data
from bsjax.autotune import guess
from bsjax.plan import plan

WIDTH = 12
# Per example: 64 pixels, a hidden layer and 10 classes, forward and twice back but for the images.
FLOPS = 2 * (2 * 64 * WIDTH + 3 * WIDTH * 10)


def of(**keys):
  keys = {'model__name': 'mlp', 'model__width': WIDTH, 'model__depth': 1} | keys
  config = small_config(**keys)
  config.model.normalization = 'none'
  dataset = data.load(config.data, config.seed)
  return config, dataset, plan.make_plan(config, len(dataset.train))


def test_arithmetic_is_that_of_the_products_forth_and_back():
  assert guess.example_flops(*of()) == pytest.approx(FLOPS, rel=0.01)


def test_small_ticks_take_a_least_time_and_large_ones_what_they_compute(monkeypatch):
  config, dataset, study = of()
  examples, lanes = study.total_examples, len(study.lanes)
  assert guess.seconds(config, dataset, study, 2) == pytest.approx(
    lanes * examples / 8 * guess.TICK / 2
  )
  monkeypatch.setattr(guess, 'TICK', 0.0)
  by_products = lanes * examples * guess.example_flops(config, dataset, study) / guess.RATE
  assert guess.seconds(config, dataset, study, 1) == pytest.approx(by_products)
