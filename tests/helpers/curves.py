"""Made-up studies whose records follow a given curve."""

from bsjax.analysis.runs.histories import settings
from bsjax.analysis.runs.selection import tune
from helpers import synthetic

EXAMPLES = 4096


def study(batch_sizes, rates, trials, curve, evaluations=16):
  """The settings of a study whose record at each evaluation is `curve(lane, updates)`."""
  plan = synthetic.plan(batch_sizes, rates, trials, examples=EXAMPLES, epochs=16.0)
  rows = []
  for lane in plan:
    for index in range(evaluations + 1):
      row = synthetic.record(lane, index / evaluations)
      row['learning_rate_sum'] = lane['learning_rate'] * row['updates']
      rows.append(row | curve(lane, row['updates']))
  return settings(plan, rows)


def first(settings_by_size):
  """Every batch size at the first of its learning rates, as if it was the only one."""
  return {
    size: tried[0] if tried[0].problem else tune(tried[:1])
    for size, tried in settings_by_size.items()
  }
