"""Keys that are right and wrong by the rules of several, just at their edges."""

import pytest
from helpers.small import put, small_config

from bsjax.engine.validate import problems, validate

TWO = {'execution__devices': 2}


@pytest.mark.parametrize(
  'overrides',
  [
    TWO,  # all there are
    {**TWO, 'execution__devices_per_lane': 2},
    {**TWO, 'execution__devices_per_lane': 1, 'model__normalization': 'batch'},
    {'execution__devices': 0, 'execution__devices_per_lane': 0},
    {'micro_batch': 1},
    {'micro_batch': 8, 'batch_sizes': (8, 24)},
    {'noise_scale__exact_examples': 0, 'noise_scale__curvature_blocks': 0},
  ],
  ids=str,
)
def test_what_is_just_right_is_valid(overrides):
  validate(small_config(**overrides))


@pytest.mark.parametrize(
  ('overrides', 'keys', 'words'),
  [
    ({'micro_batch': True}, ('micro_batch',), "micro_batch=True: give 'auto', 'batch' or a whole"),
    ({'micro_batch': 8.0}, ('micro_batch',), "micro_batch=8.0: give 'auto'"),
    (
      {'micro_batch': 16, 'batch_sizes': (24, 36)},
      ('micro_batch', 'batch_sizes'),
      'the batch sizes [24, 36]; choose a divisor of 12',
    ),
    (
      {'execution__devices': 3},
      ('execution.devices',),
      'at least 0 (all) and at most 2, the cpu devices of this process',
    ),
  ],
)
def test_one_problem_names_its_keys_and_a_remedy(overrides, keys, words):
  config = small_config()
  for name, value in overrides.items():
    put(config, name.replace('__', '.'), value)
  (problem,) = problems(config)
  assert problem.keys == keys and words in problem


def test_a_lender_may_be_in_the_home_folder(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  config = small_config(transfer__workdir='~/lender')
  (tmp_path / 'lender').mkdir()
  (problem,) = problems(config)
  assert "'~/lender' holds no checkpoints" in problem
  (tmp_path / 'lender' / 'checkpoints').mkdir()
  assert not problems(config)
