"""stages: where they end, and batch sizes compared at epochs with planted slopes."""

import json

import numpy as np
import pytest
from helpers import synthetic
from helpers.staged import EPOCHS, EXAMPLES, SIZES, WIGGLE, config, grows, made

from bsjax.analysis.claims import stages
from bsjax.analysis.runs.histories import settings
from bsjax.report.summaries import summarize
from bsjax.report.text.answer import answer


def summary_of(settings_=None, **options):
  return summarize(settings_ or config(), *made(**options))


def test_a_study_without_stages_has_no_part_about_them():
  plan, rows = made()
  assert 'stages' not in summarize(synthetic.config(), plan, rows)
  assert 'stages' not in summarize(config((), ()), plan, rows)


def test_stages_end_where_the_config_says_with_the_updates_made_by_then():
  head, tail = summary_of()['stages']['stages']
  assert (head['start_epoch'], head['epoch'], head['examples']) == (0.0, 4.0, 1024)
  assert (tail['start_epoch'], tail['epoch'], tail['examples']) == (4.0, 16.0, 4096)
  assert head['trained'] == ['Dense_1/*'] and tail['trained'] == []
  assert head['updates'] == {'8': 128.0, '16': 64.0, '64': 16.0}
  assert tail['updates'] == {'8': 512.0, '16': 256.0, '64': 64.0}


def test_a_stage_ends_at_its_last_record_or_where_the_config_says_while_it_lasts():
  # Rounded to whole blocks the stage has ended at epoch 5; the config says 4.2.
  plan, rows = made(ends=5.0)
  ends = stages.boundaries(config(epochs=(4.2, 11.0)), settings(plan, rows))
  assert ends == [(1280, 5.0), (EXAMPLES, EPOCHS)]
  begun = [row for row in rows if row['epoch'] <= 3]
  ends = stages.boundaries(config(epochs=(4.2, 11.0)), settings(plan, begun))
  assert ends == [pytest.approx((4.2 * 256, 4.2)), pytest.approx((15.2 * 256, 15.2))]
  by_examples = config()
  by_examples['stages']['head']['examples'] = 1280
  assert stages.boundaries(by_examples, settings(plan, begun))[0] == pytest.approx((1280, 5.0))


def test_epochs_of_a_stage_are_passes_over_its_share():
  shares = config(epochs=(4.0, 12.0))
  shares['stages']['head']['data_share'] = 0.5
  plan, rows = made()
  begun = [row for row in rows if row['epoch'] <= 2]  # 512 examples: half of them are 256
  head, tail = stages.boundaries(shares, settings(plan, begun))
  assert head == pytest.approx((1024, 4.0)) and tail == pytest.approx((1024 + 12 * 512, 16.0))


def test_an_evaluation_next_to_an_asked_epoch_is_taken_for_it():
  found = summary_of(config(report=(8.05, 8.4)))['stages']['at']
  assert [row['epoch'] for row in found] == [8.0, 8.4]  # there is one at every whole epoch


def test_no_critical_batch_size_of_several_stages():
  why = summary_of()['critical_batch_size']['undefined']
  assert 'goes through stages' in why
  single = summary_of(config(('only',), (16.0,)), ends=16.0)['critical_batch_size']
  assert 'goes through stages' not in single.get('undefined', '')


def test_without_asked_epochs_they_are_the_ends_of_stages():
  at = summary_of()['stages']['at']
  assert [(row['epoch'], row['ends'], row['branch']) for row in at] == [
    (4.0, 'head', ''),
    (16.0, 'tail', ''),
  ]
  asked = summary_of(config(report=(2.0, 40.0)))['stages']['at']
  assert [row['epoch'] for row in asked] == [2.0, 40.0] and asked[0]['ends'] is None
  missing = asked[1]['epochs']['batch_sizes']
  assert all('outside the records' in row['undefined'] for row in missing)
  assert 'undefined' in asked[1]['updates']
  assert {claim['verdict'] for claim in asked[1]['claims']} == {'undetermined'}


def test_values_and_slopes_at_an_epoch_are_those_planted():
  early, late = summary_of()['stages']['at']
  for found, slope in ((early, -0.02), (late, 0.01)):
    rows = {row['batch_size']: row for row in found['epochs']['batch_sizes']}
    for size, row in rows.items():
      expected = 0.5 + 0.01 * found['epoch'] + slope * np.log2(size / 8)
      own = np.mean(WIGGLE) * (1 + size / 64)
      assert (
        row['val_accuracy']['mean'] == pytest.approx(expected + own)
        and row['epoch'] == found['epoch']
      )
      assert row['val_accuracy']['n'] == 3
      assert row['gap']['mean'] == pytest.approx(0.9 - expected - own)
    assert found['epochs']['slopes']['val_accuracy']['value'] == pytest.approx(slope, abs=2e-4)
    assert found['epochs']['value'] == found['epoch']


def test_verdicts_at_each_epoch_and_at_equal_updates():
  summary = summary_of()
  early, late = summary['stages']['at']
  assert all(claim['kind'] == 'stage' for claim in early['claims'] + late['claims'])
  assert [claim['epoch'] for claim in early['claims'] + late['claims']] == [4.0] * 4 + [16.0] * 4

  def verdict(row):
    return {(claim['budget'], claim['quantity']): claim['verdict'] for claim in row['claims']}

  assert verdict(early)['epochs', 'val_accuracy'] == 'supported'
  assert verdict(late)['epochs', 'val_accuracy'] == 'refuted'
  assert verdict(early)['epochs', 'gap'] == 'supported'
  # Batch size 8 has made the 64 updates of batch size 64 by epoch 2, at a record.
  assert late['updates']['value'] == 64
  at_updates = {row['batch_size']: row for row in late['updates']['batch_sizes']}
  assert [at_updates[size]['epoch'] for size in SIZES] == [2.0, 4.0, 16.0]
  assert verdict(late)['updates', 'val_accuracy'] == 'refuted'
  assert late['claims'][2]['updates_of'] == 64
  assert [claim for claim in summary['claims'] if claim.get('about') == 'stages'] == (
    early['claims'] + late['claims']
  )
  more = {'code': 'more_updates', 'small': 8, 'large': 64, 'times': 8.0}
  assert more in early['claims'][0]['reasons']

  def flat(lane, *_):
    return {
      'val_accuracy': 0.7 + WIGGLE[(lane['trial'] + lane['batch_size'] // 8) % 3],
      'train_accuracy': 0.9,
    }

  open_ended = summary_of(value=flat)['stages']['at'][0]
  assert verdict(open_ended)['epochs', 'val_accuracy'] == 'undetermined'


def test_statistics_of_batchnorm_stand_side_by_side_and_must_agree():
  def normalized(lane, updates, epoch):
    row = grows(lane, updates, epoch)
    again = 1.4 - row['val_accuracy']  # the slope turned about
    return row | {'reestimated_val_accuracy': again, 'reestimated_train_accuracy': 0.9}

  early = summary_of(config(normalization='batch'), value=normalized)['stages']['at'][0]
  row = early['epochs']['batch_sizes'][0]
  assert row['val_accuracy']['mean'] + row['reestimated_val_accuracy']['mean'] == pytest.approx(1.4)
  assert early['claims'][0]['verdict'] == 'undetermined'
  assert 'statistics_disagree' in [reason['code'] for reason in early['claims'][0]['reasons']]


def test_every_branch_is_read_and_the_answer_says_what_is_of_the_first():
  rules = config(batch_size=['keep', 'multiply:2'])
  summary = summarize(rules, *made(branches=('keep', 'multiply:2')))
  found = summary['stages']['at']
  assert [row['branch'] for row in found] == ['keep', 'keep', 'multiply:2', 'multiply:2']
  assert 'at epoch 4 of multiply:2, ' in found[2]['claims'][0]['claim']
  assert [row['claims'][0]['branch'] for row in found] == [row['branch'] for row in found]
  assert json.loads(json.dumps(summary['stages'], allow_nan=False)) == summary['stages']
  told = ' '.join(answer(summary).remarks)
  assert 'All but what is headed "Stages" and "Branches" is of the first, keep' in told
  assert 'later they change: head (keep and multiply:2) and tail (keep and multiply:2)' in told


def test_a_stage_that_only_some_lanes_have_ended_ends_where_the_config_says():
  plan, rows = made()
  begun = [row for row in rows if row['lane'] or row['epoch'] <= 10]
  ends = stages.boundaries(config(epochs=(4.0, 11.0)), settings(plan, begun))
  assert ends[1] == pytest.approx((1024 + 11 * 256, 15.0))
  assert stages.boundaries(config(epochs=(4.0, 11.0)), settings(plan, rows))[1] == (4096, 16.0)


def test_updates_are_those_of_the_largest_batch_size_that_can_be_read():
  """That of 64 diverged, so that of 16 it is, of the trial that made the fewest by then."""
  plan, rows = made()
  for row in rows:
    row['diverged'] = plan[row['lane']]['batch_size'] == 64 and row['epoch'] > 2
    if plan[row['lane']]['batch_size'] == 16 and plan[row['lane']]['trial'] == 1:
      row['updates'] = row['updates'] * 3 // 4
  late = summarize(config(), plan, rows)['stages']['at'][1]
  assert late['updates']['value'] == 192
  assert [claim['updates_of'] for claim in late['claims'][2:]] == [16, 16]
  assert late['claims'][2]['verdict'] == 'undetermined'  # without the largest


def test_where_a_stage_was_not_recorded_of_a_batch_size_its_updates_are_not_known():
  plan, rows = made()
  begun = [row for row in rows if plan[row['lane']]['batch_size'] < 64 or row['epoch'] <= 3]
  head, tail = summarize(config(), plan, begun)['stages']['stages']
  assert head['updates'] == {'8': 128.0, '16': 64.0}
  # What comes before its first evaluation after the start is not read.
  late = [row for row in rows if plan[row['lane']]['batch_size'] > 8 or not 0 < row['epoch'] < 5]
  head, tail = summarize(config(), plan, late)['stages']['stages']
  assert head['updates'] == {'8': None, '16': 64.0, '64': 16.0}
  assert tail['updates'] == {'8': 512.0, '16': 256.0, '64': 64.0}


def test_an_epoch_is_of_the_share_of_data_that_the_first_stage_has():
  """Records say how many examples an epoch of the first stage has: half of the training set."""
  shares = config(epochs=(3.5, 12.0))
  shares['stages']['head']['data_share'] = 0.5
  plan, rows = made()
  begun = [row for row in rows if row['epoch'] <= 2]
  head, tail = stages.boundaries(shares, settings(plan, begun))
  # By its records an epoch has 256 examples, so that the whole set has 512.
  assert head == pytest.approx((3.5 * 256, 3.5)) and tail[0] == pytest.approx(3.5 * 256 + 12 * 512)
