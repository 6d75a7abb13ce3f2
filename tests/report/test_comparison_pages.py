"""Pages of stages, branches and arms: every kind renders, and shows the numbers of its summary."""

import json
import subprocess
import sys

import pytest
from helpers import synthetic
from helpers.figure_names import FIGURES
from helpers.pages import save
from helpers.staged import config, grows, made

from bsjax.analysis.claims.condition_contrasts import compare
from bsjax.analysis.claims.conditions import Condition, hold
from bsjax.analysis.runs import histories
from bsjax.format import percent
from bsjax.report import arms_page, comparisons, study_page
from bsjax.report.figures.comparisons import CONDITIONS, FOREST, STAGE_CURVES, at_epochs
from bsjax.report.figures.drawing import draw
from bsjax.report.panels import style
from bsjax.report.panels.conditions import Conditions
from bsjax.report.panels.source import Source
from bsjax.report.seconds_alone import seconds_alone
from bsjax.report.summaries import summarize
from bsjax.report.text.claim_blocks import effect_text
from bsjax.report.text.rendered import rendered
from bsjax.storage import records

BRANCHES = ('tail:keep', 'tail:multiply:2')


def arm(workdir, name, shift=0.0, seed=0, share=1.0, diverges=lambda lane: False, **options):
  settings = synthetic.config(**options)
  plan = synthetic.plan((8, 16), (0.05, 0.1), 3)
  rows = synthetic.realistic(plan, seed=seed, diverges=diverges)
  rows = [row | {'val_accuracy': row['val_accuracy'] + shift} for row in rows]
  rows = [row for row in rows if row['examples'] <= share * plan[0]['examples']]
  return save(workdir / 'arms' / name, settings, plan, rows, share == 1.0)


def test_a_study_of_stages_and_branches_shows_both(tmp_path):
  rules = config(batch_size=['keep', 'multiply:2'])

  def parts_after_the_head(lane, updates, epoch):
    gains = 0.01 * (lane['branch'] == BRANCHES[1] and epoch > 4)
    values = grows(lane, updates, epoch)
    return values | {'val_accuracy': values['val_accuracy'] + gains * (1 + 0.1 * lane['trial'])}

  summary = save(tmp_path, rules, *made(parts_after_the_head, branches=BRANCHES))
  page = study_page.write(tmp_path).read_text()
  assert '<h1>In the branch tail:keep, ' in page
  for part in ('stage_table', 'stage_claims', 'other_stage_claims', 'contrasts', 'forest'):
    assert page.count(f'id="{part}"') == 1, part
  # Curves, two clocks of two branches, and three figures of conditions.
  assert page.count('<svg') == len(FIGURES) + 1 + 4 + 3
  for row in summary['conditions']['table']:
    assert percent(row['val_accuracy']) in page
  pooled = [row for row in summary['conditions']['contrasts'] if row['batch_size'] == 'pooled']
  table = page[page.index('id="contrasts"') : page.index('id="contrasts_by_size"')]
  for row in pooled:
    assert f'<td>{row["claim"]}<' in table and effect_text(row) in table
  assert 'Dense_1/*' in page and 'keep or multiply:2' in page
  assert '8: 128; 16: 64; 64: 16' in page and 'Updates are those of the first branch' in page


@pytest.mark.parametrize('kind', ['unfinished', 'begun', 'batch', 'no branches', 'one size'])
def test_unusual_studies_of_stages_have_a_page(tmp_path, blank_figures, kind):
  settings = config(normalization='batch' if kind == 'batch' else 'group')
  branches = ('',) if kind == 'no branches' else BRANCHES
  plan, rows = made(branches=branches, sizes=(8,) if kind == 'one size' else (8, 16, 64))
  if kind == 'batch':
    keys = 'val_accuracy', 'train_accuracy', 'val_loss', 'train_loss'
    rows = [row | {f'reestimated_{key}': row[key] for key in keys} for row in rows]
  most = {'unfinished': 0.3, 'begun': 0.0}.get(kind, 1.0)
  rows = [row for row in rows if row['examples'] <= most * plan[0]['examples']]
  save(tmp_path, settings, plan, rows, finished=most == 1.0)
  page = study_page.write(tmp_path).read_text()
  assert 'id="stage_table"' in page
  assert ('id="condition_table"' in page) == (kind != 'no branches')
  assert ('id="unfinished"' in page) == (most < 1.0)
  assert ('the same,<br>re-estimated' in page) == (kind == 'batch')


@pytest.mark.slow
def test_the_page_of_arms_compares_finished_arms_and_links_to_each(tmp_path):
  arm(tmp_path, 'resnet18')
  arm(tmp_path, 'vgg11', -0.03, seed=1, diverges=lambda lane: lane['batch_size'] == 8)
  arm(tmp_path, 'late', share=0.4)
  order = ['vgg11', 'resnet18', 'late', 'never']
  records.write_json(tmp_path / 'config.json', {'arms': {'order': order}})
  page = arms_page.write(tmp_path).read_text()
  summary = json.loads((tmp_path / 'summary.json').read_text())
  assert [row['name'] for row in summary['arms']] == ['vgg11', 'resnet18']  # the config's order
  assert summary['conditions']['baseline'] == 'vgg11' and summary['hardware'] == 'a made-up machine'
  assert set(summary['unfinished']) == {'late', 'never'} and summary['unfinished']['never'] == 0
  assert summary['answer'] == 'resnet18 does best.' and f'<h1>{summary["answer"]}</h1>' in page
  assert {'claim', 'verdict', 'effect', 'ci95', 'why'} <= set(summary['claims'][0])
  assert summary['arms'][1]['batch_sizes'][0]['batch_size'] == 8
  assert 'late (40% done)' in page and 'never (0% done)' in page
  for name in ('resnet18', 'vgg11'):
    assert f'href="arms/{name}/report.html"' in page
    assert (tmp_path / 'arms' / name / 'report.html').is_file()
  assert 'vgg11 has no result at batch size 8' in page and page.count('<svg') == 3
  outside = page.replace('href="arms/', '')
  assert 'http' not in outside and '<script' not in page and '<link' not in page


def test_the_page_of_arms_names_what_makes_them_unlike(tmp_path, blank_figures):
  plan = synthetic.plan((8, 16), (0.05, 0.1), 3)
  hostile = synthetic.config(name='<b>cifar10</b>')
  save(tmp_path / 'arms' / 'a<b>', hostile, plan, synthetic.realistic(plan, seed=1))
  other = synthetic.config(name='mnist') | {'seed': 7}
  save(tmp_path / 'arms' / 'b', other, plan, synthetic.realistic(plan, seed=2))
  page = arms_page.write(tmp_path, ['a<b>', 'b']).read_text()
  assert 'a&lt;b&gt;' in page and 'a<b>' not in page
  assert 'different seeds (0, 7)' in page and 'their accuracies are not of one task' in page
  assert '<b>cifar10' not in page
  differs = page[page.index('id="differs"') :]
  assert 'data.name' in differs and '&#34;mnist&#34;' in differs


@pytest.mark.slow
def test_the_command_writes_the_page_of_arms(tmp_path):
  command = [sys.executable, '-m', 'bsjax.report', f'--workdir={tmp_path}']
  (tmp_path / 'arms').mkdir()
  failed = subprocess.run(command, capture_output=True, text=True)
  assert failed.returncode == 1 and 'no arm that has started' in failed.stderr
  assert 'Traceback' not in failed.stderr
  arm(tmp_path, 'only', share=0.0)  # whose page has no figures to draw
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert 'only (0% done)' in (tmp_path / 'report.html').read_text()


def test_the_forest_has_the_effects_and_marks_what_was_not_compared():
  plan = synthetic.plan((8, 16), (0.1,), 3)
  rows = synthetic.realistic(plan)
  better = [row | {'val_accuracy': row['val_accuracy'] + 0.01 * row['examples'] / 43008} for row in
            synthetic.realistic(plan, seed=4)]  # fmt: skip
  broken = [row | {'diverged': True} for row in rows]
  made_up = [Condition(n, synthetic.config(), plan, r) for n, r in
             (('a', rows), ('b', better), ('c', broken))]  # fmt: skip
  found = rendered(compare(made_up))
  source = Conditions(found, {each.name: hold(each) for each in made_up})
  (axes,) = draw(FOREST, source).axes
  drawn = [float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == 'o']
  shown = [row for row in found['contrasts'] if row['quantity'] == 'val_accuracy']
  assert sorted(drawn) == sorted(row['effect'] for row in shown if row['effect'] is not None)
  assert [text.get_text().strip() for text in axes.texts] == ['not compared'] * 2
  labels = [label.get_text() for label in axes.get_yticklabels()]
  assert labels == ['b − a', 'batch size 8', 'batch size 16', 'c − a', 'c − b']
  curves = draw(CONDITIONS[2], source)
  assert [axes.get_title(loc='left') for axes in curves.axes] == ['Batch size 8', 'Batch size 16']


@pytest.mark.parametrize(
  'sizes, panels, grid',
  [
    ((8,), (8,), (1, 1)),
    ((8, 16, 32, 64), (8, 16, 32, 64), (2, 2)),
    ((2, 4, 8, 16, 32), (2, 4, 8, 16, 32), (2, 3)),
    (range(1, 10), (1, 3, 4, 6, 7, 9), (2, 3)),
  ],
)
def test_the_smallest_the_largest_and_some_batch_sizes_between_get_a_panel(sizes, panels, grid):
  plan = synthetic.plan(tuple(sizes), (0.1,), 2)
  made_up = Condition('a', synthetic.config(), plan, synthetic.realistic(plan))
  source = Conditions({'names': ['a']}, {'a': hold(made_up)})
  figure = draw(CONDITIONS[2], source)
  seen = [axes for axes in figure.axes if axes.get_visible()]
  titles = [axes.get_title(loc='left') for axes in seen]
  assert titles == [f'Batch size {size}' for size in panels]
  assert seen[0].get_gridspec().get_geometry() == grid


def test_conditions_are_drawn_with_the_numbers_of_the_table():
  plan = synthetic.plan((8, 16), (0.1,), 3)
  made_up = [Condition(n, synthetic.config(), plan, synthetic.realistic(plan, seed=seed))
             for seed, n in enumerate('ab')]  # fmt: skip
  source = Conditions(compare(made_up), {each.name: hold(each) for each in made_up})
  names = [drawing.name for drawing in CONDITIONS]
  assert names == ['forest', 'condition_sizes', 'condition_curves']
  for axes, key in zip(draw(CONDITIONS[1], source).axes, ('val_accuracy', 'gap'), strict=True):
    drawn = [line.get_ydata().tolist() for line in axes.lines if line.get_marker() == 'o']
    table = source.compared['table']
    means = [[row[key]['mean'] for row in table if row['condition'] == n] for n in 'ab']
    assert drawn == means


def nothing_chosen(summary):
  return summary | {
    'batch_sizes': [row | {'learning_rate': None} for row in summary['batch_sizes']]
  }


def test_stage_names_and_ends_are_drawn():
  settings = config()
  plan, rows = made()
  summary = summarize(settings, plan, rows)
  part = comparisons.stage_part(Source(nothing_chosen(summary)))
  assert part['figures'] == [] and part['asked'] == 'epochs 4 and 16'
  chosen = {'': {size: tried[0] for size, tried in histories.settings(plan, rows).items()}}
  source = Source(summary, branches=chosen)
  axes, training = draw(STAGE_CURVES, source).axes
  assert axes.get_title(loc='left') == 'Validation accuracy'
  assert training.get_title(loc='left') == 'Training accuracy'
  ends = [line for line in axes.lines if line.get_linestyle() == '--' or line.is_dashed()]
  assert [float(line.get_xdata()[0]) for line in ends] == [4.0]
  assert [text.get_text() for text in axes.texts] == ['head', 'tail']
  figure = draw(at_epochs('at', '', summary['stages']['at'], 'updates'), source)
  titles = [axes.get_title(loc='left') for axes in figure.axes]
  assert titles == [
    'Accuracy, 16 updates',
    'Gap, 16 updates',
    'Accuracy, 64 updates',
    'Gap, 64 updates',
  ]
  row = summary['stages']['at'][-1]['updates']['batch_sizes']
  for axes, colour, key in (
    (figure.axes[2], style.VALIDATION, 'val_accuracy'),
    (figure.axes[2], style.TRAINING, 'train_accuracy'),
    (figure.axes[3], style.INK, 'gap'),
  ):
    lines = [line for line in axes.lines if line.get_marker() == 'o' and line.get_color() == colour]
    drawn = [y for line in lines for y in line.get_ydata()]
    assert drawn == [size[key]['mean'] for size in row if key in size]


def cost(*rows):
  """native_cost.json of (stage, batch size, seconds); the ends are a tenth off."""

  def spread(s):
    return s and {'median': s, 'low': 0.9 * s, 'high': 1.1 * s}

  return {
    'rows': [{'stage': stage, 'batch_size': size, 'seconds': spread(s)} for stage, size, s in rows]
  }


def test_the_time_of_a_run_alone_is_that_of_its_stages_at_their_batch_sizes():
  plan, rows = made(sizes=(8, 16))
  size = {lane['lane']: lane['batch_size'] for lane in plan}
  doubled = [row | {'batch_size': size[row['lane']] * (1 + row['stage'])} for row in rows]
  measured = cost(('head', 8, 10.0), ('head', 16, 6.0), ('tail', 16, 30.0), ('tail', 32, 20.0))
  found = seconds_alone(Condition('', config(), plan, doubled), measured)
  assert found[8] == pytest.approx({'median': 40.0, 'low': 36.0, 'high': 44.0})
  assert found[16]['median'] == pytest.approx(26.0)
  # Not without the second stage of a size, nor one that changes in a stage, nor one not reached.
  assert seconds_alone(Condition('', config(), plan, rows), measured).keys() == {16}
  last = max(row['examples'] for row in rows)
  moving = [row | {'batch_size': 64} if row['examples'] == last else row for row in doubled]
  assert seconds_alone(Condition('', config(), plan, moving), measured) == {}
  begun = [row for row in doubled if not row['stage']]
  assert seconds_alone(Condition('', config(), plan, begun), measured) == {}


def test_the_page_of_arms_shows_times_where_they_were_measured(tmp_path, blank_figures):
  arm(tmp_path, 'a')
  arm(tmp_path, 'b', -0.03, seed=1)
  page = arms_page.write(tmp_path).read_text()
  assert 'run alone,<br>seconds' not in page and 'balanced, %' not in page
  records.write_json(tmp_path / 'arms' / 'a' / 'native_cost.json', priced())
  page = arms_page.write(tmp_path).read_text()
  assert '<td>40 [36, 44]</td>' in page and 'run alone,<br>seconds' in page


def priced():
  row = {'trained_parameters': 9, 'fits': True, 'compile_seconds': 0.5, 'cores_busy': 2.0}
  row |= {'suggestion': None, 'problem': None, 'memory_bytes': {'total': 2**20, 'temporaries': 9}}
  rates = {'examples_per_second': {'median': 100.0, 'low': 90.0, 'high': 110.0, 'n': 5}}
  rows = [
    row | rates | each | {'seconds_per_epoch': each['seconds']}
    for each in cost(('', 8, 40.0), ('', 16, 30.0))['rows']
  ]
  return {
    'hardware': 'made-up',
    'model': 'm',
    'parameters': 9,
    'device_memory_gib': None,
    'rows': rows,
  }
