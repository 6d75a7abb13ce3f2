"""The sentences of reasons that claims give: what shows nothing, what would, what else differs.

A sentence begins in lower case, unless with a name, and has no full stop. Details are formatted as
`formats.py` says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bsjax.report.text.formats import count, named, points, units


def _interpolated(verdict: str, low: float, high: float, unit: str) -> str:
  ends = ' to '.join(points(end, units()[unit].scale) for end in (low, high))
  return (
    f'it would be {verdict} if the curves were straight between their records. For any values '
    f'between these the interval is {ends}: evaluate more often'
  )


def _contains_zero(half: float, trials: int | None, unit: str) -> str:
  of = units()[unit]
  seen = f'{of.scale * half:.3g} {of.shown}'.rstrip()
  return (
    f'the interval contains zero: an estimate beyond {seen} would have been shown; with '
    f'{count(trials)} trials of this spread, half the interval is smaller than what was found'
  )


def _at_grid_edge(sizes: Sequence[int], condition: str = '') -> str:
  rate = f'the learning rate of {condition}' if condition else 'the learning rate'
  return f'{rate} is at the edge of the grid at {named(sizes)}: a better may lie outside'


def _one_rate(sizes: Sequence[int], condition: str = '') -> str:
  only = f'of {condition} only' if condition else 'only'
  return f'{only} one learning rate was tried at {named(sizes)}: nothing was tuned there'


def _best_rates_unsafe(size: int, rates: Sequence[float], condition: str = '') -> str:
  where = f'batch size {size} of {condition}' if condition else f'batch size {size}'
  return (
    f'{where} is read beside its best rates, and what it can reach is not known: some trial '
    f'diverged at {", ".join(map(str, rates))}, though none did at a larger rate'
  )


def _best_rates_dropped(size: int, rates: Sequence[float], condition: str = '') -> str:
  where = f'batch size {size} of {condition}' if condition else f'batch size {size}'
  return (
    f'{where} is best next to {", ".join(map(str, rates))}, dropped within training as worse '
    'there, which may be better in the end: what it can reach is not known'
  )


def _stand_at(sizes: Sequence[int], epochs: Sequence[float], shares: Sequence[float]) -> str:
  places = [f'batch size {s} stands at epoch {e:.3g}' for s, e in zip(sizes, epochs, strict=True)]
  text = f'there {" and ".join(places)}'
  if len({f'{epoch:.3g}' for epoch in epochs}) == 1:
    text = f'there batch sizes {" and ".join(map(str, sizes))} stand at epoch {epochs[0]:.3g}'
  if abs(shares[0] - shares[1]) <= 0.01:
    return text
  rates = ' and '.join(f'{100 * share:.0f}%' for share in shares)
  return f'{text}, their learning rates at {rates} of their peaks by the schedule'


def _rates_tried(fewest: int, most: int) -> str:
  rates = str(fewest) if fewest == most else f'{fewest} to {most}'
  return f'{rates} learning rates were tried at each'


def _condition_updates(second: str, first: str, low: float, high: float) -> str:
  times = ' to '.join(dict.fromkeys(f'{end:.3g}' for end in (low, high)))
  return (
    f'there {second} has made {times} times as many updates as {first}: an effect of their number '
    'would look the same'
  )


def _conditions_cut_short(
  first: str, second: str, size: int, shares: Sequence[float], ends: Sequence[float]
) -> str:
  of_both = zip((first, second), shares, ends, strict=True)
  places = [f'{name} at {100 * at:.0f}% (at its end {100 * end:.0f}%)' for name, at, end in of_both]
  return (
    f'the schedule of one is cut short there: the learning rates stand, in shares of their peaks, '
    f'{" and ".join(places)} at batch size {size}'
  )


def _no_result(why: str, problems: Sequence[Sequence[Any]]) -> str:
  return f'{why} ({_at_rates(problems)})' if problems else why


def _at_rates(problems: Sequence[Sequence[Any]]) -> str:
  """Problems with the learning rates at which they occurred."""
  return '; '.join(
    f'{problem} at learning rate {", ".join(f"{rate:.4g}" for rate in rates)}'
    for problem, rates in problems
  )


OF_CLAIMS: dict[str, str | Callable[..., str]] = {
  # What an effect itself shows, and what would decide the claim.
  'one_trial': 'one {over:singular} has no spread and shows nothing',
  'no_interval': 'there is no interval, so that nothing is shown',
  'no_width': 'all trials gave the same number, so the validation split is too coarse to see their '
  'spread and the interval proves nothing: use more validation examples',
  'statistics_disagree': 'with the running statistics of BatchNorm it would be {running}, with '
  're-estimated ones {reestimated}: what differs may be the statistics',
  'interpolated': _interpolated,
  'contains_zero': _contains_zero,
  'crosses_margin': 'the interval crosses the margin of {margin:percent}{judged.of_points}; '
  '{trials:count} trials of this spread would decide it',
  'lost_end': 'it would speak of batch sizes {range[0]} to {range[1]}, and {sizes:list} takes no '
  'part',
  'other_place_of_schedule': 'the learning rates stand at different places of their schedule '
  'there: what is compared is not only the batch size',
  'best_rates_unsafe': _best_rates_unsafe,
  'best_rates_dropped': _best_rates_dropped,
  'exponent_margin': 'supported if all of it is within {margin:g} of {power:g}, refuted if all is '
  'outside',
  'no_exponent': 'the exponent is undefined: {why}',
  'exponent_not_finite': 'the exponent or its interval is not finite',
  # What else differs between the runs compared.
  'chosen_at_grid_edge': _at_grid_edge,
  'one_rate': _one_rate,
  'more_updates': 'batch size {small} makes {times:.3g} times as many updates as {large}: an '
  'effect of their number would look the same',
  'stand_at': _stand_at,
  'on_subset': 'read on {train:,} training and {val:,} validation examples, the same for all, as '
  'whole splits were not evaluated there',
  'condition_updates': _condition_updates,
  'conditions_stand_at': 'there {first} stands at epoch {epochs[0]:.3g} and {second} at epoch '
  '{epochs[1]:.3g}',
  'conditions_cut_short': _conditions_cut_short,
  'means_turn': 'the means do not go one way from size to size: the slope is an average over the '
  'range',
  # Confounds.
  'equal_updates': 'all have made as many updates',
  'nothing_at_equal_updates': 'they cannot all be read at equal updates',
  'at_equal_updates': 'of {whole:points}{judged.of_points} at equal epochs, {value:points} '
  '[{low:points}, {high:points}] are left at equal updates',
  'rates_tried': _rates_tried,
  'no_grid': 'one learning rate makes no grid',
  'inside_grid': 'their best learning rates lie inside the grid',
  'no_batch_norm': 'the model has no BatchNorm',
  'not_reestimated': 'statistics were not re-estimated',
  'with_fresh_statistics': 'of {whole:points}{judged.of_points} with running statistics, '
  '{value:points} [{low:points}, {high:points}] are left with re-estimated ones',
  'time_scale': 'it reaches back over {scales[0]:,.0f} examples at batch size {small} and over '
  '{scales[1]:,.0f} at {large}',
  # What takes no part, and why.
  'left_out': 'batch size {size} takes no part ({why})',
  'fewer_trials': 'it has {trials} of {of} trials',
  'trial_not_finite': 'a trial has no finite value',
  'too_few_batch_sizes': '{readable} of {of} batch sizes can be compared here, and a slope needs '
  'two',
  'sizes_share_no_trial': 'the batch sizes have no trial in common',
  'no_learning_rate': 'no learning rate was chosen',
  'nothing_at_epoch': 'no batch size can be read at this epoch',
  'not_trained': '{condition} was not trained with it',
  'failed': '{condition}: {why}',
  'same_runs': 'both are the same runs there, to the last digit',
  'two_share_no_trial': 'the two have no trial in common',
  'nothing_shared': 'there is no batch size at which both can be read in every trial',
  'no_result': _no_result,
  'all_failed': _at_rates,
  'untuned': 'one learning rate was tried: nothing was tuned at this batch size',
  # Classes.
  'classes_alike': 'the rarest third of the classes has as many training examples as the most '
  'frequent',
  'no_final_metric_of_classes': 'a trial has no final {judged.metric.title} by class',
  'no_metric_of_classes': 'no run ended with {judged.a_metric} by class on record',
  # Scaling rules.
  'base_not_run': 'scaling.base_batch_size={base} is not a batch size of the study: nothing to '
  'compare to',
  'base_alone': 'batch size {base} is the only one',
  'several_lanes_per_trial': 'a setting has several lanes per trial (branches), and none of them '
  'is the reference',
  'unreadable': '{problems:by_size}',
  'trials_differ': 'the trials differ: {first} and {second}',
  'curves_share_no_evaluation': 'they have no evaluation in common',
  'no_distance': 'a distance is zero or unknown',
  'too_few_distances': '{rules} rule(s) have a distance: nothing to compare',
  'not_told_apart': '{rule:rule} has the smallest mean, not told apart from {others:rules}',
  'others_farther': '{others:farther}, at 95% for all pairs and batch sizes at once',
  'rules_without_distance': 'left out, without a distance: {rules:rules}',
  'nothing_to_scale': 'batch size {base} has no learning rate to scale: {why}',
  'trial_not_run': 'trial {trial} was not run at learning rate {learning_rate:.4g}',
  'nearer_in_arms': 'so it is in {nearer} of {arms} arms',
}
