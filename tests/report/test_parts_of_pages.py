"""Parts of pages made by hand: tables, orders, and what files of a workdir must agree on."""

import math

import numpy as np
import pytest
from helpers import synthetic
from helpers.pages import save

from bsjax.analysis.claims.conditions import Condition
from bsjax.analysis.runs import histories
from bsjax.config.metrics import Judged
from bsjax.report import (
  arms_page,
  audit_page,
  compare,
  compared,
  comparisons,
  interactive,
  methods,
  page,
  stored_study,
  study_page,
)
from bsjax.report.compared import Compared, Refused
from bsjax.report.seconds_alone import seconds_alone
from bsjax.storage import records


def estimate(mean, low=None, high=None):
  return {'mean': mean, 'ci95': [low, high], 'n': 3}


def test_intervals_of_the_table_share_one_scale():
  rows = [{'batch_size': 8, 'val_accuracy': estimate(0.5, 0.4, 0.6)},
          {'batch_size': 16, 'val_accuracy': estimate(0.8)},
          {'batch_size': 32, 'val_accuracy': estimate(None)}]  # fmt: skip
  found = study_page._bars(rows)
  assert found == {
    8: pytest.approx({'low': 4.0, 'mean': 27.0, 'high': 50.0}),
    16: pytest.approx({'low': 96.0, 'mean': 96.0, 'high': 96.0}),
  }
  assert study_page._bars(rows[2:]) == {}
  assert study_page._bars(rows[1:2])[16]['mean'] == 4.0


def lanes(*sizes, trials=2):
  rows = [
    {'lane': i, 'batch_size': size, 'learning_rate': 0.1, 'examples': 64, 'updates': 64 // size}
    for i, size in enumerate(size for size in sizes for _ in range(trials))
  ]
  return [row | {'trial': row['lane'] % trials} for row in rows]


def test_updates_are_those_made_at_the_end_of_the_longest_run():
  plan = lanes(8, 16)
  rows = [
    {'lane': 0, 'examples': 32, 'updates': 100},
    {'lane': 0, 'examples': 64, 'updates': 5},
    {'lane': 1, 'examples': 64, 'updates': 6},
    {'lane': 2, 'examples': 64, 'updates': 3},
  ]
  assert study_page._updates(plan, rows) == {8: 6, 16: 4}


def test_over_what_intervals_are():
  assert study_page._over(lanes(8, trials=1)) == 'one trial, hence no intervals'
  assert study_page._over(lanes(8, 16)) == 'n = 2 trials'
  assert study_page._over([*lanes(8), *lanes(16, trials=5)]) == 'n = 2 to 5 trials'


@pytest.mark.parametrize(
  ('loss_only', 'ends', 'text'),
  [
    (False, (0.925, 0.937), '93.10 ± 0.60'),
    (False, (None, None), '93.10'),
    (True, (0.925, 0.937), '0.931 [0.925, 0.937]'),
    (True, (None, None), '0.931'),
  ],
)
def test_values_of_an_audit(loss_only, ends, text):
  assert audit_page.value_text(estimate(0.931, *ends), loss_only) == text
  assert audit_page.value_text(estimate(None), loss_only) == '–'


def test_what_is_shown_stands_first_in_the_order_in_which_it_was_asked():
  verdicts = 'undetermined', 'refuted', 'undetermined', 'supported'
  claims = [{'verdict': verdict, 'at': at} for at, verdict in enumerate(verdicts)]
  assert [claim['at'] for claim in audit_page.in_order(claims)] == [1, 3, 0, 2]
  assert audit_page.spanned([8, 64, 16]) == '3: 8 to 64' and audit_page.spanned([8]) is None


def test_the_line_of_facts_of_an_audit():
  rows = [{'batch_size': 8 * i, 'trials': trials, 'rates': rates}
          for i, (trials, rates) in enumerate(((3, 1), (5, 4), (4, 2)), 1)]  # fmt: skip
  result = {'read': {'runs': 30, 'train_examples': 8192.0}, 'cells': [], 'batch_sizes': rows}
  found = dict(audit_page._told(result))
  assert found == {
    'runs': 30, 'cells': None, 'batch sizes': '3: 8 to 24', 'learning rates at each': 4,
    'trials of each setting': '3 to 5', 'training examples': '8,192',
  }  # fmt: skip
  result |= {'batch_sizes': rows[:1], 'cells': [1, 2], 'read': {'runs': 3, 'train_examples': None}}
  found = dict(audit_page._told(result))
  assert (found['trials of each setting'], found['cells']) == ('3', 2)
  assert found['training examples'] == 'not known' and found['batch sizes'] is None


def condition(rows, order=('',)):
  plan = [{'lane': 0, 'batch_size': 8}, {'lane': 1, 'batch_size': 16}]
  return Condition('a', {'stages': {'order': list(order)}}, plan, rows)


def row(lane, stage, examples=64, **size):
  return {'lane': lane, 'stage': stage, 'examples': examples, **size}


def seconds(value):
  return {'median': value, 'low': value / 2, 'high': 2 * value}


def test_seconds_alone_are_summed_over_stages_at_the_sizes_they_were_run_with():
  names = ('head', 'tail')
  rows = [
    {'stage': stage, 'batch_size': size, 'seconds': seconds(value)}
    for stage, size, value in (('head', 8, 1.0), ('tail', 16, 10.0), ('tail', 8, 100.0))
  ]
  cost = {'rows': rows}
  runs = [row(0, 0, 0, batch_size=99), row(0, 0, batch_size=8), row(0, 1, batch_size=16)]
  assert seconds_alone(condition(runs, names), cost) == {
    8: {'median': 11.0, 'low': 5.5, 'high': 22.0}
  }
  # Without a record of the batch size it is the one that runs begin with.
  old = [row(0, 0), row(0, 1)]
  assert seconds_alone(condition(old, names), cost)[8]['median'] == 101.0
  changing = [*runs, row(0, 1, batch_size=8)]
  assert seconds_alone(condition(changing, names), cost) == {}
  assert seconds_alone(condition([row(7, 0)], names), cost) == {}
  # A study without stages has one without a name.
  alone = {'rows': [{'stage': '', 'batch_size': 16, 'seconds': seconds(3.0)}]}
  assert seconds_alone(condition([row(1, 0)]), alone) == {16: seconds(3.0)}


def test_a_stage_says_what_of_it_is_not_as_usual():
  settings = {'epochs': 2.0, 'batch_size': ['keep', 'set:16'], 'learning_rate_factor': 0.5}
  settings |= {'reset_optimizer': False, 'image_size': 0}
  found = comparisons._stage({'settings': settings})
  assert found['rules'] == 'keep or set:16' and 'learning_rate_factor=0.5' in found['also']
  assert 'epochs' not in found['also'] and 'image_size' not in found['also']
  assert comparisons._stage({'settings': {}})['rules'] == 'keep'
  assert comparisons._differs({'b': {'seed': (0, 1), 'model.name': ('mlp', 'cnn')}}) == [
    {'condition': 'b', 'key': 'seed', 'baseline': '0', 'own': '1'},
    {'condition': 'b', 'key': 'model.name', 'baseline': '"mlp"', 'own': '"cnn"'},
  ]
  rows = [{'condition': name} for name in 'aabba']
  assert [row['first'] for row in comparisons._first_of_each(rows)] == [1, 0, 1, 0, 0]


@pytest.mark.parametrize(('balanced', 'shown'), [(0.9005, False), (0.9006, True), (0.8994, True)])
def test_balanced_values_have_a_column_where_they_differ(balanced, shown):
  row = {'condition': 'a', 'batch_size': 8, 'reason': 'made up'}
  row |= {'val_accuracy': estimate(0.9), 'val_balanced_accuracy': estimate(balanced)}
  compared_ = {'table': [row], 'names': ['a'], 'contrasts': [], 'failed': [], 'differs': {}}
  found = comparisons.condition_part(compared_, [], {}, 'Arms')
  assert found['balanced'] == shown and found['figures'] == []


def test_one_row_without_a_value_leaves_the_figures_of_conditions(monkeypatch):
  monkeypatch.setattr(comparisons.page, 'figures', lambda *_: ['drawn'])
  rows = [{'condition': 'a', 'batch_size': size, 'val_accuracy': estimate(0.9)} for size in (8, 16)]
  compared_ = {'names': ['a'], 'contrasts': [], 'failed': [], 'differs': {}}

  def figures(*table):
    return comparisons.condition_part(compared_ | {'table': table}, [], {}, 'Arms')['figures']

  lost = [row | {'reason': 'made up'} for row in rows]
  assert figures(rows[0], lost[1]) == ['drawn'] and figures(*lost) == []


def setting(lanes_, trials=2, **changes):
  about = {'batch_size': 8, 'learning_rate': 0.1}
  made = [
    histories.LaneHistory(about | {'lane': i, 'trial': i, 'examples': 64}, tuple(rows))
    for i, rows in enumerate(lanes_)
  ]
  return histories.Setting(8, 0.1, tuple(made), **changes)


def records_of(values, start=True, **changes):
  rows = [{'examples': 0, 'updates': 0, 'epoch': 0.0, 'diverged': False, 'val_loss': 9.0}] * start
  return rows + [
    {
      'examples': 8 * i,
      'updates': i,
      'epoch': i / 4,
      'diverged': False,
      'val_loss': value,
      **changes,
    }
    for i, value in enumerate(values, 1)
  ]


def test_curves_go_as_far_as_all_runs_that_were_not_lost():
  loss = [one for one in interactive.quantities() if one.title == 'validation loss']
  runs = [records_of([4.0, 3.0, 2.0, 1.0]), records_of([6.0, 5.0, 4.0])]
  lost = records_of([1.0, 1.0])
  lost[-1] = lost[-1] | {'diverged': True}
  found = interactive._curve(setting([*runs, lost]), loss, ['updates', 'epoch'], 100)
  assert (found['trials'], found['lost'], found['x']) == (2, 1, [[1, 2, 3], [0.25, 0.5, 0.75]])
  assert found['y'] == [[[5, 4, 3], [4, 3, 2], [6, 5, 4]]]
  one = interactive._curve(setting(runs[:1]), loss, ['updates'], 2)
  assert (one['x'], one['y']) == ([[1, 4]], [[[4, 1]]])
  assert interactive._curve(setting([lost]), loss, ['updates'], 2) is None
  missing = [records_of([4.0, None, 2.0, math.nan])]
  (((mean,),),) = [interactive._curve(setting(missing), loss, ['updates'], 9)['y']]
  assert mean == [4, 3, 2, None]
  nothing = [records_of([None] * 4)]
  assert interactive._curve(setting(nothing), loss, ['updates'], 9)['y'] == [None]
  assert interactive._plain(np.array([1.0, 0.1234567, -math.inf])) == [1, 0.12346, None]


def test_three_records_after_the_start_make_no_curve():
  loss = [one for one in interactive.quantities() if one.title == 'validation loss']

  def drawn(values):
    tried = {8: [setting([records_of(values)])]}
    return interactive.data({'': (tried, {})}, loss, ['updates'], {8: 'k'})

  assert drawn([4.0, 3.0, 2.0]) is None
  found = drawn([4.0, 3.0, 2.0, 1.0])
  assert (found['points'], found['of'], found['clocks']) == (4, 4, [['updates', 'updates']])
  assert found['quantities'] == [['validation loss', 'nats']]


def test_the_gap_of_curves_is_positive_where_training_looks_better():
  gap = interactive.quantities()[-1]
  assert gap.title == 'generalization gap' and gap.scale == 100.0
  assert gap.value({'train_accuracy': 0.9, 'val_accuracy': 0.8}) == pytest.approx(0.1)
  assert gap.value({'train_accuracy': None, 'val_accuracy': 0.8}) is None
  assert gap.value({'train_accuracy': 0.9}) is None
  assert [one.title for one in interactive.quantities(loss_only=True)] == [
    'validation loss', 'training loss',
  ]  # fmt: skip


def study(name='a', effects=(0.1,), loss_only=False, **changes):
  claims = [{'claim': f'c{i}', 'effect': effect} for i, effect in enumerate(effects)]
  return Compared(name, Judged(), loss_only, {}, {}, claims, [], [])._replace(**changes)


def test_what_is_compared_has_names_and_results_of_its_own():
  twice = compared._checked([study('a'), study('b', (0.2,)), study('a', (0.3,))])
  assert [one.name for one in twice] == ['1 a', '2 b', '3 a']
  assert [one.name for one in compared._checked([study('a'), study('b', (0.2,))])] == ['a', 'b']
  with pytest.raises(Refused, match='b and c hold the same results'):
    compared._checked([study('a'), study('b', (0.2, None)), study('c', (0.2, None))])
  # Nothing that was found is not the same result.
  assert compared._checked([study('a', (None,)), study('b', (None,))])
  assert compared._checked([study('a', ()), study('b', ())])
  with pytest.raises(Refused, match='judged by validation loss and b by validation accuracy'):
    compared._checked([study('a', loss_only=True), study('b')])
  other = Judged(Judged().metric._replace(unit='percent'))
  with pytest.raises(Refused, match='no common unit'):
    compared._checked([study('a'), study('b', (0.2,), judged=other)])
  lower = Judged(Judged().metric._replace(higher_is_better=False))
  with pytest.raises(Refused, match='no common unit'):
    compared._checked([study('a'), study('b', (0.2,), judged=lower)])


def test_rows_of_studies_and_of_audits_are_read_alike():
  mine = study(confounds=[{'confound': 'x', 'present': False}])
  assert compare._present('x', mine) is False and compare._present('y', mine) is None
  audited = {'value': estimate(0.9, 0.8, 1.0), 'trials': 5}
  assert compare._value(mine, audited) == '90.00 ± 10.00' and compare._count(audited) == 5
  own = {'val_accuracy': estimate(0.9, 0.8, 1.0)}
  assert compare._value(mine, own) == '90.0 ± 10.0' and compare._count(own) == 3
  assert compare._value(mine, {'reason': 'lost'}) == 'lost' and compare._count({}) == 0


def test_configurations_are_told_by_what_they_differ_in():
  configs = {'seed': 0, 'epochs': 1.0}, {'seed': 1, 'epochs': 1.0}, {'seed': 0, 'epochs': 2.0}
  studies = [study(name, config=config) for name, config in zip('abc', configs, strict=True)]
  assert compare._differs(studies) == [
    {'key': 'epochs', 'values': [1.0, 1.0, 2.0]}, {'key': 'seed', 'values': [0, 1, 0]},
  ]  # fmt: skip


def test_arms_are_in_the_order_of_the_config_or_by_name(tmp_path):
  for name in ('b', 'a', 'c'):
    (tmp_path / 'arms' / name).mkdir(parents=True)
  (tmp_path / 'arms' / 'file').touch()
  assert arms_page.arm_names(tmp_path) == ['a', 'b', 'c']
  records.write_json(tmp_path / 'config.json', {'arms': {'order': []}})
  assert arms_page.arm_names(tmp_path) == ['a', 'b', 'c']
  records.write_json(tmp_path / 'config.json', {'arms': {'order': ['c', 'a']}})
  assert arms_page.arm_names(tmp_path) == ['c', 'a']


def made(folder, share=1.0, **changes):
  plan = synthetic.plan((8, 16), (0.1,), 2)
  rows = [row for row in synthetic.realistic(plan, evaluations=4)
          if row['examples'] <= share * plan[0]['examples']]  # fmt: skip
  save(folder, synthetic.config() | changes, plan, rows, share == 1.0)
  return folder


def test_a_summary_that_lacks_a_part_is_of_an_older_version(tmp_path):
  folder = made(tmp_path / 'a')
  summary = records.read_json(folder / 'summary.json')
  assert not stored_study.load(folder).outdated
  old = [
    {key: value for key, value in summary.items() if key != 'confounds'},
    summary | {'learning_rates': {}},
    summary | {'claims': [{'claim': 'x'}, *summary['claims']]},
    summary | {'decision': {}},
  ]
  for each in old:
    records.write_json(folder / 'summary.json', each)
    found = stored_study.load(folder)
    assert found.outdated and found.summary['hardware'] == 'a made-up machine'
    assert found.summary['confounds'] == summary['confounds']
  records.write_json(folder / 'summary.json', summary | {'decision': {'differs': True}})
  assert not stored_study.load(folder).outdated


def test_a_study_that_is_not_finished_ends_where_all_lanes_are(tmp_path):
  folder = made(tmp_path / 'a', share=0.5)
  records.write_json(folder / 'data.json', {'doubts': ['one is twice']})
  records.write_json(folder / 'sharpness.json', {'rows': []})
  found = stored_study.load(folder)
  assert (found.progress, found.outdated, found.plan[0]['epochs']) == (0.5, False, 15.0)
  assert list(found.doubts) == ['one is twice'] and found.sharpness == {'rows': []}
  assert found.native_cost is None and stored_study.has_records(folder)
  assert not stored_study.has_records(tmp_path)
  (folder / 'plan.csv').unlink()
  with pytest.raises(FileNotFoundError, match=r'lacks plan\.csv: give the workdir'):
    stored_study.load(folder)


def test_arms_have_the_middle_of_their_margins(monkeypatch):
  margins = {'a': 0.09, 'b': 0.02, 'c': 0.01}
  monkeypatch.setattr(
    stored_study, 'judged_by', lambda config, rows: Judged(margin=config['margin'])
  )
  arms = {
    name: stored_study.StoredStudy({'margin': margin}, [], [], {}, 1.0)
    for name, margin in margins.items()
  }
  by = arms_page._judged(arms)
  assert by.margin == 0.02


def test_methods_of_arms_are_those_that_have_started(tmp_path):
  assert methods.of_arms(tmp_path) is None
  for name in ('b', 'a'):
    made(tmp_path / 'arms' / name)
  (tmp_path / 'arms' / 'c').mkdir()
  assert methods.of_arms(tmp_path).text.startswith('2 studies were run: a and b.')
  records.write_json(tmp_path / 'config.json', {'arms': {'order': ['c', 'b', 'a']}})
  assert methods.of_arms(tmp_path).text.startswith('2 studies were run: b and a.')
  lines = methods.write(tmp_path).read_text().splitlines()
  assert max(map(len, lines)) <= 100 and max(map(len, lines)) > 90


def test_cells_of_tables():
  assert page._cell('a|b|c') == 'a\\|b\\|c'
  assert [page._yes_no(value) for value in (True, False, 'unknown')] == ['yes', 'no', 'unknown']
