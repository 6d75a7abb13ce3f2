"""Records of a subset of the examples: read at equal updates alone, for all batch sizes or none."""

import pytest
from helpers import synthetic

from bsjax.analysis.claims import condition_contrasts
from bsjax.analysis.claims.conditions import Condition
from bsjax.analysis.runs import budgets, histories
from bsjax.report.summaries import summarize
from bsjax.report.text.rendered import rendered

SIZES, SPREAD = (8, 16), (0.001, -0.001, 0.0005)
COUNTS = {'train_examples': 100, 'val_examples': 50}
LIFT = 0.1  # by which the subset is easier than the whole split


def study(sizes=SIZES, whole_at_half=False, subset=True, updates=1):
  """Whole splits at the end alone, or half way too; the subset at both."""
  plan = synthetic.plan(sizes, (0.1,), 3, examples=1024)
  rows = []
  for lane in plan:
    for share in (0.0, 0.5, 1.0):
      value = 0.5 + 0.1 * share + lane['batch_size'] / 1000 + SPREAD[lane['trial']]
      made = {'updates': round(share * lane['updates'] * updates)}
      made['learning_rate_sum'] = 0.1 * made['updates']
      if share != 0.5 or whole_at_half:
        rows.append(synthetic.record(lane, share, val_accuracy=value, **made))
      if subset:
        row = synthetic.record(lane, share, val_accuracy=value + LIFT, **made)
        rows.append({key: row[key] for key in row if not key.startswith('noise')} | COUNTS)
  return plan, rows


def tuned(*parts, **about):
  tried = histories.settings(*study(*parts, **about))
  return {size: settings[0] for size, settings in tried.items()}


def test_at_equal_updates_all_are_read_on_the_subset_where_whole_splits_are_missing():
  read = budgets.readings(tuned(), 'updates')
  assert {reading.subset for reading in read.values()} == {(100, 50)}
  assert not any(reading.between for reading in read.values())
  # The larger batch size ends there and was evaluated whole, too: like is compared with like.
  means = {size: reading.values['val_accuracy'].mean() for size, reading in read.items()}
  spread = sum(SPREAD) / 3
  assert means[8] == pytest.approx(0.55 + 0.008 + LIFT + spread)
  assert means[16] == pytest.approx(0.6 + 0.016 + LIFT + spread)


@pytest.mark.parametrize('about', [{'whole_at_half': True}, {'subset': False}])
def test_whole_splits_are_read_where_they_are_there_or_there_is_nothing_else(about):
  read = budgets.readings(tuned(**about), 'updates')
  assert {reading.subset for reading in read.values()} == {None}
  assert read[16].values['val_accuracy'].mean() == pytest.approx(0.616 + sum(SPREAD) / 3)


@pytest.mark.parametrize('clock', ['epochs', 'learning_rate_updates'])
def test_elsewhere_the_subset_is_never_read(clock):
  one, other = (budgets.readings(tuned(subset=there), clock) for there in (True, False))
  for size in SIZES:
    assert one[size].subset is None
    assert one[size].problem == other[size].problem
    assert one[size].values.keys() == other[size].values.keys()
    assert all((one[size].values[key] == other[size].values[key]).all() for key in one[size].values)


def test_a_summary_differs_at_equal_updates_alone_and_says_so():
  with_subset, without = (summarize(synthetic.config(), *study(subset=s)) for s in (True, False))
  changed = {key for key in without if with_subset[key] != without[key]}
  assert changed <= {'generalization_gap', 'claims', 'confounds'}
  for one, other in zip(with_subset['claims'], without['claims'], strict=True):
    said = 'on_subset' in [reason['code'] for reason in one['reasons']]
    assert said == (one['budget'] == 'updates')
    assert said or one == other
    if said:
      assert 'ead on 100 training and 50 validation examples, the same for all' in one['why']
  gaps = with_subset['generalization_gap']['chosen']
  assert gaps['updates']['subset'] == [100, 50]
  assert gaps['epochs'] == without['generalization_gap']['chosen']['epochs']


def test_conditions_at_equal_updates_say_it_too():
  few, many = (
    Condition(name, synthetic.config(), *study((8,), updates=updates))
    for name, updates in (('few', 1), ('many', 2))
  )
  compared = rendered(condition_contrasts.compare([few, many]))
  at = {
    row['clock']: [reason['code'] for reason in row['reasons']]
    for row in compared['contrasts']
    if row['quantity'] == 'val_accuracy' and row['batch_size'] == 'pooled'
  }
  assert 'on_subset' in at['updates'] and 'on_subset' not in at['examples']


def test_a_study_is_as_far_as_its_whole_splits_are():
  plan, rows = study()
  ahead = [row for row in rows if 'val_examples' in row or row['examples'] == 0]
  assert histories.progress(plan, ahead) == 0
  assert len(histories.whole(rows)) == 2 * len(plan)
