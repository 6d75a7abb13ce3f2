"""What configurations of conditions differ in: all keys that change what is computed."""

import json

from bsjax.analysis.claims.conditions import Condition, differences
from bsjax.config.keys import base_config
from bsjax.plan import arms


def differing(changes):
  """What an arm with some keys changed differs in from one without."""
  config = base_config()
  with config.unlocked():
    config.pretrain = {'epochs': 1.0, 'native_cost': {'measure': False}}
  arms.add(config, 'first', {})
  arms.add(config, 'second', changes)
  conditions = [
    Condition(name, json.loads(arm.to_json()), [], []) for name, arm in arms.configs(config).items()
  ]
  return differences(conditions)['second']


def test_another_pretraining_is_a_difference():
  assert differing({'pretrain': {'epochs': 2.0}}) == {'pretrain.epochs': [1.0, 2.0]}


def test_what_computes_nothing_is_none():
  quiet = {
    'native_cost': {'measure': True, 'repeats': 9},
    'execution': {'devices': 1},
    'checkpoint': {'seconds': 5.0},
    'report': {'epochs': (1.0,)},
    'data': {'cache_dir': '/elsewhere'},
    'pretrain': {'native_cost': {'measure': True}},
  }
  assert differing(quiet) == {}
  assert differing(quiet | {'trials': 4}) == {'trials': [3, 4]}
