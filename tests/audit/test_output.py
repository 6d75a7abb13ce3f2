"""What the command writes: files, their keys, a page without a network, a line for a mistake."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from absl import flags
from helpers import audit_worlds
from helpers.audit_tables import rising, sweep

import bsjax
from bsjax.audit import __main__ as command
from bsjax.audit import audit


@pytest.fixture(scope='module')
def frame():
  random = np.random.default_rng(0)
  rows = [
    (size, rate, trial, epoch, 0.9 - 0.01 * np.log2(size / 16) + random.normal(0, 0.001), 0.95)
    for size in (16, 64, 256)
    for rate in (0.1, 0.3)
    for trial in range(3)
    for epoch in range(1, 6)
  ]
  names = ['batch_size', 'learning_rate', 'trial', 'epoch', 'val_accuracy', 'train_accuracy']
  return pd.DataFrame(rows, columns=names)


@pytest.fixture(scope='module')
def written(frame, tmp_path_factory):
  out = tmp_path_factory.mktemp('audit')
  audit(frame).write(out)
  return out


def test_nothing_is_said_of_learning_rates_that_were_not_given(frame, tmp_path):
  one_rate = frame[frame.learning_rate == 0.1].drop(columns='learning_rate')
  audit(one_rate).write(tmp_path)
  for path in ('audit.md', 'audit.html'):
    text = (tmp_path / path).read_text()
    assert 'Tested were batch sizes 16, 64, 256, and nothing beyond' in text
    assert not re.search(r'learning rates? [\d.]|learning rate was tried', text)


def test_files_and_keys(written):
  names = {path.name for path in written.iterdir()}
  assert names == {'audit.json', 'audit.html', 'audit.md', 'claims.csv', 'confounds.csv',
                   'batch_sizes.csv'}  # fmt: skip
  result = json.loads((written / 'audit.json').read_text())
  assert {'answer', 'claims', 'confounds'} <= set(result)
  assert {'headline', 'detail', 'code'} <= set(result['answer'])
  for row in result['confounds']:
    assert {'confound', 'present', 'evidence'} <= set(row)
  for row in result['claims']:
    assert {'claim', 'verdict', 'effect', 'ci95', 'n', 'why'} <= set(row)
  claims = pd.read_csv(written / 'claims.csv')
  assert list(claims['claim']) == [row['claim'] for row in result['claims']]
  assert claims['low'].tolist()[0] == pytest.approx(result['claims'][0]['ci95'][0])


def test_the_page_stands_alone(written):
  page = (written / 'audit.html').read_text()
  result = json.loads((written / 'audit.json').read_text())
  assert page.index(result['answer']['headline']) < page.index('<svg') < page.index('id="claims"')
  assert not re.search(r'(src|href)="(?!#)', page) and '@import' not in page
  assert len(page) < 3_000_000
  assert result['answer']['headline'] in (written / 'audit.md').read_text()


def test_the_page_has_the_order_of_a_report(written):
  page = (written / 'audit.html').read_text()
  headings = ['What would change the answer', 'Recommendation', 'Claims', 'Figures', 'Results',
              'What else may make the difference', 'Method', 'Versions']  # fmt: skip
  assert re.findall('<h2>(.*?)</h2>', page) == headings
  answer = json.loads((written / 'audit.json').read_text())['answer']
  first = answer['headline'], answer['detail'][:30], '<svg', '<h2>'
  assert [page.index(one) for one in first] == sorted(page.index(one) for one in first)


def test_several_cells_have_a_page(frame, tmp_path):
  both = pd.concat([frame.assign(model=name) for name in 'abc'], ignore_index=True)
  page = audit(both, columns={'cell': 'model'}).write(tmp_path).read_text()
  assert 'over 3 cells' in page and page.count('<svg') == 1


def test_a_table_says_of_every_cell_what_it_says_of_all(tmp_path):
  frame = sweep(rising, (16, 64, 256))
  both = pd.concat([frame.assign(cell=name) for name in 'ab'], ignore_index=True)
  found = audit(both)
  found.write(tmp_path)
  sizes = pd.read_csv(tmp_path / 'batch_sizes.csv')
  for row, cell in zip(found.result['cells'], 'ab', strict=True):
    part = sizes[sizes['cell'] == cell]
    for place, one in enumerate(row['batch_sizes']):
      at = part.iloc[place]
      assert at['batch_size'] == one['batch_size']
      assert [at['value'], at['value_low'], at['value_high']] == pytest.approx(
        [one['value']['mean'], *one['value']['ci95']]
      )
  stored = pd.read_csv(tmp_path / 'confounds.csv')
  assert set(stored['cell']) == {'all', 'a', 'b'}
  ends = pd.read_csv(tmp_path / 'claims.csv')
  known = ends[ends['low'].notna()]
  assert len(known) and (known['low'] <= known['effect']).all()
  assert (known['effect'] <= known['high']).all()
  assert found.result['read']['runs'] == 18


def test_the_room_is_called_by_its_name(frame):
  assert bsjax.audit(frame).result['answer'] == audit(frame).result['answer']


def test_the_command_names_a_planted_cause(tmp_path):
  path, out = tmp_path / 'runs.csv', tmp_path / 'out'
  audit_worlds.table('only_untuned', 5, (7, 0)).to_csv(path, index=False)
  command = [sys.executable, '-m', 'bsjax.audit', path, '--batch_norm=none', f'--out={out}']
  done = subprocess.run(command, capture_output=True, text=True, timeout=300)
  assert done.returncode == 0, done.stderr
  answer = json.loads((out / 'audit.json').read_text())['answer']
  assert audit_worlds.judged('only_untuned', answer) == {'named': True, 'false': False}
  assert ' '.join(done.stdout.split()).startswith(answer['headline'])
  assert 'may be why' in answer['headline']


@pytest.fixture
def run(capsys):
  kept = set(flags.FLAGS)
  command.define_flags()

  def call(*arguments):
    rest = flags.FLAGS(['audit', *map(str, arguments)])
    try:
      command.main(rest)
    finally:
      flags.FLAGS.unparse_flags()
      for name in ('columns', 'train_examples', 'out', 'batch_norm'):
        flags.FLAGS[name].unparse()
    return capsys.readouterr().out

  yield call
  for name in set(flags.FLAGS) - kept:  # commands that other tests run here have some of them
    delattr(flags.FLAGS, name)


def test_the_command_prints_the_answer_first(run, frame, tmp_path):
  path = tmp_path / 'runs.csv'
  frame.rename(columns={'val_accuracy': 'y'}).to_csv(path, index=False)
  out = run(path, '--columns=val_accuracy=y', f'--out={tmp_path / "out"}', '--train_examples=4096')
  result = json.loads((tmp_path / 'out' / 'audit.json').read_text())
  assert out.splitlines()[0] == result['answer']['headline']
  assert result['read']['train_examples'] == 4096
  with pytest.raises(SystemExit, match=r'Error: runs\.csv, row 1, column'):
    run(path)
  with pytest.raises(SystemExit, match='batch_norm'):
    run(path, '--batch_norm=maybe')
