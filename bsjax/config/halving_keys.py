"""Keys of learning rates that are given up within a training, and where they cannot be."""

from __future__ import annotations

from typing import Any

from bsjax.config.decide_keys import BEST, EQUIVALENT, TREND
from bsjax.config.errors import Problem
from bsjax.config.key import Key

HALVING = (
  Key(
    'halving.rungs',
    (),
    'Shares of training after which, at the next evaluation on whole splits, learning rates are '
    'dropped: of each batch size those that are not among the better ones by the mean metric of '
    'all trials, and not between or beside these. Dropped runs end there.',
    'share',
    item=float,
    above=0,
    below=1,
    remedy='(): every run is trained to its end',
    twice='names one twice; give each once',
  ),
  Key(
    'halving.keep',
    0.5,
    'Of the learning rates of a batch size that are left at a rung, the share that goes on; three '
    'neighbours around the best one always do.',
    'share',
    above=0,
    below=1,
  ),
)
COMPARED = BEST, EQUIVALENT, TREND  # questions about runs at their end


def problems(config: Any) -> list[Problem]:
  """What is wrong with dropping learning rates in this study, one sentence each."""
  rungs = config.halving.rungs
  if not rungs:
    return []
  sentences: list[Problem] = []
  if list(rungs) != sorted(rungs):
    sentence = f'halving.rungs={tuple(rungs)} go down: give them in ascending order'
    sentences.append(Problem(sentence, 'halving.rungs'))
  others = {'scaling.rule': config.scaling.rule != 'none', 'stages.order': config.stages.order}
  sentences += [
    Problem(
      f'{key} is set: with halving.rungs learning rates are dropped by batch size, in studies '
      'without scaling rules and stages; leave one of both out',
      key,
      'halving.rungs',
    )
    for key, is_set in others.items()
    if is_set
  ]
  question = config.decide.question.partition(':')[0]
  if question and question not in COMPARED:
    sentence = (
      f'halving.rungs={tuple(rungs)}: decide.question={config.decide.question!r} takes all '
      f'learning rates to their end; leave one of both out, or ask {", ".join(COMPARED)}'
    )
    sentences.append(Problem(sentence, 'halving.rungs', 'decide.question'))
  return sentences
