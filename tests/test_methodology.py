"""The paragraph on method: every figure is of the study, and moves with it."""

import copy
import json
import re

import planted_scaling as planted
import pytest

from bsjax import methods, records, report
from bsjax.analysis.methodology import as_text, joined_arms, paragraph, topics
from bsjax.analysis.summary import summarize
from bsjax.config import base_config

COST = {
  'rows': [
    {'batch_size': 32, 'memory_bytes': 2**30, 'fits': True}
    | {'examples_per_second': {'median': 517.0}},
    {'batch_size': 128, 'memory_bytes': 7 * 2**30, 'fits': False} | {'examples_per_second': None},
  ]
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


def numbers(text):
  """All figures of a text, without the commas of thousands; Student's names and units have none."""
  return [
    float(each) for each in re.findall(r'\d[\d,]*\.?\d*(?:e[-+]?\d+)?', text.replace(',', ''))
  ]


def leaves(tree):
  """Every number of nested inputs, by the path to it."""
  if isinstance(tree, dict):
    for value in tree.values():
      yield from leaves(value)
  elif isinstance(tree, list | tuple):
    for value in tree:
      yield from leaves(value)
  elif isinstance(tree, int | float) and not isinstance(tree, bool):
    yield float(tree)


def test_the_paragraph_holds_no_figure_that_is_not_an_input(study):
  config, plan, summary = study
  text = paragraph(config, plan, summary, COST)
  known = {abs(value) for value in leaves([config, plan, summary, COST])}
  known |= {100 * value for value in known} | {value / 2**30 for value in known}
  known |= {row['examples'] / row['epochs'] for row in plan}  # the training set
  known |= {row['updates'] / row['epochs'] for row in plan}
  known |= {
    float(len({row['trial'] for row in plan})),
    float(len(summary['scaling_rules']['rules'])),
  }
  known |= {95.0, 2.0}  # of the intervals; of the name of the L2 penalty
  stray = [
    value
    for value in numbers(text)
    if not any(abs(value - other) <= 0.006 + 0.006 * abs(other) * (other > 1) for other in known)
  ]
  assert not stray, (stray, text)
  assert len(numbers(text)) > 40


@pytest.mark.parametrize(
  'path, value, text',
  [
    (('model', 'width'), 37, 'width 37'),
    (('model', 'name'), 'resnet8', 'The model is resnet8'),
    (('model', 'normalization'), 'none', 'no normalization'),
    (('data', 'name'), 'cifar10', 'examples of cifar10'),
    (('data', 'validation_share'), 0.13, '13% of the training data'),
    (('data', 'validation'), 'test', "validated on the split 'test'"),
    (('data', 'crop'), 3, 'padding by 3 pixels'),
    (('data', 'flip'), True, 'left-right flips'),
    (('optimizer', 'momentum'), 0.83, 'SGD (momentum 0.83'),
    (('optimizer', 'name'), 'adamw', 'AdamW (β1 0.9, β2 0.999, ε 1e-08, no weight decay)'),
    (('optimizer', 'weight_decay'), 0.007, 'L2 weight decay 0.007 of kernels only'),
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
    'a training loss of 0.17, was 321 [123, unbounded] examples (n = 6)',
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


def test_arms_say_once_what_they_share(study):
  config, plan, summary = study
  other = copy.deepcopy(config)
  other['model'] |= {'name': 'vgg11'}
  arms = {'mlp': topics(config, plan, summary), 'vgg11': topics(other, plan, summary)}
  found = joined_arms(arms)
  assert list(found.differs) == ['model'] and 'vgg11' in found.differs['model']['vgg11']
  assert found.text.count('We optimized with SGD') == 1 and '2 studies' in found.text
  assert '- vgg11: The model is vgg11' in as_text(found)


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
  page = report.write(tmp_path).read_text()
  assert 'id="methodology_text"' in page and 'would not fit the memory' in page
  assert page.count('<svg') == 9 + 3 and 'id="scaling_ways"' in page
  assert (
    len(re.findall('<tr>', page[page.index('id="scaling_rates"') :].split('</table>')[0])) == 19
  )
  assert not re.search(r'<script|https?://', page)


def test_the_file_of_arms(study, tmp_path):
  config, plan, summary = study
  for name in ('b', 'a'):
    own = copy.deepcopy(config)
    own['model'] |= {'name': name}
    write_study(tmp_path / 'arms' / name, own, plan, planted.records(plan), summary)
  records.write_json(tmp_path / 'config.json', {'arms': {'order': ['b', 'a', 'not started']}})
  text = methods.write(tmp_path).read_text()
  assert text.startswith('2 studies were run: b and a.') and text.count('- ') >= 2
