"""Which learning rates are dropped at a rung, and where rungs fall."""

import pytest
from helpers.small import small_config

from bsjax.config import metrics
from bsjax.config.errors import ConfigError
from bsjax.engine.validate import problems
from bsjax.plan import halving, plan
from bsjax.storage.records import Damaged


def study(merits, trials=2, size=8, branch='', first=0):
  """Plan rows and rows of a rung; `merits` are validation accuracies by rate, None: diverged."""
  lanes, rows = [], []
  for place, merit in enumerate(merits):
    for trial in range(trials):
      lane = {'lane': first + len(lanes), 'batch_size': size, 'learning_rate': 2.0**place}
      lanes.append({**lane, 'trial': trial, 'branch': branch})
      value = None if merit is None else merit + 0.1 * (trial - 0.5)  # the mean is the merit
      rows.append({'lane': lane['lane'], 'diverged': value is None, 'val_accuracy': value})
  return lanes, [{**row, 'examples': 64} for row in rows]


def rates(lanes, ended):
  return sorted({lane['learning_rate'] for lane in lanes if lane['lane'] in ended})


@pytest.mark.parametrize(
  ('merits', 'keep', 'ended'),
  [
    ((0.1, 0.3, 0.5, 0.7, 0.6, 0.2), 0.5, (1, 2, 32)),
    ((0.7, 0.6, 0.5, 0.4, 0.3, 0.2), 0.5, (8, 16, 32)),  # the best is the lowest tried
    ((0.2, 0.3, 0.4, 0.5, 0.6, 0.7), 0.5, (1, 2, 4)),
    ((0.1, 0.2, 0.7, 0.3, 0.2, 0.1), 0.2, (1, 16, 32)),  # three neighbours go on
    ((0.6, 0.1, 0.2, 0.3, 0.5, 0.7), 0.3, ()),  # what lies between better ones goes on
    ((0.1, 0.3, 0.2), 0.1, ()),
    ((0.5, 0.5, 0.5, 0.5, 0.5, 0.5), 0.5, (8, 16, 32)),
    ((0.1, 0.2, 0.3, 0.4, None, None), 0.25, (1,)),  # lost ones are no better ones, and stay lost
    ((None,) * 6, 0.5, ()),
    ((0.7, 0.6, 0.5, 0.4, 0.3, 0.2), 0.7, (32,)),  # 4.2 of 6 are 5
    ((0.4, 0.1, 0.2, 0.3, 0.7, 0.4), 0.3, (1, 2, 4)),  # of equals the nearer to the best
    ((0.7, 0.6, 0.5, 0.4), 0.75, (8,)),
  ],
)
def test_rates_that_are_not_among_the_better_ones_are_dropped_in_all_trials(merits, keep, ended):
  lanes, rows = study(merits)
  found = halving.dropped(keep, lanes, rows)
  assert rates(lanes, found) == list(ended)
  assert len(found) == 2 * len(ended)
  assert found == halving.dropped(keep, lanes[::-1], rows[::-1])  # in whatever order


def test_a_trial_that_is_sound_ends_with_its_rate_and_one_that_diverged_does_not():
  lanes, rows = study((0.1, 0.5, 0.6, 0.7, 0.2, 0.1))
  rows[-1] |= {'diverged': True, 'val_accuracy': 0.99}
  found = halving.dropped(0.5, lanes, rows)
  assert rates(lanes, found) == [1, 32] and lanes[-1]['lane'] not in found
  rows[-3] |= {'diverged': False, 'val_accuracy': float('nan')}
  assert lanes[-3]['lane'] in halving.dropped(0.5, lanes, rows)


def test_batch_sizes_and_branches_are_each_for_themselves_and_less_may_be_better():
  parts = [study((0.1, 0.2, 0.3, 0.4)), study((0.4, 0.3, 0.2, 0.1), size=16, first=8)]
  parts.append(study((0.1, 0.2, 0.3, 0.4), size=16, branch='b', first=16))
  lanes = [lane for part, _ in parts for lane in part]
  found = halving.dropped(0.5, lanes, [row for _, rows in parts for row in rows])
  assert found == {0, 1, 14, 15, 16, 17}


def test_a_rate_that_lacks_a_trial_is_neither_compared_nor_dropped():
  lanes, rows = study((0.1, 0.9, 0.3, 0.4, 0.5))
  del lanes[2], rows[2]
  assert rates(lanes, halving.dropped(0.5, lanes, rows)) == [1]
  # what an earlier rung dropped is not there any more
  assert not halving.dropped(0.5, lanes, [row for row in rows if row['lane'] > 3])


def config(*rungs, **overrides):
  return small_config(halving__rungs=rungs, evaluations=4, **overrides)


def test_rungs_are_the_first_whole_evaluations_after_their_shares():
  made = config(0.2, 0.5, evaluation__positions='even')
  planned = plan.make_plan(made, 150)
  at = halving.rungs(made, planned)
  assert planned.first.evaluations == (0, 64, 128, 224, 288) and at == (64, 224)
  assert halving.rungs(config(), planned) == ()
  for shares, why in (((0.2, 0.21), 'that of the one before'), ((0.9,), 'the end of training')):
    with pytest.raises(ConfigError, match=f'{why}.*evaluations=4'):
      halving.rungs(config(*shares), planned)


@pytest.mark.parametrize(
  ('overrides', 'why'),
  [
    ({'halving__rungs': (0.5, 0.25)}, 'ascending'),
    ({'halving__rungs': (0.5, 0.5)}, 'twice'),
    ({'halving__rungs': (1.0,)}, 'both excluded'),
    ({'halving__keep': 0.0}, 'both excluded'),
    ({'scaling__rule': 'sqrt'}, 'scaling.rule is set'),
    ({'decide__question': 'best_learning_rate'}, 'to their end'),
  ],
)
def test_what_cannot_be_is_refused_in_words(overrides, why):
  found = problems(small_config(**{'halving__rungs': (0.5,), **overrides}))
  assert any(why in sentence for sentence in found), found
  assert not problems(small_config(halving__rungs=(0.25, 0.5)))


def test_rows_that_say_otherwise_are_damaged():
  lanes, rows = study((0.1, 0.3, 0.5, 0.7, 0.6, 0.2))
  ended = halving.dropped(0.5, lanes, rows)
  said = [{**row, 'dropped': row['lane'] in ended} for row in rows]
  halving.refuse_otherwise(0.5, (64, 128), lanes, said, 'here')
  said[0]['dropped'] = False
  with pytest.raises(Damaged, match='lane 0 is not dropped at 64'):
    halving.refuse_otherwise(0.5, (64,), lanes, said, 'here')


def test_less_is_better_of_a_metric_that_says_so():
  lanes, rows = study((0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
  rows = [{**row, 'val_errors': row['val_accuracy']} for row in rows]
  errors = metrics.MetricEntry('errors', 'errors', 'errors', higher_is_better=False)
  with metrics.judging(metrics.Judged(errors)):
    assert rates(lanes, halving.dropped(0.5, lanes, rows)) == [8, 16, 32]
  assert rates(lanes, halving.dropped(0.5, lanes, rows)) == [1, 2, 4]


def test_rates_that_differ_by_rounding_are_equals():
  """(0.1 + 0.2) / 2 is above (0.15 + 0.15) / 2 in floating point; the lower rate is the best."""
  lanes, rows = study((0.15, 0.0, 0.0, 0.15))
  for row, value in zip(rows, (0.15, 0.15, 0.0, 0.0, 0.0, 0.0, 0.1, 0.2), strict=True):
    row['val_accuracy'] = value
  assert (0.1 + 0.2) / 2 > 0.15
  assert rates(lanes, halving.dropped(0.25, lanes, rows)) == [8]


def test_of_three_rates_that_are_known_none_is_dropped_nor_one_beside_them():
  lanes, rows = study((0.1, 0.5, 0.6, 0.7))
  rows[0]['val_accuracy'] = float('nan')
  assert not halving.dropped(0.5, lanes, rows)


def test_a_rung_may_be_at_its_share_exactly():
  made = config(0.25, 0.5, evaluation__positions='even')
  planned = plan.make_plan(made, 128)
  assert planned.first.evaluations == (0, 64, 128, 192, 256)
  assert halving.rungs(made, planned) == (64, 128)


def test_a_lane_that_is_said_to_be_dropped_and_should_not_is_named():
  lanes, rows = study((0.1, 0.2, 0.3))
  rows[4]['dropped'] = True
  with pytest.raises(Damaged, match='lane 4 is dropped at 64'):
    halving.refuse_otherwise(0.5, (64,), lanes, rows, 'here')
