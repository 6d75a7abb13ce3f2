"""Sentences on method and results, of parts made by hand: numbers, plurals, what may lack."""

import pytest

from bsjax.analysis.runs.selection import SelectionKind
from bsjax.config.metrics import Judged, LossEntry, MetricEntry, judging
from bsjax.config.own import OWN
from bsjax.report.text import (
  cost,
  dropped,
  method_measured,
  method_results,
  method_scaling,
  method_setup,
  own_parts,
  remarks,
  results,
  words,
)
from bsjax.report.text.methodology import as_text, joined_arms


def lanes(*batch_sizes, micro=4, trials=2, examples=6400, epochs=2.0):
  rows = [(size, trial) for size in batch_sizes for trial in range(trials)]
  about = {'learning_rate': 0.1, 'examples': examples, 'epochs': epochs, 'micro_batch': micro}
  return [
    about | {'batch_size': size, 'trial': trial, 'accumulation': size // micro}
    for size, trial in rows
  ]


def evaluation(count=4, size=0, plan=None, stages=None, half_life=0.0, **keys):
  config = {'evaluations': count, 'evaluation': {'batch_size': size, **keys}}
  config |= {'averaging': {'half_life': half_life}, 'stages': stages or {}}
  return method_measured.evaluation(config, lanes(8, 12) if plan is None else plan)


def test_how_often_whole_sets_are_evaluated():
  # A block of batch sizes 8 and 12 is 24 examples: 6,400 hold 266.
  assert 'were evaluated 4 times while training, whole, in evaluation mode.' in evaluation()
  assert 'were evaluated 266 times' in evaluation(1000)
  assert 'evaluation mode, in batches of 2,048.' in evaluation(size=2048)
  assert evaluation(at=(1600, 3200)).endswith(
    'evaluated 3 times while training, whole, in evaluation mode: after 1,600, 3,200 and 6,400 '
    'examples.'
  )
  assert 'evaluated 2 times' in evaluation(at=(6400, 3200))
  assert evaluation(plan=[]) == '' and evaluation(None) == ''
  assert 'those of 1,234.5 examples ago' in evaluation(half_life=1234.5)


def test_evaluations_are_matched_unless_batch_sizes_follow_a_measurement():
  matched, also = 'where batch sizes had made equally many', 'up to 1,024 training'
  found = evaluation(positions='matched', subset=1024)
  assert matched in found and also in found
  found = evaluation(positions='even', subset=1024)
  assert matched not in found and also not in found
  rules = {'order': ['a', 'b'], 'a': {'batch_size': ['keep']}, 'b': {'batch_size': ['cabs']}}
  found = evaluation(positions='matched', subset=1024, stages=rules)
  assert matched not in found and also not in found
  rules['b'] = {'batch_size': ['multiply:2']}
  assert matched in evaluation(positions='matched', stages=rules)


def noise(plan=(), **keys):
  settings = {'online': True, 'every': 32, 'probe_every': 16, 'exact_examples': 0} | keys
  return method_measured.noise_scale({'noise_scale': settings}, plan)


def test_how_the_noise_scale_is_measured():
  assert noise() == (
    'The gradient noise scale was measured while training, from the micro-batches of the first '
    'update that began in every 32 micro-batches; runs that update with every micro-batch took a '
    'second one once in every 16.'
  )
  assert noise(every=1, probe_every=0).endswith('from the micro-batches of every update.')
  assert noise(online=False) == ''
  exact = noise(online=False, exact_examples=64, curvature_blocks=8)
  assert exact.endswith(
    'gradients of 64 training examples, and weighted by curvature from the Hessians of 8 blocks of '
    'them.'
  )
  plan = lanes(8)  # of 3,200 training examples
  assert 'of 3,199 training' in noise(plan, exact_examples=3199)
  assert 'of all 3,200 training' in noise(plan, exact_examples=3200)
  assert 'curvature' not in noise(plan, exact_examples=64)


def chosen(size, **changes):
  row = {'batch_size': size, 'learning_rate': 0.1, 'at_grid_edge': False, 'unsafe_rates': []}
  return row | {'selection': 'parabola'} | changes


def test_how_learning_rates_are_said_to_be_chosen():
  def said(*rows):
    return method_results.selection({'batch_sizes': rows})

  found = said(chosen(8), chosen(16, at_grid_edge=True), chosen(32, beside_dropped=[0.2]))
  assert found.startswith('Learning rates were chosen for each batch size by final validation acc')
  assert found.endswith(
    'for all trials; at batch size 16 the best rate is at the edge of the grid; at batch size 32 '
    'it is next to one that was dropped.'
  )
  assert said(chosen(8, note='x'), chosen(16, note='x')) == ''
  assert said(chosen(8, note='x'), chosen(16)) != ''
  assert said(chosen(8) | {'learning_rate': None}) == ''


def test_how_batch_sizes_are_read():
  found = words.selection(
    [chosen(8), chosen(16, selection=SelectionKind.BEST_RATE, unsafe_rates=[0.3, 1.0]), chosen(32),
     chosen(64, unsafe_rates=[0.3, 1.0]), chosen(128) | {'learning_rate': None}]
  )  # fmt: skip
  assert found[0].startswith('At batch sizes 8, 32 and 64, results are read at the top of a')
  assert found[1].startswith('At batch size 16, fewer than three learning rates come close')
  assert found[2] == (
    'Learning rates at which a trial diverged are not chosen: batch sizes 16 and 64: 0.3, 1.'
  )
  assert words.selection([chosen(8)])[0].startswith('Results are read')


@pytest.mark.parametrize(
  ('applies', 'state'), [(True, 'applies'), (False, 'does not apply'), (None, 'may not apply')]
)
def test_whether_a_rule_applies(applies, state):
  rule = {'rule': 'mccandlish_adam', 'rms_log_misfit': 0.123, 'applies': applies, 'why': ''}
  rule |= {'source': 'Theirs'}
  lines = words.rules({'rules': [rule, {'undefined': 'x'}], 'rms_log_noise': None})
  assert lines == [f'McCandlish for Adam: misfit 12%; {state}. Theirs.']
  lines = words.rules({'rules': [rule | {'why': 'it is so'}], 'rms_log_noise': 0.05})
  assert f'{state} (it is so).' in lines[0] and 'misfit of about 5% for' in lines[1]
  assert words.rules({'rules': [{'undefined': 'x'}], 'rms_log_noise': 0.05})[0].startswith(
    'No rule'
  )


def test_batch_sizes_without_an_optimum_are_named_by_reason():
  rows = [
    {'batch_size': size, 'state': state, 'reason': 'flat'}
    for size, state in ((8, 'found'), (16, 'at_grid_edge'), (32, 'undetermined'))
  ]
  assert words.undetermined({'optimum': rows}) == ['batch sizes 16 and 32: flat']


def test_the_exponent_holds_none_of_the_powers():
  found = {'value': 0.75, 'ci95': [0.7, 0.8], 'n': 3, 'batch_sizes': [8, 16]}
  found |= {'rules': {'linear': False}, 'power_law_rejected': False, 'left_out': {}}
  assert words.exponent(found)[1:] == [
    'The interval holds neither linear nor square root nor none.'
  ]


def test_gradients_are_said_to_be_gathered_where_they_are():
  assert method_results.micro_batches(lanes(4), None) == ''
  plan = [*lanes(8), *lanes(16, micro=8), *lanes(32, micro=32)]
  assert method_results.micro_batches(plan, None) == (
    'Gradients of an update were summed over micro-batches of 4 and 8 examples.'
  )
  rows = [{'batch_size': 8, 'fits': True}, {'batch_size': 16, 'fits': None}]
  rows += [{'batch_size': 32, 'fits': False, 'memory_bytes': {'total': 5 * 2**30}}]
  rows += [{'batch_size': 64, 'fits': False, 'memory_bytes': None}]
  assert method_results.micro_batches(lanes(4), {'rows': rows}) == (
    'In one piece batch sizes 32 (5 GiB) and 64 would not fit the memory of the device.'
  )


def test_what_intervals_are():
  def said(plan, scale=None, **more):
    rows = [{'noise_scale': {'b_simple': scale}}]
    return method_results.intervals(plan, {'batch_sizes': rows, **more})

  assert said(lanes(8, 16, trials=1)) == 'One trial gives no intervals.' and said([]) == ''
  assert said(lanes(8)) == "Intervals are 95% Student's intervals over trials."
  assert 'What a trial shares cancels' in said(lanes(8, 16))
  assert said(lanes(8), 3.0).endswith(
    "The interval of a noise scale is Student's of its reciprocal."
  )
  looked = {'rounds': [{'error': 0.02}, {'error': 0.005}, {'error': None}]}
  assert 'They do so with 99.5%, as at the last' in said(lanes(8, 16), decision=looked)


def test_ends_that_lack_are_said_so():
  scale = {'b_simple': 55.0, 'ci95': [44.0, None], 'unbounded': True, 'caveat': 'x'}
  scale |= {'kind': 'b_simple', 'measurements': 1200}
  rows = [{'batch_size': 8, 'noise_scale': scale}]
  rows += [{'batch_size': 16, 'noise_scale': scale | {'ci95': [None, None], 'measurements': 90}}]
  assert method_results.noise_scale({'batch_sizes': rows}) == (
    'Late in training the gradient noise scale was, in examples, 55 [44, unbounded] at 8 and 55 '
    '(no interval) at 16, from the batches (90 to 1,200 updates per batch size).'
  )
  early = [row | {'noise_scale': {**row['noise_scale']}} for row in rows]
  for row in early:
    row['noise_scale'].pop('caveat')
  assert results.noise_source(early).endswith('batch size, of the first eighth of epochs)')
  assert results.noise_source([early[0], rows[1]]).endswith('1,200 updates per batch size)')
  exact = {'noise_scale': {'kind': 'exact', 'measurements': 5, 'examples': 2048}}
  assert results.noise_source([exact]) == (
    ', from single examples (2,048 in each of 5 probes per batch size)'
  )


@pytest.mark.parametrize(
  ('value', 'ends', 'unbounded', 'text'),
  [
    (1234.5, [1000, 2000], False, '1,234 [1,000, 2,000]'),
    (12.0, [10.0, None], True, '12 [10, ∞]'),
    (12.0, [None, None], True, '12 (unbounded)'),
    (12.0, [None, None], False, '12'),
    (None, [10.0, None], True, 'unbounded [10, ∞]'),
    (None, [None, None], True, 'unbounded'),
    (None, [10.0, 20.0], False, 'undefined [10, 20]'),
  ],
)
def test_a_noise_scale_in_words(value, ends, unbounded, text):
  row = {'b_simple': value, 'ci95': ends, 'unbounded': unbounded}
  assert results.noise_scale_text(row) == text


def test_a_learning_rate_is_marked_at_the_edge_or_next_to_a_dropped_one():
  assert results.learning_rate_text(chosen(8, at_grid_edge=True, beside_dropped=[1.0])) == '0.1*'
  assert results.learning_rate_text(chosen(8, beside_dropped=[1.0])) == '0.1†'
  assert results.learning_rate_text(chosen(8) | {'learning_rate': None}) == 'none'


def test_hardware_names_speeds_that_were_measured():
  rows = [{'batch_size': 8, 'examples_per_second': {'median': 1234.0}},
          {'batch_size': 16, 'examples_per_second': None}]  # fmt: skip
  assert method_results.hardware({}, {'rows': rows}) == (
    'A run by itself trains, in examples per second (median), 1,234 at batch size 8.'
  )
  assert method_results.hardware({'hardware': 'a core'}, None) == 'Hardware: a core.'


def way(rule, size, keeps, mean, ends, clock='epochs', better='undetermined'):
  about = {'way': rule, 'clock': clock, 'batch_size': size, 'keeps': {'verdict': keeps}}
  return about | {
    'better': {'verdict': better},
    'val_accuracy': {'mean': mean, 'ci95': ends, 'n': 3},
  }


def test_what_scaling_rules_kept_and_lost():
  rows = [
    way('none', 64, 'refuted', 0.02, [0.01, 0.03]),
    way('none', 128, 'undetermined', 0.004, [None, None]),
    way('sqrt', 64, 'supported', -0.001, [-0.002, 0.001]),
    {'way': 'sqrt', 'clock': 'epochs', 'batch_size': 128, 'undefined': 'it diverged'},
    way('none', 64, 'supported', 0.5, [0.4, 0.6], 'updates'),
    way('tuned', 64, '', 0.01, [0.005, 0.015], better='supported'),
    way('tuned', 128, '', -0.01, [-0.015, -0.005], 'updates', 'refuted'),
  ]
  closest = [{'batch_size': 64, 'rule': 'sqrt'}, {'batch_size': 128, 'rule': None}]
  compared = {'margin': 0.005, 'ways': {'rows': rows}, 'shown': 0, 'rates': [{'closest': closest}]}
  config = {'scaling': {'rule': 'none,sqrt', 'base_batch_size': 32}}
  text = method_scaling.sentences(config, [32, 64, 128], {'scaling_rules': compared})
  assert (
    'An unchanged learning rate moved validation accuracy by more than 0.5 points at batch size 64 '
    '(-2.00 [-3.00, -1.00], n = 3); it is neither shown to keep within 0.5 points nor to leave '
    'them at batch size 128 (-0.40, no interval, n = 3). Square-root scaling kept validation '
    'accuracy within 0.5 points at batch size 64 (+0.10 [-0.10, +0.20], n = 3); it has no '
    'result at 128 (it '
    'diverged). The curve of training loss was closest to that of the base with square-root '
    'scaling at batch size 64; not shown at batch size 128.'
  ) in text
  assert (
    'the validation accuracy of batch size 32 was at equal epochs higher than that of batch size '
    '64 (-1.00 [-1.50, -0.50], n = 3); at equal updates lower than that of batch size 128'
  ) in text
  bare = compared | {'ways': {'rows': rows[:4]}, 'rates': [{'closest': closest[1:]}]}
  text = method_scaling.sentences(config, [32, 64, 128], {'scaling_rules': bare})
  assert 'Which rule keeps the training loss closest is not shown at batch size 128.' in text
  assert 'Whether batch size 32 is better than a tuned one is unknown.' in text
  assert method_scaling.sentences(config, [32], {}) == ''


def test_what_a_study_of_dropped_rates_says():
  rates = [{'lanes': [1, 2]}, {'lanes': [3]}]
  rows = [{'batch_size': 8, 'beside_dropped': [0.1, 0.30001]}, {'batch_size': 16}]
  summary = {'dropped': {'rates': rates, 'rungs': [1600, 3200]}, 'batch_sizes': rows}
  first, second = dropped.remarks(summary)
  assert first.startswith('3 runs ended early, after 1,600 or 3,200 examples, as')
  assert second.startswith('At batch size 8 the best learning rate is next to') and (
    '(0.1 and 0.3 at 8)' in second
  )
  assert dropped.remarks({'dropped': {'rates': []}, 'batch_sizes': rows}) == []
  assert dropped.beside(rows[1:]) == []
  config = {'halving': {'rungs': [0.25, 0.5], 'keep': 0.5}}
  found = dropped.method(config, {'dropped': {'lane_examples': 300, 'of': 400}})
  assert 'after 25% and 50% of it' in found and 'the 50% with the best' in found
  assert found.endswith('This took 75% of the examples of all runs whole.')
  assert 'This took' not in dropped.method(config, {})
  assert dropped.method({'halving': {'rungs': []}}, summary) == ''


def by_class(imbalance, quantity='rare', effect=0.01):
  claim = {'claim': 'it is so', 'verdict': 'supported', 'effect': effect, 'ci95': [None, None]}
  claim |= {'n': 3, 'unit': 'fraction', 'quantity': quantity}
  return remarks.rare_classes({'by_class': {'imbalance': imbalance, 'claims': [claim]}})


def test_rare_classes_are_a_headline_from_ten_to_one():
  assert by_class(10.0) == ['It is so: supported, +1.00 points of batch size (n = 3).']
  assert by_class(9.99) == [] and by_class(10.0, effect=None) == []
  assert by_class(10.0, 'medium') == [] and len(by_class(10.0, 'rare_less_frequent')) == 1


def test_branches_beside_the_first_are_named():
  def said(*names):
    return remarks.limits({'branch': 'a', 'conditions': {'names': names}})

  assert said('a', 'b')[0].endswith('is of the first, a; the other is b.')
  assert said('a', 'b', 'c')[0].endswith('the others are b and c.')


def test_batch_sizes_beside_the_noise_scale():
  def row(size, ends, **more):
    scale = {'b_simple': 20.0, 'ci95': ends, 'unbounded': False, **more}
    return {'batch_size': size, 'noise_scale': scale}

  rows = [row(8, [8.0, 20.0]), row(16, [17.0, None], caveat='be careful'), row(32, [10.0, 32.0])]
  rows += [row(64, [10.0, 63.0], caveat='be careful'), row(128, [None, None])]
  rows += [{'batch_size': 256, 'noise_scale': {'b_simple': None}}]
  (text,) = remarks.noise_remark(rows)
  assert text == (
    'Gradient noise scale, by batch size, late in training: 20 [8, 20] at 8 and 20 at 128. At '
    'batch size 16, below it, noise outweighs the gradient in each update. At batch size 64, above '
    'it, larger batches bring diminishing returns. Batch sizes 16 and 64: be careful.'
  )
  assert remarks.noise_remark(rows[-1:]) == []
  assert 'training: 20 [8, 20] at 8.' in remarks.noise_remark(rows[:1])[0]


def test_untuned_batch_sizes_are_not_also_at_the_edge():
  rows = [chosen(8, at_grid_edge=True, note='x'), chosen(16, at_grid_edge=True)]
  edge, untuned = remarks.of_results(rows, brief=True)
  assert edge.startswith('At batch size 16 the best') and untuned.startswith('At batch size 8 only')


def test_what_a_batch_costs_that_does_not_fit():
  rates = {'median': 2000.0, 'low': 1500.0, 'high': 2500.0}
  gathered = {'accumulation': 4, 'micro_batch': 32, 'memory_bytes': {'total': 2**30}}
  row = {'problem': 'too large', 'suggestion': gathered | {'seconds_per_epoch': rates}}
  assert cost.remark(row) == (
    'too large; gathered from 4 micro-batches of 32 it takes 1 GiB and 2,000 [1,500, 2,500] s an '
    'epoch'
  )
  assert cost.remark(row | {'suggestion': None}) == 'too large'
  assert cost.remark(row | {'problem': None}) == '' and cost.range_text(None) == '–'


def test_what_was_minimized_is_said_of_a_task_from_outside():
  bits = Judged(MetricEntry('bits', 'bits per token', 'bits', False), LossEntry('log loss'), 0.02)
  config = {OWN: {'task': {'metric': {}}}}
  with judging(bits):
    assert own_parts.task(config) == (
      'We minimized the mean log loss; runs are judged by the mean bits per token.'
    )
  with judging(Judged(bits.metric._replace(name='loss'), bits.loss, 0.02)):
    assert own_parts.task(config).endswith('log loss, by which runs are also judged.')
  assert own_parts.task({}) == '' and own_parts.task({OWN: None}) == ''


@pytest.mark.parametrize(
  ('rounds', 'some'),
  [
    ([([8, 16], [0.1, 0.2], 2)], ''),
    ([([8], [0.1, 0.2], 2), ([16], [0.1], 2)], ', not all of them at every batch size'),
    ([], ''),
  ],
)
def test_rates_that_some_batch_sizes_lack(rounds, some):
  config = {'learning_rates': [0.2, 0.1], 'batch_sizes': [8, 16], 'rounds': rounds}
  assert method_setup.rates(config) == f'Learning rates of 0.1 and 0.2 were tried{some}.'


def test_settings_of_several_rounds_have_more_trials_and_fewer():
  plan = [*lanes(8, trials=3), *lanes(16, trials=5)]
  assert method_setup.trials({}, plan).startswith('Settings were run in 3 to 5 trials, which')
  assert method_setup.trials({'seed': 4}, lanes(8, trials=3)).startswith(
    'Every setting was run in 3 trials from seed 4, which'
  )
  assert method_setup.trials({}, lanes(8, trials=1)) == 'Every setting was run once.'
  assert method_setup.trials({}, []) == ''


def test_what_an_arm_lacks_is_not_known():
  found = joined_arms({'a': {'model': 'One.', 'data': 'Same.'}, 'b': {'data': 'Same.'}})
  assert as_text(found).splitlines() == [
    '2 studies were run: a and b. Same.', '', 'Model', '- a: One.', '- b: not known',
  ]  # fmt: skip
