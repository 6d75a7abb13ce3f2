"""A writer is told a stored study as it would have been told while it was trained."""

from helpers import synthetic

from bsjax import writers
from bsjax.config.keys import base_config
from bsjax.storage import records, workdirs


class Noting:
  """A writer that notes which lanes of which positions it is told at once."""

  def __init__(self):
    self.told = []

  def begin(self, config, plan):
    self.told.append(('begin', config.epochs, len(plan)))

  def rows(self, rows):
    self.told.append([(row['lane'], row['examples']) for row in rows])

  def summary(self, summary):
    self.told.append(summary)

  def close(self):
    self.told.append('close')


def test_all_lanes_of_a_position_are_told_at_once_in_order(tmp_path):
  """Of several batch sizes, whose updates differ at every position but the first."""
  plan = synthetic.plan((8, 16, 32), (0.1,), 2)
  stored = [[synthetic.record(lane, share) for lane in plan] for share in (0.0, 0.5, 1.0)]
  records.write_plan(tmp_path / 'plan.csv', plan)
  workdirs.write_config(tmp_path, base_config())
  for rows in stored:
    records.append(tmp_path / 'records.jsonl', rows)
  records.write_json(tmp_path / 'summary.json', {'answer': 1})
  noting = Noting()
  writers.replay(tmp_path, noting)
  assert noting.told == [
    ('begin', base_config().epochs, 6),
    *([(row['lane'], row['examples']) for row in rows] for rows in stored),
    {'answer': 1},
    'close',
  ]
