"""The sentences of reasons that audits give: what was guessed, what the curves lack, confounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bsjax.config.metrics import USUAL
from bsjax.report.text.formats import LOG_POINTS, count, named, points


def _guessed(pairs: Sequence[Sequence[str]]) -> str:
  return 'read ' + ', '.join(f'{theirs!r} as {ours}' for ours, theirs in pairs)


def _unit(columns: Sequence[str], unit: str) -> str:
  return f'{", ".join(map(repr, columns))} taken for {unit}{"s" * (unit == "fraction")}'


def _not_used(columns: Sequence[str], count: int) -> str:
  rest = f' and {count - len(columns)} more' if count > len(columns) else ''
  return f'not used: {", ".join(columns)}{rest}'


def _settings_of_names(key: str, example: str) -> str:
  return f'the {key.replace("_", " ")} was read off names such as {example!r}'


def _change(value: float, low: float | None, high: float | None) -> str:
  return points(value) + ('' if low is None else f' [{points(low)}, {points(high)}]')


def _gained(unit: str) -> Callable[..., str]:
  def sentence(size: int, value: float, low: float | None, high: float | None) -> str:
    return (
      f'in the last fifth of training batch size {size} gained most, {_change(value, low, high)} '
      f'{unit}'
    )

  return sentence


def _at_one_rate(unit: str) -> Callable[..., str]:
  def sentence(rate: float, value: float, low: float | None, high: float | None) -> str:
    return (
      f'with learning rate {rate:.4g} for all, {_change(value, low, high)} {unit} from the '
      f'smallest '
      'to the largest batch size'
    )

  return sentence


def _stale_if(size: int, updates: float, shares: Sequence[float]) -> str:
  each = zip((0.9, 0.99, 0.999), shares, strict=True)
  ends = ', '.join(f'{_share(share)} at momentum {m}' for m, share in each)
  return (
    f'whether the model has BatchNorm was not said; if so, after {updates:,.0f} updates (batch '
    f'size '
    f'{size}) its running statistics are to this share still the first ones: {ends}'
  )


def _percent_stale(sizes: Sequence[int], shares: Sequence[float], momentum: float) -> str:
  ends = ' and '.join(f'{_share(s)} at batch size {b}' for b, s in zip(sizes, shares, strict=True))
  return f'at momentum {momentum:g} running statistics are to {ends} still the first ones'


def _share(share: float) -> str:
  return f'{100 * share:.2g}%' if share >= 1e-5 else '0%'


def _needed(trials: int, needed: int | None) -> str:
  return (
    f'there are {trials} trials; {count(needed)} in all, of this spread, would show what was found'
  )


def _drops(size: int, share: float) -> str:
  return f'batch size {size} leaves out {_share(share)} of every epoch'


def _best_of(fewest: int, most: int) -> str:
  if most == 1:
    return 'one learning rate was tried, so none was chosen'
  rates = str(most) if fewest == most else f'{fewest} to {most}'
  return (
    f'of {rates} learning rates the best is reported on the numbers that chose it; a fit through '
    f'its '
    'neighbours takes off some of that'
  )


def _scales(numbers: Sequence[str]) -> str:
  unsaid = [name.replace('_', ' ') for name in numbers]
  unsaid += ['the warm-up of the learning rate', 'the decay of its schedule']
  return (
    f'{", ".join(unsaid)} and averages of weights count updates unless they were set in examples; '
    'the table does not say'
  )


def _in_cells(count: int, unknown: int, cells: int) -> str:
  open_ = f', unknown in {unknown}' if unknown else ''
  return f'in {count} of {cells} cells{open_}'


def _tested(sizes: Sequence[int], rates: Sequence[float]) -> str:
  at = f' at learning rate {rates[0]:.4g}' if rates else ''
  if rates and rates[0] < rates[1]:
    at = f' at learning rates {rates[0]:.4g} to {rates[1]:.4g}'
  return f'tested were batch sizes {", ".join(map(str, sizes))}{at}, and nothing beyond'


def _price(price: float, seconds: float) -> str:
  return f'at {price:g} per hour that costs {price * seconds / 3600:.3g}'


def _ranges(known: int, out: Sequence[int]) -> str:
  lost = f'; it leaves the grid at {named(out)}' if out else ''
  return (
    f'the range of good rates is known at {known} batch sizes{lost}, and it takes three, with four '
    'rates or more at each'
  )


OF_AUDIT: dict[str, str | Callable[..., str]] = {
  # How a table was read.
  'guessed_columns': _guessed,
  'guessed_unit': _unit,
  'read_as_error': '{columns:list} read as what it lacks of 1',
  'not_used': _not_used,
  'latin_1': '{file} is not UTF-8 and was read as Latin-1',
  'decimal_commas': '{file} has decimal commas in {columns:list}',
  'tensorboard_rows': 'rows of {file} are numbered as its events stand',
  'settings_of_names': _settings_of_names,
  'steps_are_updates': 'steps are taken for updates: they go down as one over the batch size',
  'steps_left_out': 'steps are not used, as epochs are there and steps are no updates',
  'epochs_from_zero': 'epochs count from 0: a row is taken for the end of the epoch it names; if '
  'it was written before training, number epochs by what was finished',
  'implied_train_examples': 'epochs and updates imply {examples:,} training examples',
  'epochs_not_known': 'the number of training examples is not known: an epoch is here the length '
  'of the longest run; say --train_examples=N',
  'ends_aligned': 'the ends of runs differ by up to {share:share}, a part of a batch, and are '
  'taken for one',
  'rows_twice': '{count} rows stand twice and count once',
  'trials_by_restart': 'rows of one setting begin again at the first place: taken for '
  '{count} trials',
  'resumed': '{runs} runs went back and on, such as after an interruption: of {rows} places that '
  'they hold twice the later row counts',
  'rows_without_metric': '{count} rows without {column} serve only for what they hold besides',
  'runs_without_metric': '{count} runs have no {column} and take no part',
  'runs_left_out': '{count} of {of} runs take no part, so that batch sizes have the same trials',
  'trials_numbered': 'trials have no names and are numbered in the order of the table: they are '
  'not '
  'taken to share anything across batch sizes',
  'thinned': 'runs of up to {most} records are thinned to {kept} each',
  'ends_differ': 'at {batch_sizes:list} each run ends elsewhere, as with early stopping: equal '
  'epochs '
  'are those at which the first one ended',
  'seconds_fall': 'seconds go down along runs, are none since the start, and are not used',
  'rate_not_given': 'no learning rates are given',
  'other_settings': 'runs also differ in {columns:list}, and are compared as if they did not: '
  '--columns=cell=NAME keeps them apart',
  # What is not known, or keeps a claim from its verdict.
  'no_column': 'the table has no column {columns:either}',
  'nothing_at_one_rate': 'at one rate for all no difference is shown that could have a cause',
  'no_common_grid': 'the batch sizes do not share two learning rates at which runs ended well in a '
  'common trial',
  'no_scaled_partner': 'no batch size was run at the rate that the rule gives it',
  'no_curve': 'curves cannot be compared: {why}',
  'too_few_spreads': 'the spread over trials is known at {sizes} batch sizes, and it takes three',
  'too_few_ranges': _ranges,
  'good_means': 'a rate is good that lacks at most {margin:percent} points of the best; batch '
  'sizes '
  '{sizes:list}',
  'loss_good_means': 'a rate is good whose loss is at most {margin:percent} log points above the '
  'best; batch sizes {sizes:list}',
  'good_range_leaves_grid': 'at {sizes:list} the good rates reach the end of the grid, so how many '
  'there are is not known',
  'grid_spans': 'it speaks of learning rates {rates[0]:.4g} to {rates[1]:.4g} and batch sizes '
  '{sizes[0]} to {sizes[1]}: a wider grid of either gives it a larger share',
  'sharpness_moves_with_loss': 'sharpness falls with the training loss and with larger steps: '
  'where '
  'runs stand at different losses or rates it says little of the batch size',
  'at_one_rate': _at_one_rate('percentage points'),
  'loss_at_one_rate': _at_one_rate(LOG_POINTS),
  'over_studies': 'known in {known} of {of} {over}, which are the sample',
  'no_schedule_runs': 'no run changes its batch size and has one beside it that keeps it',
  'freezing_not_given': 'the table does not say where layers are frozen',
  # Confounds.
  'updates_not_known': 'how many updates were made is not known: say --train_examples=N',
  'stale_if': _stale_if,
  'percent_stale': _percent_stale,
  'no_reading_late': 'not all have a record in the last fifth of training and before',
  'gained_late': _gained('percentage points'),
  'loss_gained_late': _gained(LOG_POINTS),
  'enough_trials': '{trials} trials were enough to show what is said',
  'trials_needed': _needed,
  'train_examples_not_known': 'the number of training examples is not known: say '
  '--train_examples=N',
  'may_drop': 'a loader that drops the last batch leaves out up to {share:share} of every epoch at '
  'batch size {size}',
  'drops': _drops,
  'best_of': _best_of,
  'ends_alike': 'all runs end at one epoch, none at one number of updates',
  'ends_apart': 'runs end at different epochs',
  'smoothed_by_name': 'the name of the column says so',
  'too_few_records': 'it takes {fewest} records in a run to tell',
  'autocorrelation': 'neighbouring values err alike with a correlation of {value:.2f}',
  'validation_by_name': 'by its name the metric is one of validation data',
  'test_by_name': 'by its name the metric is one of test data, and rates or epochs are chosen on '
  'it',
  'keras_averages': 'a history of Keras has the mean over each epoch as it went, in training mode',
  'train_below_val': f'{USUAL.train_title} begins below {USUAL.val_title} in {{share:share}} of '
  'the runs',
  'scales_not_given': _scales,
  'in_cells': _in_cells,
  # The recommendation.
  'tested': _tested,
  'price': _price,
  'loss_as_good': 'the loss of {size} is within {margin:percent} log points of that of {best}, '
  'by its whole interval, and {size} needs fewer updates',
  'loss_at_stake': 'whether {other} is as good is undetermined: {best} is ahead of {other} by '
  '{value:points} log points, interval {low:points} to {high:points}',
  'loss_crosses_margin': 'the interval crosses the margin of {margin:percent} log points; '
  '{trials:count} trials of this spread would decide it',
  'loss_at_equal_updates': 'of {whole:points} log points at equal epochs, {value:points} '
  '[{low:points}, {high:points}] are left at equal updates',
}
