"""The position of a study: all that its host needs to go on, as checkpoints have always held it."""

import dataclasses
import json

import pytest

from bsjax.storage.position import (
  BatchSizes,
  BatchSizeState,
  Divergence,
  GivenUp,
  Position,
  RateSum,
)

POSITION = Position(
  stage=1,
  examples=96,
  ticks=(6, 12),
  rate_sums=(RateSum(4, (0.1, 0.25)), RateSum(0, (0.0,))),
  batch_sizes=BatchSizes(
    now=(BatchSizeState(16, 0.5), BatchSizeState(16), BatchSizeState(8)),
    begun=(BatchSizeState(8), BatchSizeState(16), BatchSizeState(8, 2.0)),
  ),
  evaluated=80,
  data='a1b2',
)
# Of a checkpoint written before positions had a class.
STORED = {
  'stage': 1,
  'examples': 96,
  'ticks': [6, 12],
  'rates_before': [{'tick': 4, 'sums': [0.1, 0.25]}, {'tick': 0, 'sums': [0.0]}],
  'courses': [[16, 0.5], [16, 1.0], [8, 1.0]],
  'first_courses': [[8, 1.0], [16, 1.0], [8, 2.0]],
  'evaluated': 80,
  'data': 'a1b2',
}


def test_the_layout_on_disk_is_that_of_older_checkpoints():
  assert POSITION.to_json() == STORED
  assert Position.from_json(STORED) == POSITION


@pytest.mark.parametrize('field', [field.name for field in dataclasses.fields(Position)])
def test_every_field_comes_back_from_disk(field):
  lost = (Divergence(0, 48, 'loss', True), Divergence(2, 64, 'far', False))
  position = dataclasses.replace(POSITION, diverged=lost, given_up=(GivenUp(1, 32),))
  read = Position.from_json(json.loads(json.dumps(position.to_json())))
  assert getattr(read, field) == getattr(position, field) != Position.__dict__.get(field)


def test_a_checkpoint_of_the_first_versions_still_tells_where_its_weights_are():
  read = Position.from_json({'ticks': [5], 'evaluated': 40, 'data': 'c3'})
  assert (read.examples, read.evaluated, read.ticks, read.data) == (40, 40, (5,), 'c3')
