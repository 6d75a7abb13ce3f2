"""What would change an answer, and how large a difference it leaves open."""

import pytest
from helpers import synthetic

from bsjax.analysis.claims.causes import EDGE, RATES, UNKNOWN, UPDATES
from bsjax.report.summaries import summarize
from bsjax.report.text.changes import REMEDIES, of_audit, of_study


def summary(confounds=(), reasons=(), trials=3, pair='undetermined', alike='undetermined'):
  about = {'budget': 'epochs', 'quantity': 'val_accuracy', 'verdict': 'undetermined', 'n': trials}
  return {
    'confounds': [
      {'confound': code, 'present': present, 'explains': explains}
      for code, present, explains in confounds
    ],
    'batch_sizes': [{'val_accuracy': {'n': trials}}, {'reason': 'diverged'}],
    'claims': [
      {'kind': 'trend', 'reasons': list(reasons), **about},
      {'kind': 'pair', **about, 'verdict': pair, 'question': {'margin': None}},
      {'kind': 'pair', **about, 'verdict': alike, 'question': {'margin': 0.005}},
    ],
  }


def sentences(*codes):
  return [f'{REMEDIES[code][0].upper()}{REMEDIES[code][1:]}.' for code in codes]


@pytest.mark.parametrize(
  ('row', 'open_'),
  [
    ((UPDATES, True, UNKNOWN), True),
    ((UPDATES, True, None), False),  # no difference that it could explain
    ((UPDATES, True, False), False),  # shown not to be the cause
    ((EDGE, True, None), True),  # whatever is shown, it may lie outside the grid
    ((RATES, False, None), False),
  ],
)
def test_what_is_open_has_its_remedy(row, open_):
  assert of_study(summary([row])) == (sentences(row[0]) if open_ else [])


def test_trials_are_asked_for_only_where_nothing_is_shown():
  zero = {'code': 'contains_zero', 'half': 0.01, 'trials': 14, 'unit': 'per_doubling'}
  (text,) = of_study(summary(reasons=[zero]))
  assert 'the spread of these 3, at most 14 in all' in text
  assert of_study(summary(reasons=[zero], pair='supported')) == []
  assert of_study(summary(reasons=[zero], alike='supported')) == [text]
  (text,) = of_study(summary(reasons=[zero], trials=1))
  assert 'one run has no spread' in text


def test_an_equivalence_asks_for_no_trials():
  few = [{'confound': 'too_few_trials', 'present': True, 'evidence': 'There are 5 trials.'}]
  answer = {'open': [EDGE], 'unknown': [], 'code': 'equivalent'}
  assert of_audit(answer, few) == sentences(EDGE)
  more = 'Run more trials: there are 5 trials.'
  assert of_audit(answer | {'code': 'undetermined'}, few) == [*sentences(EDGE), more]


def test_the_answer_says_how_far_those_not_told_apart_may_be():
  plan = synthetic.plan((8, 16, 32), (0.05, 0.1, 0.2), 3)
  found = summarize(synthetic.config(), plan, synthetic.realistic(plan))
  level = [
    claim for claim in found['claims']
    if (claim['kind'], claim['question']['side']) == ('pair', 'above')
    and claim['verdict'] != 'supported'
  ]  # fmt: skip
  ends = [abs(end) for claim in level for end in (*claim['ci95'], *claim['ci95_interpolation'])]
  assert f'may still differ by up to {100 * max(ends):.2g} percentage' in found['answer']['detail']
