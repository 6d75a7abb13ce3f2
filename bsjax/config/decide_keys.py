"""Keys of a study that goes on in rounds until a question is decided, and what may be asked."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from bsjax.config.errors import Problem
from bsjax.config.key import Key, zero

_how = functools.partial(Key, computes=False)  # runs are those of config.rounds

BEST, EQUIVALENT, TREND = 'best_batch_size', 'equivalent', 'trend'
BEST_RATE, CRITICAL = 'best_learning_rate', 'critical_batch_size'
KINDS = BEST, EQUIVALENT, TREND, BEST_RATE, CRITICAL
FACTORS = BEST_RATE, CRITICAL  # whose margin is a factor, and which compare no batch sizes
QUESTION = 'decide.question'
FIXED = 'question', 'margin', 'error', 'most_trials'  # once looks have been taken
QUESTIONS = ', '.join(f'{kind}:A,B' if kind == EQUIVALENT else kind for kind in KINDS)

DECIDE = (
  _how(
    'decide.question',
    '',
    f'What rounds are planned for until it is decided: {QUESTIONS} (A and B batch sizes). '
    'Trials of the first round are config.trials.',
    remedy="'' asks nothing: the study ends as it was planned",
  ),
  _how(
    'decide.margin',
    0.0,
    'The largest difference that does not matter, in the unit of the metric (0.005 of a fraction '
    'is half a percentage point); of a learning rate the factor within which it is to be known, of '
    'the critical batch size that of the two ends of its interval.',
    **zero('that of the metric, or a factor of 2'),
  ),
  _how(
    'decide.error',
    0.05,
    'How often a study may decide wrongly, all looks at its runs together.',
    'share',
    above=0,
    below=0.5,
  ),
  _how(
    'decide.most_trials', 30, 'Of a setting, after which no more are added.', low=2, high=10_000
  ),
  _how(
    'decide.budget',
    0.0,
    'What all rounds together may take, in the unit of decide.budget_unit; a round that would take '
    'more is not begun, and a first one that alone takes more is refused: by its examples, or '
    'where ticks were timed by its minutes. How long rounds take is known of those that ended in '
    'one go; before there is one, the next round is as small as can be.',
    **zero('no bound'),
  ),
  _how(
    'decide.budget_unit',
    'lane_examples',
    'lane_examples (examples that lanes train on), minutes, or price.',
    choices=('lane_examples', 'minutes', 'price'),
  ),
  _how(
    'decide.price_per_hour',
    0.0,
    'Of the machine, for a budget that is a price.',
    **zero('not known'),
  ),
  _how(
    'decide.spread',
    0.0,
    'For --dry_run: the standard deviation, over trials, of the difference of two batch sizes, in '
    'the unit of the metric.',
    **zero('that of the runs in the workdir, if any'),
  ),
  _how(
    'decide.rounds',
    (),
    'What has been added, round by round: boxes, why, and seconds. Written as rounds end.',
    item=object,
    remedy='() is the study as it was begun',
  ),
)


class Asked(NamedTuple):
  """A question: its kind, the batch sizes that it names, and the margin that counts as none."""

  kind: str
  sizes: tuple[int, ...] = ()
  margin: float | None = None


def asked(decide: Any) -> Asked | None:
  """What `config.decide` asks, if anything.

  Raises:
    ValueError: it is no question.
  """
  kind, _, named = decide['question'].partition(':')
  if not kind:
    return None
  try:
    sizes = tuple(map(int, named.split(','))) if named else ()
  except ValueError:
    kind, sizes = '', ()  # whatever its kind, it names what is no batch size
  if kind not in KINDS or len(sizes) != 2 * (kind == EQUIVALENT):
    raise ValueError(f'decide.question={decide["question"]!r}: give one of {QUESTIONS}')
  return Asked(kind, sizes, decide['margin'] or None)


def problems(config: Any) -> list[Problem]:
  """What is wrong with a question in this study, one sentence each."""
  try:
    question = asked(config.decide)
  except ValueError as error:
    return [Problem(str(error), QUESTION)]
  if question is None:
    return []
  sentences = []
  decide, sizes = config.decide, tuple(config.batch_sizes)
  if question.kind != BEST_RATE and len(sizes) < 2:
    sentence = f'batch_sizes={sizes}: {decide.question} takes two or more'
    sentences.append(Problem(sentence, 'batch_sizes', QUESTION))
  if lost := sorted(set(question.sizes) - set(sizes)):
    sentence = f'decide.question={decide.question!r} names {lost}, not among batch_sizes={sizes}'
    sentences.append(Problem(sentence, QUESTION, 'batch_sizes'))
  if len(set(question.sizes)) < len(question.sizes):
    sentence = f'decide.question={decide.question!r} names a batch size twice'
    sentences.append(Problem(sentence, QUESTION))
  if not 2 <= config.trials <= decide.most_trials:
    sentence = (
      f'trials={config.trials}: a question takes 2 or more at first, and at most '
      f'decide.most_trials={decide.most_trials}'
    )
    sentences.append(Problem(sentence, 'trials', 'decide.most_trials'))
  if question.kind == CRITICAL and len(sizes) < 3:
    sentence = f'batch_sizes={sizes}: {decide.question} takes three or more'
    sentences.append(Problem(sentence, 'batch_sizes', QUESTION))
  if question.kind in FACTORS and question.margin and question.margin <= 1:
    sentence = f'decide.margin={decide.margin}: of {decide.question} it is a factor above 1'
    sentences.append(Problem(sentence, 'decide.margin'))
  if decide.budget_unit == 'price' and decide.budget and not decide.price_per_hour:
    sentence = 'decide.budget_unit=price takes decide.price_per_hour, which is 0'
    sentences.append(Problem(sentence, 'decide.budget_unit', 'decide.price_per_hour'))
  if config.evaluation.subset:
    sentence = (
      f'evaluation.subset={config.evaluation.subset}: rounds extend a study, and rows of a subset '
      f'are not merged; leave it or decide.question={decide.question!r} out'
    )
    sentences.append(Problem(sentence, 'evaluation.subset', QUESTION))
  others = {
    'scaling.rule': config.scaling.rule != 'none',
    'stages.order': config.stages.order,
    'axes': any(config.axes.values()),
  }
  return sentences + _beside(config, others)


def of_arms(config: Any) -> list[Problem]:
  """What is wrong with a question where a study has arms, each of which is checked by itself."""
  return _beside(config, {'arms.order': config.arms.order}) if config.decide.question else []


def _beside(config: Any, others: Mapping[str, Any]) -> list[Problem]:
  """A sentence for each of the keys that are set, which a question does not go with."""
  return [
    Problem(
      f'{key} is set: rounds of decide.question={config.decide.question!r} plan the learning rates '
      'of each batch size, in studies without scaling rules, stages, arms and axes; leave one of '
      'both out',
      *([f'axes.{axis}' for axis in config.axes if config.axes[axis]] if key == 'axes' else [key]),
      QUESTION,
    )
    for key, is_set in others.items()
    if is_set
  ]
