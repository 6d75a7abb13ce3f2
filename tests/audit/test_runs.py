"""Rows to runs: clocks that agree or do not, labels, ends, divergence."""

import numpy as np
import pandas as pd
import pytest
from helpers.audit_tables import finals, lanes, notes, rising, sweep

from bsjax.audit import audit
from bsjax.audit.claims import whole_settings
from bsjax.audit.problem import Problem

FRAME = sweep(rising)
EPOCH, SIZE = FRAME['epoch'], FRAME['batch_size']


def refused(table, match, **said):
  with pytest.raises(Problem, match=match):
    audit(table, **said)


def trials(found):
  """Batch size -> the trials of its lanes."""
  tried = found.judged.cells[0].given.tried
  return {
    size: [lane.plan['trial'] for lane in settings[0].lanes] for size, settings in tried.items()
  }


@pytest.mark.parametrize('column', ['trial', 'learning_rate', 'run', 'cell'])
def test_a_label_that_only_some_rows_have_is_refused(column):
  frame = FRAME.assign(run=FRAME.groupby(['batch_size', 'trial']).ngroup().astype(float), cell='a')
  frame = frame if column == 'run' else frame.drop(columns='run')
  frame[column] = frame[column].where(frame.index != 3)
  refused(frame, f'{column}.*(is empty|has no value)')


# --- clocks ---


@pytest.mark.parametrize(
  'examples, said', [(3200, True), (3000, True), (1000, False), (9000, False)]
)
def test_a_size_of_the_training_set_that_is_not_that_of_the_clocks_is_refused(examples, said):
  both = FRAME.assign(updates=EPOCH * 3200 // SIZE)
  if said:
    assert audit(both, train_examples=examples).judged.facts.train_examples == examples
  else:
    refused(both, f'imply 3,200 training examples, and {examples:,} were given',
            train_examples=examples)  # fmt: skip


def test_an_epoch_has_as_many_examples_as_the_loader_that_drops_fewest_has():
  both = FRAME.assign(updates=EPOCH * (1000 // SIZE))
  assert audit(both).judged.facts.train_examples == 992  # 62 of 16, or 15 of 64


@pytest.mark.parametrize(
  'sizes, steps, note',
  [
    ((16, 64), lambda epoch, size: epoch * 6400 // size, 'steps_are_updates'),
    ((16, 64), lambda epoch, size: epoch * 100, 'steps_left_out'),
    ((16,), lambda epoch, size: epoch * 6400 // size, 'steps_left_out'),
  ],
)
def test_steps_beside_epochs_are_updates_where_batch_sizes_prove_it(sizes, steps, note):
  frame = sweep(rising, sizes)
  found = audit(frame.assign(step=steps(frame['epoch'], frame['batch_size'])))
  assert note in notes(found)
  known = 6400 if note == 'steps_are_updates' else None
  assert found.judged.facts.train_examples == known


def test_steps_beside_updates_or_examples_are_no_further_clock():
  for clock in ('updates', 'examples'):
    found = audit(FRAME.assign(step=7, **{clock: EPOCH * 640}).drop(columns='epoch'))
    assert 'steps_left_out' not in notes(found) and len(finals(found, 16)) == 3


@pytest.mark.parametrize(
  'epochs, beside, last',
  [
    (EPOCH - 1, {}, 4.0),  # names of epochs
    ((EPOCH - 1) / 2, {}, 1.5),  # places
    (EPOCH - 1, {'updates': (EPOCH - 1) * 3200 // SIZE}, 3.0),  # the first row before training
    (EPOCH - 1, {'updates': EPOCH * 3200 // SIZE}, 4.0),
    (EPOCH, {}, 4.0),
  ],
)
def test_whole_epochs_from_zero_name_those_that_end(epochs, beside, last):
  found = audit(FRAME.assign(epoch=epochs, **beside))
  assert {lane.final['epoch'] for lane in lanes(found, 64)} == {last}
  assert ('epochs_from_zero' in notes(found)) == (last > epochs.max())


def test_the_clock_of_a_table_must_be_one_of_training():
  refused(FRAME.assign(epoch=1e13 * EPOCH), 'beyond any training')


# --- which rows are a run ---


@pytest.mark.parametrize('key', ['cell', 'run', 'trial', 'learning_rate'])
def test_labels_that_some_rows_lack_are_refused(key):
  whole = FRAME.assign(cell='a', run=[f'{s}-{t}' for s, t in zip(SIZE, FRAME.trial, strict=True)])
  some = whole.astype({key: object})
  some.loc[5, key] = None
  refused(some, f"row 5, column '{key}'")


def test_rates_that_change_along_a_run_are_a_schedule_and_its_peak_the_setting():
  shape = EPOCH.map({1: 0.05, 2: 0.2, 3: 0.1, 4: 0.01})
  found = audit(FRAME.assign(learning_rate=shape))
  (setting,) = found.judged.cells[0].given.tried[16]
  assert setting.learning_rate == 0.2 and len(setting.lanes) == 3
  constant = audit(pd.concat([FRAME, FRAME.assign(learning_rate=0.4)], ignore_index=True))
  assert [one.learning_rate for one in constant.judged.cells[0].given.tried[16]] == [0.1, 0.4]


def runs_of(counts, **columns):
  """Runs by name, so many of each batch size."""
  parts = []
  for size, count in counts.items():
    parts += [sweep(rising, (size,), trials=1).assign(run=f'{size}-{n}') for n in range(count)]
  return pd.concat(parts, ignore_index=True).drop(columns='trial').assign(**columns)


@pytest.mark.parametrize(
  'counts, kept',
  [
    ({16: 4, 64: 3, 256: 1}, {16: 3, 64: 3, 256: 1}),
    ({16: 3, 64: 1}, {16: 3, 64: 1}),
    ({16: 1, 64: 1}, {16: 1, 64: 1}),
  ],
)
def test_runs_without_trials_are_numbered_up_to_what_others_with_several_have(counts, kept):
  found = audit(runs_of(counts))
  assert trials(found) == {size: [*range(count)] for size, count in kept.items()}
  assert ('trials_numbered' in notes(found)) == (max(kept.values()) > 1)
  left = sum(counts.values()) - sum(kept.values())
  assert notes(found).get('runs_left_out', {'count': 0})['count'] == left


def test_seeds_that_batch_sizes_do_not_share_number_nothing():
  apart = FRAME.assign(trial=FRAME['trial'] + 100 * (SIZE == 64))
  assert trials(audit(apart)) == {16: [0, 1, 2], 64: [0, 1, 2]}
  one_shared = FRAME.assign(trial=FRAME['trial'] + 2 * (SIZE == 64))
  assert trials(audit(one_shared)) == {16: [0, 1, 2], 64: [0, 1, 2]}
  two_shared = FRAME.assign(trial=FRAME['trial'] + (SIZE == 64))
  assert trials(audit(two_shared)) == {16: [0, 1], 64: [0, 1]}
  assert finals(audit(two_shared), 16) == finals(audit(FRAME), 16)[1:]


def test_two_runs_of_one_trial_are_refused_with_both_rows():
  names = [f'{s}-{t}' for s, t in zip(SIZE, FRAME['trial'], strict=True)]
  frame = FRAME.assign(run=names, trial=FRAME['trial'].clip(upper=1))
  refused(frame, 'rows 4 and 8 begin two runs of batch size 16 and trial .1.')


def test_runs_without_the_metric_are_counted_and_others_go_on_with_what_they_had():
  lacks = FRAME.assign(
    val_accuracy=FRAME['val_accuracy'].where((FRAME['trial'] > 0) & (EPOCH != 3)),
    sharpness=SIZE.where(EPOCH == 3),  # beside no value of the metric
  )
  found = audit(lacks)
  assert notes(found)['runs_without_metric'] == {'count': 2, 'column': 'val_accuracy'}
  assert notes(found)['rows_without_metric']['count'] == 2 * 4 + 4
  assert [lane.final['sharpness'] for lane in lanes(found, 64)] == [64.0, 64.0]


def test_rows_that_stand_twice_are_counted():
  found = audit(pd.concat([FRAME, FRAME.iloc[3:5]], ignore_index=True))
  assert notes(found)['rows_twice'] == {'count': 2} and finals(found, 16) == finals(
    audit(FRAME), 16
  )


# --- ends ---


@pytest.mark.parametrize('updates, aligned', [(62, True), (61, False)])
def test_ends_within_a_batch_are_one(updates, aligned):
  """Of 4,000 examples 62 batches of 64 are 3,968, and 61 are 96 short."""
  ends = EPOCH * SIZE.map({16: 250, 64: updates}) / 4
  found = audit(FRAME.assign(updates=ends).drop(columns='epoch'))
  last = lanes(found, 64)[0].final
  assert last['examples'] == (4000 if aligned else 61 * 64)
  assert last['updates'] == updates
  assert notes(found).get('ends_aligned') == ({'share': 32 / 4000} if aligned else None)


def test_runs_that_each_end_somewhere_else_have_stopped_early():
  stops = FRAME[(SIZE == 16) | (2 + FRAME['trial'] >= EPOCH)]  # 64: at epochs 2, 3 and 4
  found = audit(stops)
  assert notes(found)['ends_differ'] == {'batch_sizes': [64]}
  assert [lane.problem for lane in lanes(found, 64)] == [None] * 3
  half = sweep(rising, trials=4)
  half = half[(half['batch_size'] == 16) | (half['epoch'] <= 2 + half['trial'] // 2 * 2)]
  found = audit(half)
  assert 'ends_differ' not in notes(found)
  problems = [lane.problem and lane.problem.code for lane in lanes(found, 64)]
  assert problems == ['unfinished', 'unfinished', None, None]


def test_what_was_not_finite_once_has_diverged_whatever_comes_later():
  lost = FRAME.assign(val_accuracy=FRAME['val_accuracy'].where(FRAME.index != 1, np.inf))
  first, second, _ = lanes(audit(lost), 16)
  assert [row['diverged'] for row in first.rows] == [False, False, True, True, True]
  assert first.rows[2]['val_accuracy'] is None and second.problem is None


def test_losses_must_have_a_logarithm():
  frame = FRAME.rename(columns={'val_accuracy': 'val_loss'})
  frame.loc[6, 'val_loss'] = 0.0
  refused(frame, 'row 6, .*0 has no logarithm')


def test_batch_sizes_and_settings_with_fewer_trials_show_no_optimum():
  whole = sweep(rising, (16, 64, 256), rates=(0.1, 0.2))
  few = whole[(whole['batch_size'] != 64) | (whole['trial'] == 0)]  # run once
  few = few[(few['batch_size'] != 256) | (few['learning_rate'] == 0.1) | (few['trial'] > 0)]
  kept = whole_settings(audit(few).judged.cells[0].given.tried)
  found = {size: [one.learning_rate for one in settings] for size, settings in kept.items()}
  assert found == {16: [0.1, 0.2], 256: [0.1]}
