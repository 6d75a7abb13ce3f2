"""The sentences of reasons that runs and measures of them give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bsjax.format import by_reason, joined, measured, sizes_text, together

Pairs = Sequence[Sequence[Any]]  # of what has a reason, and its words


def _numbered(noun: str, numbers: Sequence[Any]) -> str:
  """'trial 0', 'trials 0 and 2'."""
  return f'{noun}{"s" * (len(numbers) > 1)} {joined(numbers)}'


def _counted(count: int, noun: str) -> str:
  """'1 trial', '2 trials'."""
  return f'{count} {noun}{"s" * (count != 1)}'


def _lanes_failed(trials: Pairs) -> str:
  return '; '.join(f'{_numbered("trial", at)} {why}' for why, at in together(trials).items())


def _too_few_to_compare(batch_sizes: int, runs: int) -> str:
  counts = f'{_counted(batch_sizes, "batch size")} with {_counted(runs, "run")}'
  return f'{counts} that did not fail: three batch sizes are needed'


def _few_reach_target(reached: int, batch_sizes: int, early: Sequence[int]) -> str:
  text = (
    f'{reached} of {_counted(batch_sizes, "batch size")} reach the target between two evaluations, '
    'and a hyperbola needs three'
  )
  return f'{text}; {sizes_text(early)} do before the first: evaluate more often' if early else text


def _target_at_grid_edge(batch_sizes: Sequence[int]) -> str:
  return (
    f'at {sizes_text(batch_sizes)} the best learning rate is at the edge of the grid: fewer '
    'examples than found may do, so that they only bound what is needed'
  )


def _target_beside_unsafe(batch_sizes: Sequence[int]) -> str:
  return (
    f'at {sizes_text(batch_sizes)} some trial diverged at a learning rate at which the others were '
    'faster, though none did at a larger one: fewer examples than found may do, so that they only '
    'bound what is needed'
  )


def _target_beside_dropped(batch_sizes: Sequence[int]) -> str:
  return (
    f'at {sizes_text(batch_sizes)} the next learning rate was dropped before it could have been as '
    'fast: fewer examples than found may do, so that they only bound what is needed'
  )


def _few_inside_grid(
  inside: int,
  batch_sizes: int,
  at_grid_edge: Sequence[int],
  best_rates_unsafe: Sequence[int] = (),
  best_rates_dropped: Sequence[int] = (),
) -> str:
  places = [f'it is at the edge at {sizes_text(at_grid_edge)}'] if at_grid_edge else []
  if best_rates_unsafe:
    places.append(f'some trial diverged at faster ones at {sizes_text(best_rates_unsafe)}')
  if best_rates_dropped:
    places.append(f'the next one was dropped too early at {sizes_text(best_rates_dropped)}')
  return (
    f'{inside} of {_counted(batch_sizes, "batch size")} reach the target between two evaluations '
    'with the best learning rate inside the grid, and a hyperbola needs three; '
    f'{" and ".join(places)}: try more learning rates'
  )


def _moves_without_largest(batch_size: int, b_crit: float | None, **rest: Any) -> str:
  value = 'it has no value' if b_crit is None else f'it is {measured(b_crit, *rest["ci95"])}'
  return (
    f'without batch size {batch_size} {value}, outside the interval: a hyperbola does not fit all '
    'batch sizes, or they end too early'
  )


def _too_few_optima(needed: int, known: int, left_out: Pairs) -> str:
  counts = f'{needed} batch sizes with an optimum inside the grid are needed, {known} known'
  return '; '.join([counts, *by_reason(dict(left_out))])


def _trials_at_grid_edge(trials: Sequence[int], of: int) -> str:
  return f'the best rate is at the edge of the grid in {_numbered("trial", trials)} of {of}'


def _next_to_dropped(learning_rates: Sequence[float]) -> str:
  rates = joined(f'{rate:.4g}' for rate in learning_rates)
  return (
    f'the best of the rates that were trained to the end is next to {rates}, which was dropped '
    'before: worse there, not known to be worse in the end'
  )


def _noise_scale_undefined(value: Any, why: str | Sequence[str]) -> str:
  reasons = [why] if isinstance(why, str) else why
  return f'the noise scale is undefined ({"; ".join(reasons) or f"it is {value}"})'


_WHERE = 'batch size {batch_size}, learning rate {learning_rate:.4g}, trial {trial}'

OF_LANES: dict[str, str | Callable[..., str]] = {
  'diverged': 'diverged',
  'loss_not_finite': 'the loss was not finite',
  'gradient_not_finite': 'the gradient was not finite',
  'update_not_finite': 'the update would have left a number that is not finite',
  'state_not_finite': 'a parameter or a number of the optimizer was not finite',
  'parameter_not_finite': 'a parameter was not finite',
  'loss_grown': 'the loss was a million times that of guessing',
  'cause_not_recorded': 'not recorded by the version that trained it',
  'unfinished': 'unfinished at epoch {epoch:.3g} of {epochs:.3g}',
  'dropped': 'dropped at epoch {epoch:.3g} of {epochs:.3g}',
  'no_metric': 'ended without {judged.a_metric}',
  'lanes_failed': _lanes_failed,
  'different_trials': 'the learning rates were not tried in the same trials',
  'no_rate_ended_well': 'no learning rate ended well',
}
OF_BUDGETS: dict[str, str | Callable[..., str]] = {
  'not_recorded': 'the records hold no {key}',
  'record_not_finite': 'trial {trial} has a record without a finite {key}',
  'record_goes_down': 'the {key} of trial {trial} goes down from one record to the next',
  'outside_records': (
    '{key} {value:.6g} lies outside the records of trial {trial}, {first:.6g} to {last:.6g}'
  ),
  'before_first_evaluation': (
    '{key} {value:.6g} lies before the first evaluation after the start ({key} {first:.6g}): '
    'evaluate more often to compare there'
  ),
  'fewer_than_two_batch_sizes': 'there are no two batch sizes to compare',
  'no_common_rate': 'no learning rate was tried at every batch size',
  'no_common_rate_ended_well': (
    'at every shared learning rate some batch size has a trial without an end result'
  ),
  'loss_without_log': 'the training loss of trial {trial} is {value} after {examples} examples',
  'no_evaluation_of_all': 'the runs have no evaluation in common',
}
OF_TARGETS: dict[str, str | Callable[..., str]] = {
  'no_target_given': 'no target was given',
  'no_record_after_start': f'the run of {_WHERE} has no record after the start of training',
  'batch_size_changes': (f'the batch size changes in training, to {{to}}, in the run of {_WHERE}'),
  'training_in_stages': 'training goes through stages, which what it takes to a target would mix',
  'value_out_of_range': (
    f'{{quantity}} is {{value}} after {{examples}} examples in the run of {_WHERE}'
  ),
  'no_trial_of_all': 'the settings have no trial in common',
  'too_few_to_compare': _too_few_to_compare,
  'too_few_end_well': (
    'fewer than {needed} of {batch_sizes} batch sizes have a learning rate at which most trials '
    'end well'
  ),
  'no_target_between': (
    'no level of {quantity} that {needed} batch sizes reach lies beyond what some run has at its '
    'first evaluation: evaluate more often, or train for longer'
  ),
  'few_reach_target': _few_reach_target,
  'few_inside_grid': _few_inside_grid,
  'moves_without_largest': _moves_without_largest,
  'use_more': '{why}: use more trials or more batch sizes',
  'too_few_for_hyperbola': (
    '{exact} exact values at {batch_sizes} batch sizes do not determine a hyperbola and its spread'
  ),
  'scales_perfectly': ('examples do not grow with batch size: all batch sizes scale perfectly'),
  'gains_nothing': (
    'updates do not fall with batch size: all batch sizes are far above the critical one'
  ),
  'not_bounded_above': 'batch sizes reach too little beyond the critical one to bound it above',
  'not_bounded_below': 'batch sizes reach too little below the critical one to bound it below',
  'target_at_grid_edge': _target_at_grid_edge,
  'target_beside_unsafe': _target_beside_unsafe,
  'target_beside_dropped': _target_beside_dropped,
  'chosen_on_one_trial': (
    'with one trial the learning rates were chosen on the runs they are judged by'
  ),
  'target_before_first_evaluation': 'a run had reached the target before its first evaluation',
  'target_not_reached': 'a trial reached the target at no batch size',
  'largest_is_within': 'the largest batch size tried, {batch_size}, is within 20%',
  'next_missed_target': ('batch size {batch_size}, the next after those within 20%, has missed it'),
}
OF_LEARNING_RATES: dict[str, str | Callable[..., str]] = {
  'lane_failed': 'trial {trial} is {problem} at {learning_rate:.4g}',
  'too_few_rates': 'a valley takes {needed} learning rates or more, {tried} tried',
  'rates_not_ascending': 'the learning rates are not positive and ascending',
  'no_trial': 'there is no trial',
  'loss_negative_or_missing': 'a loss is negative or missing',
  'every_rate_diverged': 'every learning rate diverged in some trial',
  'best_at_grid_edge': (
    'the {end} rate, {learning_rate:.4g}, is the best in every trial: the optimum is at or beyond '
    'it'
  ),
  'trials_at_grid_edge': _trials_at_grid_edge,
  'next_to_dropped': _next_to_dropped,
  'next_to_divergence': (
    'a rate next to the best diverged: the optimum is known only to the spacing of the grid'
  ),
  'flat_curve': 'the curve is flat: it has no curvature beyond the noise of the trials',
  'no_minimum_between_points': 'the curve fitted to a trial has no minimum between its points',
  'one_trial_has_no_interval': 'one trial has no spread, so there is no interval',
  'too_few_optima': _too_few_optima,
  'rate_falls': 'the best learning rate falls with the batch size, which the law cannot',
  'rate_grows_faster': (
    'the best learning rate grows faster than the batch size, which the law cannot'
  ),
  'no_scaling_fits_best': 'no scaling fits best, so B_lr has no value',
  'linear_scaling_fits_best': 'linear scaling fits best, so B_lr has no value',
  'linear_scaling_fits': 'linear scaling fits, so there is no upper bound',
  'noise_scale_undefined': _noise_scale_undefined,
  'derived_for_adaptive': 'it was derived for optimizers such as Adam, this is {optimizer}',
  'optimizer_from_outside': (
    'whether the optimizer scales coordinates, as Adam does, is not known of one from outside'
  ),
  'derived_for_sgd': 'it was derived for SGD, this is {optimizer}',
  'only_below_noise_scale': ('it holds far below the noise scale, batch size {batch_size} is not'),
  'only_below_unknown_noise_scale': 'it holds far below the noise scale, which is unknown',
  'exponent_is_a_range': (
    'the exponent is known only as {low:g} to {high:g}; drawn with {drawn:g}'
  ),
  'betas_must_change': 'it was derived for betas and epsilon that change with the batch size',
  'noise_scale_of_signs': (
    'its noise scale is that of steps by sign, for which the one of the gradient stands in'
  ),
}
OF_RUNS = OF_LANES | OF_BUDGETS | OF_TARGETS | OF_LEARNING_RATES
