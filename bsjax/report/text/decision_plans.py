"""What is said of a question before runs are trained: of a round as it begins, and of a dry run."""

from __future__ import annotations

from bsjax.analysis.decide.planning import Plan
from bsjax.analysis.decide.power import ENOUGH, MOST, Seen
from bsjax.report.text.decision import STATES, WHY
from bsjax.report.text.formats import margin_text


def begins(number: int, plan: Plan) -> str:
  """What is said of a round as it begins, also where no budget can be held against it."""
  said = f'Round {number}: {WHY[plan.why]}, {plan.lane_examples:,} examples.'
  if plan.bounded:
    return said
  return (
    f'{said} How long rounds take is not known before one has ended in one go, so this one is as '
    'small as can be, whatever is left of the budget.'
  )


def ended(plan: Plan) -> str:
  """What is said where no round comes."""
  return f'no round; {STATES[plan.why]}.'


def no_spread() -> str:
  """What a dry run says that knows of no spread."""
  return (
    'What the planned trials can see is not known: give decide.spread, the standard deviation over '
    'trials of the difference of two batch sizes, or the workdir of a study with this question.'
  )


def foreseen(spread: float, margin: float, planned: Seen, smallest: int | None) -> list[str]:
  """What a number of trials can see, and the fewest that see enough."""
  least = 'no difference up to four times that'
  if planned.difference is not None:
    least = f'a difference of {margin_text(planned.difference)}'
  fewest = f'up to {smallest}' if smallest else f'more than {MOST}'
  return [
    f'A difference of two batch sizes varies by {margin_text(spread)} over trials (one standard '
    f'deviation). Up to {planned.trials} trials show equal ones to be within '
    f'{margin_text(margin)} in {100 * planned.alike:.0f}% of studies, and {least} in 80%.',
    f'To show equal ones to be within {margin_text(margin)} in {100 * ENOUGH:.0f}% of studies '
    f'takes {fewest} trials (2,000 simulated studies of one pair).',
  ]
