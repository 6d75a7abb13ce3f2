"""report: one self-contained file for every kind of study, finished or not."""

import json
import re
import subprocess
import sys

import pytest
from helpers import synthetic
from helpers.figure_names import FIGURES
from markupsafe import escape

from bsjax.format import percent
from bsjax.report import stored_study, study_page
from bsjax.report.figures.drawing import draw
from bsjax.report.figures.study import OVERVIEW
from bsjax.report.summaries import summarize
from bsjax.storage import records


def study(workdir, sizes=(8, 16, 32), rates=(0.05, 0.1, 0.2), trials=3, share=1.0, **options):
  """Writes the files of a made-up study as far as a share of its training; returns its summary."""
  config = synthetic.config(options.pop('normalization', 'group'))
  plan = synthetic.plan(sizes, rates, trials)
  rows = [
    row
    for row in synthetic.realistic(plan, **options)
    if row['examples'] <= share * plan[0]['examples']
  ]
  for row in rows:
    row['reestimated_val_accuracy'] = row['val_accuracy']
  records.write_json(workdir / 'config.json', config)
  records.write_plan(workdir / 'plan.csv', plan)
  records.append(workdir / 'records.jsonl', rows)
  summary = summarize(config, plan, records.read(workdir / 'records.jsonl'), 'four made-up cores')
  if share == 1.0:
    records.write_json(workdir / 'summary.json', summary)
  return summary


def page_of(workdir):
  return study_page.write(workdir).read_text()


def test_a_full_study_fits_one_small_file_without_a_network(tmp_path):
  summary = study(tmp_path, sizes=(8, 16, 32, 64, 128, 256), rates=(0.05, 0.2))
  page = page_of(tmp_path)
  assert len(page.encode()) < 2_000_000
  assert not re.search(r'(?:src|href|action|data)\s*=\s*["\']?\s*(?:https?:)?//', page)
  assert not re.search(r'https?://|@import|<link|url\((?!#)', page)
  # The curves' data and the script that draws them, both inside the page.
  assert re.findall('<script[^>]*>', page) == [
    '<script type="application/json" id="curve_data">',
    '<script>',
  ]
  assert page.count('<svg') == len(FIGURES) and page.count('<figcaption') == len(FIGURES)
  for name in FIGURES:
    assert f'id="{name}"' in page
  used = set(re.findall(r'(?:xlink:href="|url\()#([^")]+)', page))
  assert used and all(page.count(f'id="{name}"') == 1 for name in used)
  for row in summary['batch_sizes']:
    assert percent(row['val_accuracy']) in page
  assert 'four made-up cores' in page and 'n = 3 trials' in page
  assert 'id="unfinished"' not in page
  assert (
    len(re.findall('<tr>', page[page.index('id="plan"') : page.index('id="config"')])) == 1 + 36
  )
  assert '<td class="key">optimizer.momentum</td><td class="value">0.9</td>' in page


def test_an_unfinished_study_says_how_far_it_is(tmp_path, blank_figures):
  study(tmp_path, share=0.45)
  page = page_of(tmp_path)
  assert 'Unfinished: 40% of the planned examples are done.' in page
  assert 'provisional, as of epoch 12 of 30' in page and page.count('<svg') == len(FIGURES)


def test_a_study_that_has_just_begun_has_nothing_to_compare(tmp_path):
  study(tmp_path, share=0.0)
  page = page_of(tmp_path)
  assert 'There is nothing to compare yet' in page and '<svg' not in page


@pytest.mark.parametrize(
  ('options', 'text'),
  [
    ({'trials': 1}, 'one trial, hence no intervals'),
    ({'sizes': (32,), 'rates': (0.1,)}, 'not tuned'),
    ({'normalization': 'batch'}, 'BatchNorm saw micro-batches, of 8 examples'),
    ({'diverges': lambda lane: lane['batch_size'] == 8}, 'no result: trials 0, 1 and 2 diverged'),
    ({'diverges': lambda lane: True}, 'No batch size has a result.'),
  ],
)
def test_unusual_studies_have_a_report_that_names_what_is_unusual(
  tmp_path, blank_figures, options, text
):
  study(tmp_path, **options)
  assert text in page_of(tmp_path)


def test_an_unbounded_and_an_undefined_noise_scale_are_named(tmp_path, blank_figures):
  summary = study(tmp_path)
  first, second, _ = summary['batch_sizes']
  first['noise_scale'] |= {'ci95': [20.0, None], 'unbounded': True}
  second['noise_scale'] |= {'b_simple': None, 'ci95': [None, None], 'reason': 'made up'}
  records.write_json(tmp_path / 'summary.json', summary)
  page = page_of(tmp_path)
  assert 'without an upper bound (from the batches: batch size 8)' in page and '[20, ∞]' in page
  assert 'no estimate from the batches for batch size 16 (made up)' in page


def test_text_from_the_configuration_cannot_become_markup(tmp_path, blank_figures):
  study(tmp_path)
  hostile = synthetic.config(name='<script>alert(1)</script>')
  records.write_json(tmp_path / 'config.json', hostile)
  page = page_of(tmp_path)
  assert 'script>alert' not in page and page.count('<script') == 2  # our own
  assert 'script>alert' not in page[: page.index('<body')]


TOLD = ('why', 'reason', 'claim', 'goal', 'undefined', 'problem', 'hardware', 'note', 'name')


def hostile(tree, key=''):
  """The same with markup in every text that a page shows."""
  if isinstance(tree, dict):
    return {name: hostile(value, name) for name, value in tree.items()}
  if isinstance(tree, list):
    return [hostile(value, key) for value in tree]
  return f'{tree}<u>' if key in TOLD and isinstance(tree, str) else tree


def test_no_text_of_any_file_becomes_markup(tmp_path, blank_figures):
  summary = study(tmp_path, diverges=lambda lane: lane['batch_size'] == 8)
  records.write_json(tmp_path / 'summary.json', hostile(summary))
  records.write_json(tmp_path / 'config.json', hostile(synthetic.config()))
  records.write_json(tmp_path / 'native_cost.json', hostile(native_cost()))
  doubt = '3 training images are copies of others'
  records.write_json(tmp_path / 'data.json', {'doubts': [f'{doubt}<u>'], 'classes_per_batch': []})
  start = {name: f'{name}<u>' for name in ('date', 'host', 'command', 'device', 'commit')}
  start['versions'] = {'jax<u>': '1<u>'}
  records.write_json(tmp_path / 'provenance.json', {'starts': [start]})
  unsafe = sharpness()
  unsafe['rows'][-1]['undefined'] = {'sam': 'rounding<u>'}
  records.write_json(tmp_path / 'sharpness.json', unsafe)
  page = page_of(tmp_path)
  assert '<u>' not in page
  assert page.count('&lt;u&gt;') > 100
  for text in (
    *('four made-up cores', 'two made-up cores', 'rounding', 'not run'),
    *(f'Data: {doubt}', 'host', 'command', 'device', 'commit', 'jax'),
  ):
    assert f'{text}&lt;u&gt;' in page, text


def test_nothing_that_fits_curves_is_loaded_for_a_finished_study():
  code = 'import sys, bsjax.report.__main__; print(*sys.modules)'
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
  loaded = set(done.stdout.split())
  assert 'bsjax.report.study_page' in loaded
  of_buckets = {'fsspec', 'filelock', 'bsjax.storage.mirror'}
  assert not loaded & {'scipy.optimize', 'scipy.stats', 'matplotlib.pyplot', 'jax', *of_buckets}


@pytest.mark.slow
def test_the_command_rebuilds_the_report_and_names_missing_files(tmp_path):
  command = [sys.executable, '-m', 'bsjax.report', f'--workdir={tmp_path}']
  failed = subprocess.run(command, capture_output=True, text=True)
  assert failed.returncode == 1 and 'Traceback' not in failed.stderr
  assert 'lacks config.json, plan.csv, records.jsonl' in failed.stderr
  study(tmp_path)
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert (tmp_path / 'report.html').read_text().startswith('<!DOCTYPE html>')


def test_claims_have_a_badge_each_and_pairs_are_folded(tmp_path, blank_figures):
  summary = study(tmp_path)
  pairs = [each for each in summary['claims'] if each['kind'] == 'pair']
  page = page_of(tmp_path)
  whole, folded = page.split('id="claims"')[1].split('id="pairs"')
  folded = folded[: folded.index('<p class="note"')]
  badges = r'<summary><span class="badge (\w+)">\1</span>'
  verdicts = [each['verdict'] for each in summary['claims'] if each['kind'] != 'pair']
  assert re.findall(badges, whole) == verdicts and len(verdicts) == 11
  assert re.findall(badges, folded) == [each['verdict'] for each in pairs]
  assert len(pairs) == 4
  for each in summary['claims']:
    said = f'<span class="said">{each["claim"][0].upper()}{each["claim"][1:]}</span>'
    assert (said in folded) == (each['kind'] == 'pair') and (said in whole) != (said in folded)
  # Each opens with its reasons.
  reasons = re.findall(r'</summary>\n<p>(.+?)</p></details>', whole)
  assert len(reasons) == len(verdicts) and all(map(str.strip, reasons))


def test_the_first_screen_comes_first_and_the_rest_in_order(tmp_path, blank_figures):
  summary = study(tmp_path)
  page, plain = page_of(tmp_path), (tmp_path / 'report.md').read_text()
  headline = str(escape(summary['answer']['headline']))
  order = [headline, 'id="accuracy"', 'id="recommendation"', 'id="claims"', 'id="curve_data"',
           'id="gap"', 'id="results"', 'id="confounds"', 'How to read it', 'id="methodology"',
           'id="plan"']  # fmt: skip
  places = [page.index(text, page.index('<main')) for text in order]
  assert places == sorted(places)
  heads = [line for line in plain.splitlines() if line.startswith('#')]
  assert heads[0] == f'# {summary["answer"]["headline"]}'
  assert [head for head in heads[1:] if 'change' not in head] == [
    '## Recommendation',
    '## Claims',
    '## Results',
    '## What else may make the difference',
    '## Method',
  ]
  for claim in summary['claims']:
    assert f'| {claim["verdict"]} | {claim["claim"]} |' in plain


def test_recommendations_stand_before_the_results(tmp_path, blank_figures):
  summary = study(tmp_path)
  page = page_of(tmp_path)
  top = page[page.index('id="recommendation"') : page.index('id="results"')]
  for goal in summary['recommendation']:
    assert f'<h3>{goal["goal"]}</h3>' in top and str(escape(goal['why'])) in top
    size = goal['batch_size']
    assert ('not shown' if size is None else f'batch size {size}, learning rate') in top
  assert 'top of a parabola' in page or 'close to the best' in page


def test_a_study_of_an_older_version_is_summarized_again(tmp_path, blank_figures):
  summary = study(tmp_path)
  old = {'batch_sizes': summary['batch_sizes'], 'claims': [], 'hardware': 'an old machine'}
  records.write_json(tmp_path / 'summary.json', old)
  page = page_of(tmp_path)
  assert 'an old machine' in page and 'id="pairs"' in page
  assert 'the records hold no learning_rate_sum' in page  # and no exact probe, and no spans
  # Nor may the file say what the page does not.
  written = json.loads((tmp_path / 'summary.json').read_text())
  assert written['claims'] and written['answer']['headline'] in page
  assert written['hardware'] == 'an old machine'


def test_sharpness_stands_beside_the_training_loss_where_it_was_measured(tmp_path, blank_figures):
  study(tmp_path)
  assert 'id="sharpness"' not in page_of(tmp_path)
  records.write_json(tmp_path / 'sharpness.json', sharpness())
  page = page_of(tmp_path)
  table = page[page.index('id="sharpness_rows"') : page.index('How to read it')]
  assert table.count('<tr>') == 1 + 2  # the first lane at its last checkpoint only
  assert '<td>0.0123</td>' in table and '~9.5' in table
  assert '<td title="the rise is rounding">undefined</td>' in table


def sharpness():
  """Two lanes, the first at two checkpoints."""
  measured = synthetic.sharpness()
  early = measured['rows'][0] | {'examples': 10, 'train_loss': 2.0}
  return measured | {'rows': [early, *measured['rows']]}


def test_what_batch_sizes_cost_alone_is_shown_where_it_was_measured(tmp_path, blank_figures):
  summary = study(tmp_path)
  page = page_of(tmp_path)
  assert 'native_cost_rows' not in page and 'run alone' not in page
  records.write_json(tmp_path / 'native_cost.json', native_cost())
  page = page_of(tmp_path)
  table = page[page.index('id="native_cost_rows"') : page.index('How to read it')]
  assert table.count('<tr>') == 1 + 3
  assert '<td>1,000 [900, 1,100]</td><td>2 [1.8, 2.2]</td><td>60</td>' in table
  assert 'needs 3 MiB of 2.56 MiB: not run; gathered from 2 micro-batches of 16' in table
  assert page.count('id="native_cost"') == 1 and 'made-up cores' in table
  assert '>least time to a target, run alone</h3>' in page
  goals = [goal['goal'] for goal in summary['recommendation']]
  assert page.index(goals[-1]) < page.index('least time to a target') < page.index('id="results"')


def native_cost():
  """Three batch sizes, the last too large for its device."""
  rates = {'median': 1000.0, 'low': 900.0, 'high': 1100.0, 'n': 5}
  row = {'stage': '', 'trained_parameters': 910, 'fits': True, 'examples_per_second': rates}
  seconds = {'median': 2.0, 'low': 1.8, 'high': 2.2}
  row |= {'seconds_per_epoch': seconds, 'seconds': seconds | {'median': 60.0}}
  row |= {'compile_seconds': 0.5, 'cores_busy': 2.0, 'suggestion': None, 'problem': None}
  memory = {'total': 2**20, 'temporaries': 2**19}
  suggestion = {'micro_batch': 16, 'accumulation': 2, 'memory_bytes': memory}
  suggestion |= {key: row[key] for key in ('examples_per_second', 'seconds_per_epoch')}
  rows = [row | {'batch_size': size, 'memory_bytes': memory} for size in (8, 16)]
  rows += [row | {'batch_size': 32, 'memory_bytes': memory | {'total': 3 * 2**20}, 'fits': False}]
  rows[-1] |= {'examples_per_second': None, 'seconds_per_epoch': None, 'suggestion': suggestion}
  rows[-1] |= {'problem': 'needs 3 MiB of 2.56 MiB: not run'}
  return {
    'hardware': 'two made-up cores',
    'device_memory_gib': 0.0025,
    'model': 'mlp',
    'parameters': 910,
    'rows': rows,
  }


def test_overview_has_four_panels_with_the_numbers_of_the_summary(tmp_path):
  summary = study(tmp_path)
  figure = draw(OVERVIEW, study_page.source_of(stored_study.load(tmp_path)))
  accuracy, rates, _, _ = figure.axes
  drawn = {line.get_label(): line for line in accuracy.lines}['validation']
  expected = [row['val_accuracy']['mean'] for row in summary['batch_sizes']]
  assert list(drawn.get_ydata()) == expected
  assert f'{100 * expected[0]:.1f}' in [text.get_text() for text in rates.texts]
  figure.savefig(tmp_path / 'overview.png', dpi=50)
  assert (tmp_path / 'overview.png').stat().st_size > 10_000
