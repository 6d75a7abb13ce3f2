"""Several studies on one page: what they say together, and what is refused."""

import json
import re
import shutil
import statistics
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from helpers import synthetic
from helpers.pages import save
from markupsafe import escape

from bsjax.analysis.claims.claim import BELOW, Claim, Kind
from bsjax.analysis.claims.pooling import pooled
from bsjax.audit import audit
from bsjax.report import compare
from bsjax.report.compared import Refused
from bsjax.stats.estimate import Estimate
from bsjax.stats.intervals import mean_interval
from bsjax.storage import records

TREND = 'at equal epochs, smaller batches reach higher validation accuracy'


def study(folder, shift=0.0, share=1.0, **changes):
  config = synthetic.config('group')
  config['seed'] = changes.pop('seed', 0)
  plan = synthetic.plan((8, 16, 32), (0.05, 0.1, 0.2), 3)
  rows = [
    row | {'val_accuracy': row['val_accuracy'] - shift * np.log2(plan[row['lane']]['batch_size'])}
    for row in synthetic.realistic(plan, seed=config['seed'])
    if row['examples'] <= share * plan[0]['examples']
  ]
  return save(folder, config | changes, plan, rows, share == 1.0)


def table(seed, **columns):
  random = np.random.default_rng(seed)
  rows = [
    (size, rate, trial, epoch, 0.9 - 0.01 * np.log2(size / 16) + random.normal(0, 0.001))
    for size in (16, 64, 256)
    for rate in (0.1, 0.3)
    for trial in range(3)
    for epoch in range(1, 6)
  ]
  names = ['batch_size', 'learning_rate', 'trial', 'epoch', 'val_accuracy']
  return pd.DataFrame(rows, columns=names).assign(**columns)


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """Two studies, an audit of one table, and an audit of two cells."""
  root = tmp_path_factory.mktemp('studies')
  summaries = {name: study(root / name, shift, seed=seed)
               for name, shift, seed in (('first', 0.01, 0), ('second', 0.012, 1))}  # fmt: skip
  audit(table(2)).write(root / 'audited')
  cells = pd.concat([table(3 + i, model=f'm{i}') for i in range(2)], ignore_index=True)
  audit(cells, columns={'cell': 'model'}).write(root / 'cells')
  return root, summaries


@pytest.fixture(scope='module')
def written(folders, tmp_path_factory):
  root, _ = folders
  out = tmp_path_factory.mktemp('compared')
  return compare.write([root / name for name in ('first', 'second', 'audited', 'cells')], out)


def trend_of(rows):
  return next(row for row in rows if row['claim'] == TREND)


def test_studies_are_the_sample(written):
  result = json.loads(written.with_name('compare.json').read_text())
  effects = [trend_of(each['claims'])['effect'] for each in result['studies']]
  assert len(effects) == 5  # the cells of an audit are studies
  over, row = mean_interval(effects), trend_of(result['claims'])
  assert row['effect'] == pytest.approx(statistics.fmean(effects)) and row['n'] == 5
  assert row['ci95'] == pytest.approx([over.low, over.high]) and row['verdict'] == 'supported'
  assert result['answer']['headline'].startswith(
    'Smaller batches do better at equal epochs, over 5'
  )
  assert [each['name'] for each in result['studies']][2:] == ['audited', 'cells/m0', 'cells/m1']


def test_the_page_has_the_answers_side_by_side_and_no_network(written):
  page, plain = written.read_text(), written.with_name('compare.md').read_text()
  result = json.loads(written.with_name('compare.json').read_text())
  for each in result['studies']:
    assert f'<p class="pick">{escape(each["answer"]["headline"])}</p>' in page
    assert each['answer']['headline'] in plain
    for remark in each['answer']['remarks']:
      assert f'<li>{escape(remark)}</li>' in page and remark in plain
  assert any(each['answer']['remarks'] for each in result['studies'])
  assert page.index('<h1>') < page.index('<svg') < page.index('id="answers"')
  assert not re.search(r'https?://|@import|<script|<link|src=', page) and len(page) < 3_000_000
  seeds = next(row for row in result['differs'] if row['key'] == 'seed')
  assert seeds['values'][:2] == [0, 1] and '<td class="key">seed</td>' in page
  claim = page[page.index(f'{TREND[0].upper()}{TREND[1:]}') :].split('</details>')[0]
  assert re.findall(r'<tr><td>([^<]+)</td>', claim) == [each['name'] for each in result['studies']]


def test_what_one_study_answers_several_times_counts_once():
  """The curves of two doublings in one study and one in another: two studies, not three."""

  def curve(size, base, value):
    about = {'quantity': 'train_loss', 'budget': 'examples', 'unit': 'ratio', 'question': BELOW}
    estimate = Estimate(value, None, None, 3)
    return Claim(Kind.CURVE, ('linear', size, base), estimate=estimate, verdict='', **about)

  (claim,) = pooled([[curve(16, 8, 1.0), curve(32, 16, 4.0)], [curve(16, 8, 2.0)]], 'studies')
  assert claim.estimate.n == 2 and claim.estimate.value == pytest.approx(2.0)
  assert claim.reasons[-1].details == {'known': 2, 'of': 2, 'over': 'studies'}


def refused(paths, tmp_path):
  with pytest.raises((Refused, FileNotFoundError)) as caught:
    compare.write(paths, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()
  return str(caught.value)


def test_what_cannot_be_compared_is_refused_in_words(folders, tmp_path):
  root, _ = folders
  first = root / 'first'
  assert 'nothing to compare it with' in refused([first], tmp_path)
  assert 'is given twice' in refused([first, root / '.' / 'first'], tmp_path)
  assert 'lacks config.json' in refused([first, tmp_path], tmp_path)
  shutil.copytree(first, tmp_path / 'copy')
  assert 'first and copy hold the same results' in refused([first, tmp_path / 'copy'], tmp_path)
  study(tmp_path / 'begun', share=0.45)
  assert 'begun is 40% done' in refused([first, tmp_path / 'begun'], tmp_path)
  losses = table(5).rename(columns={'val_accuracy': 'val_loss'})
  audit(losses).write(tmp_path / 'losses')
  text = refused([first, tmp_path / 'losses'], tmp_path)
  assert 'first is judged by validation accuracy and losses by validation loss' in text


def test_arms_are_studies_each(folders, tmp_path):
  root, _ = folders
  shutil.copytree(root / 'first', tmp_path / 'arms' / 'a')
  shutil.copytree(root / 'second', tmp_path / 'arms' / 'b')
  records.write_json(tmp_path / 'config.json', {'arms': {'order': ['b', 'a']}})
  page = compare.write([tmp_path], tmp_path / 'out')
  names = [
    each['name'] for each in json.loads(page.with_name('compare.json').read_text())['studies']
  ]
  assert names == [f'{tmp_path.name}/b', f'{tmp_path.name}/a']


@pytest.mark.slow
def test_the_command(folders, tmp_path):
  root, _ = folders
  command = [sys.executable, '-m', 'bsjax.report', '--compare']
  out = f'--out={tmp_path / "out"}'
  done = subprocess.run([*command, root / 'first', root / 'second', out], capture_output=True,
                        text=True)  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert done.stdout.strip() == str(tmp_path / 'out' / 'compare.html')
  done = subprocess.run([*command, root / 'first', out], capture_output=True, text=True)
  assert done.returncode == 1 and done.stderr.startswith('Error: There is one study')
