"""Batch sizes that grow where a learning rate would decay, and what their bound leaves to it."""

import pytest

from bsjax.config.keys import base_config
from bsjax.plan import batch_size_paths, batch_size_rules, stages
from bsjax.plan.batch_size_rules import Bounds
from bsjax.storage.position import BatchSizeState


@pytest.mark.parametrize(
  'rule, size, grown, rate_factor',
  [
    ('grow:4', 16, 64, 1.0),  # within the bound: the batch takes it all
    ('grow:8', 16, 64, 0.5),  # twice beyond: the learning rate takes the other half
    ('grow:4', 64, 64, 0.25),  # at the bound: as a decay by the whole factor
    ('grow:4', 128, 128, 0.25),  # never smaller than it was
  ],
)
def test_what_lies_beyond_the_largest_batch_size_divides_the_learning_rate(
  rule, size, grown, rate_factor
):
  assert batch_size_rules.begin(rule, size, Bounds(16, 64)) == (grown, rate_factor)
  # In either way the learning rate per example of the batch falls by the factor of the rule.
  assert rate_factor / grown == pytest.approx(1 / size / float(rule.partition(':')[2]))


def test_factors_of_stages_multiply():
  config = base_config()
  for name in ('first', 'second', 'third'):
    rule = 'keep' if name == 'first' else 'grow:4'
    stages.add(config, name, batch_size=(rule,), largest_batch_size=32)
  at = BatchSizeState(16)
  states = []
  for stage in stages.of(config):
    at = batch_size_paths.begin(stage, '', at, 10_000)
    states.append((at.batch_size, at.rate_factor))
  assert states == [(16, 1.0), (32, 0.5), (32, 0.125)]
