"""analysis: made-up records with known numbers give exactly the summary worked out by hand."""

import math

import pytest
from helpers import synthetic
from helpers.synthetic import noise, record
from rich.console import Console

from bsjax.analysis.runs import histories
from bsjax.report.summaries import summarize
from bsjax.report.text import results
from bsjax.report.text.answer import answer

T_2 = (
  4.302652729911275  # Student's t, two degrees of freedom, two-sided 95% (printed tables: 4.303)
)


def ends(plan, val, train=None, **values):
  """Three records a lane; `val[batch_size, learning_rate]` lists the trials' final accuracies."""
  rows = []
  for lane in plan:
    setting, trial = (lane['batch_size'], lane['learning_rate']), lane['trial']
    accuracy = val[setting][trial]
    fitted = train[setting][trial] if train else accuracy
    rows += [record(lane, 0.0), record(lane, 0.5)]
    rows.append(record(lane, 1.0, val_accuracy=accuracy, train_accuracy=fitted, **values))
  return rows


def only(summary):
  (row,) = summary['batch_sizes']
  return row


def test_best_learning_rate_means_and_student_intervals():
  plan = synthetic.plan((8, 16), (0.1, 0.2, 0.4), trials=3)
  low = [0.5, 0.5, 0.5]
  val = {(8, 0.1): low, (8, 0.2): [0.90, 0.92, 0.94], (8, 0.4): low}
  val |= {(16, 0.1): low, (16, 0.2): low, (16, 0.4): [0.8, 0.8, 0.8]}
  train = {key: [0.95, 0.96, 0.99] for key in val}
  summary = summarize(synthetic.config(), plan, ends(plan, val, train))
  small, large = summary['batch_sizes']

  assert (small['batch_size'], small['learning_rate'], small['trials']) == (8, 0.2, 3)
  assert small['at_grid_edge'] is False
  # The sample deviation of 0.90, 0.92, 0.94 is 0.02; the half-width t * 0.02 / sqrt(3).
  half = T_2 * 0.02 / math.sqrt(3)
  assert small['val_accuracy']['mean'] == pytest.approx(0.92, abs=1e-12)
  assert small['val_accuracy']['ci95'] == pytest.approx([0.92 - half, 0.92 + half], abs=1e-9)
  assert small['val_accuracy']['n'] == 3
  # Gaps within the trials: 0.05, 0.04, 0.05.
  half = T_2 * math.sqrt(1e-4 / 3) / math.sqrt(3)
  gap = small['generalization_gap']
  assert gap['mean'] == pytest.approx(0.14 / 3, abs=1e-12)
  assert gap['ci95'] == pytest.approx([0.14 / 3 - half, 0.14 / 3 + half], abs=1e-9)

  assert (large['learning_rate'], large['at_grid_edge']) == (0.4, True)
  assert 'note' not in large and 'reestimated_val_accuracy' not in large
  assert 'undefined' in summary['critical_batch_size']
  assert 'undefined' in summary['learning_rate_exponent']
  verdicts = {claim['claim']: claim['verdict'] for claim in summary['claims']}
  assert verdicts['the best learning rate grows linearly with batch size'] == 'undetermined'
  assert {row['goal'] for row in summary['recommendation']} > {'best validation accuracy'}


def test_a_setting_with_a_diverged_trial_is_not_eligible():
  plan = synthetic.plan((8,), (0.1, 0.2, 0.4), trials=2)
  val = {(8, 0.1): [0.7, 0.7], (8, 0.2): [0.8, 0.8], (8, 0.4): [0.99, 0.99]}
  rows = ends(plan, val)
  rows[-1]['diverged'] = True
  assert only(summarize(synthetic.config(), plan, rows))['learning_rate'] == 0.2


@pytest.mark.parametrize('fault', ['missing', 'null'])
def test_a_setting_without_an_end_result_is_not_eligible(fault):
  plan = synthetic.plan((8,), (0.1, 0.2), trials=2)
  rows = ends(plan, {(8, 0.1): [0.7, 0.7], (8, 0.2): [0.8, 0.8]})
  if fault == 'missing':
    del rows[-1]
  else:
    rows[-1]['val_accuracy'] = None
  assert only(summarize(synthetic.config(), plan, rows))['learning_rate'] == 0.1


def test_none_eligible_says_why():
  plan = synthetic.plan((8,), (0.1, 0.2), trials=2)
  rows = ends(plan, {(8, 0.1): [0.7, 0.7], (8, 0.2): [0.8, 0.8]})
  for row in rows:
    row['diverged'] = row['lane'] in (0, 1, 3)
  row = only(summarize(synthetic.config(), plan, rows))
  assert row['learning_rate'] is None and row['at_grid_edge'] is None
  assert row['val_accuracy'] == {'mean': None, 'ci95': [None, None], 'n': 0}
  assert row['noise_scale']['b_simple'] is None
  assert row['reason'] == (
    'trials 0 and 1 diverged at learning rate 0.1; trial 1 diverged at learning rate 0.2'
  )


def test_ties_go_to_the_lower_validation_loss():
  plan = synthetic.plan((8,), (0.1, 0.2, 0.4), trials=3)
  # The same trials in another order: their floating-point means may differ in the last bit.
  val = {(8, 0.1): [0.1, 0.2, 0.3], (8, 0.2): [0.3, 0.2, 0.1], (8, 0.4): [0.1, 0.2, 0.3]}
  rows = ends(plan, val)
  for row in rows:
    row['val_loss'] = {0.1: 0.5, 0.2: 0.3, 0.4: 0.4}[row['learning_rate']]
  assert only(summarize(synthetic.config(), plan, rows))['learning_rate'] == 0.2


def test_one_learning_rate_was_not_tuned_and_one_trial_has_no_interval():
  plan = synthetic.plan((8,), (0.1,), trials=1)
  row = only(summarize(synthetic.config(), plan, ends(plan, {(8, 0.1): [0.75]})))
  assert row['at_grid_edge'] is True and 'nothing was tuned' in row['note']
  assert row['val_accuracy'] == {'mean': 0.75, 'ci95': [None, None], 'n': 1}


def test_a_scaling_rule_gives_each_batch_size_its_own_learning_rate():
  plan = [
    row
    for row in synthetic.plan((8, 16), (0.1, 0.2), 2)
    if row['batch_size'] / 80 == row['learning_rate']
  ]
  rows = ends(plan, {(8, 0.1): [0.7, 0.8], (16, 0.2): [0.8, 0.9]})
  summary = summarize(synthetic.config(), plan, rows)
  assert [row['learning_rate'] for row in summary['batch_sizes']] == [0.1, 0.2]
  assert all('note' in row for row in summary['batch_sizes'])


def test_batch_norm_adds_the_reestimated_accuracy():
  plan = synthetic.plan((8,), (0.1,), trials=2)
  rows = ends(plan, {(8, 0.1): [0.7, 0.8]}, reestimated_val_accuracy=0.85)
  row = only(summarize(synthetic.config(normalization='batch'), plan, rows))
  assert row['reestimated_val_accuracy'] == {'mean': 0.85, 'ci95': [0.85, 0.85], 'n': 2}


def _with_noise(windows):
  """One setting, a trial per list of (share at the end, noise)."""
  plan = synthetic.plan((8,), (0.1,), trials=len(windows), examples=800)
  return plan, [
    record(lane, share, noise=measured)
    for lane, stretches in zip(plan, windows, strict=True)
    for share, measured in [(0.0, noise(0, None, None)), *stretches]
  ]


def test_noise_scale_weighs_measurements_of_a_trial_equally_and_then_trials():
  early = 0.5, noise(50, 1e6, 1.0)  # ends at half of training: not counted
  first = [early, (0.75, noise(10, 4.0, 1.0)), (1.0, noise(30, 8.0, 3.0))]  # means 7 and 2.5
  second = [early, (0.75, noise(20, 5.0, 1.5)), (1.0, noise(20, 7.0, 3.5))]  # means 6 and 2.5
  row = only(summarize(synthetic.config(), *_with_noise([first, second])))
  scale = row['noise_scale']
  inverse = [2.5 / 7, 2.5 / 6]
  assert scale['b_simple'] == pytest.approx(2 / sum(inverse), rel=1e-12)
  assert (scale['from_examples'], scale['n'], scale['unbounded']) == (400, 2, False)
  # Two values have half their difference for a standard error, and t with one degree of freedom is
  # 12.706.
  mean, half = sum(inverse) / 2, 12.706204736 * (inverse[1] - inverse[0]) / 2
  assert scale['ci95'] == pytest.approx([1 / (mean + half), 1 / (mean - half)], rel=1e-8)


def test_noise_scale_without_upper_bound_or_without_measurement_says_so():
  uncertain = [[(1.0, noise(10, 5.0, g))] for g in (-1.0, 1.0, 2.0)]
  scale = only(summarize(synthetic.config(), *_with_noise(uncertain)))['noise_scale']
  assert scale['unbounded'] is True and scale['ci95'][1] is None
  assert scale['b_simple'] == pytest.approx(7.5) and 'no upper bound' in scale['reason']
  nothing = [[(1.0, noise(0, None, None))]] * 2
  scale = only(summarize(synthetic.config(), *_with_noise(nothing)))['noise_scale']
  assert scale['b_simple'] is None and 'no noise scale was measured' in scale['reason']


def test_noise_curve_pools_the_trials_of_each_stretch():
  trials = [[(0.5, noise(10, 4.0, 1.0)), (1.0, noise(1, 1.0, -9.0))]]
  trials += [[(0.5, noise(30, 8.0, 3.0)), (1.0, noise(1, 1.0, 1.0))]]
  plan, rows = _with_noise(trials)
  ((setting,),) = histories.settings(plan, rows).values()
  examples, values = histories.noise_curve(setting)
  assert examples == [200, 600]
  assert values[0] == pytest.approx(7.0 / 2.5) and math.isnan(values[1])


def test_an_unfinished_study_is_judged_where_all_lanes_have_been():
  plan = synthetic.plan((8, 16), (0.1,), trials=1, examples=800)
  rows = [record(lane, share) for share in (0.0, 0.25, 0.5) for lane in plan][:-1]
  assert histories.progress(plan, rows) == pytest.approx((0.5 + 0.25) / 2)
  reached = histories.provisional(plan, rows)
  assert [(row['examples'], row['updates']) for row in reached] == [(200, 25), (200, 12)]
  assert [
    row['learning_rate'] for row in summarize(synthetic.config(), reached, rows)['batch_sizes']
  ] == [0.1, 0.1]
  assert histories.provisional(plan, rows[:3]) == plan  # the second lane has not trained


def test_records_of_another_study_are_refused():
  plan = synthetic.plan((8,), (0.1,), trials=1)
  with pytest.raises(ValueError, match=r'lane 5.*different studies'):
    histories.settings(plan, [record(plan[0] | {'lane': 5}, 0.0)])


def summary_of(*accuracies, **changes):
  """A summary with these trials' validation accuracies at the batch sizes 8, 16, 32, ..."""
  sizes = [8 * 2**i for i in range(len(accuracies))]
  plan = synthetic.plan(sizes, (0.1, 0.2, 0.4), trials=len(accuracies[0]))
  val = {}
  for size, trials in zip(sizes, accuracies, strict=True):
    val |= {
      (size, rate): trials if rate == 0.2 else [0.1] * len(trials) for rate in (0.1, 0.2, 0.4)
    }
  return summarize(synthetic.config(), plan, ends(plan, val))


def test_the_answer_claims_only_what_the_paired_differences_show():
  good, alike, bad = [0.95, 0.96, 0.97], [0.951, 0.94, 0.966], [0.70, 0.711, 0.719]
  text = answer(summary_of(good, alike))
  assert text.headline == 'No batch size is shown to be better.'
  assert 'no difference from 16 is shown (n = 3)' in text.detail
  text = answer(summary_of(good, alike, bad))
  assert text.headline == 'Batch size 8 beats 32, not 16.'
  assert 'it is shown to be above 32; no difference from 16 is shown' in text.detail
  assert answer(summary_of(bad, good)).headline == 'Batch size 16 does best.'
  assert answer(summary_of([0.9], [0.1])).headline == 'One trial cannot tell the batch sizes apart.'
  assert (
    answer(summary_of(good)).headline == 'Batch size 8 reaches 96.0 ± 2.5 % validation accuracy.'
  )


@pytest.mark.parametrize('verdict, better', [('supported', 'Smaller'), ('refuted', 'Larger')])
def test_a_trend_is_told_where_no_two_are_told_apart(verdict, better):
  summary = summary_of([0.95, 0.96, 0.97], [0.951, 0.94, 0.966])
  about = {'kind': 'trend', 'quantity': 'val_accuracy', 'question': {'side': 'below'}}
  trend = about | {'budget': 'epochs', 'verdict': verdict, 'effect': -0.005}
  trend['ci95'] = [-0.007, -0.003]
  updates = about | {'budget': 'updates', 'verdict': 'undetermined'}
  pairs = [claim for claim in summary['claims'] if claim['kind'] == 'pair']
  found = answer(summary | {'claims': [trend, updates, *pairs]})
  assert found.headline == f'{better} batches do better at equal epochs; no two are told apart.'
  assert '-0.50 [-0.70, -0.30] percentage points per doubling' in found.detail
  assert 'at equal updates neither smaller nor larger batches are shown' in found.detail
  at_updates = answer(summary | {'claims': [trend, updates | {'verdict': verdict}, *pairs]})
  assert f'at equal updates {better.lower()} batches do better' in at_updates.detail
  edge = {'confound': 'optimum_at_grid_edge', 'present': True, 'explains': 'unknown'}
  rows = [row for row in summary['confounds'] if row['confound'] != 'optimum_at_grid_edge']
  untuned = answer(summary | {'claims': [trend, updates, *pairs], 'confounds': [*rows, edge]})
  assert untuned.headline.startswith(f'At the rates tried, {better.lower()} batches do better')
  open_ended = [trend | {'verdict': 'undetermined'}, *pairs]
  assert answer(summary | {'claims': open_ended}).headline.startswith('No batch size')


def test_table_gaps_claims_and_recommendation_speak_of_the_same_runs():
  """Of the runs near the best rate, also where one of another rate diverged in one trial."""
  plan = synthetic.plan((8, 16), (0.1, 0.2, 0.4, 0.8), trials=3)
  heights = {0.1: 0.90, 0.2: 0.91, 0.4: 0.905, 0.8: 0.99}
  ending = {
    (size, rate): [height + 0.001 * trial * (1 + rate) - 0.02 * (size > 8) for trial in range(3)]
    for size in (8, 16)
    for rate, height in heights.items()
  }
  rows = ends(plan, ending)
  for row in rows:
    row['diverged'] = plan[row['lane']]['learning_rate'] == 0.8 and plan[row['lane']]['trial'] == 1
  summary = summarize(synthetic.config(), plan, rows)
  compared = summary['generalization_gap']['chosen']['epochs']['batch_sizes']
  for row, size in zip(compared, summary['batch_sizes'], strict=True):
    assert size['selection'] == 'parabola' and size['unsafe_rates'] == [0.8]
    assert [part['learning_rate'] for part in size['window']] == [0.1, 0.2, 0.4]
    assert sum(part['weight'] for part in size['window']) == pytest.approx(1)
    # The highest of 0.90, 0.91 and 0.905 on a parabola, and the mean luck of its trials.
    assert size['best_rate'] == pytest.approx(0.2 * 2 ** (1 / 6), rel=0.01)
    assert row['val_accuracy'] == size['val_accuracy']
  first, second = (size['val_accuracy']['mean'] for size in summary['batch_sizes'])
  pair = next(c for c in summary['claims'] if c['kind'] == 'pair')
  assert pair['subject'] == [8, 16] and pair['effect'] == pytest.approx(first - second)
  assert summary['recommendation'][0]['batch_size'] == 8
  assert summary['answer'] == answer(summary)._asdict()


def test_the_answer_compares_within_trials_and_not_by_overlap():
  wide, below = [0.80, 0.90, 0.95], [0.789, 0.89, 0.9389]  # intervals overlap, differences do not
  assert answer(summary_of(wide, below)).headline == 'Batch size 8 does best.'
  same = [0.79, 0.89, 0.94]  # all differences are 0.01: a spread of zero proves nothing
  assert answer(summary_of(wide, same)).headline == 'No batch size is shown to be better.'


def test_the_answer_says_how_results_are_read():
  detail = answer(summary_of([0.9, 0.8])).detail
  assert 'fewer than three learning rates come close to the best' in detail.lower()
  summary = summary_of([0.95, 0.96, 0.97], [0.90, 0.91, 0.93], [0.70, 0.71, 0.72])
  row = summary['batch_sizes'][2]
  row |= {'selection': 'parabola', 'unsafe_rates': [0.4]}
  summary['claims'] = [each for each in summary['claims'] if '32' not in each['claim']]
  detail = answer(summary).detail
  assert 'Not compared, for want of a value in every trial: 32.' in detail
  assert 'At batch size 32, results are read at the top of a parabola' in detail
  assert 'a trial diverged are not chosen: batch size 32: 0.4.' in detail


def test_the_answer_names_what_weakens_it():
  summary = summary_of([0.95, 0.96], [0.9, 0.91])
  assert answer(summary).remarks == []
  small, large = summary['batch_sizes']
  small['at_grid_edge'] = True
  large['note'] = 'one learning rate'
  edge, untuned = answer(summary).remarks
  assert edge.startswith('At batch size 8 the best learning rate is at the edge of the grid')
  assert untuned.startswith('At batch size 16 only one learning rate was tried')
  small['noise_scale'] |= {'b_simple': 40.0, 'ci95': [20.0, 90.0]}
  large['noise_scale'] |= {'b_simple': 9.0, 'ci95': [5.0, 15.0]}
  noise_remark = answer(summary).remarks[-1]
  assert 'At batch size 8, below it, noise outweighs' in noise_remark
  assert 'At batch size 16, above it' in noise_remark


def test_what_noise_scales_were_measured_from_stands_beside_them():
  summary = summary_of([0.95, 0.96], [0.9, 0.91])
  small, large = (row['noise_scale'] for row in summary['batch_sizes'])
  exact = {'b_simple': 40.0, 'ci95': [20.0, 90.0], 'kind': 'exact', 'examples': 1438}
  small |= exact | {'measurements': 14}
  large |= exact | {'measurements': 14, 'caveat': 'a made-up caveat'}
  (remark,) = answer(summary).remarks
  source = ', from single examples (1,438 in each of 14 probes per batch size)'
  assert f'40 [20, 90] at 16{source}.' in remark and remark.endswith(
    ' Batch size 16: a made-up caveat.'
  )
  online = {'kind': 'b_simple', 'examples': 8}
  small |= online | {'measurements': 1200}
  large |= online | {'measurements': 90}
  assert ', from the batches (90 to 1,200 updates per batch size).' in answer(summary).remarks[0]
  del large['caveat']
  source = ', from the batches (90 to 1,200 updates per batch size, of the first eighth of epochs)'
  assert f'{source}. ' in answer(summary).remarks[0] + ' '
  console = Console(width=200, record=True)
  console.print(results.results(summary))
  assert f'noise scale in examples{source}' in ' '.join(console.export_text().split())


def test_the_printed_table_shows_values_marks_and_unbounded():
  summary = summary_of([0.95, 0.96, 0.97], [0.94, 0.95, 0.96])
  small = summary['batch_sizes'][0]
  small['at_grid_edge'] = True
  small['noise_scale'] |= {'b_simple': 52.1, 'ci95': [20.0, None], 'unbounded': True}
  console = Console(width=100, record=True)
  console.print(results.results(summary))
  lines = [' '.join(line.split()) for line in console.export_text().splitlines()]
  assert '8 0.2* 96.0 ± 2.5 96.0 ± 2.5 0.0 ± 0.0 52.1 [20, ∞] 3' in lines
  assert '16 0.2 95.0 ± 2.5 95.0 ± 2.5 0.0 ± 0.0 undefined 3' in lines
