"""The table that is printed when a study ends."""

from helpers import synthetic

from bsjax.report.summaries import summarize
from bsjax.report.text import results


def test_values_stand_under_their_names():
  plan = synthetic.plan((8, 16), (0.1,), 3)
  values = {'val_accuracy': 0.75, 'train_accuracy': 0.9}
  rows = [synthetic.record(lane, share, **values) for share in (0.0, 1.0) for lane in plan]
  table = results.results(summarize(synthetic.config(), plan, rows))
  columns = {' '.join(str(column.header).split()): list(column.cells) for column in table.columns}
  assert columns['batch size'] == ['8', '16'] and columns['n'] == ['3', '3']
  for name, value in (('validation', '75.0'), ('training', '90.0'), ('gap', '15.0')):
    assert [cell.split()[0] for cell in columns[name]] == [value] * 2, name
