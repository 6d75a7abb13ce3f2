"""The words of a question that rounds decide, of entries made by hand: plurals and lost ends."""

import pytest

from bsjax.analysis.decide.planning import Plan
from bsjax.analysis.decide.power import MOST, Seen
from bsjax.report.text import decision, decision_plans, method_rounds


def looked(**changes):
  """A round with a look at the question."""
  one = {'why': 'first', 'boxes': [[[32, 16], [0.1], 3]], 'trials': 3, 'lanes': 18, 'known': []}
  one |= {'lane_examples': 1_234_567, 'seconds': 90.0, 'error': 0.005, 'behind': [], 'rates': {}}
  return one | {'intervals': [], 'critical': None, 'sizes': [16, 32]} | changes


def asked(kind, decided=True, **changes):
  entry = {'kind': kind, 'decided': decided, 'margin': 0.005, 'error': 0.05, 'claims': []}
  entry |= {'rounds': [looked()], 'sizes': [16, 32], 'state': 'open', 'shown': [], 'best': 16}
  entry |= {'next': {'most_trials_needed': None, 'most_examples_needed': None}, 'rates': []}
  return entry | {'critical': None} | changes


def shown(size, state, effect=-0.02, best=16):
  return {'batch_size': size, 'state': state, 'effect': effect, 'best': best}


BEST = 'best_batch_size'
FAR = 'nor shown to be within 0.5 percentage points of it'


@pytest.mark.parametrize(
  ('rows', 'headline'),
  [
    (
      [shown(32, 'worse'), shown(64, 'worse', -0.03)],
      'Batch size 16 does best; 32 is 2.00 percentage points worse and 64 is 3.00 worse.',
    ),
    (
      [shown(32, 'worse', best=64), shown(64, 'worse', -0.03)],
      'Batch size 16 does best; 32 is 2.00 percentage points worse than 64 and 64 is 3.00 worse.',
    ),
    (
      [shown(8, 'alike', 0.001)],
      '8 and 16 are equivalent within 0.5 percentage points.',
    ),
    (
      [shown(32, 'open'), shown(64, 'open')],
      f'Not decided: 32 and 64 are each not told apart from 16, {FAR}.',
    ),
    ([shown(32, 'open')], f'Not decided: 32 is not told apart from 16, {FAR}.'),
    (
      [shown(32, 'open', best=64)],
      'Not decided: 32 is not compared with 16.',
    ),
    (
      [shown(32, 'open', best=64), shown(8, 'open', best=64), shown(64, 'worse')],
      'Not decided: 64 is 2.00 percentage points worse than 16; 32 and 8 are not compared with 16.',
    ),
  ],
)
def test_the_best_batch_size(rows, headline):
  decided = not headline.startswith('Not')
  assert decision.headline(asked(BEST, decided, shown=rows)) == headline


def test_why_a_batch_size_is_not_compared():
  rounds = [looked(rates={'32': 'bracketed', '16': 'at_edge'}),
            looked(rates={'32': 'at_edge', '16': 'bracketed'})]  # fmt: skip
  entry = asked(BEST, False, shown=[shown(32, 'open', best=64)], rounds=rounds)
  assert decision.headline(entry) == (
    'Not decided: 32 is not compared with 16, as no learning rate of 32 is surrounded by worse '
    'ones.'
  )
  nothing = asked(BEST, False, best=None, rounds=rounds)
  assert decision.headline(nothing).startswith('Not decided: no learning rate of 32 is surrounded')
  quiet = asked(BEST, False, best=None, rounds=[looked(error=None)])
  assert decision.headline(quiet) == 'Not decided: there was no look at the question yet.'
  empty = asked(BEST, False, best=None, rounds=[looked(error=None), looked()])
  assert decision.headline(empty) == 'Not decided: no batch sizes could be compared.'


def within(verdict, effect, ends=(0.001, 0.02)):
  about = {'question': {'side': 'within'}, 'verdict': verdict, 'subject': [64, 16]}
  return about | {'effect': effect, 'ci95': list(ends)}


@pytest.mark.parametrize(
  ('claim', 'headline'),
  [
    (within('supported', 0.0), '16 and 64 are equivalent within 0.5 percentage points.'),
    (
      within('refuted', 0.012),
      '64 is 1.20 percentage points better than 16, more than 0.5 percentage points.',
    ),
    (
      within('undetermined', 0.01),
      'Not decided: 64 less 16 lies between +0.10 and +2.00 percentage points.',
    ),
    (
      within('undetermined', 0.01, (None, 0.02)),
      'Not decided: no batch sizes could be compared.',
    ),
  ],
)
def test_whether_two_are_equivalent(claim, headline):
  other = within('supported', 0.0) | {'question': {'side': 'above'}}
  entry = asked('equivalent', claim['verdict'] != 'undetermined', claims=[other, claim])
  assert decision.headline(entry) == headline


@pytest.mark.parametrize(
  ('verdict', 'decided', 'headline'),
  [
    ('supported', True, 'Smaller batches do better (-0.40 percentage points per doubling).'),
    ('refuted', True, 'Larger batches do better (-0.40 percentage points per doubling).'),
    (
      'undetermined',
      True,
      'Results change by less than 0.5 percentage points over the batch sizes.',
    ),
    (
      'supported',
      False,
      'Not decided: from 8 to 64 the change lies between -0.90 and +0.20 percentage points.',
    ),
  ],
)
def test_whether_results_change(verdict, decided, headline):
  sign = {'verdict': verdict, 'effect': -0.004, 'ci95': [-0.006, -0.002], 'subject': [8, 16, 64]}
  none = sign | {'ci95': [-0.009, 0.002]}
  entry = asked('trend', decided, claims=[sign, none])
  assert decision.headline(entry) == headline
  open_ = asked('trend', False, claims=[sign, none | {'ci95': [None, 0.002]}])
  assert decision.headline(open_) == 'Not decided: no batch sizes could be compared.'


def test_where_the_best_rates_lie():
  rates = [{'batch_size': size, 'rate': {'mean': 0.1 * size}, 'known': size > 8}
           for size in (8, 16, 32)]  # fmt: skip
  entry = asked('best_learning_rate', margin=2.0, rates=rates)
  assert decision.headline(entry) == (
    'The best learning rates are, within a factor of 2: 0.8 at 8, 1.6 at 16 and 3.2 at 32.'
  )
  entry |= {'decided': False}
  assert decision.headline(entry) == 'Not decided: the best learning rate of 8 is known less well.'


@pytest.mark.parametrize(
  ('found', 'ends'),
  [
    ({'low': 20.0, 'high': 1500.0, 'factor': 75.0}, '20 and 1,500 examples'),
    ({'low': 20.0, 'high': None}, '20 examples and any larger size'),
    ({'low': 0.0, 'high': 30.0}, 'zero and 30 examples'),
    ({'low': 0.0, 'high': None}, 'zero and any larger size'),
    ({'low': None, 'high': None}, 'zero and any larger size'),
  ],
)
def test_between_what_the_critical_batch_size_lies(found, ends):
  critical = {'target': 0.25, 'factor': None, 'why': ''} | found
  headline = decision.headline(asked('critical_batch_size', critical=critical))
  assert headline == (f'The critical batch size, to a training loss of 0.25, lies between {ends}.')
  unknown = asked('critical_batch_size', False, critical=critical | {'target': None})
  assert decision.headline(unknown).startswith('Not decided: no batch sizes')
  why = critical | {'why': 'too few', 'low': None, 'high': None, 'factor': None}
  assert decision.headline(asked('critical_batch_size', False, critical=why)).startswith('Not')
  assert 'any larger' not in decision.headline(asked('critical_batch_size', False, critical=why))


def test_what_rounds_took():
  found = decision.detail(asked(BEST))
  assert found.startswith(
    'Asked: which batch size is best, where less than 0.5 percentage points does not matter. It '
    'took 1 round, 18 runs, 1,234,567 examples, 1.5 minutes. '
  )
  assert found.endswith('wrong in at most 5% of studies.')
  two = asked(BEST, rounds=[looked(seconds=None), looked(lanes=2)])
  assert '2 rounds, 20 runs, 2,469,134 examples, 1.5 minutes for 1 of the rounds.' in (
    decision.detail(two)
  )
  assert 'minutes' not in decision.detail(asked(BEST, rounds=[looked(seconds=None)]))


def test_what_more_a_decision_would_take():
  assert decision.detail(asked(BEST, False)).endswith(
    'The next round is yet to come; what a decision would take is not known.'
  )
  bound = {'most_trials_needed': 12, 'most_examples_needed': 4321.0}
  found = decision.more(asked(BEST, False, next=bound, state='most_trials'))
  assert found.startswith(
    'No setting may have more trials. At most 12 trials in all of each setting that is left, 4,321 '
    'examples more, would decide it'
  )


def interval(effect, ends, *, side='above', verdict='undetermined', kind='pair', subject=(16, 64)):
  about = {'kind': kind, 'subject': list(subject), 'side': side, 'verdict': verdict}
  return about | {'effect': effect, 'ci95': list(ends)}


@pytest.mark.parametrize(
  ('intervals', 'said'),
  [
    ([interval(0.01, (0.0, 0.02))], '16 less 64 +1.00 [+0.00, +2.00]'),
    ([interval(None, (None, None))], '16 less 64: no value'),
    (
      [interval(0.01, (0.005, 0.02), verdict='supported')],
      '16 less 64 +1.00 [+0.50, +2.00], better',
    ),
    (
      [interval(0.01, (0.005, 0.02), verdict='supported'),
       interval(0.01, (0.0, 0.02), side='within', verdict='supported')],
      '16 less 64 +1.00 [+0.00, +2.00], alike',
    ),
    (
      [interval(-0.01, (-0.02, 0.0), side='below', verdict='supported', kind='trend',
                subject=(8, 16, 64))],
      '64 less 8 -1.00 [-2.00, +0.00], falls',
    ),
    (
      [interval(0.01, (0.0, 0.02), side='above', verdict='supported', kind='trend',
                subject=(8, 16, 64))],
      '64 less 8 +1.00 [+0.00, +2.00]',
    ),
    (
      [interval(0.01, (0.0, 0.02)), interval(0.0, (0.0, 0.0), subject=(16, 32))],
      '16 less 64 +1.00 [+0.00, +2.00]; 16 less 32 +0.00 [+0.00, +0.00]',
    ),
    ([], 'nothing to compare'),
  ],
)  # fmt: skip
def test_what_a_look_said(intervals, said):
  (row,) = decision.rounds(asked(BEST, rounds=[looked(intervals=intervals)]))
  assert row['said'] == said
  assert (row['sizes'], row['minutes'], row['error']) == ('16 and 32', '1.5', '0.5%')
  assert (row['number'], row['why'], row['examples']) == (1, 'the grid of the config', '1,234,567')


def test_a_round_without_a_look_says_why():
  states = {'8': 'at_edge', '16': 'bracketed', '32': 'at_edge'}
  rounds = [
    looked(error=None, rates=states, seconds=None, why='rates'),
    looked(error=None, rates=states, behind=[64]),
    looked(error=None),
  ]
  first, behind, none = decision.rounds(asked(BEST, rounds=rounds))
  assert first['said'] == 'no look: best rates are not surrounded at 8 and 32'
  assert (first['minutes'], first['error'], first['why']) == ('–', '–', 'learning rates')
  assert behind['said'] == 'no look: fewer trials at 64' and none['said'] == 'no look'


def test_a_look_at_rates_names_those_that_are_known():
  known = [{'batch_size': 8, 'factor': 1.523}, {'batch_size': 16, 'factor': None}]
  (row,) = decision.rounds(asked('best_learning_rate', rounds=[looked(known=known)]))
  assert row['said'] == '8 within a factor of 1.5'


def test_what_is_said_before_a_round():
  plan = Plan([], 'trials', 2048)
  assert decision_plans.begins(2, plan) == 'Round 2: trials, 2,048 examples.'
  first = decision_plans.begins(2, plan._replace(bounded=False))
  assert first.startswith('Round 2: trials, 2,048 examples. How long rounds take is not known')
  assert decision_plans.ended(plan._replace(why='most_trials')) == (
    'no round; no setting may have more trials.'
  )


def test_what_planned_trials_can_see():
  seen = Seen(5, 0.876, 0.0123)
  first, second = decision_plans.foreseen(0.004, 0.005, seen, 12)
  assert 'varies by 0.4 percentage points over trials' in first
  assert 'Up to 5 trials show equal ones to be within 0.5 percentage points in 88% of' in first
  assert first.endswith('and a difference of 1.23 percentage points in 80%.')
  assert 'takes up to 12 trials' in second
  first, second = decision_plans.foreseen(0.004, 0.005, seen._replace(difference=None), None)
  assert first.endswith('and no difference up to four times that in 80%.')
  assert f'takes more than {MOST} trials' in second


def test_the_method_of_rounds():
  rounds = [looked(error=None), looked(why='trials', trials=5), looked(why='sizes', trials=8)]
  entry = asked(BEST, rounds=rounds, shown=[shown(64, 'worse'), shown(16, 'worse')])
  text = method_rounds.sentences({'decision': entry})
  assert (
    'After the first, 2 rounds added, by what the runs up to then had shown, trials at learning '
    'rates near the best ones (1) and batch sizes beyond those there (1). There were 2 looks at '
    'the question, at 5 and 8 trials; the intervals of each hold together with 99.5% and 99.5% in '
    'turn, and all that may be looked at with 95%. Batch size 64 was given no further trials'
  ) in text
  assert text.startswith(
    'The study went on in rounds to decide which batch size is best, where less than 0.5 '
    'percentage points does not matter. '
  )
  one = asked(BEST, False, state='budget', rounds=[looked(error=0.01)])
  text = method_rounds.sentences({'decision': one})
  assert 'does not matter; the study ended undecided, as the next round would take more' in text
  assert 'The first round was the only one. There was one look at the question, at 3 trials' in text
  assert 'hold together with 99%, and' in text and method_rounds.level(one) == '99%'
  none = asked(BEST, rounds=[looked(error=None)])
  assert 'There was no look at the question yet.' in method_rounds.sentences({'decision': none})
  assert method_rounds.level(none) == ''
  lost = asked(BEST, shown=[shown(64, 'worse'), shown(128, 'worse'), shown(256, 'open')])
  assert method_rounds.sentences({'decision': lost}).endswith(
    'Batch sizes 64 and 128 were given no further trials once shown to be worse.'
  )
