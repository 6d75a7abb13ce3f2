"""The interactive curves: what they hold, that they fit a page, and that a browser draws them."""

import json
import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pandas as pd
import pytest
from helpers import synthetic
from markupsafe import escape

from bsjax.analysis.runs.histories import settings
from bsjax.analysis.runs.selection import select
from bsjax.audit import audit
from bsjax.report import interactive, page, study_page
from bsjax.report.summaries import summarize
from bsjax.storage import records

BROWSER = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('chrome')


def curves(plan, rows, sizes=(8, 16)):
  tried = settings(plan, rows)
  colours = dict(zip(sizes, ('#0d0887', '#cc4778'), strict=True))
  runs = {'': (tried, select(tried).chosen)}
  return interactive.data(runs, interactive.quantities(), list(interactive.CLOCKS), colours)


@pytest.fixture(scope='module')
def study():
  plan = synthetic.plan((8, 16), (0.1, 0.2), 3)
  return plan, synthetic.realistic(plan)


def test_lines_are_means_lowest_and_highest_over_trials(study):
  plan, rows = study
  found = curves(*study)
  (line,) = [
    each for each in found['studies'][0]['settings'] if (each['size'], each['rate']) == (8, 0.2)
  ]
  lanes = [lane['lane'] for lane in plan if (lane['batch_size'], lane['learning_rate']) == (8, 0.2)]
  runs = [[row for row in rows if row['lane'] == lane and row['updates']] for lane in lanes]
  values = 100 * np.array([[row['val_accuracy'] for row in run] for run in runs])
  assert line['trials'] == 3 and line['lost'] == 0
  assert line['x'][1] == [row['updates'] for row in runs[0]]
  for drawn, expected in zip(
    line['y'][0], (values.mean(0), values.min(0), values.max(0)), strict=True
  ):
    np.testing.assert_allclose(drawn, expected, rtol=1e-4)
  assert found['quantities'][0] == ['validation accuracy', '%']
  assert found['studies'][0]['best'].keys() == {8, 16}


def test_a_lost_run_is_counted_and_draws_nothing(study):
  plan, rows = study
  gone = plan[0]['lane']
  rows = [
    row | {'diverged': True, 'val_accuracy': 0.0} if row['lane'] == gone else row for row in rows
  ]
  (line,) = [
    each for each in curves(plan, rows)['studies'][0]['settings']
    if (each['size'], each['rate']) == (plan[0]['batch_size'], plan[0]['learning_rate'])
  ]  # fmt: skip
  assert (line['trials'], line['lost']) == (2, 1) and min(line['y'][0][1]) > 10


def test_many_lanes_are_thinned_to_fit_a_page():
  """1,000 lanes of 200 evaluations: both ends stay."""
  plan = synthetic.plan((8, 16), [0.001 * i for i in range(1, 101)], 5)
  rows = [
    {'lane': lane['lane'], 'examples': lane['examples'] * i // 200, 'updates': i, 'epoch': i / 9.0,
     'diverged': False} | dict.fromkeys(('val_accuracy', 'train_accuracy'), i / 217)
    | dict.fromkeys(('train_loss', 'val_loss'), 3 / (i + 1.7))
    for lane in plan for i in range(201)
  ]  # fmt: skip
  found = curves(plan, rows)
  text = json.dumps(found)
  assert found['of'] == 200 and 8 <= found['points'] < 200
  assert len(text) < 2_000_000
  line = found['studies'][0]['settings'][0]
  assert (line['x'][1][0], line['x'][1][-1], len(line['x'][1])) == (1, 200, found['points'])


def test_what_is_recorded_less_often_is_drawn_between_its_records(monkeypatch):
  """At the places of a thinned curve too, of which most have no record of it."""
  monkeypatch.setattr(interactive, 'NUMBERS', 1300)
  plan = synthetic.plan((8,), (0.1,), 2)
  rows = [
    {'lane': lane['lane'], 'examples': lane['examples'] * i // 200, 'updates': i, 'epoch': i / 9.0,
     'diverged': False} | dict.fromkeys(('val_accuracy', 'train_accuracy'), i / 217)
    | {'train_loss': 3 - i / 100 if i % 10 == 0 else None, 'val_loss': None}
    for lane in plan for i in range(201)
  ]  # fmt: skip
  found = curves(plan, rows)
  line = found['studies'][0]['settings'][0]
  at = np.array(line['x'][1])
  assert found['points'] < 200 and (at % 10 != 0).any()
  losses = line['y'][[title for title, _ in found['quantities']].index('training loss')]
  drawn = np.array(losses[0], dtype=float)
  np.testing.assert_allclose(drawn[at >= 10], 3 - at[at >= 10] / 100, rtol=1e-3)
  assert np.isnan(drawn[at < 10]).all()


def test_without_curves_or_rates_there_are_none(study):
  plan, rows = study
  ends = [row for row in rows if row['examples'] in (0, plan[0]['examples'])]
  assert curves(plan, ends) is None
  tried = settings(plan, rows)
  runs = {'': (tried, select(tried).chosen)}
  shown = interactive.data(runs, interactive.quantities(), ['epoch'], {}, rates_known=False)
  assert {each['rate'] for each in shown['studies'][0]['settings']} == {None}
  assert set(shown['studies'][0]['best'].values()) == {None}


def test_names_of_studies_cannot_become_markup(study):
  found = curves(*study)
  found['studies'][0]['name'] = '</script><script>alert(1)</script>'
  html = page.render('curves.html', curves=found, curves_of=str(escape('<u>')))
  assert html.count('<script') == 2 and '</script><script>alert' not in html


def browse(folder, does, name):
  """What the browser printed, what it said, and its log of the network, of a file of a folder."""
  if not BROWSER:
    pytest.skip('no Chromium is installed here')
  command = [BROWSER, '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-extensions']
  command += ['--no-first-run', '--disable-background-networking', '--enable-logging=stderr']
  command += [f'--user-data-dir={folder / "profile"}', f'--log-net-log={folder / "net.json"}']
  command += ['--virtual-time-budget=3000', '--no-pdf-header-footer', does]
  command += [f'file://{folder / name}']
  done = subprocess.run(command, capture_output=True, text=True, timeout=300)
  return done.stdout, done.stderr, (folder / 'net.json').read_text(errors='replace')


def told(dom):
  """What a page said to the one that holds it."""
  return unescape(re.search(r'<pre id="out">(.*?)</pre>', dom, re.DOTALL)[1])


def asked_a_network(net):
  """What pages ask of it, and not the browser for itself: it is kept apart by their file."""
  return re.findall(r'"network_isolation_key":"file:.{0,500}?"url":"(?:https?|wss?):', net)


@pytest.fixture(scope='module')
def drawn(study, tmp_path_factory):
  """A page in a phone's width, after the browser ran it, with what it said and asked a network."""
  folder = tmp_path_factory.mktemp('browser')
  found = curves(*study)
  for values in found['studies'][0]['settings'][0]['y'][2]:
    values[-1] = None  # as of what is recorded less often
  style = page.render('style.css')
  body = page.render('curves.html', curves=found, curves_of='')
  check = """
    const selects = [...document.querySelectorAll('.controls select')];
    const rows = () => [...document.querySelectorAll('.lines tbody tr')];
    const told = () => rows().map((row) => row.innerText);
    const result = {first: told(), canvas: document.querySelectorAll('.uplot canvas').length};
    const set = (list, value) => { list.value = value; list.dispatchEvent(new Event('change')); };
    set(selects[2], 'all'); result.all = told().length;
    set(selects[1], '1'); set(selects[0], '2'); result.loss = told();
    document.querySelector('.controls input').click(); result.one = told().length;
    result.label = document.querySelector('[role=img]').getAttribute('aria-label');
    result.wide = document.documentElement.scrollWidth;
    setTimeout(() => {
    const pixels = document.querySelector('canvas').getContext('2d');
    const image = pixels.getImageData(0, 0, pixels.canvas.width, pixels.canvas.height).data;
    result.ink = image.filter((value, place) => place % 4 === 3 && value > 0).length;
    parent.postMessage(JSON.stringify(result), '*');
    }, 300);
  """
  (folder / 'curves.html').write_text(
    f'<!DOCTYPE html><meta charset="utf-8"><style>{style}</style><main>{body}</main>'
    f'<script>{check}</script>'
  )
  (folder / 'phone.html').write_text(
    '<!DOCTYPE html><pre id="out"></pre><script>addEventListener("message", (event) => '
    '{ document.getElementById("out").textContent = event.data; })</script>'
    '<iframe src="curves.html" style="width: 390px; height: 900px; border: 0"></iframe>'
  )
  dom, console, net = browse(folder, '--dump-dom', 'phone.html')
  return json.loads(told(dom)), console, net


def test_a_browser_draws_what_is_chosen(drawn, study):
  result, said, net = drawn
  assert 'CONSOLE' not in said, said
  assert not asked_a_network(net)
  assert result['canvas'] == 1 and result['ink'] > 1000
  assert len(result['first']) == 2 and all('%' in row for row in result['first'])
  assert result['all'] == 4 and result['one'] == 2  # one batch size less
  assert not any('%' in row or '–' in row for row in result['loss'])
  assert result['label'].startswith('training loss against updates')
  assert result['wide'] <= 390


@pytest.fixture(scope='module')
def pages(study, tmp_path_factory):
  """A folder with audit.html and report.html as they are written, of one study."""
  if not BROWSER:
    pytest.skip('no Chromium is installed here')
  folder, (plan, rows) = tmp_path_factory.mktemp('pages'), study
  config = synthetic.config()
  rows = [row | {'reestimated_val_accuracy': row['val_accuracy']} for row in rows]
  records.write_json(folder / 'config.json', config)
  records.write_plan(folder / 'plan.csv', plan)
  records.append(folder / 'records.jsonl', rows)
  known = records.read(folder / 'records.jsonl')
  records.write_json(folder / 'summary.json', summarize(config, plan, known, 'made-up cores'))
  study_page.write(folder)
  lanes = pd.DataFrame(plan)[['lane', 'batch_size', 'learning_rate', 'trial']]
  names = ['lane', 'updates', 'epoch', 'val_accuracy', 'train_accuracy', 'train_loss']
  table = pd.DataFrame(rows)[names].merge(lanes, on='lane').drop(columns='lane')
  audit(table[table['updates'] > 0]).write(folder)
  return folder


def test_whole_pages_fit_a_phone_and_ask_nothing_of_a_network(pages):
  check = """
    <script>addEventListener("load", () => setTimeout(() => parent.postMessage({
      name: location.pathname.split("/").pop(), inner: innerWidth,
      wide: document.documentElement.scrollWidth, room: document.documentElement.clientWidth,
      drawn: document.querySelectorAll(".uplot canvas").length,
    }, "*"), 300))</script>
  """
  frames = ''
  for name in ('audit', 'report'):
    html = (pages / f'{name}.html').read_text()
    (pages / f'{name}_told.html').write_text(html.replace('</body>', f'{check}</body>'))
    frames += f'<iframe src="{name}_told.html" style="width: 390px; height: 900px; border: 0">'
    frames += '</iframe>'
  (pages / 'phone.html').write_text(
    '<!DOCTYPE html><pre id="out"></pre><script>const found = []; addEventListener("message", '
    '(event) => { found.push(event.data); '
    f'document.getElementById("out").textContent = JSON.stringify(found); }})</script>{frames}'
  )
  dom, console, net = browse(pages, '--dump-dom', 'phone.html')
  found = {page.pop('name'): page for page in json.loads(told(dom))}
  assert set(found) == {'audit_told.html', 'report_told.html'}
  for name, page_ in found.items():
    assert page_['inner'] == 390 and page_['wide'] <= page_['room'], (name, page_)
    assert page_['drawn'] == 1
  assert 'CONSOLE' not in console, console
  assert not asked_a_network(net)


def test_a_page_prints(pages):
  pdf = pages / 'audit.pdf'
  browse(pages, f'--print-to-pdf={pdf}', 'audit.html')
  printed = pdf.read_bytes()
  assert printed.startswith(b'%PDF') and len(re.findall(rb'/Type ?/Page\b', printed)) >= 2
