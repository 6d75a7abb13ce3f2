"""Columns: units, names that compete, values that cannot be, labels; settings of other tables."""

import gzip

import numpy as np
import pandas as pd
import pytest
from helpers.audit_tables import confounds, finals, lanes, notes, rising, sweep

from bsjax.audit import audit
from bsjax.audit.columns import assign, parse
from bsjax.audit.exports import named_settings
from bsjax.audit.files import Raw
from bsjax.audit.problem import Problem

FRAME = sweep(rising)
VALUES = FRAME['val_accuracy']


def save(folder, frame, name='runs.csv', before=''):
  path = folder / name
  path.write_text(before + frame.to_csv(index=False))
  return path


def refused(table, match, **said):
  with pytest.raises(Problem, match=match):
    audit(table, **said)


def test_a_percent_sign_at_a_name_says_the_unit():
  few = FRAME.assign(val_accuracy=VALUES + 0.5)  # up to 1.2 percent
  refused(few, 'may be a little above 1 or in percent')
  found = audit(few, 'val_accuracy=val_accuracy%')
  assert finals(found, 16) == pytest.approx([value / 100 + 0.005 for value in (0.699, 0.7, 0.701)])


@pytest.mark.parametrize('top, percent', [(1.0, False), (1.5, None), (1.6, True), (101.0, None)])
def test_what_is_a_little_above_one_may_be_either(top, percent):
  frame = FRAME.assign(val_accuracy=VALUES.where(VALUES.max() > VALUES, top))
  if percent is None:
    refused(frame, '1.5 may be a little above 1' if top < 2 else '101 lies outside 0 to 100')
  else:
    assert max(finals(audit(frame), 16)) == pytest.approx(top / 100 if percent else top)


def test_percent_signs_at_some_values_only_are_refused():
  texts = [f'{100 * value:.2f}%' for value in VALUES]
  refused(FRAME.assign(val_accuracy=[*texts[:-1], '0.7']), 'row 23, .*this one has none')


def test_validation_goes_before_test_and_raw_values_before_smoothed_ones():
  plain = FRAME.rename(columns={'val_accuracy': 'val_acc'})
  for other in ('test_acc', 'val_acc_smoothed', 'val_acc_ema'):
    found = audit(plain.assign(**{other: 0.1}))
    assert finals(found, 16) == pytest.approx([0.699, 0.7, 0.701])
    present = {name: row['present'] for name, row in confounds(found).items()}
    assert present['test_set_used'] is False and present['metric_smoothed'] == 'unknown'


@pytest.mark.parametrize(
  ('column', 'value', 'match'),
  [
    ('learning_rate', 0.0, '0 is no learning rate'),
    ('momentum', 1.0, '1 is no momentum'),
    ('batch_norm_momentum', -0.1, 'is no momentum'),
    ('seconds', -1.0, 'below zero, which seconds cannot be'),
    ('warmup_updates', -1.0, 'below zero'),
    ('epoch', np.inf, 'not finite'),
    ('momentum', np.inf, 'not finite'),
    ('batch_size', 2.0**41, 'no batch size'),
    ('sharpness', np.inf, None),
    ('momentum', 0.0, None),
    ('weight_decay', -1.0, None),
  ],
)
def test_values_that_cannot_be_are_refused_in_their_row(column, value, match):
  frame = FRAME.assign(**({} if column in FRAME else {column: 0.5}))
  frame[column] = frame[column].astype(float)
  frame.loc[7, column] = value
  if match is None:
    audit(frame)
  else:
    refused(frame, f'row 7, .*{match}')


def test_cells_of_several_columns_and_names_that_are_none():
  parts = [FRAME.assign(N=n, D=float(d), model='x') for n in (1, 2) for d in (3, 4)]
  found = audit(pd.concat(parts, ignore_index=True), 'cell=N+D')
  names = [cell.name for cell in found.judged.cells]
  assert names == ['N=1, D=3', 'N=1, D=4', 'N=2, D=3', 'N=2, D=4']
  refused(FRAME, 'trial is one column, not 2', columns='trial=trial+epoch')
  with pytest.raises(Problem, match='it has no name in the table'):
    parse('batch_size=')


def test_a_clock_that_an_export_does_not_have_is_no_mistake():
  frame = pd.DataFrame({'epoch': [1, 2], 'val_accuracy': [0.1, 0.2]})
  named = {column.name for column in assign(Raw('h.json', frame, 'keras'), {'updates': 'it'})}
  assert named == {'epoch', 'val_accuracy'}
  with pytest.raises(Problem, match="column 'it': there is no such column"):
    assign(Raw('h.csv', frame), {'updates': 'it'})
  with pytest.raises(Problem, match="column 'it': there is no such column"):
    assign(Raw('h.json', frame, 'keras'), {'val_accuracy': 'it'})


def test_a_learning_rate_of_0_in_a_name_is_refused():
  frame = sweep(rising).drop(columns='learning_rate')
  with pytest.raises(Problem, match="row 0, column 'run': 'lr0' names a learning rate of 0"):
    audit(frame.assign(run='lr0'))


def test_several_different_numbers_in_a_name_say_nothing():
  assert named_settings('bs16_vs_bs64_lr.5_seed1_seed1') == {'learning_rate': '.5', 'trial': '1'}
  assert named_settings('b32.5_rate0.1_jobs4') == {}
  assert named_settings('Batch-Size=8, LR: 2e-4') == {'batch_size': '8'}


def test_rows_are_counted_from_the_first_line_of_the_file(tmp_path):
  wrong = FRAME.astype(object)
  wrong.loc[3, 'val_accuracy'] = 'abc'
  refused([save(tmp_path, wrong, before='\n\n')], "row 7, .*'abc' is no number")
  path = save(tmp_path, FRAME, before='\n\n')
  path.write_text(path.read_text().replace('16,0.1,0,2,', '16,0.1,0,2,9,'))
  refused([path], 'row 5, .*fields of the header')


def test_what_is_missing_in_other_words_is_missing(tmp_path):
  for word in ('-', 'NA', 'N/A', 'null', 'None', '#N/A'):
    lacks = FRAME.assign(val_accuracy=VALUES.astype(object).where(FRAME.index != 1, word))
    found = audit([save(tmp_path, lacks)])
    assert notes(found)['rows_without_metric'] == {'count': 1, 'column': 'val_accuracy'}
    assert lanes(found, 16)[0].problem is None


def test_other_encodings_are_said_and_broken_files_refused(tmp_path):
  path = tmp_path / 'runs.csv'
  path.write_bytes(FRAME.assign(note='größer').to_csv(index=False).encode('latin-1'))
  assert notes(audit([path]))['latin_1'] == {'file': 'runs.csv'}
  path.write_bytes(gzip.compress(FRAME.to_csv(index=False).encode())[:-9])
  refused([path], 'no whole gzip file')
  refused([tmp_path / 'nothing.csv'], 'it cannot be read .*No such file')


def settings_of(curves):
  return curves.groupby('run')[['batch_size', 'trial']].first().reset_index()


def test_tables_of_settings_that_do_not_fit_are_refused(tmp_path):
  names = [f'r{size}-{trial}' for size, trial in zip(FRAME.batch_size, FRAME.trial, strict=True)]
  whole = FRAME.assign(run=names)
  curves = save(tmp_path, whole.drop(columns=['batch_size', 'trial']), 'curves.csv')
  known = settings_of(whole)
  found = audit([curves, save(tmp_path, known.assign(learning_rate=9.0), 's.csv')])
  assert found.judged.cells[0].given.tried[16][0].learning_rate == 0.1  # the curve's own stays
  double = pd.concat([known, known.iloc[:1]])
  refused([curves, save(tmp_path, double, 's.csv')], "row 8, .*'r16-0' is named twice")
  refused([curves, save(tmp_path, known.drop(columns='run'), 's.csv')], 'it has no clock, and no')


def test_labels_that_are_whole_numbers_are_the_same_with_a_fraction(tmp_path):
  """As pandas writes a column in which some are missing."""
  whole = FRAME.assign(run=FRAME['batch_size'] * 10 + FRAME['trial'])
  curves = whole.drop(columns=['batch_size', 'trial']).assign(run=whole['run'].astype(float))
  paths = [save(tmp_path, curves, 'curves.csv'), save(tmp_path, settings_of(whole), 's.csv')]
  assert finals(audit(paths), 64) == finals(audit(FRAME), 64)


def test_batch_sizes_that_some_rows_lack_are_read_off_the_names():
  names = 'bs' + FRAME['batch_size'].astype(str) + '_s' + FRAME['trial'].astype(str)
  some = FRAME.assign(run=names, batch_size=FRAME['batch_size'].where(FRAME['epoch'] > 1))
  assert finals(audit(some), 64) == finals(audit(FRAME), 64)
  # What stands in the column goes before a name, whatever others lack.
  known = FRAME['batch_size'].where((FRAME['epoch'] > 1) | (FRAME['batch_size'] == 16))
  other = FRAME.assign(run=names.str.replace('bs16', 'bs99'), batch_size=known)
  assert set(audit(other).judged.cells[0].given.tried) == {16, 64}


def test_a_dataframe_is_read_by_any_index_and_refused_without_rows():
  twice = pd.concat([FRAME[FRAME['trial'] == trial].reset_index(drop=True) for trial in range(3)])
  assert finals(audit(twice), 16) == finals(audit(FRAME), 16)
  wrong = twice.assign(
    val_accuracy=[*twice['val_accuracy'][:13], -0.2, *twice['val_accuracy'][14:]]
  )
  refused(wrong, 'row 13, .*-0.2 lies outside')  # by its place, as several have its name
  refused(FRAME.iloc[:0], 'it has no rows')
  refused(FRAME.set_axis([*FRAME.columns[:-1], 'epoch'], axis=1), "'epoch': two columns have this")


def test_settings_of_the_optimizer_are_those_of_its_column_where_there_is_one_value():
  def known(frame, **said):
    return audit(frame, **said).judged.facts

  facts = known(FRAME.assign(momentum=0.9, weight_decay=0.01, batch_norm_momentum=0.99))
  assert (facts.momentum, facts.weight_decay, facts.batch_norm) == (0.9, 0.01, 0.99)
  assert known(FRAME.assign(momentum=0.9), momentum=0.5).momentum == 0.5
  assert known(FRAME.assign(momentum=0.1 * FRAME['trial'])).momentum is None
