"""What besides the batch size differs between the runs compared, as reasons to keep in mind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from bsjax.analysis.runs.budgets import at_end
from bsjax.analysis.runs.histories import Setting, Tried
from bsjax.analysis.runs.reading import Reading
from bsjax.analysis.runs.selection import Chosen, Tuned
from bsjax.config.metrics import judged
from bsjax.stats.estimate import Estimate, Reason

SAME_PLACE = 0.05  # shares of the peak learning rate that differ by less are of one place


def tuning(tried: Tried, chosen: Chosen, sizes: Sequence[int], **whose: str) -> list[Reason]:
  """Where a better learning rate may exist than the one chosen; `whose` names the condition."""
  edge = [size for size in sizes if at_edge(tried[size], chosen[size])]
  single = [size for size in sizes if len(tried[size]) == 1]
  reasons = [Reason('chosen_at_grid_edge', sizes=edge, **whose)] if edge else []
  return reasons + ([Reason('one_rate', sizes=single, **whose)] if single else [])


def at_edge(tried: Sequence[Setting], chosen: Tuned) -> bool:
  """Whether the best learning rate is the smallest or the largest of several that were tried.

  Where it is the largest at which all trials ended well, and larger ones were tried, what lies
  beyond is known: there runs diverge.
  """
  rates = [setting.learning_rate for setting in tried]
  return len(rates) > 1 and chosen.learning_rate in (min(rates), max(rates))


def skipped(chosen: Chosen, sizes: Sequence[int], **whose: str) -> list[Reason]:
  """The batch sizes whose best rates may be among those at which some trial diverged.

  Larger ones are safe there, so that it is no limit of the rate: what the batch size can reach is
  not known, and it may look worse than it is. The same holds where the best of the rates that were
  trained to the end is next to one that was dropped before.
  """
  reasons = []
  for size in sizes:
    unsafe, dropped = (list(x) for x in (chosen[size].skipped, chosen[size].dropped_beside))
    reasons += [Reason('best_rates_unsafe', size=size, rates=unsafe, **whose)] if unsafe else []
    reasons += [Reason('best_rates_dropped', size=size, rates=dropped, **whose)] if dropped else []
  return reasons


def of_worse(
  difference: Estimate, first: Sequence[Reason], second: Sequence[Reason]
) -> Sequence[Reason]:
  """Of what is `skipped` on both sides, that of the worse by the metric of the first less second.

  The better side may be better still, which does not speak against the difference.
  """
  return second if judged().metric.merit(difference.value or 0.0) > 0 else first


def updates(
  chosen: Mapping[int, Setting], sizes: Sequence[int], read: Mapping[int, Reading] | None = None
) -> list[Reason]:
  """How many more updates the smallest batch size has made where it was read, else at the end."""
  small, large = min(sizes), max(sizes)
  many, few = (_updates(chosen, size, read or {}) for size in (small, large))
  if small == large or not min(few):
    return []
  return [Reason('more_updates', small=small, large=large, times=float(max(many) / min(few)))]


def schedule(
  chosen: Mapping[int, Setting], read: Mapping[int, Reading], sizes: Sequence[int]
) -> list[Reason]:
  """Where in training and in its schedule each end of the range is read, when updates are equal."""
  ends, epochs, shares = (min(sizes), max(sizes)), [], []
  for size in ends:
    epochs.append(float(np.mean(read[size].values['epoch'])))
    shares.append(_share_of_peak(chosen[size], read[size]))
  return [Reason('stand_at', sizes=ends, epochs=epochs, shares=shares)]


def other_place(reasons: Sequence[Reason]) -> bool:
  """Whether a schedule has decayed further at one end of the range than at the other."""
  shares = [reason.details['shares'] for reason in reasons if reason.code == 'stand_at']
  return any(max(pair) - min(pair) > SAME_PLACE for pair in shares)


def places(reasons: Sequence[Reason]) -> list[Reason]:
  """Why nothing is shown where a schedule has decayed further for one batch size than another."""
  return [Reason('other_place_of_schedule')] if other_place(reasons) else []


def cut_short(
  names: Sequence[str], settings: Sequence[Setting], readings: Sequence[Reading]
) -> list[Reason]:
  """Why nothing is shown where one of two conditions has more of its schedule left than the other.

  What is left is the learning rate where a condition is read less that of its own end: schedules
  may be what differs between the two, and each is then fairly read at its end.
  """
  pairs = list(zip(settings, readings, strict=True))
  shares = [_share_of_peak(setting, reading) for setting, reading in pairs]
  ends = [_share_of_peak(setting, at_end(setting)) for setting in settings]
  first, second = (abs(share - end) for share, end in zip(shares, ends, strict=True))
  about = {'first': names[0], 'second': names[1], 'size': settings[0].batch_size}
  reason = Reason('conditions_cut_short', **about, shares=shares, ends=ends)
  return [reason] if abs(first - second) > SAME_PLACE else []


def on_subset(read: Iterable[Reading]) -> list[Reason]:
  """How many examples some of the readings are of, where these are not whole splits."""
  counts = {reading.subset for reading in read if reading.subset}
  return [Reason('on_subset', train=train, val=val) for train, val in sorted(counts)]


def left_out(problems: Mapping[int, Any]) -> list[Reason]:
  """The batch sizes that take no part, and why."""
  return [Reason('left_out', size=size, why=why) for size, why in problems.items()]


def _share_of_peak(setting: Setting, reading: Reading) -> float:
  """The learning rate where a setting is read over that of its plan, averaged over lanes."""
  parts, rates = [part for part, _ in setting.parts], reading.lanes['learning_rate']
  if len(rates) < len(parts):  # read at its own learning rate alone
    parts = [setting]
  peaks = [[part.learning_rate] for part in parts]
  return float(np.mean(rates / np.array(peaks)))


def _updates(
  chosen: Mapping[int, Setting], size: int, read: Mapping[int, Reading]
) -> Float[np.ndarray, ' trial']:
  if size in read and 'updates' in read[size].values:
    return read[size].values['updates']
  return np.array([lane.final['updates'] for lane in chosen[size].lanes], dtype=np.float64)
