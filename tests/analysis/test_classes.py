"""Accuracy by class: planted effects of the batch size come back, and nothing else does."""

import copy
import re

import numpy as np
import pytest
from helpers import blank, synthetic
from helpers.draws import draws
from matplotlib.figure import Figure

from bsjax.analysis.claims import classes
from bsjax.analysis.claims.claim import REFUTED, SUPPORTED, UNDETERMINED
from bsjax.analysis.runs import histories
from bsjax.analysis.runs.selection import tune
from bsjax.report import study_page
from bsjax.report.figures import drawing
from bsjax.report.figures.study import BY_CLASS
from bsjax.report.panels import by_class as panel
from bsjax.report.panels.source import Source
from bsjax.report.summaries import summarize
from bsjax.report.text.rendered import rendered
from bsjax.storage import records

SIZES = (8, 16, 32)
TRAIN = [400, 200, 100, 50, 25, 12, 6]  # rare: 5 and 6; frequent: 0 and 1
GROUPS = {'rare': [5, 6], 'medium': [2, 3, 4], 'frequent': [0, 1]}
FACTS = {
  'class_names': list('abcdefg'),
  'class_counts': {'train': TRAIN, 'validation': [20] * 7},
  'classes_per_batch': [
    {'batch_size': 8, 'mean': 3.5, 'percentile_5': 2.0, 'share_lacking': 1.0, 'batches': 9}
    | {'classes': 7},
    {'batch_size': 999, 'mean': None, 'percentile_5': None, 'share_lacking': None, 'batches': 0}
    | {'classes': 7},
  ],
}
BASE = np.array([0.9, 0.85, 0.8, 0.7, 0.6, 0.4, 0.3])


def study(rare=0.0, frequent=0.0, noise=0.004, trials=4, again=None, seed=0, **data):
  """Config, plan and records in which accuracies change by so much a doubling of the batch."""
  plan = synthetic.plan(SIZES, (0.1,), trials)
  rng = np.random.default_rng(seed)
  lucky = rng.normal(0, 0.05, (trials, 7))  # what a trial's batch sizes share
  rows = []
  for lane in plan:
    doublings = np.log2(lane['batch_size'] / 16)
    change = np.array([frequent, frequent, 0, 0, 0, rare, rare]) * doublings
    found = BASE + change + lucky[lane['trial']] + rng.normal(0, noise, 7)
    values = {'val_class_accuracy': found.tolist(), 'val_balanced_accuracy': found.mean()}
    values |= {'val_accuracy': found.mean(), 'train_accuracy': 0.9}
    if again is not None:
      fresh = found + again * np.eye(7)[[5, 6]].sum(0) * doublings
      values |= {'reestimated_val_class_accuracy': fresh.tolist()}
      values |= {f'reestimated_{split}_accuracy': 0.5 for split in ('val', 'train')}
      values |= {f'reestimated_{split}_loss': 0.5 for split in ('val', 'train')}
    rows += [synthetic.record(lane, 0.0), synthetic.record(lane, 1.0, **values)]
  return synthetic.config('group' if again is None else 'batch', **data), plan, rows


def found_in(*args, facts=FACTS, **keys):
  return summarize(*study(*args, **keys), facts=facts)['by_class']


def verdicts(found):
  assert all(row['kind'] == 'class' for row in found['claims'])
  return {row['quantity']: row['verdict'] for row in found['claims']}


def codes(row):
  return [reason['code'] for reason in row['reasons']]


def test_groups_and_means_are_those_of_the_records():
  config, plan, rows = study(rare=0.02)
  found = summarize(config, plan, rows, facts=FACTS)['by_class']
  assert found['groups'] == GROUPS and found['imbalance'] == 400 / 6
  for row in found['batch_sizes']:
    finals = [
      record['val_class_accuracy']
      for record in rows
      if record['examples'] and plan[record['lane']]['batch_size'] == row['batch_size']
    ]
    for name, members in {**GROUPS, 'balanced_accuracy': range(7)}.items():
      means = np.array(finals)[:, list(members)].mean(1)
      assert row[name]['mean'] == pytest.approx(means.mean(), abs=1e-12)
      half = 3.182446305284263 * means.std(ddof=1) / 2  # Student's t, three degrees of freedom
      assert row[name]['ci95'] == pytest.approx([means.mean() - half, means.mean() + half])
      assert row[name]['n'] == 4
    assert row['class_accuracy'][6]['mean'] == pytest.approx(np.mean(finals, 0)[6])


def test_intervals_of_groups_stay_between_none_and_all_but_those_of_differences():
  config, plan, rows = study(noise=0.0, trials=2)
  for row in rows:
    if row['examples']:
      odd = plan[row['lane']]['trial'] == 1  # accuracies of trials that lie far apart
      row['val_class_accuracy'] = [0.5 if odd else 1.0] * 5 + [0.5 if odd else 0.0] * 2
      row['val_balanced_accuracy'] = 0.6
  found = summarize(config, plan, rows, facts=FACTS)['by_class']['batch_sizes'][0]
  assert found['frequent']['ci95'] == [0, 1] and found['rare']['ci95'] == [0, 1]
  assert found['class_accuracy'][0]['ci95'] == [0, 1]
  assert found['rare_less_frequent']['ci95'][0] < -1


@pytest.mark.parametrize(
  'rare, frequent, expected',
  [
    (0.03, 0.0, (SUPPORTED, SUPPORTED, SUPPORTED)),
    (0.03, 0.03, (SUPPORTED, SUPPORTED, UNDETERMINED)),  # small batches hurt all alike
    (-0.03, 0.0, (REFUTED, REFUTED, REFUTED)),
    (0.0, 0.0, (UNDETERMINED,) * 3),
  ],
)
def test_planted_effects_come_back(rare, frequent, expected):
  found = found_in(rare, frequent)
  assert tuple(verdicts(found)[name] for name in classes.claimed()) == expected
  planted = {'rare': rare, 'balanced_accuracy': (2 * rare + 2 * frequent) / 7}
  planted |= {'rare_less_frequent': rare - frequent, 'medium': 0.0, 'frequent': frequent}
  for name, value in planted.items():
    slope = found['slopes'][name]
    assert slope['ci95'][0] < value < slope['ci95'][1] and slope['n'] == 4
    assert slope['ci95'][1] - slope['ci95'][0] < 0.03


def test_contrasts_are_taken_within_trials():
  """What trials differ by is ten times the effect, and drops out."""
  found = found_in(0.03)
  spread = found['batch_sizes'][0]['rare']['ci95']
  assert spread[1] - spread[0] > 0.05 > 4 * np.diff(found['slopes']['rare']['ci95'])[0] / 2
  pairs = [row for row in found['pairs'] if row['quantity'] == 'rare']
  assert [(row['best'], row['other'], row['verdict']) for row in pairs] == [
    (32, 8, SUPPORTED),
    (32, 16, SUPPORTED),
  ]
  assert pairs[0]['effect'] == pytest.approx(0.06, abs=0.01)
  # Three pairs and the trend together: less strict than Bonferroni, stricter than one alone.
  assert all(0.95 < row['confidence'] <= 1 - 0.04 / 4 + 1e-9 for row in pairs)


@pytest.mark.slow
def test_a_true_null_is_called_an_effect_in_one_case_of_twenty():
  wrong = sum(
    any(verdict != UNDETERMINED for name, verdict in verdicts(found).items() if name == 'rare')
    for found in (by_class_alone(seed) for seed in draws(200))
  )
  assert 1 <= wrong <= 20  # 10 expected, within 3.2 standard deviations


def by_class_alone(seed):
  _, plan, rows = study(noise=0.02, trials=3, seed=seed)
  found = histories.settings(plan, rows)
  chosen = {size: tune(tried[:1]) for size, tried in found.items()}
  return rendered(classes.by_class(found, chosen, FACTS))


def test_one_trial_shows_nothing():
  found = found_in(0.03, trials=1)
  assert set(verdicts(found).values()) == {UNDETERMINED}
  assert codes(found['claims'][0])[0] == 'one_trial'


def test_batch_norm_statistics_must_agree():
  agreeing, opposed = found_in(0.03, again=0.0), found_in(0.03, again=-0.06)
  assert verdicts(agreeing)['rare'] == SUPPORTED
  assert verdicts(opposed)['rare'] == UNDETERMINED
  assert 'statistics_disagree' in codes(opposed['claims'][0])
  assert opposed['slopes']['reestimated_rare']['value'] == pytest.approx(-0.03, abs=0.01)


def test_a_batch_size_without_a_result_takes_no_part():
  config, plan, rows = study(0.03)
  for row in rows:
    row['diverged'] = plan[row['lane']]['batch_size'] == 8
  found = summarize(config, plan, rows, facts=FACTS)['by_class']
  assert found['batch_sizes'][0] == {'batch_size': 8, 'undefined': 'no learning rate was chosen'}
  assert found['slopes']['rare']['batch_sizes'] == [16, 32]


def test_classes_without_validation_examples_are_in_no_group():
  groups, _ = classes.class_groups(TRAIN, [20] * 6 + [0])
  assert groups == {'rare': [4, 5], 'medium': [2, 3], 'frequent': [0, 1]}
  assert classes.class_groups([90, 10], [5, 5])[0] == {'rare': [1], 'frequent': [0]}
  assert classes.class_groups([9, 5, 5, 5], [5] * 4)[0]['rare'] == [3]
  groups, why = classes.class_groups([50] * 6, [5] * 6)
  assert groups == {} and why.code == 'classes_alike'


def test_only_studies_of_unequal_classes_have_it():
  even = FACTS | {'class_counts': {'train': [10, 10, 10, 10, 10, 6, 5], 'validation': [9] * 7}}
  config, plan, rows = study()
  before = summarize(config, plan, rows)
  assert summarize(config, plan, rows, facts=even) == before | {
    'classes_per_batch': FACTS['classes_per_batch']
  }
  assert 'by_class' in summarize(*study(sampler='effective_number'), facts=even)
  no_groups = found_in(
    sampler='inverse_frequency',
    facts=even | {'class_counts': {'train': [10] * 7, 'validation': [9] * 7}},
  )
  assert set(verdicts(no_groups)) == {'balanced_accuracy'} and 'rare' not in no_groups['slopes']


def test_records_without_accuracies_by_class_say_so():
  config, plan, rows = study()
  for row in rows:
    row.pop('val_class_accuracy', None)
  found = summarize(config, plan, rows, facts=FACTS)['by_class']
  assert 'undefined' in found and found['groups'] == GROUPS


# --- the page and the figure ---


def page(folder, monkeypatch, facts, *args, **keys):
  blank.figures(monkeypatch)
  config, plan, rows = study(*args, **keys)
  records.write_json(folder / 'config.json', config)
  records.write_plan(folder / 'plan.csv', plan)
  records.append(folder / 'records.jsonl', rows)
  if facts:
    records.write_json(folder / 'data.json', facts)
  return study_page.write(folder).read_text()


def test_the_page_shows_it(tmp_path, monkeypatch):
  text = page(tmp_path, monkeypatch, FACTS, 0.03, sampler='inverse_frequency')
  assert 'Rare: f (12), g (6); frequent: a (400), b (200)' in text
  assert text.count('<span class="badge supported">') >= 3 and 'id="by_class_figure"' in text
  line = r'<li>At equal epochs, too small a batch hurts the rare classes: supported, \+\d'
  assert re.search(line, text) and 'points per doubling of batch size (n = ' in text
  assert 'inverse frequency sampler' in text and '3.50 of 7' in text and 'no whole batch' in text


def test_other_pages_do_not(tmp_path, monkeypatch):
  text = page(tmp_path, monkeypatch, None)
  assert 'Rare and frequent' not in text and 'Classes in a batch' not in text


@pytest.mark.parametrize('keys', [{}, {'again': 0.0}, {'trials': 1}], ids=str)
def test_pages_of_all_kinds_render(tmp_path, monkeypatch, keys):
  assert 'Rare and frequent' in page(tmp_path, monkeypatch, FACTS, **keys)


def test_a_study_without_groups_or_records_renders(tmp_path, monkeypatch):
  even = copy.deepcopy(FACTS) | {'class_counts': {'train': [10] * 7, 'validation': [9] * 7}}
  text = page(tmp_path, monkeypatch, even, sampler='effective_number')
  assert 'No rare and frequent classes' in text


def test_the_figure_draws_the_numbers_of_the_summary():
  summary = summarize(*study(0.03), facts=FACTS)
  left, right = Figure().subplots(1, 2)
  panel.draw_groups(left, Source(summary))
  panel.draw_classes(right, Source(summary))
  drawn = {line.get_label(): line.get_ydata() for line in left.lines}
  rows = summary['by_class']['batch_sizes']
  for name, (label, *_) in panel._series().items():
    np.testing.assert_array_equal(drawn[label], [row[name]['mean'] for row in rows])
  dots = [line.get_ydata() for line in right.lines if line.get_marker() == 'o']
  for row, drawn in zip(rows, dots, strict=True):
    np.testing.assert_array_equal(drawn, [e['mean'] for e in row['class_accuracy'][::-1]])
  assert drawing.svg(drawing.draw(BY_CLASS[0], Source(summary)), 'by_class').count('<svg') == 1
