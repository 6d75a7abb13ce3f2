"""Headlines of made-up summaries: what is said where trials, results or verdicts lack."""

import pytest

from bsjax.analysis.claims import causes
from bsjax.config.metrics import Judged, LossEntry, MetricEntry, judging
from bsjax.report.text import across_arms, formats
from bsjax.report.text.answer import answer
from bsjax.report.text.claim_blocks import effect_text
from bsjax.report.text.condition_words import condition_answer

BITS = Judged(MetricEntry('bits', 'bits', 'bits', False, 'bits'), LossEntry('bits'), 0.02)


def batch(size, mean, n=3, half=0.01, **changes):
  """A row of summary['batch_sizes']."""
  ends = [None, None] if n < 2 else [mean - half, mean + half]
  row = {'batch_size': size, 'learning_rate': 0.1, 'at_grid_edge': False, 'selection': 'best_rate'}
  row |= {'unsafe_rates': [], 'noise_scale': {'b_simple': None}}
  return row | {'val_accuracy': {'mean': mean, 'ci95': ends, 'n': n}} | changes


def pair(best, other, verdict, ends=(-0.01, 0.02), wide=(-0.015, 0.02), side='above'):
  about = {'kind': 'pair', 'subject': [best, other], 'verdict': verdict, 'ci95': list(ends)}
  about |= {'quantity': 'val_accuracy'}
  return about | {'question': {'side': side}, 'ci95_interpolation': list(wide), 'budget': 'epochs'}


def trend(verdict, budget='epochs', effect=-0.01, ends=(-0.02, -0.005)):
  about = {'kind': 'trend', 'quantity': 'val_accuracy', 'question': {'side': 'below'}}
  return about | {'budget': budget, 'verdict': verdict, 'effect': effect, 'ci95': list(ends)}


def confound(code, present=True, explains=None):
  return {'confound': code, 'present': present, 'explains': explains}


QUIET = [confound(code, False) for code in (causes.UPDATES, causes.RATES, causes.EDGE)]


def said(rows, claims=(), confounds=QUIET):
  return answer({'batch_sizes': rows, 'claims': list(claims), 'confounds': list(confounds)}, True)


def test_without_a_result_or_something_beside_it():
  lost = batch(8, None, n=0) | {'learning_rate': None, 'reason': 'it diverged'}
  found = said([lost])
  assert found.headline == 'No batch size has a result.'
  assert found.remarks == ['Batch size 8 has no result (it diverged).']
  found = said([lost, batch(16, 0.9, learning_rate=0.25)])
  assert found.headline == 'Batch size 16 reaches 90.0 ± 1.0 % validation accuracy.'
  assert found.detail == 'At learning rate 0.25, n = 3.'
  assert found.remarks[0].startswith('Only one batch size has a result')
  found = said([batch(8, 0.8, n=1), batch(16, 0.9, n=1)])
  assert found.headline == 'One trial cannot tell the batch sizes apart.'
  assert 'that of batch size 16: 90.0 % validation accuracy.' in found.detail
  found = said([batch(8, 0.8), batch(16, 0.9)])
  assert found.headline == 'The batch sizes cannot be compared.'


def test_who_is_beaten_level_or_not_compared():
  rows = [batch(size, 0.9 - 0.0001 * size) for size in (8, 16, 32, 64, 128)]
  claims = [pair(8, 16, 'undetermined'), pair(8, 32, 'supported', wide=(0.1, 0.2))]
  claims += [
    pair(8, 64, 'undetermined', ends=(-0.03, 0.0)),
    pair(8, 16, 'supported', side='within'),
  ]
  found = said(rows, claims)
  assert found.headline == 'Batch size 8 beats 32, not 16 or 64.'
  assert (
    'it is shown to be above 32; no difference from 16 and 64 is shown (n = 3). Not compared, for '
    'want of a value in every trial: 128. From these it may still differ by up to 3 percentage '
    'points.'
  ) in found.detail
  found = said(rows[:2], [pair(8, 16, 'undetermined', wide=(-0.04, 0.02))])
  assert found.headline == 'No batch size is shown to be better.'
  assert found.detail.endswith('From this one it may still differ by up to 4 percentage points.')
  assert 'Not compared' not in found.detail
  open_ended = pair(8, 16, 'undetermined', wide=(None, 0.02))
  assert 'may still differ' not in said(rows[:2], [open_ended]).detail
  assert said(rows[:2], [pair(8, 16, 'supported')]).headline == 'Batch size 8 does best.'


@pytest.mark.parametrize(
  ('verdict', 'at_updates', 'headline', 'detail'),
  [
    ('supported', 'refuted', 'Smaller', 'larger batches do better'),
    ('refuted', 'supported', 'Larger', 'smaller batches do better'),
    ('refuted', 'undetermined', 'Larger', 'neither smaller nor larger batches are shown to do'),
  ],
)
def test_a_trend_is_told_where_no_two_are_apart(verdict, at_updates, headline, detail):
  rows, claims = [batch(8, 0.9), batch(16, 0.89)], [pair(8, 16, 'undetermined')]
  claims += [trend(verdict), trend(at_updates, 'updates')]
  found = said(rows, claims)
  assert found.headline == f'{headline} batches do better at equal epochs; no two are told apart.'
  assert (
    'At equal epochs validation accuracy changes by -1.00 [-2.00, -0.50] percentage points per '
    f'doubling of the batch size; at equal updates {detail}'
  ) in found.detail
  beaten = said(rows, [pair(8, 16, 'supported'), *claims[1:]])
  assert beaten.headline == 'Batch size 8 does best.'
  silent = said(rows, [claims[0], trend('undetermined'), claims[2]])
  assert 'per doubling' not in silent.detail and 'do better' not in silent.headline


@pytest.mark.parametrize(
  ('row', 'headline', 'remark'),
  [
    (confound(causes.EDGE), 'At the rates tried, batch size 8 does best.', ''),
    (confound(causes.RATES), 'At the rates tried, batch size 8 does best.', ''),
    (confound(causes.RATES, causes.UNKNOWN), 'Batch size 8 does best.', ''),
    (
      confound(causes.UPDATES, True, True),
      'Batch size 8 does best; the number of updates explains it.',
      '',
    ),
    (
      confound(causes.UPDATES, True, causes.UNKNOWN),
      'Batch size 8 does best.',
      'Not ruled out as a cause of the difference: the number of updates.',
    ),
    (
      confound(causes.UPDATES, True, False),
      'Batch size 8 does best.',
      'Shown not to be the cause of the difference: the number of updates.',
    ),
    (confound(causes.UPDATES, False, False), 'Batch size 8 does best.', ''),
  ],
)
def test_what_limits_and_what_explains_a_difference(row, headline, remark):
  rest = [other for other in QUIET if other['confound'] != row['confound']]
  rows = [batch(8, 0.9), batch(16, 0.8)]
  found = said(rows, [pair(8, 16, 'supported')], [row, *rest])
  assert found.headline == headline and found.remarks == ([remark] if remark else [])
  # Causes are those of a difference: without one there is nothing to explain.
  assert said(rows, [pair(8, 16, 'undetermined')], [row, *rest]).remarks == []


def test_the_best_of_a_metric_of_which_less_is_better():
  rows = [batch(8, 0.9), batch(16, 0.8)]
  for row in rows:
    row['val_bits'] = row.pop('val_accuracy')
  with judging(BITS):
    found = said(rows[:1])
    assert found.headline == 'Batch size 8 reaches a validation bits of 0.900 ± 0.010 bits.'
    found = said(rows, [pair(16, 8, 'undetermined', side='below')])
    assert 'the lowest mean is that of batch size 16' in found.detail
    assert 'by up to 0.02 bits.' in found.detail


def contrast(first, second, effect, verdict='undetermined', half=0.01, n=3, **changes):
  """Of two conditions, pooled over batch sizes: the second less the first."""
  ends = [None, None] if effect is None or n < 2 else [effect - half, effect + half]
  row = {'batch_size': 'pooled', 'quantity': 'val_accuracy', 'clock': 'examples', 'n': n}
  row |= {'first': first, 'second': second, 'effect': effect, 'ci95': ends, 'verdict': verdict}
  return row | {'unit': 'fraction', 'equivalent': None} | changes


def conditions(names, *contrasts, pairs='all', table=(), failed=()):
  found = {'names': list(names), 'contrasts': list(contrasts), 'pairs': pairs}
  return condition_answer(found | {'baseline': names[0], 'table': list(table), 'failed': failed})


def test_conditions_that_cannot_be_told_apart():
  assert 'nothing to compare it with' in conditions('a').headline
  unknown = contrast('a', 'b', None)
  found = conditions('ab', unknown)
  assert found.headline == 'The conditions cannot be compared.'
  assert found.remarks == ['Not compared, for want of a batch size with both: b and a.']
  assert conditions('ab', contrast('a', 'b', 0.1, n=1)).headline == (
    'One trial cannot tell the conditions apart.'
  )
  assert conditions('ab', contrast('a', 'b', 0.1)).headline == 'No condition is shown to be better.'
  alike = {'verdict': 'supported', 'margin': 0.005}
  found = conditions('ab', contrast('a', 'b', 0.001, equivalent=alike))
  assert found.headline == 'a and b differ by less than 0.5 points.'
  some = contrast('b', 'c', 0.0, equivalent={'verdict': 'undetermined', 'margin': 0.005})
  found = conditions('abc', contrast('a', 'b', 0.001, equivalent=alike), some)
  assert found.headline == 'No condition is shown to be better.'


@pytest.mark.parametrize(
  ('contrasts', 'headline'),
  [
    ([('a', 'b', -0.1, 'refuted')], 'a does best.'),
    ([('a', 'b', 0.1, 'supported')], 'b does best.'),
    (
      [('a', 'b', 0.1, 'supported'), ('a', 'c', 0.05, 'undetermined'),
       ('b', 'c', -0.05, 'undetermined')],
      'b beats a, not c.',
    ),
    (
      [('a', 'b', 0.1, 'undetermined'), ('b', 'c', -0.2, 'refuted'),
       ('a', 'c', -0.1, 'undetermined')],
      'b beats c, not a.',
    ),
    (
      [('a', 'b', -0.01, 'undetermined'), ('b', 'c', -0.2, 'refuted'),
       ('a', 'c', -0.3, 'undetermined')],
      'b beats c; none is shown to be best.',
    ),
  ],
)  # fmt: skip
def test_which_condition_does_best(contrasts, headline):
  names = sorted({name for first, second, *_ in contrasts for name in (first, second)})
  assert conditions(names, *(contrast(*each) for each in contrasts)).headline == headline


def test_a_condition_without_a_value_is_none_of_those_compared():
  found = conditions('abc', contrast('a', 'b', 0.1, 'supported'), contrast('a', 'c', None))
  assert found.headline == 'b does best of those compared.'


def test_many_that_are_not_told_apart_are_counted():
  rows = [contrast('a', 'b', 0.1, 'supported')]
  rows += [contrast(name, 'b', 0.01 * i) for i, name in enumerate('cdef', 1)]
  found = conditions('abcdef', *rows)
  assert found.headline == 'b beats a; the other 4 are not told apart from it.'
  assert 'b less a +10.00 [+9.00, +11.00] points, b less f +4.00' in found.detail
  assert found.detail.endswith('b less e +3.00 [+2.00, +4.00] points, and 2 more below.')
  found = conditions('abcde', *rows[:4])
  assert found.headline == 'b beats a, not c, d or e.'


def test_conditions_beside_a_baseline():
  rows = [contrast('a', 'b', 0.1, 'supported'), contrast('a', 'c', -0.02, 'refuted', n=2)]
  rows += [contrast('a', 'd', 0.2, 'supported')]
  found = conditions('abcd', *rows, pairs='baseline')
  assert found.headline == 'b and d beat a; a beats c.'
  assert 'all comparisons with the baseline at once (n = 2 to 3)' in found.detail
  assert 'a less d -20.00 [-21.00, -19.00] points, a less b' in found.detail
  assert conditions('ab', rows[0], pairs='baseline').headline == 'b beats a.'
  assert conditions('ac', rows[1], pairs='baseline').headline == 'a beats c.'
  open_ = contrast('a', 'b', 0.1)
  assert conditions('ab', open_, pairs='baseline').headline == 'None is shown to differ from a.'
  at_updates = contrast('a', 'b', 0.3, clock='updates')
  found = conditions('ab', open_, at_updates, contrast('a', 'b', None, clock='updates'))
  assert found.detail.endswith('At equal updates: b less a +30.00 [+29.00, +31.00] points.')


def test_where_conditions_have_no_tuned_result():
  table = [{'condition': name, 'batch_size': size} for name in 'ab' for size in (8, 16)]
  table[0]['at_grid_edge'] = table[1]['at_grid_edge'] = table[3]['at_grid_edge'] = True
  table += [{'condition': 'b', 'batch_size': 32, 'reason': 'lost'}]
  lost = [{'condition': 'b', 'batch_size': 32, 'reason': 'lost'}]
  found = conditions('ab', contrast('a', 'b', 0.1), table=table, failed=lost)
  assert found.remarks == [
    'b has no result at batch size 32: lost.',
    'The best learning rate is at the edge of the grid, so a better may lie outside: a at batch '
    'sizes 8 and 16 and b at batch size 16.',
  ]
  every = [row | {'note': 'one rate'} for row in table[:4]]
  found = conditions('ab', contrast('a', 'b', 0.1), table=[every[2], *table[4:]])
  assert found.remarks == [
    'Only one learning rate was tried, so a difference may be one of tuning: this holds for every '
    'condition and batch size.'
  ]


def test_ends_that_are_open_are_infinite():
  row = {'effect': -0.01, 'ci95': [None, 0.02], 'unit': 'fraction'}
  assert effect_text(row) == '-1.00 [−∞, +2.00] points'
  assert effect_text(row | {'ci95': [-0.03, None]}) == '-1.00 [-3.00, ∞] points'
  assert effect_text(row | {'ci95': [None, None]}) == '-1.00 points'


def distance(first, second, size, verdict):
  return {'first': first, 'second': second, 'batch_size': size, 'verdict': verdict}


@pytest.mark.parametrize(
  ('distances', 'headline'),
  [
    ([('none', 'sqrt', 16, 'refuted'), ('none', 'sqrt', 32, 'refuted')],
     'Square-root scaling keeps the training curve closest.'),
    ([('none', 'sqrt', 16, 'supported'), ('none', 'sqrt', 32, 'undetermined')],
     'The learning rate kept keeps the training curve closest at batch size 16.'),
    ([('none', 'sqrt', 16, 'supported'), ('none', 'sqrt', 32, 'refuted')], across_arms.UNDECIDED),
    ([('none', 'sqrt', 16, 'refuted'), ('sqrt', 'linear', 16, 'undetermined')],
     across_arms.UNDECIDED),
  ],
)  # fmt: skip
def test_which_rule_is_closest_over_arms(distances, headline):
  found = {'arms': ['a', 'b'], 'rules': ['none', 'sqrt', 'linear']}
  found |= {'distances': [distance(*each) for each in distances]}
  assert across_arms.headline(found) == headline
  assert across_arms.headline(found | {'arms': ['a']}) == across_arms.FEW


def test_what_rules_reach_over_arms():
  rows = [
    {'rule': 'none', 'batch_size': 16, 'mean': -0.02, 'ci95': [-0.03, -0.01]},
    {'rule': 'sqrt', 'batch_size': 16, 'mean': 0.01, 'ci95': [None, None]},
  ]
  found = {'accuracies': rows, 'base_batch_size': 8, 'arms': ['a', 'b']}
  assert across_arms.detail(found) == (
    'Final validation accuracy less that of batch size 8, in points, mean and 95% interval over 2 '
    'arms: the learning rate kept -2.00 [-3.00, -1.00] at 16.'
  )
  assert across_arms.detail(found | {'accuracies': rows[1:]}) == ''


def test_units_of_a_metric_that_is_no_fraction():
  value = {'mean': 0.9, 'ci95': [0.89, 0.91]}
  assert (formats.value_head(), formats.points_head(), formats.in_points()) == (
    ', %', ', points', ', in points',
  )  # fmt: skip
  assert formats.points(1e-13) == '+0' and formats.points(-1e-13) == '+0'
  assert formats.change(-0.0) == '+0.00' and formats.points(0.00123, 1) == '+0.00123'
  plain = Judged(MetricEntry('bleu', 'BLEU', 'BLEUs', True), LossEntry('nll', 'nats'), 0.5)
  with judging(BITS):
    assert (formats.value_head(), formats.points_of()) == (', bits', ' bits')
    assert (formats.margin_text(1.0), formats.change(0.012345)) == ('1 bits', '+0.0123')
    assert formats.units()['per_doubling'].shown == 'bits per doubling'
    assert formats.value_text(value) == '0.900 ± 0.010' and formats.points(0.02) == '+0.02'
  with judging(plain):
    assert (formats.value_head(), formats.points_of(), formats.in_points()) == ('', '', '')
    assert formats.units()['per_doubling'].name == 'BLEU, per doubling of the batch size'
    assert formats.reached(value) == 'a validation BLEU of 0.900 ± 0.010'


def test_the_largest_differences_of_the_leading_condition_are_told():
  rows = [contrast('a', 'b', 0.01), contrast('a', 'c', -0.04), contrast('a', 'd', 0.02)]
  rows += [contrast('a', 'e', -0.03, n=1)]
  found = conditions('abcde', *rows, pairs='baseline')
  assert 'a less c +4.00 [+3.00, +5.00] points, a less e +3.00 points and a less d' in found.detail
  assert found.headline == 'None is shown to differ from a.'  # though one has a single trial


def test_of_conditions_that_are_as_good_the_first_leads():
  rows = [contrast('a', 'b', 0.0), contrast('c', 'd', 0.0)]
  assert '(n = 3): a less b' in conditions('abcd', *rows).detail
  assert '(n = 3): b less a' in conditions('bacd', *rows).detail
