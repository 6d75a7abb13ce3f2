"""Whether the first round of a question fits its budget, which later rounds are planned within.

Of lane-examples it is known before anything is compiled; of minutes and prices once ticks are
timed, and where nothing is timed not at all.
"""

from ml_collections import ConfigDict

from bsjax.config.errors import Problem
from bsjax.format import number
from bsjax.plan import rounds
from bsjax.plan.lanes import StudyPlan


def beyond_examples(config: ConfigDict, study_plan: StudyPlan) -> Problem | None:
  """Says so where the first round trains on more examples than the budget has."""
  decide, each = config.decide, study_plan.total_examples
  cost = each * len(study_plan.lanes)
  if _is_first(config) and decide.budget_unit == 'lane_examples' and 0 < decide.budget < cost:
    return Problem(
      f'decide.budget={decide.budget:,.0f} (lane_examples), and the first round alone takes '
      f'{cost:,} ({len(study_plan.lanes)} lanes of {each:,}); {_REMEDY}',
      'decide.budget',
    )
  return None


def beyond_seconds(config: ConfigDict, seconds: float | None) -> Problem | None:
  """Says so where the first round takes longer than the budget, by timings of ticks."""
  decide, most = config.decide, rounds.budget_seconds(config.decide)
  if _is_first(config) and seconds is not None and seconds > most:
    return Problem(
      f'decide.budget={decide.budget:g} ({decide.budget_unit}) is {number(most / 60)} minutes, '
      f'and the first round alone takes {number(seconds / 60)} by timings of ticks; {_REMEDY}',
      'decide.budget',
    )
  return None


_REMEDY = 'give more, or fewer trials, learning rates, batch sizes or epochs at first'


def _is_first(config: ConfigDict) -> bool:
  return bool(config.decide.question) and len(config.decide.rounds) == 1
