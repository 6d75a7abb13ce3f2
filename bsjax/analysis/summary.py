"""Records to summary.json: for each batch size its best learning rate and what it reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis.tables import LaneHistory, Row, Setting, settings
from bsjax.intervals import fieller, mean_interval
from bsjax.noise_windows import combine_windows

NOT_ESTIMATED = {'undefined': 'not estimated by this version'}


def summarize(
  config: Mapping[str, Any],
  plan_rows: Sequence[Row],
  record_rows: Sequence[Row],
  hardware: str = '',
) -> dict[str, Any]:
  """The content of summary.json.

  `hardware` is a line for people, such as '2 CPU cores'; where given it is kept with the results.
  """
  reestimated = config['model']['normalization'] == 'batch'
  found = settings(plan_rows, record_rows)
  return {
    'batch_sizes': [_batch_size(size, tried, reestimated) for size, tried in found.items()],
    'critical_batch_size': NOT_ESTIMATED,
    'learning_rate_exponent': NOT_ESTIMATED,
    'claims': [],
    'recommendation': [],
  } | ({'hardware': hardware} if hardware else {})


def best_setting(tried: Sequence[Setting]) -> Setting | None:
  """The setting of highest mean validation accuracy; None if no setting ended well in all trials.

  Ties go to the lower validation loss.
  """
  eligible = [setting for setting in tried if setting.problem is None]
  return max(eligible, key=_merit, default=None)


def noise_scale(setting: Setting) -> dict[str, Any]:
  """tr(Sigma) / |G|^2 in examples, over the last half of training, with an interval over trials.

  A ratio of means throughout: each trial gives its mean numerator and mean denominator over all
  measurements of its windows, and only the means over trials are divided (Fieller's interval).
  """
  windows = [late_windows(lane) for lane in setting.lanes]
  trials = [combine_windows([noise for _, noise in lane]) for lane in windows if lane]
  if not trials:
    return _no_noise_scale('no noise scale was measured in the last half of training')
  ratio = fieller([trial.mean_a for trial in trials], [trial.mean_b for trial in trials])
  result = {
    'b_simple': ratio.value,
    'ci95': [ratio.low, ratio.high],
    'unbounded': ratio.unbounded,
    'from_examples': min(lane[0][0] for lane in windows if lane),
    'n': len(trials),
  }
  return result | ({'reason': ratio.reason} if ratio.reason else {})


def late_windows(lane: LaneHistory) -> list[tuple[int, Row]]:
  """The stretches between records in the last half of training, or the last one if none fits in it.

  Each comes as the examples seen at its start, and its `noise`; those without a measurement stay
  out.
  """
  stretches = [
    (before['examples'], row['noise'])
    for before, row in zip(lane.rows, lane.rows[1:], strict=False)
    if row['noise']['count']
  ]
  late = [stretch for stretch in stretches if 2 * stretch[0] >= lane.plan['examples']]
  return late or stretches[-1:]


def _batch_size(batch_size: int, tried: Sequence[Setting], reestimated: bool) -> dict[str, Any]:
  best = best_setting(tried)
  if best is None:
    return _none_eligible(batch_size, tried, reestimated)
  rates = [setting.learning_rate for setting in tried]
  train, val = best.finals('train_accuracy'), best.finals('val_accuracy')
  # Paired within the trial: what the trials share (easy or hard examples) cancels in the gap.
  gaps = [a - b for a, b in zip(train, val, strict=True)]
  result = {
    'batch_size': batch_size,
    'learning_rate': best.learning_rate,
    'at_grid_edge': best.learning_rate in (min(rates), max(rates)),
    'trials': len(best.lanes),
    'train_accuracy': _estimate(train),
    'val_accuracy': _estimate(val),
    'generalization_gap': _estimate(gaps),
    'noise_scale': noise_scale(best),
  }
  if reestimated:
    result['reestimated_val_accuracy'] = _estimate(best.finals('reestimated_val_accuracy'))
  if len(rates) == 1:
    result['note'] = 'one learning rate was tried: nothing was tuned at this batch size'
  return result


def _none_eligible(batch_size: int, tried: Sequence[Setting], reestimated: bool) -> dict[str, Any]:
  rates: dict[str, list[str]] = {}  # by problem, which often is the same at many
  for setting in tried:
    rates.setdefault(setting.problem, []).append(f'{setting.learning_rate:.4g}')
  keys = ['train_accuracy', 'val_accuracy', 'generalization_gap']
  keys += ['reestimated_val_accuracy'] if reestimated else []
  return {
    'batch_size': batch_size,
    'learning_rate': None,
    'at_grid_edge': None,
    'trials': len(tried[0].lanes),
    **{key: _estimate([]) for key in keys},
    'noise_scale': _no_noise_scale('no learning rate was chosen'),
    'reason': '; '.join(
      f'{problem} at learning rate {", ".join(at)}' for problem, at in rates.items()
    ),
  }


def _no_noise_scale(reason: str) -> dict[str, Any]:
  return {'b_simple': None, 'ci95': [None, None], 'unbounded': False, 'n': 0, 'reason': reason}


def _estimate(values: Sequence[float | None]) -> dict[str, Any]:
  """Mean and 95% Student-t interval over trials; null where they are not defined."""
  if not values or None in values:
    return {'mean': None, 'ci95': [None, None], 'n': 0}
  mean, low, high, n = mean_interval(values, 0.95)
  return {'mean': mean, 'ci95': [low, high] if n > 1 else [None, None], 'n': n}


def _merit(setting: Setting) -> tuple[float, float]:
  accuracies, losses = setting.finals('val_accuracy'), setting.finals('val_loss')
  loss = float('inf') if None in losses else sum(losses) / len(losses)
  # Rounded so that sums of the same numbers in another order tie.
  return round(sum(accuracies) / len(accuracies), 12), -loss
