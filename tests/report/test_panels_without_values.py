"""Panels that say why they are empty, crosses, legends of what is there, and words of setups."""

import numpy as np
import pytest
from helpers import planted_scaling
from helpers.panels import dots, panel

from bsjax.analysis.claims.claim import ABOVE, BELOW, SUPPORTED, Claim, Kind
from bsjax.analysis.runs import histories
from bsjax.config.own import OWN
from bsjax.report.figures.drawing import batch_sizes
from bsjax.report.panels import (
  across_arms,
  audit,
  by_class,
  clocks,
  learning_rate,
  noise,
  scaled_runs,
  sharpness,
  stages,
)
from bsjax.report.panels.source import Source
from bsjax.report.summaries import summarize
from bsjax.report.text import claims, method_scaling, method_setup, reasons
from bsjax.report.text.methodology import joined_arms
from bsjax.stats.estimate import Estimate, Reason


def sizes_of(*sizes, **summary):
  rows = [{'batch_size': size, 'learning_rate': 0.1} for size in sizes]
  return Source({'batch_sizes': rows, **summary})


def estimate(mean):
  return {'mean': mean, 'ci95': [None, None], 'n': 1}


@pytest.mark.parametrize(
  ('counts', 'scale'), [([30, 10, 0, 20], 'log'), ([30, 30, 0, 30], 'linear')]
)
def test_classes_stand_at_their_training_examples(counts, scale):
  accuracies = [estimate(value) for value in (0.9, 0.7, 0.1, 0.8)]
  rows = [{'batch_size': 8, 'class_accuracy': accuracies}, {'batch_size': 16, 'undefined': 'x'}]
  found = {'batch_sizes': rows, 'class_counts': {'train': counts}}
  by_class.draw_classes(axes := panel(), sizes_of(8, 16, by_class=found))
  expected = sorted(zip(counts, (0.9, 0.7, 0.1, 0.8), strict=True), key=lambda pair: pair[0])
  assert dots(axes) == [(count, value) for count, value in expected if count]
  assert axes.get_xscale() == scale and axes.get_xlabel() == 'training examples of the class'
  assert axes.get_ylim()[0] >= -0.005


def test_groups_of_classes_have_a_mark_each():
  rows = [{'batch_size': size, 'rare': estimate(0.1), 'balanced_accuracy': estimate(0.6)}
          for size in (8, 16)]  # fmt: skip
  by_class.draw_groups(axes := panel(), sizes_of(8, 16, by_class={'batch_sizes': rows}))
  labels = [text.get_text() for text in axes.get_legend().get_texts()]
  assert labels == ['rare classes', 'balanced, all classes']
  assert [y for _, y in dots(axes, 'v')] == [0.1, 0.1] and [y for _, y in dots(axes)] == [0.6, 0.6]
  by_class.draw_groups(axes := panel(), sizes_of(8, by_class={'batch_sizes': []}))
  assert axes.get_legend() is None


@pytest.mark.parametrize(('applies', 'bands'), [(True, 1), (None, 1), (False, 0)])
def test_a_rule_that_may_apply_has_the_band_of_the_noise_scale(applies, bands):
  curve = {
    'batch_size': [8, 32],
    'learning_rate': [0.1, 0.2],
    'low': [0.05, 0.1],
    'high': [0.2, 0.4],
  }
  rule = {'rule': 'surge', 'rms_log_misfit': 0.126, 'applies': applies, 'curve': curve}
  entry = {'rules': [rule, {'undefined': 'x'}], 'exponent': {'undefined': 'x'}}
  (line,) = learning_rate._draw_rules(axes := panel(), entry)
  assert line.get_label() == 'surge (misfit 13%)' and len(axes.collections) == bands
  assert line.get_linestyle() == ('-' if applies else '--')
  curve |= {'low': None, 'high': None}
  learning_rate._draw_rules(axes := panel(), entry)
  assert not axes.collections


def test_the_fitted_power_goes_through_the_mean_of_the_logarithms():
  optimum = [{'batch_size': size, 'learning_rate': rate} for size, rate in ((4, 0.1), (64, 0.4))]
  exponent = {'batch_sizes': [4, 64], 'value': 1.0, 'ci95': [None, None]}
  entry = {'optimum': optimum, 'exponent': exponent}
  (line,) = learning_rate._draw_exponent(panel(), entry)
  # The mean is 0.2 at batch size 16.
  assert line.get_xydata() == pytest.approx(np.array([[4, 0.05], [64, 0.8]]))
  assert line.get_label() == 'fitted exponent 1.00 (no interval)'
  exponent['ci95'] = [0.5, 1.5]
  (line,) = learning_rate._draw_exponent(panel(), entry)
  assert line.get_label() == 'fitted exponent 1.00 (0.50 to 1.50)'


@pytest.fixture(scope='module')
def rules():
  config = planted_scaling.config()
  plan = planted_scaling.plan(config, trials=2)
  rows = planted_scaling.records(plan, evaluations=4)
  return Source(summarize(config, plan, rows), histories.settings(plan, rows))


def changed(source, **scaling):
  found = source.summary['scaling_rules'] | scaling
  return Source(source.summary | {'scaling_rules': found}, source.settings)


def test_scaling_rules_that_could_not_be_compared_say_why(rules):
  nothing = changed(rules, rates=None, undefined='it is so')
  scaled_runs.draw_curves(axes := panel(), nothing, 'none')
  assert axes.texts[0].get_text() == 'Undefined: it is so.'
  lost = changed(rules, ways={'undefined': 'too few'})
  scaled_runs.draw_forest(axes := panel(), lost, 'epochs')
  assert axes.texts[0].get_text() == 'Undefined: too few.'
  row = {'clock': 'updates', 'batch_size': 64, 'way': 'sqrt', 'undefined': 'never met'}
  lost = changed(rules, ways={'rows': [row | {'clock': 'epochs', 'undefined': 'no'}, row]})
  scaled_runs.draw_forest(axes := panel(), lost, 'updates')
  assert axes.texts[0].get_text() == 'Undefined: never met.'
  rate = {'learning_rate': 0.1, 'base': {'problem': 'it diverged'}, 'runs': []}
  scaled_runs.draw_distances(axes := panel(), rules, rate)
  assert axes.texts[0].get_text() == 'Undefined: it diverged.'
  scaled_runs.draw_distances(axes := panel(), rules, rate | {'base': {'problem': None}})
  assert axes.texts[0].get_text() == 'Undefined: no run has a curve to compare.'


def test_distances_stand_beside_each_other_by_rule(rules):
  shown = scaled_runs.shown(rules.summary)
  runs = [
    {'batch_size': size, 'rule': rule, 'distance': {'mean': 0.2, 'ci95': [0.1, 0.4], 'each': [0.2]}}
    for size in (64, 128)
    for rule in ('none', 'linear')
  ]
  runs[-1] = runs[-1] | {'distance': {'undefined': 'x'}}
  rate = shown | {'runs': runs, 'noise_floor': {'mean': None, 'ci95': [None, None]}}
  order = rules.summary['scaling_rules']['rules']
  scaled_runs.draw_distances(axes := panel(), rules, rate)
  middle = (len(order) - 1) / 2
  aside = [0.18 * (order.index(rule) - middle) for rule in ('none', 'linear')]
  assert [x for x, _ in dots(axes)] == pytest.approx([aside[0], 1 + aside[0]])
  assert dots(axes, 'D') == [pytest.approx((aside[1], 0.2))]
  assert [x for x, _ in dots(axes, 'x')] == pytest.approx([1 + aside[1]])
  assert axes.get_xlim() == (-0.6, 1.6) and not axes.patches


def test_a_row_of_a_forest_without_a_result_says_so(rules):
  rows = rules.summary['scaling_rules']['ways']['rows']
  lost = [row if i else {**row, 'undefined': 'x'} for i, row in enumerate(rows)]
  scaled_runs.draw_forest(axes := panel(), changed(rules, ways={'rows': lost}), 'epochs')
  assert [text.get_text() for text in axes.texts] == ['no result'] and axes.texts[
    0
  ].get_position() == (0, 0)
  margin = rules.summary['scaling_rules']['margin']
  assert axes.patches[0].get_x() == -margin and axes.patches[0].get_width() == 2 * margin
  base = rules.summary['scaling_rules']['base_batch_size']
  assert axes.get_xlabel() == f'{base} less the other, percentage points'
  low, high = axes.get_ylim()
  assert low > high == -0.7


def test_legends_of_scaling_rules(rules):
  base = rules.summary['scaling_rules']['base_batch_size']
  labels = [line.get_label() for line in scaled_runs.rule_legend(rules)['handles']]
  assert labels[-1] == f'two seeds of batch size {base}' and 'square root' in labels
  rate = scaled_runs.shown(rules.summary)['learning_rate']
  labels = [line.get_label() for line in scaled_runs.curve_legend(rules)['handles']]
  others = [str(size) for size in rules.sizes if size != base]
  assert labels == [f'{base}, the base at learning rate {rate:.3g}', 'its trials', *others]
  labels = [
    line.get_label() for line in scaled_runs.curve_legend(changed(rules, rates=None))['handles']
  ]
  assert labels[0] == f'{base}, the base'
  arms = across_arms.arm_legend({'arms': ['a', 'b']})['handles']
  assert [line.get_label() for line in arms] == ['a', 'b']
  assert arms[0].get_color() != arms[1].get_color()


def test_legends_name_what_is_there():
  rows = [{'val_accuracy': estimate(0.9)}]
  part = {'epochs': {'batch_sizes': [{}]}, 'updates': {'batch_sizes': rows}}
  gaps = {'chosen': part, 'common_learning_rate': {'undefined': 'x'}}
  source = Source({'generalization_gap': gaps})
  labels = [line.get_label() for line in clocks.series_legend(source)['handles']]
  assert labels == ['each batch size at its own learning rate']
  rows[0]['reestimated_val_accuracy'] = estimate(0.9)
  labels = [line.get_label() for line in clocks.series_legend(source)['handles']]
  assert labels[1] == 'the same, BatchNorm re-estimated' and len(labels) == 2
  title, *lines = batch_sizes(sizes_of(16, 8))['handles']
  assert [line.get_label() for line in (title, *lines)] == ['batch size', '8', '16']
  at = [{'epochs': {'batch_sizes': rows}}]
  assert len(stages.at_legend(at)['handles']) == 4 and stages.reestimated(at)
  assert len(stages.at_legend([{'epochs': {'batch_sizes': [{}]}}])['handles']) == 3


def test_a_clock_that_was_read_on_a_subset_says_so():
  rows = [{'batch_size': 8, 'gap': estimate(0.1)}]
  chosen = {'updates': {'batch_sizes': rows, 'subset': 512}}
  gaps = {'chosen': chosen, 'common_learning_rate': {}}
  clocks.draw_clock(axes := panel(), sizes_of(8, generalization_gap=gaps), 'updates', 'gap')
  assert axes.get_title(loc='left') + axes.get_title() == 'Gap, equal updates, on a subset'


def test_of_many_batch_sizes_some_are_ticks():
  def ticks(count):
    source = audit.AuditSource({'read': {'loss_only': False}}, ())
    source.__dict__['sizes'] = [2**i for i in range(count)]
    audit._sizes_axis(axes := panel(), source)
    return [text.get_text() for text in axes.get_xticklabels()]

  assert ticks(7) == ['1', '2', '4', '8', '16', '32', '64']
  assert ticks(8) == ['1', '4', '16', '64']


def trend(effect, quantity='val_accuracy', margin=None, **changes):
  about = {'kind': 'trend', 'budget': 'epochs', 'quantity': quantity, 'ci95': [None, None]}
  return about | {'question': {'margin': margin}, 'effect': effect} | changes


def test_trends_of_cells_stand_above_that_of_all():
  cells = [
    {'cell': 'a', 'claims': [trend(9.0, margin=0.1), trend(9.0, budget='updates'), trend(0.01)]},
    {'cell': 'b', 'claims': [trend(None)]},
    {'cell': 'c', 'claims': [trend(-0.02, 'val_loss')]},
  ]
  result = {'cells': cells, 'claims': [trend(0.005)], 'read': {'loss_only': False}}
  audit.draw_cells(axes := panel(), audit.AuditSource(result, ()))
  assert dots(axes) == [(0.01, 1.0), (-0.02, 2.0)] and dots(axes, 'D') == [(0.005, 0.0)]
  assert [text.get_text() for text in axes.get_yticklabels()] == ['all', 'a', 'c']
  assert axes.get_xlabel() == 'points of accuracy'
  assert axes.xaxis.get_major_formatter()(0.0123, 0) == '1.23'
  result['claims'] = []
  audit.draw_cells(axes := panel(), audit.AuditSource(result, ()))
  assert not dots(axes, 'D')
  losses = audit.AuditSource({'read': {'loss_only': True}}, ())
  assert losses.shown(-np.log(2.5)) == pytest.approx(2.5) and np.isnan(losses.shown(None))


def test_layers_are_dots_or_crosses():
  def setting(size, *layers):
    probe = {name: {'trace': trace, 'grad_sq': 2.0} for name, trace in layers}
    row = {'exact': {'plain': {'layers': probe}}}
    lane = histories.LaneHistory({'trial': 0}, (row,))
    return histories.Setting(size, 0.1, (lane,))

  source = sizes_of(8, 16)
  source.__dict__['chosen'] = {
    8: setting(8, ('a', 4.0), ('b', -1.0)), 16: setting(16, ('a', 40.0), ('b', 8.0)),
  }  # fmt: skip
  noise.draw_layers(axes := panel(), source)
  assert dots(axes) == [(2.0, 0.0), (20.0, 0.0), (4.0, 1.0)] and dots(axes, 'x') == [(0.985, 1.0)]
  assert [text.get_text() for text in axes.get_yticklabels()] == ['a', 'b']
  assert axes.get_ylim() == (1.5, -0.5)
  probe = {'trace': 0.0, 'grad_sq': 1.0}, {'trace': 1.0, 'grad_sq': 0.0}
  rows = [{'exact': {'plain': {'layers': dict(zip('ab', probe, strict=True))}}}]
  lane = histories.LaneHistory({'trial': 0}, tuple(rows))
  assert noise.layers(histories.Setting(8, 0.1, (lane,))) == {'a': 0.0, 'b': None}


def test_rates_of_sharpness_are_named_by_the_schedule():
  row = {'batch_size': 8, 'learning_rate_now': 0.0, 'learning_rate': 0.1, 'trace': 2.0}
  source = sizes_of(8)
  for now, label in ((0.0, 'learning rate, peak of the schedule'), (0.05, 'learning rate')):
    found = Source(source.summary, sharpness=[row | {'learning_rate_now': now}])
    sharpness.draw_trace(axes := panel(), found)
    assert axes.get_xlabel() == label


def claim(
  kind, subject, quantity='val_accuracy', question=ABOVE, columns=None, ends=(0.01, None), **changes
):
  found = Estimate(0.02, *ends, n=3, **changes)
  return Claim(kind, subject, quantity, 'epochs', question, found, SUPPORTED, columns=columns or {})


@pytest.mark.parametrize(
  ('asked', 'sentence'),
  [
    (claim(Kind.CONDITION, ('b', 'a')),
     'at equal epochs, b reaches higher validation accuracy than a'),
    (claim(Kind.CONDITION, ('b', 'a'), question=BELOW, columns={'batch_size': 8}),
     'at equal epochs, batch size 8, b reaches lower validation accuracy than a'),
    (claim(Kind.CONDITION, ('b', 'a'), 'gap', BELOW, {'batch_size': 'pooled'}),
     'at equal epochs, b has a lower generalization gap than a'),
    (claim(Kind.STAGE, (8, 16), columns={'epoch': 2.5, 'branch': 'x'}),
     'at epoch 2.5 of x, smaller batches reach higher validation accuracy'),
    (claim(Kind.STAGE, (8, 16), 'gap', columns={'epoch': 2.5, 'branch': ''}),
     'at epoch 2.5, the generalization gap grows with batch size'),
  ],
)  # fmt: skip
def test_what_is_claimed_of_conditions_and_stages(asked, sentence):
  assert claims.claim_sentence(asked) == sentence


def test_what_was_found_is_told_with_its_level():
  def found(**changes):
    return claims.claim_row(claim(Kind.CONDITION, ('b', 'a'), **changes))['why']

  assert found() == 'Found: +2 percentage points, 95% interval +1 to unbounded, n = 3.'
  assert found(ends=(None, None)) == 'Found: +2 percentage points, n = 3.'
  assert found(ends=(None, 0.03), confidence=0.9875) == (
    'Found: +2 percentage points, 98.8% interval unbounded to +3, n = 3.'
  )


def test_reasons_within_lists_and_tables_become_sentences():
  why = Reason('no_values')
  assert reasons.in_words({'a': [why, 1], 'b': (why,)}) == {
    'a': ['there is no value', 1], 'b': ['there is no value'],
  }  # fmt: skip


def test_parts_from_outside_are_called_as_they_call_themselves():
  own = {'optimizer': {'name': 'mine', 'hyperparameters': {'beta': 0.5, 'c': 1e-3}}}
  config = {'optimizer': {'name': OWN}, OWN: own, 'model': {'name': OWN, 'normalization': 'batch'}}
  assert method_setup.optimizer(config) == 'We optimized with mine (beta 0.5, c 0.001).'
  own['optimizer']['hyperparameters'] = {}
  assert method_setup.optimizer(config) == 'We optimized with mine.'
  own['model'] = {'name': 'net'}
  assert method_setup.model(config) == 'The model is net, of our own, with BatchNorm.'
  config['model']['normalization'] = 'none'
  assert method_setup.model(config) == 'The model is net, of our own.'


def test_hyperparameters_of_one_rule_are_told_without_a_count():
  config = {'scaling': {'base_batch_size': 8, 'hyperparameters': 'half_life'}}
  found = method_scaling.hyperparameter_rules(config, [{'batch_size': 8}])
  assert found.startswith('Hyperparameters of the optimizer are those at batch size 8; elsewhere, ')
  assert method_scaling.hyperparameter_rules(config, []) == ''


@pytest.mark.parametrize(
  ('data', 'name'),
  [
    ({'source': 'tfds', 'name': 'cifar10', 'path': ''}, 'cifar10 (tfds)'),
    ({'source': 'digits', 'name': '', 'path': ''}, 'digits'),
    ({'source': 'npz', 'name': '', 'path': 'sets/leaves.npz'}, 'leaves (npz)'),
    ({'source': OWN, 'name': 'mine'}, 'mine'),
  ],
)
def test_data_are_called_by_name_or_file_and_source(data, name):
  assert method_setup.data_name(data) == name


def test_what_all_arms_share_is_said_once():
  found = joined_arms({'a': {'x': '1', 'y': '2'}, 'b': {'x': '1', 'y': '3'}})
  assert found.text == '2 studies were run: a and b. 1' and found.differs == {
    'y': {'a': '2', 'b': '3'}
  }
