"""The sentences of recommendations: what a goal is called, and why a batch size serves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bsjax.analysis.goals_to_target import EXAMPLES, OVERHEAD, TIME, UPDATES
from bsjax.config.metrics import judged

TITLES = {
  EXAMPLES: 'fewest examples to a target',
  UPDATES: f'fewest updates within {100 * OVERHEAD:g}% of the fewest examples',
  TIME: 'least time to a target, run alone',
}


def title(goal: str) -> str:
  """What a goal is called; one that is none of `TITLES` is the best of a metric."""
  return TITLES.get(goal, f'best {judged().val_title}')


_TARGET = 'to a {quantity:noun} of {target:.3g}'


def _nothing_to_compare(sizes: Sequence[int]) -> str:
  few = f'only batch size {sizes[0]} has' if sizes else 'no batch size has'
  return f'{few} a result in every trial: nothing to compare'


def _shown_worse(sizes: Sequence[int], level: float = 0.95, looks: bool = False) -> str:
  every, which = 'pairs and looks' if looks else 'pairs', ', '.join(map(str, sizes)) or 'none'
  return f'shown to be worse, at {100 * level:.3g}% for all {every} at once: {which}'


def _too_few_reach(sizes: int, trials: int, run_whole: bool) -> str:
  sizes_run = f'{sizes} batch sizes{" run whole" * run_whole}'
  return f'{sizes_run} reach the target in every trial, over {trials} trials: too few to compare'


def _examples_ratio(
  best: int, ratio: float, low: float, high: float, overhead: float, certain: bool
) -> str:
  text = f'it needs {ratio:.3g} times the examples of {best}, interval {low:.3g} to {high:.3g}'
  return text if certain else f'{text}: whether it stays within {100 * overhead:g}% is undetermined'


OF_GOALS: dict[str, str | Callable[..., str]] = {
  'nothing_to_compare': _nothing_to_compare,
  'one_trial_highest': 'one trial has no spread and shows no batch size to be best; '
  '{judged.best_mean} here: {best}',
  'highest_mean': 'batch size {best} has the {judged.best_mean} mean over {trials} trials',
  'shown_worse': _shown_worse,
  'not_shown_worse': 'not shown to be worse: {sizes:list}',
  'as_good': '{size} is within {margin:percent}{judged.of_points} of {best}, by its whole '
  'interval, and needs fewer updates',
  'rate_of_others': 'learning rate {rate:.4g} is nearest to {best:.3g}, where its own runs and the '
  'best rates of the other batch sizes together put its best; by its own runs alone it would be '
  '{own:.4g}',
  'at_stake': 'whether {other} is as good is undetermined: {best} less {other} is '
  '{value:points}{judged.of_points}, interval {low:points} to {high:points}',
  'reached_early': 'batch size {sizes:list} reached the target before its first evaluation, so '
  'what it needs is not known: evaluate more often',
  'target_unknown': '{why}',
  'too_few_reach': _too_few_reach,
  'fewest_examples': _TARGET + ': batch size {size} needs {examples:,.0f} examples, the fewest '
  '(geometric mean of {trials} trials)',
  'shown_to_need_more': 'shown to need more: {sizes:list}',
  'shown_to_need_longer': 'shown to need longer: {sizes:list}',
  'not_shown_to': 'not shown to: {sizes:list}',
  'fewest_updates': 'batch size {size} needs {updates:,.0f} updates, the fewest of {of:list}',
  'examples_ratio': _examples_ratio,
  'falls_short': 'batch size {size} does not reach the target in every trial',
  'not_run_whole': 'batch size {size} was not run whole',
  'least_seconds': _TARGET + ' on {hardware}: {seconds:.3g} s (geometric mean of {trials} trials), '
  'at {examples_per_second:,.0f} examples per second; evaluations and reading data are not counted',
}
