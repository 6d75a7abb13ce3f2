"""The paragraph on method: every figure is of the study, and moves with it."""

import copy
import json
import re

import pytest
from helpers import planted_scaling as planted
from helpers.kept import leaves

from bsjax.config.keys import base_config
from bsjax.report import methods, study_page
from bsjax.report.summaries import summarize
from bsjax.report.text.methodology import as_text, joined_arms, paragraph, topics
from bsjax.storage import records


def cost_row(batch_size, gib, rate):
  """A row of native_cost.json; None as a rate: it does not fit."""
  memory = dict.fromkeys(('arguments', 'outputs', 'aliased', 'temporaries'), 2**20)
  rates = rate and {'median': rate, 'low': rate - 1, 'high': rate + 1, 'n': 5}
  return {
    'batch_size': batch_size,
    'stage': '',
    'trained_parameters': 1234,
    'memory_bytes': memory | {'total': gib * 2**30},
    'fits': rate is not None,
    'examples_per_second': rates,
    'seconds': rates and {'median': 20.0, 'low': 19.0, 'high': 21.0},
    'seconds_per_epoch': rates and {'median': 2.0, 'low': 1.9, 'high': 2.1},
    'compile_seconds': 3.0,
    'cores_busy': None,
    'suggestion': None,
    'problem': None,
  }


COST = {
  'hardware': 'a made-up device',
  'device_memory_gib': 4.0,
  'model': 'mlp',
  'parameters': 1234,
  'rows': [cost_row(32, 1, 517.0), cost_row(128, 7, None)],
}


def resolved(**scaling):
  """A whole config in JSON, as a workdir has it."""
  config = json.loads(base_config().to_json()) | planted.config(**scaling)
  full = json.loads(base_config().to_json())
  return config | {key: full[key] for key in ('data', 'model', 'optimizer', 'schedule')}


@pytest.fixture(scope='module')
def study():
  config = resolved()
  plan = planted.plan(config, trials=6)
  summary = summarize(config, plan, planted.records(plan), '2 made-up cores')
  return config, plan, summary


def numbers_of(tree):
  """Every number of nested inputs."""
  return [float(x) for x in leaves(tree) if isinstance(x, int | float) and not isinstance(x, bool)]


def as_written(value):
  """The ways in which a number may stand in the text, its sign apart."""
  forms = f'{value:g}', f'{value:.3g}', f'{100 * value:g}', f'{100 * value:.2f}', f'{value:,.0f}'
  return {form.replace(',', '').lstrip('-') for form in (*forms, f'{value / 2**30:.2g}')}


def test_the_paragraph_holds_no_figure_that_is_not_an_input(study):
  config, plan, summary = study
  text = paragraph(config, plan, summary, COST)
  scaled = summary['scaling_rules']
  used = [config, COST, scaled['margin'], len(scaled['rules']), 6]  # trials, as planned above
  used += [[row['examples'], row['epochs'], row['batch_size'], row['updates']] for row in plan]
  used += [[row['updates_per_epoch'], row['val_accuracy']] for row in scaled['ways']['rows']]
  used += [row['noise_scale']['b_simple'] for row in summary['batch_sizes']]
  used += [summary['critical_batch_size'].get(key) for key in ('b_crit', 'ci95', 'target')]
  used += [plan[0]['examples'] / plan[0]['epochs'], scaled['ways']['base']['updates_per_epoch']]
  known = set().union(*map(as_written, numbers_of(used)))
  known |= {'95', '2'}  # of the intervals; of the name of the L2 penalty and the made-up cores
  figures = re.findall(r'\d+(?:\.\d+)?(?:e[-+]?\d+)?', re.sub(r'(?<=\d),(?=\d)', '', text))
  assert not [figure for figure in figures if figure not in known], text
  assert len(figures) > 60


@pytest.mark.parametrize(
  'path, value, text',
  [
    (('model', 'width'), 37, 'width 37'),
    (('model', 'name'), 'resnet8', 'The model is ResNet-8'),
    (('model', 'normalization'), 'none', 'no normalization'),
    (('data', 'name'), 'cifar10', 'examples of cifar10'),
    (('data', 'validation_share'), 0.13, '13% of the training data'),
    (('data', 'validation'), 'test', "validated on the split 'test'"),
    (('data', 'crop'), 3, 'padding by 3 pixels'),
    (('data', 'flip'), True, 'left-right flips'),
    (('optimizer', 'momentum'), 0.83, 'SGD (momentum 0.83'),
    (('optimizer', 'name'), 'adamw', 'AdamW (β1 0.9, β2 0.999, ε 1e-08, no weight decay)'),
    (('optimizer', 'weight_decay'), 0.007, 'L2 weight decay 0.007 of arrays of two axes'),
    (('schedule', 'name'), 'cosine', 'decayed to zero along a cosine'),
    (('schedule', 'warmup_epochs'), 0.7, 'linear warm-up of 0.7 epochs'),
    (('seed',), 41, 'from seed 41'),
    (('evaluation', 'batch_size'), 2048, 'in batches of 2,048'),
    (('evaluations',), 9, 'evaluated 9 times'),
    (('scaling', 'rule'), 'sqrt', 'scaled by the square root of the batch size at 64 and 128'),
    (('scaling', 'rule'), 'none', 'The same learning rates were tried at every batch size'),
  ],
)
def test_the_text_follows_the_configuration(study, path, value, text):
  config, plan, summary = study
  changed = copy.deepcopy(config)
  node = changed
  for key in path[:-1]:
    node = node[key]
  assert text not in paragraph(config, plan, summary)
  node[path[-1]] = value
  assert text in paragraph(changed, plan, summary)


def test_the_text_follows_the_results(study):
  config, plan, summary = study
  changed = copy.deepcopy(summary)
  for row in changed['scaling_rules']['ways']['rows']:
    if (row['way'], row['batch_size'], row['clock']) == ('linear', 128, 'epochs'):
      row['val_accuracy'] = {'mean': 0.0123, 'ci95': [-0.004, 0.0286], 'n': 7}
      row['keeps']['verdict'] = 'undetermined'
  expected = 'batch size 128 (-1.23 [-2.86, +0.40], n = 7)'
  assert expected not in paragraph(config, plan, summary)
  assert expected in paragraph(config, plan, changed)
  changed['critical_batch_size'] = {'b_crit': 321.0, 'ci95': [123.0, None], 'n': 6} | {
    'quantity': 'train_loss',
    'target': 0.17,
  }
  changed['batch_sizes'][0]['noise_scale'] |= {'b_simple': 55.0, 'ci95': [44.0, 77.0]}
  changed['splits'] = {'train': 4321, 'validation': 543}
  text = paragraph(config, plan, changed)
  for part in (
    'a training loss of 0.17, was 320 [120, unbounded] examples (n = 6)',
    'in examples, 55 [44, 77] at 32',
    'trained on 4,321 examples',
    'held out, 543 examples',
  ):
    assert part in text and part not in paragraph(config, plan, summary)


def test_the_reason_is_what_the_run_shows(study):
  config, plan, summary = study
  found = topics(config, plan, summary)['scaling']
  assert 'Linear scaling kept validation accuracy within 0.5 points at batch size 64' in found
  assert 'An unchanged learning rate moved validation accuracy by more than 0.5 points' in found
  assert 'closest to that of the base with linear scaling at batch sizes 64 and 128' in found
  noisy = planted.records(plan, own=1.0, accuracy_noise=0.05)
  found = topics(config, plan, summarize(config, plan, noisy))['scaling']
  assert 'kept validation accuracy' not in found and 'neither shown to keep' in found
  assert 'is not shown at batch sizes 64 and 128' in found
  missing = summary | {'scaling_rules': {'undefined': 'made up'}}
  assert 'could not be compared: made up' in topics(config, plan, missing)['scaling']


def test_what_is_unknown_is_left_out(study):
  config, plan, summary = study
  few = topics({'model': {'name': 'cnn'}}, plan, {})
  assert set(few) == {'model', 'batch sizes', 'length', 'trials', 'intervals'}
  assert 'critical' not in paragraph(config, plan, summary | {'critical_batch_size': {}})
  bare = {key: value for key, value in summary.items() if key != 'hardware'}
  assert 'hardware' not in topics(config, plan, bare)
  assert paragraph({}, [], {}) == ''


def test_memory_is_named_only_where_it_is_short(study):
  config, plan, summary = study
  text = topics(config, plan, summary, COST)
  assert 'batch size 128 (7 GiB) would not fit' in text['micro-batches']
  assert '517 at batch size 32' in text['hardware']
  assert 'fit' not in topics(config, plan, summary).get('micro-batches', '')


def test_stages_are_named(study):
  config, plan, summary = study
  stages = {'order': ['head', 'tail'], 'tail': {'epochs': 3.5, 'learning_rate_factor': 0.1}}
  stages['head'] = {'epochs': 1.0, 'trainable': ['Dense_*'], 'batch_size': ['keep', 'set:16']}
  text = topics(config | {'stages': stages}, plan, summary)['stages']
  assert text == (
    'Training had 2 stages: head (1 epochs, training Dense_* only, batch size keep or set:16) and '
    'tail (3.5 epochs, learning rate times 0.1).'
  )


def test_updates_an_epoch_are_those_of_the_sizes_that_runs_begin_with(study):
  config, plan, summary = study
  epoch = plan[0]['examples'] / plan[0]['epochs']
  each = f'{epoch / 32:,.0f} at batch size 32'
  assert f'; updates per epoch were {each}' in paragraph(config, plan, summary)
  keys = {'order': ['a', 'b'], 'a': {'batch_size': ['keep']}, 'b': {'batch_size': ['multiply:4']}}
  branched = [row | {'updates': row['updates'] // 2} for row in plan]  # as where sizes have grown
  text = paragraph(config | {'stages': keys}, branched, summary)
  assert f'; updates per epoch, at the batch sizes that runs began with, were {each}' in text


def test_arms_say_once_what_they_share(study):
  config, plan, summary = study
  other = copy.deepcopy(config)
  other['model'] |= {'name': 'vgg11'}
  arms = {'mlp': topics(config, plan, summary), 'vgg11': topics(other, plan, summary)}
  found = joined_arms(arms)
  assert list(found.differs) == ['model'] and 'VGG-11' in found.differs['model']['vgg11']
  assert found.text.count('We optimized with SGD') == 1 and '2 studies' in found.text
  assert '- vgg11: The model is VGG-11' in as_text(found)


def write_study(folder, config, plan, rows, summary):
  folder.mkdir(parents=True, exist_ok=True)
  records.write_json(folder / 'config.json', config)
  records.write_plan(folder / 'plan.csv', plan)
  records.append(folder / 'records.jsonl', rows)
  records.write_json(folder / 'summary.json', summary)


def test_the_file_and_the_box_of_the_report(study, tmp_path):
  config, plan, summary = study
  write_study(tmp_path, config, plan, planted.records(plan), summary)
  records.write_json(tmp_path / 'native_cost.json', COST)
  text = ' '.join(methods.write(tmp_path).read_text().split())
  assert text == paragraph(config, plan, summary, COST)
  page = study_page.write(tmp_path).read_text()
  assert 'id="methodology_text"' in page and 'would not fit the memory' in page
  assert page.count('<svg') == 9 + 3 + 1 and 'id="scaling_ways"' in page
  assert (
    len(re.findall('<tr>', page[page.index('id="scaling_rates"') :].split('</table>')[0])) == 19
  )
  assert page.count('<script') == 2 and not re.search('https?://', page)  # the curves, inlined


def test_the_file_of_arms(study, tmp_path):
  config, plan, summary = study
  for name in ('b', 'a'):
    own = copy.deepcopy(config)
    own['model'] |= {'name': name}
    write_study(tmp_path / 'arms' / name, own, plan, planted.records(plan), summary)
  records.write_json(tmp_path / 'config.json', {'arms': {'order': ['b', 'a', 'not started']}})
  text = methods.write(tmp_path).read_text()
  assert text.startswith('2 studies were run: b and a.') and text.count('- ') >= 2
