"""What an audit concludes: planted effects and causes, losses, cells, schedules, goals."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from helpers import audit_worlds
from helpers.audit_tables import confounds
from scipy import stats

from bsjax.analysis.claims.claim import ABOVE, BELOW, Kind
from bsjax.analysis.runs.budgets import at_end
from bsjax.audit import audit
from bsjax.audit.good_rates import width
from bsjax.report.text.audit_answer import NAMES
from bsjax.report.text.changes import REMEDIES
from bsjax.stats.intervals import mean_interval

RATES = tuple(0.1 * 2**k for k in range(-2, 4))


def sweep(
  value,
  sizes=(16, 64, 256),
  rates=(0.1,),
  trials=4,
  epochs=6,
  column='val_accuracy',
  noise=0.001,
  seed=0,
):
  """One row per run and epoch; `value(size, rate, share)` is the mean, shares up to 1."""
  random = np.random.default_rng(seed)
  rows = []
  for size in sizes:
    for rate in rates:
      for trial in range(trials):
        luck = random.normal(0, noise)
        for epoch in range(1, epochs + 1):
          found = value(size, rate, epoch / epochs) + luck
          rows.append((size, rate, trial, epoch, found))
  return pd.DataFrame(rows, columns=['batch_size', 'learning_rate', 'trial', 'epoch', column])


def falls(size, rate, share):
  return 0.9 - 0.01 * math.log2(size / 16)


def claims(found, kind=None, code=None):
  rows = found.result['claims']
  rows = [row for row in rows if kind is None or row['kind'] == kind]
  return [row for row in rows if code is None or row['subject'][:1] == [code]]


def test_every_confound_has_a_name_and_three_values():
  found = confounds(audit(sweep(falls)))
  assert set(found) <= set(NAMES) and set(REMEDIES) <= set(NAMES)
  named = 'unequal_updates learning_rate_not_tuned optimum_at_grid_edge stale_batch_norm '
  named += 'undertrained too_few_trials dropped_examples winners_curse time_scales '
  named += 'budget_in_epochs metric_smoothed test_set_used training_mode_metric'
  assert set(named.split()) == set(found)
  assert all(row['present'] in (True, False, 'unknown') for row in found.values())
  assert all(row['evidence'] for row in found.values())


def test_an_effect_at_one_rate_is_open_and_tuned_stands():
  one = audit(sweep(falls), batch_norm='none')
  assert one.result['answer']['code'] == 'open_cause'
  assert one.result['answer']['open'] == ['learning_rate_not_tuned']
  tuned = audit(
    sweep(
      lambda size, rate, _: falls(size, rate, 1) - 0.003 * math.log10(rate / 0.1) ** 2,
      rates=(0.01, 0.03, 0.1, 0.3, 1.0),
    ),
    batch_norm='none',
  )
  answer = tuned.result['answer']
  assert answer['code'] == 'stands' and answer['best'] == 16 and answer['beaten'] == [64, 256]
  assert 'unequal_updates' in answer['unknown'] + answer['ruled_out'] + answer['causes']


def test_a_cause_at_one_rate_is_told():
  """The best rate grows with batch size, and small batches bear no other: at one rate they win."""

  def value(size, rate, share):
    return 0.9 - 0.24 / size**0.75 * math.log2(rate / 0.1 / (size / 16) ** 0.5) ** 2

  found = audit(sweep(value, rates=tuple(0.1 * 2**k for k in range(-2, 5)), noise=5e-4))
  cause = claims(found, Kind.AUDIT, 'rate_is_cause')[0]
  assert cause['verdict'] == 'supported', cause['why']
  powers = {row['question']['center']: row['verdict'] for row in claims(found, Kind.EXPONENT)}
  assert powers[1.0] == powers[0.0] == 'refuted' and powers[0.5] != 'refuted'
  assert claims(found, Kind.AUDIT, 'one_power_law')[0]['verdict'] != 'refuted'


def test_no_difference_is_equivalence_within_so_much():
  found = audit(sweep(lambda *_: 0.9, noise=5e-4), batch_norm='none')
  answer = found.result['answer']
  assert answer['code'] == 'equivalent' and 0 < answer['largest'] < 0.01
  assert f'{100 * answer["largest"]:.2g} percentage points' in answer['headline']
  wide = audit(sweep(lambda *_: 0.9, noise=0.02))
  assert wide.result['answer']['code'] == 'undetermined'
  assert confounds(wide)['too_few_trials']['present'] is True


def test_stale_statistics_are_told_by_momentum_and_updates():
  def present(momentum, examples):
    found = audit(sweep(falls), train_examples=examples, batch_norm=momentum)
    return confounds(found)['stale_batch_norm']['present']

  assert present(0.99, 4096) is True  # 96 updates at 256: 38% are still the first ones
  assert present(0.9, 50_000) is False
  assert present(None, 4096) == 'unknown'
  assert present('none', 4096) is False


def test_still_rising_is_undertrained():
  def value(size, rate, share):
    return 0.9 - 0.3 * math.exp(-12 * share / (1 + size / 64))

  found = audit(sweep(value), batch_norm='none')
  assert confounds(found)['undertrained']['present'] is True
  assert 'undertrained' in found.result['answer']['open']
  done = audit(sweep(falls), batch_norm='none')
  assert confounds(done)['undertrained']['present'] is False


def test_dropped_examples_budget_and_test_data():
  frame = sweep(falls, epochs=50)
  frame['updates'] = frame['epoch'] * (1000 // frame['batch_size'])
  found = confounds(audit(frame, train_examples=1000))
  assert (
    found['dropped_examples']['present'] is True and found['budget_in_epochs']['present'] is True
  )
  whole = frame.assign(updates=frame['epoch'] * 1024 // frame['batch_size'])
  assert confounds(audit(whole))['dropped_examples']['present'] is False
  tested = frame.rename(columns={'val_accuracy': 'test_acc'})
  assert confounds(audit(tested))['test_set_used']['present'] is True


def test_what_a_loader_may_drop_is_a_share_of_the_set():
  """Of a table without updates: 232 of 1,000 examples are left over at batch size 256."""
  found = confounds(audit(sweep(falls), train_examples=1000))['dropped_examples']
  assert found['present'] == 'unknown' and '256' in found['evidence'] and '23%' in found['evidence']
  few = confounds(audit(sweep(falls), train_examples=256 * 4000 + 64))['dropped_examples']
  assert few['present'] is False


def test_a_smoothed_metric_is_told_by_its_errors_or_its_name():
  random = np.random.default_rng(1)
  frame = sweep(falls, epochs=200)
  noisy = frame.assign(val_accuracy=frame['val_accuracy'] + random.normal(0, 0.01, len(frame)))
  assert confounds(audit(noisy))['metric_smoothed']['present'] is False
  groups = noisy.groupby(['batch_size', 'trial'])['val_accuracy']
  smooth = noisy.assign(val_accuracy=groups.transform(lambda x: x.ewm(alpha=0.05).mean()))
  assert confounds(audit(smooth))['metric_smoothed']['present'] is True
  few = confounds(audit(sweep(falls)))['metric_smoothed']
  assert few['present'] == 'unknown' and 'records' in few['evidence']
  named = sweep(falls).rename(columns={'val_accuracy': 'smooth accuracy'})
  found = audit(named, columns={'val_accuracy': 'smooth accuracy'})
  assert confounds(found)['metric_smoothed']['reasons'][0]['code'] == 'smoothed_by_name'


def test_how_many_trials_would_do_and_of_how_many_rates_the_best_is():
  found = audit(sweep(lambda *_: 0.9, noise=0.02))
  (few,) = confounds(found)['too_few_trials']['reasons']
  trend = claims(found, Kind.TREND)[0]
  # The half width that so many trials have, should the spread be as large as these do not rule out.
  half = (trend['ci95'][1] - trend['ci95'][0]) / 2
  most = half * 2 / stats.t.ppf(0.995, 3) * math.sqrt(3 / stats.chi2.ppf(0.05, 3))
  halves = [most * stats.t.ppf(0.995, n - 1) / math.sqrt(n) for n in range(2, 200)]
  enough = next(n for n, one in enumerate(halves, start=2) if one < abs(trend['effect']))
  assert few == {'code': 'trials_needed', 'trials': 4, 'needed': enough} and enough > 4
  assert confounds(found)['winners_curse']['present'] is False
  several = confounds(audit(sweep(falls, rates=(0.1, 0.2, 0.4), trials=2)))['winners_curse']
  assert several['present'] is True
  assert several['reasons'] == [{'code': 'best_of', 'fewest': 3, 'most': 3}]


def test_warm_up_schedules_and_averages_stay_unknown_where_the_optimizer_is_said():
  unsaid = confounds(audit(sweep(falls)))['time_scales']
  said = confounds(audit(sweep(falls), momentum=0.9, weight_decay=1e-4))
  assert said['momentum_time_scale']['present'] is True
  assert unsaid['present'] == said['time_scales']['present'] == 'unknown'
  for words in ('warm-up', 'schedule', 'averages'):
    assert words in unsaid['evidence'] and words in said['time_scales']['evidence']
  assert unsaid['evidence'].startswith('Momentum, weight decay')
  assert 'omentum' not in said['time_scales']['evidence']
  one = confounds(audit(sweep(falls), momentum=0.9))['time_scales']['evidence']
  assert one.startswith('Weight decay')


def test_a_table_of_losses_speaks_of_losses():
  """A loss 2% higher at each doubling, whatever its level, is 2% per doubling."""
  frame = sweep(lambda size, *_: 2 * 1.02 ** math.log2(size / 16), column='val_loss', noise=0.002)
  found = audit(frame, batch_norm='none')
  trend = claims(found, Kind.TREND)[0]
  assert trend['claim'].endswith('smaller batches reach lower validation loss')
  assert trend['verdict'] == 'supported' and trend['question']['side'] == 'above'
  assert trend['effect'] == pytest.approx(math.log(1.02), abs=0.001)
  assert 'log points' in trend['why'] and 'percentage' not in str(found.result)
  rows = found.result['batch_sizes']
  assert rows[0]['value']['mean'] == pytest.approx(2, abs=0.01)
  assert rows[0]['value']['ci95'][0] < rows[0]['value']['mean'] < rows[0]['value']['ci95'][1]


def test_large_differences_of_losses_are_percent_proper_in_the_answer():
  """A loss half as high again at each doubling: the best is 56 and 80% below, not 81 and 162%."""
  frame = sweep(lambda size, *_: 2 * 1.5 ** math.log2(size / 16), column='val_loss', noise=0.002)
  answer = audit(frame.assign(learning_rate=0.1), batch_norm='none').result['answer']
  assert '56 to 80% below 64 and 256' in answer['detail']


def test_the_table_holds_the_doubt_about_the_best_rate():
  """Training accuracy is steep where validation accuracy is highest: its interval is wider."""
  found = audit(audit_worlds.table('only_updates', 4, (7,)))
  given = found.judged.cells[0].given
  for row in found.result['batch_sizes']:
    reading = at_end(given.chosen[row['batch_size']])
    of_table = row['train_accuracy']['ci95']
    wider = mean_interval(reading.repeated('train_accuracy'))
    assert of_table == pytest.approx([wider.low, min(wider.high, 1.0)])
    assert not np.allclose(reading.moved['train_accuracy'], 0.0)


def test_cells_are_the_sample():
  parts = [sweep(falls, trials=1, seed=seed).assign(model=f'm{seed}') for seed in range(6)]
  found = audit(pd.concat(parts, ignore_index=True), 'cell=model')
  trend = claims(found, Kind.TREND)[0]
  assert trend['n'] == 6 and trend['verdict'] == 'supported'
  slopes = [
    next(row['effect'] for row in cell['claims'] if row['kind'] == Kind.TREND)
    for cell in found.result['cells']
  ]
  assert trend['effect'] == pytest.approx(np.mean(slopes))
  assert found.result['answer']['code'] == 'cells' and found.result['answer']['better'] == 'smaller'
  assert confounds(found)['learning_rate_not_tuned']['evidence'].startswith('In 6 of 6 cells')
  told = [row for row in found.result['claims'] if row['verdict'] != 'undetermined']
  remarks = found.result['answer']['remarks']
  assert 0 < len(remarks) == min(len(told), 6) and trend in told
  assert all(told[i]['claim'][1:] in text for i, text in enumerate(remarks))
  apart = audit(pd.concat(parts, ignore_index=True).assign(trial=lambda f: f['model']))
  codes = [note.code for note in apart.judged.notes]
  assert 'other_settings' in codes
  assert 'model' in apart.result['answer']['remarks'][-1]


def test_runs_that_change_their_batch_size_are_apart():
  keep = sweep(falls, sizes=(16, 64)).assign(run=lambda f: f['batch_size'] * 100 + f['trial'])
  late = keep[keep['batch_size'] == 64].assign(run=lambda f: f['run'] + 50)
  late.loc[late['epoch'] > 3, 'batch_size'] = 16
  late['val_accuracy'] += 0.02 + 0.0005 * (late['trial'] % 2)
  found = audit(pd.concat([keep, late], ignore_index=True))
  shrink = claims(found, Kind.AUDIT, 'shrinking_helps')[0]
  assert shrink['verdict'] == 'supported' and shrink['effect'] == pytest.approx(0.02025)
  assert len(found.judged.cells[0].given.tried[64][0].lanes) == 4  # the others take no part
  frozen = late.assign(frozen='conv1').replace({'batch_size': {16: 256}})
  both = audit(pd.concat([keep.assign(frozen=''), frozen], ignore_index=True))
  grown = claims(both, Kind.AUDIT, 'growing_frozen_harmless')[0]
  assert grown['verdict'] == 'refuted' and grown['n'] == 4


def test_sharpness_time_and_likeness():
  frame = sweep(falls, sizes=(16, 32, 64, 128), trials=5)
  frame['sharpness'] = frame['batch_size'] ** 0.5 * (1 + 0.01 * frame['trial'])
  late = np.random.default_rng(3).normal(1, 0.002, len(frame) // 6).repeat(6)
  frame['seconds'] = frame['epoch'] * 640 / frame['batch_size'] * late
  frame['val_accuracy'] += 0.01 * (frame['trial'] - 2) / frame['batch_size'] * 16
  found = audit(frame, train_examples=6400, price_per_hour=2.0)
  sharp = claims(found, Kind.AUDIT, 'flatter_minima')[0]
  assert sharp['verdict'] != 'refuted' and sharp['effect'] == pytest.approx(
    0.5 * math.log(2), rel=0.05
  )
  time = claims(found, Kind.AUDIT, 'halves_time')[0]
  assert time['effect'] == pytest.approx(-1, abs=0.01)
  assert time['verdict'] == 'supported'
  as_long = audit(frame.assign(seconds=frame['seconds'] * frame['batch_size']))
  assert claims(as_long, Kind.AUDIT, 'halves_time')[0]['verdict'] == 'refuted'
  alike = claims(found, Kind.AUDIT, 'more_alike')[0]
  assert alike['effect'] < -0.5 and alike['verdict'] == 'supported'
  wider = sweep(falls, sizes=(16, 32, 64, 128), trials=8)
  wider['val_accuracy'] += 0.0002 * (wider['trial'] - 3.5) * wider['batch_size'] / 16
  assert claims(audit(wider), Kind.AUDIT, 'more_alike')[0]['verdict'] == 'refuted'


def trained(speed):
  """Losses fall by how fast a learning rate is, in 0.1 per 16 examples; accuracy is best at 1."""
  random, rows = np.random.default_rng(2), []
  for size, rate, trial in itertools.product((16, 32, 64), RATES, range(4)):
    scaled, late = rate / 0.1 * 16 / size, 1 + 0.01 * random.normal()
    accuracy = 0.9 - 0.01 * math.log2(scaled) ** 2 + random.normal(0, 0.001)
    for epoch in range(1, 11):
      loss = 0.1 + 2 * math.exp(-epoch / 4 * speed(scaled)) * (1 + 0.02 * random.normal())
      rows.append((size, rate, trial, epoch, loss, accuracy, epoch * 640 / size * late))
  names = 'batch_size learning_rate trial epoch train_loss val_accuracy seconds'
  return pd.DataFrame(rows, columns=names.split())


def test_the_least_time_and_its_price_are_those_that_are_planted():
  frame = trained(lambda rate: 1 - 0.1 * math.log2(rate) ** 2)
  goal = audit(frame, train_examples=6400, price_per_hour=2.0).result['recommendation'][3]
  least = goal['reasons'][0]
  assert (goal['quantity'], goal['batch_size'], goal['learning_rate']) == ('time', 64, 0.4)
  epochs = 4 * math.log(2 / (least['target'] - 0.1))  # to the target, of 10 seconds each
  assert least['seconds'] == pytest.approx(10 * epochs, rel=0.03)
  assert f'costs {2 * least["seconds"] / 3600:.3g}' in goal['why']


def test_the_least_time_is_told_where_the_best_rates_are_at_the_edge():
  """There is no B_crit, but points; and the rule that was planted is not refuted."""
  found = audit(trained(math.sqrt), train_examples=6400, price_per_hour=2.0)
  goal = found.result['recommendation'][3]
  assert goal['quantity'] == 'time' and goal['batch_size'] is not None
  assert 'edge of the grid' in goal['why'] and 'costs' in goal['why']
  rules = {tuple(row['subject']): row['verdict'] for row in claims(found, Kind.CURVE)}
  assert rules['none', 32, 16] == rules['none', 64, 32] == 'refuted'
  assert 'refuted' not in (rules['linear', 32, 16], rules['linear', 64, 32])
  without = audit(trained(math.sqrt)).result['recommendation'][3]
  assert without['batch_size'] is None and '--train_examples' in without['why']


def test_rates_matter_more_where_accuracy_falls_off_with_them():
  def value(size, rate, share):
    return 0.9 - 0.02 * math.log2(rate / 0.1) ** 2 - 0.001 * math.log2(size / 16)

  def other(size, rate, share):
    return 0.9 - 0.001 * math.log2(rate / 0.1) ** 2 - 0.02 * math.log2(size / 16)

  for planted, verdict in ((value, 'supported'), (other, 'refuted')):
    found = audit(sweep(planted, rates=(0.05, 0.1, 0.2)))
    assert claims(found, Kind.AUDIT, 'rate_matters_more')[0]['verdict'] == verdict


def test_a_best_rate_that_stops_growing_follows_no_power_law():
  def value(size, rate, share):
    return 0.9 - 0.02 * math.log2(rate / 0.1 / min(size / 16, 4)) ** 2

  found = audit(sweep(value, sizes=(16, 32, 64, 128, 256), rates=RATES, noise=5e-4))
  law = claims(found, Kind.AUDIT, 'one_power_law')[0]
  assert law['verdict'] == 'refuted' and law['effect'] == pytest.approx(-1, abs=0.3), law


def test_the_width_of_good_rates():
  rates = np.log2([0.1, 0.2, 0.4, 0.8, 1.6])
  merits = -0.01 * np.array([4.0, 1.0, 0.0, 1.0, 4.0])
  assert width(rates, merits) == pytest.approx(2.0)
  assert width(rates, np.array([-0.04, -0.03, 0.0, -np.inf, -np.inf])) == pytest.approx(1 / 3 + 0.5)
  assert width(rates, np.array([-0.005, 0.0, -0.04, -0.05, -0.06])) is None


def test_good_rates_narrow_where_the_valley_does():
  def value(size, rate, share):
    return 0.9 - 0.004 * (size / 16) ** 0.5 * math.log2(rate / 0.1) ** 2

  rates = tuple(0.1 * 2**k for k in range(-4, 5))
  found = audit(sweep(value, sizes=(16, 64, 256), rates=rates, noise=2e-4))
  narrow = claims(found, Kind.AUDIT, 'good_rates_narrow')[0]
  assert narrow['verdict'] == 'supported'
  # Half a width goes as size^(-1/4): 2 x 1.58, 1.12, 0.79 doublings over two doublings each.
  widths = [2 * (0.01 / 0.004) ** 0.5 / (size / 16) ** 0.25 for size in (16, 64, 256)]
  assert narrow['effect'] == pytest.approx((widths[2] - widths[0]) / 4, abs=0.06)


def test_the_recommendation_stays_on_the_grid_and_says_what_it_is_worth():
  found = audit(sweep(falls))
  best = found.result['recommendation'][0]
  assert best['batch_size'] == 16 and best['not_shown_worse'] == [16]
  assert best['expected'] == pytest.approx(0.9, abs=0.002)
  assert 'nothing beyond' in best['why']


def test_rates_that_nobody_gave_are_never_shown():
  found = audit(sweep(falls).drop(columns='learning_rate'))
  assert confounds(found)['learning_rate_not_tuned']['present'] == 'unknown'
  assert all(row['learning_rate'] is None for row in found.result['batch_sizes'])
  assert all(goal['learning_rate'] is None for goal in found.result['recommendation'])
  assert 'learning rate 1 ' not in str(found.result)


def test_questions_are_asked_of_the_right_side():
  found = audit(sweep(falls))
  sides = {row['subject'][0]: row['question']['side'] for row in claims(found, Kind.AUDIT)}
  assert sides['flatter_minima'] == ABOVE.side and sides['more_alike'] == BELOW.side
  assert sides['good_rates_narrow'] == BELOW.side and sides['rate_matters_more'] == ABOVE.side


@pytest.mark.parametrize('name', list(audit_worlds.PLANTED))
def test_the_planted_cause_is_named(name, tmp_path):
  """Two tables of each world; 200 of each are in experiments/audit."""
  named = []
  for seed in range(2):
    path = tmp_path / f'{seed}.csv'
    audit_worlds.table(name, 5, (7, seed)).to_csv(path, index=False)
    answer = audit([path], **audit_worlds.PLANTED[name].said).result['answer']
    judged = audit_worlds.judged(name, answer)
    assert not judged['false'], answer
    named.append(judged['named'])
  assert all(named)
