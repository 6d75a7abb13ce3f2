"""The content of data.json, of studies with one stage and of data without classes."""

import numpy as np
from helpers.small import small_config

from bsjax import data
from bsjax.data.facts import data_facts
from bsjax.data.own import Data, dataset
from bsjax.plan.plan import make_plan


def test_facts_of_data_without_classes_say_nothing_of_them():
  rows = np.arange(600, dtype=np.float32).reshape(150, 4)
  found = dataset(Data((rows, rows[:, 0]), (rows + 1000, rows[:, 1])), classes=False)
  config = small_config()
  said = data_facts(config, found, make_plan(config, 150))
  assert said == {
    'fingerprint': found.fingerprint(),
    'copies': {'shared': 0, 'within': 0, 'ambiguous': 0},
    'doubts': [],
  }


def test_of_one_stage_its_number_is_not_said():
  config = small_config(trials=1, batch_sizes=(30, 150), epochs=1.0)
  found = data.load(config.data, config.seed)
  rows = data_facts(config, found, make_plan(config, 150))['classes_per_batch']
  assert [(row['batch_size'], row['batches'], row['classes']) for row in rows] == [
    (30, 5, 10),
    (150, 1, 10),
  ]
  assert all('stage' not in row for row in rows) and rows[1]['mean'] == 10
