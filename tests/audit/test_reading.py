"""Tables of strangers: read to the same numbers, guesses said, or a line with row and column."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from helpers.audit_tables import notes

from bsjax.audit import audit, clocks, exports, table
from bsjax.audit.columns import guess, guess_metric, parse
from bsjax.audit.exports import named_settings
from bsjax.audit.problem import Problem


def rows(sizes=(16, 64), trials=2, epochs=4, **columns):
  """A small sweep: one row per run and epoch, the metric rising, smaller batches ahead."""
  made = [
    {
      'batch_size': size,
      'trial': trial,
      'epoch': epoch,
      'train_accuracy': 0.5 + 0.05 * epoch,
      'val_accuracy': round(0.4 + 0.05 * epoch - size / 5000 + 0.001 * trial * (1 + size / 64), 5),
    }
    for size in sizes
    for trial in range(trials)
    for epoch in range(1, epochs + 1)
  ]
  return pd.DataFrame(made).assign(**columns)


def save(tmp_path, text, name='runs.csv'):
  path = tmp_path / name
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return path


def finals(found):
  """Batch size -> final values, as the audit reads them."""
  tried = found.judged.cells[0].given.tried
  return {size: settings[0].finals('val_accuracy') for size, settings in tried.items()}


def refused(tmp_path, text, *parts, **said):
  path = save(tmp_path, text) if isinstance(text, str | bytes) else text
  with pytest.raises(Problem) as caught:
    audit([path], **said)
  for part in parts:
    assert part in str(caught.value), caught.value
  return str(caught.value)


FRAME = rows()
PLAIN = FRAME.to_csv(index=False)


@pytest.mark.parametrize(
  'content',
  [
    PLAIN,
    '\ufeff' + PLAIN,
    PLAIN.replace('\n', '\r\n'),
    PLAIN.encode('utf-16'),
    gzip.compress(PLAIN.encode()),
    '\n\n' + PLAIN + '\n\n',
    FRAME.to_csv(index=False, sep='\t'),
    FRAME.to_csv(index=False, sep=';', decimal=','),
    FRAME.sample(frac=1, random_state=0).to_csv(index=False),
    pd.concat([FRAME, FRAME.iloc[3:5]]).to_csv(index=False),
    FRAME.assign(note='x, "y"').to_csv(index=False),
    FRAME.assign(val_accuracy=100 * FRAME['val_accuracy']).to_csv(index=False),
    FRAME.rename(columns={'val_accuracy': 'Validation Acc', 'batch_size': 'BS'}).to_csv(
      index=False
    ),
    FRAME.rename(columns={'val_accuracy': 'val_error'})
    .assign(val_error=1 - FRAME['val_accuracy'])
    .to_csv(index=False),
    FRAME.assign(val_accuracy=[f'{100 * v:.3f}%' for v in FRAME['val_accuracy']]).to_csv(
      index=False
    ),
  ],
)
def test_however_it_is_written_the_numbers_are_the_same(tmp_path, content):
  found = finals(audit([save(tmp_path, content)]))
  for size, values in finals(audit(FRAME)).items():
    np.testing.assert_allclose(found[size], values, atol=1e-9)


def test_what_was_guessed_is_said(tmp_path):
  frame = FRAME.rename(columns={'val_accuracy': 'val acc', 'batch_size': 'bs', 'trial': 'seed'})
  frame = frame.assign(**{'val acc': 100 * frame['val acc']}, other=1)
  said = notes(audit([save(tmp_path, frame.to_csv(index=False))]))
  pairs = [['batch_size', 'bs'], ['trial', 'seed'], ['val_accuracy', 'val acc']]
  assert said['guessed_columns']['pairs'] == pairs
  units = [n.details for n in audit(frame).judged.notes if n.code == 'guessed_unit']
  assert {'columns': ['val acc'], 'unit': 'percent'} in units
  assert {'columns': ['train_accuracy'], 'unit': 'fraction'} in units
  assert said['not_used']['columns'] == ['other']


def test_columns_that_are_said_are_taken(tmp_path):
  frame = FRAME.rename(columns={'val_accuracy': 'y', 'batch_size': 'x'})
  path = save(tmp_path, frame.to_csv(index=False))
  refused(tmp_path, path, 'row 2', 'batch', '--columns=batch_size')
  assert finals(audit([path], 'batch_size=x,val_accuracy=y')) == finals(audit(FRAME))
  refused(tmp_path, path, "column 'z'", 'Columns are', columns='batch_size=z,val_accuracy=y')
  refused(tmp_path, path, 'did you mean batch_size', columns='batch_sise=x')


@pytest.mark.parametrize(
  ('text', 'parts'),
  [
    (PLAIN.replace('0.4468', 'abc', 1), ('row', "column 'val_accuracy'", "'abc' is no number")),
    (PLAIN.replace('16,0,1,', '16.5,0,1,', 1), ('row 2', "'batch_size'", 'no batch size')),
    (PLAIN.replace('16,0,1,', '-16,0,1,', 1), ('row 2', "'batch_size'")),
    (PLAIN.replace('16,0,1,', ',0,1,', 1), ('row 2', "'batch_size'", 'no batch size is given')),
    (PLAIN.replace('16,0,2,', '16,0,-2,', 1), ('row 3', "'epoch'", 'below zero')),
    (PLAIN.replace('0,2,0.6,', '0,2,0.6,7,', 1), ('row 3', 'fields')),
    (PLAIN.replace('val_accuracy', 'epoch', 1), ('row 1', "'epoch'", 'two columns')),
    (PLAIN.replace('0.4468', '1.2', 1), ('row 2', "'val_accuracy'", '%')),
    (PLAIN.replace('0.4468', '-0.2', 1), ('row 2', "'val_accuracy'", 'outside')),
    (PLAIN.replace('epoch', 'when'), ('epoch', '--columns=epoch=NAME')),
    (PLAIN.replace('epoch', 'step'), ("'step'", 'updates or epochs')),
    (PLAIN.replace('val_accuracy', 'loss'), ("'val_accuracy'", 'val_loss=NAME')),
    (PLAIN.split('\n')[0], ('row 2', 'no row follows')),
    ('', ('row 1', 'empty')),
    (b'a\0b,c\n1,2\n', ('row 1', 'zero bytes')),
    ('1,2,3\n4,5,6\n', ('row 1', 'names of columns')),
    (PLAIN.replace('16,1,', '16,0,'), ('trial', '--columns=run=NAME')),
  ],
)
def test_what_cannot_be_read_says_where_and_what_to_do(tmp_path, text, parts):
  refused(tmp_path, text, *parts)


def test_a_metric_of_two_names_is_not_guessed():
  frame = FRAME.assign(**{'val/acc': FRAME['val_accuracy'], 'valid_acc': FRAME['val_accuracy']})
  with pytest.raises(Problem, match='may be val_accuracy'):
    audit(frame.drop(columns='val_accuracy'))
  assert finals(audit(frame)) == finals(audit(FRAME))  # our own name is no guess


def test_names_of_metrics():
  assert guess_metric('val_categorical_accuracy') == ('accuracy', 'val')
  assert guess_metric('loss/train') == ('loss', 'train')
  assert guess_metric('best_val_acc') == (None, '')
  assert guess('Config.Batch Size', 'table', ()).name == 'batch_size'
  assert guess('test_acc', 'table', ()).test and not guess('val_acc', 'table', ()).test
  assert guess('loss', 'table', ()) is None and guess('loss', 'keras', ()).name == 'train_loss'
  assert named_settings('net_bs128_lr1e-3_seed2') == {
    'batch_size': '128',
    'learning_rate': '1e-3',
    'trial': '2',
  }
  assert named_settings('resnet18_b16') == {'batch_size': '16'}
  assert parse(' cell = N+D ') == {'cell': 'N+D'}


def test_trials_without_a_label_begin_again(tmp_path):
  found = audit([save(tmp_path, FRAME.drop(columns='trial').to_csv(index=False))])
  assert finals(found) == finals(audit(FRAME))
  assert notes(found)['trials_by_restart']['count'] == 2
  ends = FRAME[FRAME['epoch'] == 4].drop(columns='trial')  # a row is a run
  of_ends = audit([save(tmp_path, ends.to_csv(index=False))])
  assert finals(of_ends) == finals(found) and notes(of_ends)['trials_by_restart'] == {'count': 2}
  mixed = FRAME.drop(columns='trial').sort_values(['batch_size', 'epoch'])
  refused(tmp_path, mixed.to_csv(index=False), 'row 3', "'trial'", 'rows 2 and 3')


def test_a_resumed_run_goes_on_from_where_it_was():
  whole = FRAME.assign(run=FRAME['batch_size'].astype(str) + '-' + FRAME['trial'].astype(str))
  first = whole[whole['run'] == '16-0']
  before = first.iloc[:3].assign(val_accuracy=0.1)
  rest = whole[whole['run'] != '16-0']
  resumed = pd.concat([first.iloc[:1], before.iloc[1:], first.iloc[1:], rest], ignore_index=True)
  found = audit(resumed)
  assert finals(found) == finals(audit(FRAME))
  assert notes(found)['resumed'] == {'runs': 1, 'rows': 2}


def test_rows_that_complete_each_other_are_one():
  train = FRAME.assign(val_accuracy=np.nan)
  val = FRAME.assign(train_accuracy=np.nan)
  found = audit(pd.concat([train, val], ignore_index=True))
  assert found.result['answer'] == audit(FRAME).result['answer']


def test_unequal_trials_are_cut_to_those_that_all_have():
  frame = rows(sizes=(16, 64, 256), trials=4)
  short = frame[(frame['batch_size'] != 64) | (frame['trial'] < 3)]
  found = audit(short)
  assert {size: len(values) for size, values in finals(found).items()} == dict.fromkeys(
    (16, 64, 256), 3
  )
  assert notes(found)['runs_left_out'] == {'count': 2, 'of': 11}


def test_diverged_unfinished_and_missing_runs():
  frame = rows(sizes=(16, 64, 256), trials=3)
  lost = (frame['batch_size'] == 16) & (frame['trial'] == 0) & (frame['epoch'] > 2)
  text = frame.assign(val_accuracy=frame['val_accuracy'].astype(object).where(~lost, 'nan'))
  tried = audit(text).judged.cells[0].given.tried
  assert tried[16][0].lanes[0].problem.code == 'diverged'
  cut = audit(frame[~lost]).judged.cells[0].given.tried
  assert cut[16][0].lanes[0].problem.code == 'unfinished'


def test_an_error_rate_is_not_taken_for_the_metric():
  frame = FRAME.assign(val_accuracy=1 - FRAME['val_accuracy'] - 0.2)
  with pytest.raises(Problem, match='may be an error rate'):
    audit(frame)
  assert audit(frame, 'val_accuracy=val_accuracy').result['answer']['best'] == 64
  assert audit(frame, 'val_error=val_accuracy').result['answer']['best'] == 16


def test_seconds_of_an_epoch_are_no_clock():
  found = audit(FRAME.assign(seconds=10 - FRAME['epoch']), train_examples=1000)
  assert 'seconds_fall' in notes(found)
  asked = {row['subject'][0]: row for row in found.result['claims'] if row['kind'] == 'audit'}
  assert asked['halves_time']['effect'] is None
  of_a_coarse_clock = audit(FRAME.assign(seconds=FRAME['epoch'] // 2), train_examples=1000)
  assert 'seconds_fall' not in notes(of_a_coarse_clock)


def test_one_trial_and_one_batch_size_are_answers():
  assert audit(rows(trials=1)).result['answer']['code'] == 'one_trial'
  assert audit(rows(sizes=(16,))).result['answer']['code'] == 'nothing_to_compare'


def test_steps_are_updates_where_the_batch_sizes_prove_it():
  steps = FRAME.assign(step=FRAME['epoch'] * 6400 // FRAME['batch_size']).drop(columns='epoch')
  found = audit(steps)
  assert 'steps_are_updates' in notes(found)
  lane = found.judged.cells[0].given.tried[64][0].lanes[0]
  assert lane.final['updates'] == 400 and lane.final['examples'] == 25600


def test_mixed_axes_are_aligned_or_refused():
  small, large = FRAME[FRAME['batch_size'] == 16], FRAME[FRAME['batch_size'] == 64]
  large = large.assign(updates=large['epoch'] * 100).drop(columns='epoch')
  mixed = pd.concat([small, large], ignore_index=True)
  with pytest.raises(Problem, match='some rows are placed by epochs and some by updates'):
    audit(mixed)
  assert finals(audit(mixed, train_examples=6400)) == finals(audit(FRAME))
  wrong = FRAME.assign(updates=FRAME['epoch'] * 100)
  with pytest.raises(Problem, match='contradict'):
    audit(wrong)


def test_clocks_follow_from_each_other():
  frame = table.join([exports.Raw('x', FRAME)], {}).rows
  timed = clocks.align(frame, 3200, False).rows
  last = timed[timed['epoch'] == 4]
  assert set(last['examples']) == {12800.0}
  assert dict(zip(last['batch_size'], last['updates'], strict=True)) == {16: 800.0, 64: 200.0}
  from_zero = clocks.align(frame.assign(epoch=frame['epoch'] - 1), 3200, False)
  assert from_zero.rows['epoch'].tolist() == timed['epoch'].tolist()
  assert [note.code for note in from_zero.notes] == ['epochs_from_zero']
  updates = frame.assign(updates=frame['epoch'] * 3200 / frame['batch_size'])
  implied = clocks.align(updates, None, False)
  assert implied.train_examples == 3200


def changing(examples=3200, epochs=4):
  """A run that goes from batches of 64 to 32 after half, beside two that keep theirs."""
  parts = []
  for name, (first, then) in {'a': (64, 64), 'b': (16, 16), 'c': (64, 32)}.items():
    made = 0
    for epoch in range(1, epochs + 1):
      size = first if epoch <= epochs / 2 else then
      made += examples // size
      parts.append((name, size, epoch, made, examples * epoch, 0.5 + 0.01 * epoch))
  names = ['run', 'batch_size', 'epoch', 'updates', 'examples', 'val_accuracy']
  return pd.DataFrame(parts, columns=names)


@pytest.mark.parametrize('order', ['as trained', 'newest first', 'resumed'])
@pytest.mark.parametrize('logged', [['updates'], ['epoch', 'updates'], ['epoch'], ['examples']])
def test_clocks_of_a_run_that_changes_its_batch_size_are_summed(logged, order):
  whole = changing()
  if order == 'newest first':
    whole = whole[::-1].reset_index(drop=True)
  if order == 'resumed':
    whole = pd.concat([whole.iloc[:-1], whole.iloc[-2:]], ignore_index=True)
  left_out = {'epoch', 'updates', 'examples'} - set(logged)
  frame = table.join([exports.Raw('x', whole.drop(columns=list(left_out)))], {}).rows
  known = None if len(logged) > 1 else 3200
  timed = clocks.align(frame, known, False)
  assert timed.train_examples == 3200
  for clock in ('epoch', 'updates', 'examples'):
    np.testing.assert_allclose(timed.rows[clock], whole[clock], err_msg=clock)


def test_steps_of_runs_that_change_their_batch_size_prove_nothing():
  frame = changing().drop(columns='examples').rename(columns={'updates': 'step'})
  rows = table.join([exports.Raw('x', frame)], {}).rows
  timed = clocks.align(rows, None, False)
  assert timed.notes[0].code == 'steps_are_updates'
  of_c = timed.rows[timed.rows['run'] == 'c']
  assert of_c['updates'].tolist() == [50, 100, 200, 300] and timed.train_examples == 3200


def test_two_runs_of_one_name_are_no_run_that_changes_its_batch_size():
  frame = changing().query("run != 'c'").drop(columns=['epoch', 'examples'])
  frame = frame.sort_values('run', ascending=False, kind='stable').assign(run='a')
  with pytest.raises(Problem, match='changes its batch size, and its rows begin anew'):
    audit(frame)


def test_no_number_rests_on_a_guessed_size_of_the_training_set():
  frame = rows(trials=3).assign(train_loss=lambda f: 1 / f['epoch'] + f['batch_size'] / 1000)
  goals = {goal['quantity']: goal for goal in audit(frame).result['recommendation']}
  assert goals['examples']['batch_size'] is None
  assert 'train_examples' in goals['examples']['why']
  assert '1,000,000' not in json.dumps(audit(frame).result)


def test_settings_from_a_table_of_runs_and_from_names(tmp_path):
  curves = FRAME.assign(Name=[f'r{b}-{t}' for b, t in zip(FRAME['batch_size'], FRAME['trial'],
                                                          strict=True)])  # fmt: skip
  runs = curves.groupby('Name').first().reset_index()[['Name', 'batch_size', 'trial']]
  plain = curves.drop(columns=['batch_size', 'trial'])
  paths = [save(tmp_path, plain.to_csv(index=False), 'curves.csv'),
           save(tmp_path, runs.to_csv(index=False), 'runs.csv')]  # fmt: skip
  assert finals(audit(paths)) == finals(audit(FRAME))
  refused(tmp_path, paths[0], "'batch_size'")
  save(tmp_path, runs.iloc[1:].to_csv(index=False), 'runs.csv')
  with pytest.raises(Problem, match="it lacks the run 'r16-0'"):
    audit(paths)
  named = plain.assign(Name=curves['Name'].str.replace('r', 'bs').str.replace('-', '_s'))
  found = audit([save(tmp_path, named.to_csv(index=False))])
  assert finals(found) == finals(audit(FRAME))
  assert notes(found)['settings_of_names']['example'] == 'bs16_s0'


def test_charts_of_weights_and_biases(tmp_path):
  paths = []
  for metric in ('val_accuracy', 'train_accuracy'):
    chart = pd.DataFrame({'epoch': range(1, 5)})
    for (size, trial), run in FRAME.groupby(['batch_size', 'trial']):
      for end in ('', '__MIN', '__MAX'):
        chart[f'bs{size}_seed{trial} - {metric}{end}'] = run[metric].to_numpy()
    paths.append(save(tmp_path, chart.to_csv(index=False), f'{metric}.csv'))
  found = audit(paths)
  assert finals(found) == finals(audit(FRAME))
  grouped = chart.assign(**{chart.columns[2]: 0.0})
  refused(tmp_path, grouped.to_csv(index=False), 'row 2', 'grouped')


def test_histories_of_keras(tmp_path):
  paths = []
  for (size, trial), run in FRAME.groupby(['batch_size', 'trial']):
    history = {
      'accuracy': run['train_accuracy'].tolist(),
      'val_accuracy': run['val_accuracy'].tolist(),
    }
    path = tmp_path / f'bs{size}_seed{trial}.json'
    path.write_text(json.dumps(history))
    paths.append(path)
  found = audit(paths)
  assert finals(found) == finals(audit(FRAME))
  training = {c['confound']: c['present'] for c in found.result['confounds']}
  assert training['training_mode_metric'] is True
  together = tmp_path / 'all.json'
  together.write_text(json.dumps({path.stem: json.loads(path.read_text()) for path in paths}))
  assert finals(audit([together])) == finals(audit(FRAME))
  together.write_text('{"val_accuracy": [0.1, 0.2], "accuracy": [0.1]}')
  refused(tmp_path, together, 'row 2', 'equally many')
  together.write_text('{"val_accuracy": [0.1, 0.2')
  refused(tmp_path, together, 'no JSON')


def test_long_runs_are_thinned_and_read_in_seconds(tmp_path):
  import time

  made = rows(sizes=(16, 32, 64, 128), trials=5, epochs=2000)
  wide = pd.concat([made.assign(learning_rate=rate) for rate in (0.01, 0.1)], ignore_index=True)
  path = save(
    tmp_path,
    wide.assign(val_accuracy=wide['val_accuracy'] / 101, train_accuracy=0.5).to_csv(index=False),
  )
  start = time.process_time()
  found = audit([path])
  assert time.process_time() - start < 8
  assert notes(found)['thinned'] == {'most': 2000, 'kept': 200}
  assert len(found.judged.cells[0].given.tried[16][0].lanes[0].rows) == 201
