"""What else may make the difference that somebody's curves show, as far as a table can tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bsjax.analysis.claims import causes
from bsjax.analysis.claims.causes import (
  DECISIVE,
  EDGE,
  RATES,
  STALE,
  UNDERTRAINED,
  UNKNOWN,
  UPDATES,
  Confound,
)
from bsjax.analysis.claims.claim import Claim, Family, Kind
from bsjax.analysis.measures.contrast import DIFFERENCE, contrast, effect
from bsjax.analysis.runs.budgets import readings
from bsjax.audit.given import Given
from bsjax.config.metrics import USUAL
from bsjax.stats.estimate import Estimate, Reason

FEW_TRIALS, DROPPED = 'too_few_trials', 'dropped_examples'
CURSE, SCALES, EPOCHS_ONLY = 'winners_curse', 'time_scales', 'budget_in_epochs'
SMOOTHED, TEST, TRAINING_MODE = 'metric_smoothed', 'test_set_used', 'training_mode_metric'
CAUSES = (*DECISIVE, UPDATES, DROPPED)  # the others bear on how far to trust, and cause nothing
LATE = 0.8  # of training: what is still gained from here on says whether runs were done
SHARE = 0.25  # of the difference: a gain since then of so much is one that may decide it
LITTLE_STALE, STALE_SHARE = 0.001, 0.01  # weight of the first statistics in the running ones
LITTLE_DROPPED, DROPPED_SHARE = 0.001, 0.01  # of an epoch
SMOOTH, ROUGH, FEWEST_RECORDS = 0.6, 0.3, 20  # autocorrelation of what is left of a line


class Facts(NamedTuple):
  """What is known of how the curves were made, beside the curves."""

  train_examples: float | None
  logged: tuple[str, ...]  # clocks that the table itself has
  rate_given: bool
  batch_norm: float | str | None  # momentum of its running statistics, 'none', or not known
  momentum: float | None
  weight_decay: float | None
  test: bool
  smoothed: bool
  keras: bool


def confounds(of: Given, claims: Sequence[Claim], facts: Facts) -> list[Confound]:
  """All confounds of the comparison of batch sizes of a cell; none without two batch sizes."""
  fresh = USUAL.reestimated_val in of.columns
  optimizer = {'name': 'sgd', 'momentum': facts.momentum or 0.0}
  optimizer |= {'weight_decay': facts.weight_decay or 0.0}
  config = {'model': {'normalization': 'batch' if fresh else 'none'}, 'optimizer': optimizer}
  known = causes.causes(config, of.tried, of.chosen, of.read, claims)
  if not known:
    return []
  shown = causes.shown_effect(claims)
  sizes = shown.sizes if shown else tuple(of.chosen)
  asked = _Asked(of, facts, shown, sizes)
  by_code = {confound.code: confound for confound in known}
  if not fresh:
    by_code[STALE] = _stale(asked)
  if not facts.rate_given:
    by_code |= {code: asked.open(code, UNKNOWN, Reason('rate_not_given')) for code in (RATES, EDGE)}
  more = [_undertrained(asked), _few_trials(asked, claims), _dropped(asked), _curse(asked)]
  more += [_scales(asked), _epochs_only(asked), _smoothed(asked)]
  more += [_test(asked), _training_mode(asked)]
  return [*by_code.values(), *more]


class _Asked(NamedTuple):
  of: Given
  facts: Facts
  effect: causes.Effect | None
  sizes: tuple[int, ...]

  def open(self, code: str, present: bool | str, *evidence: Reason) -> Confound:
    """One of which the runs cannot tell what it does; nothing, where it is not there."""
    asked = self.effect is not None and code in CAUSES
    return Confound(code, present, (UNKNOWN if present else False) if asked else None, evidence)

  @property
  def whole(self) -> Estimate | None:
    return self.effect.read(self.of.read['epochs']) if self.effect else None


def _stale(asked: _Asked) -> Confound:
  """The weight that the first BatchNorm statistics still have at the end: momentum^updates."""
  momentum = asked.facts.batch_norm
  if momentum == 'none':
    return asked.open(STALE, False, Reason('no_batch_norm'))
  if asked.facts.train_examples is None and 'updates' not in asked.facts.logged:
    return asked.open(STALE, UNKNOWN, Reason('updates_not_known'))
  fewest = {size: _updates(asked, size) for size in asked.sizes}
  size = min(fewest, key=lambda batch_size: fewest[batch_size])
  if momentum is None:
    shares = [m ** fewest[size] for m in (0.9, 0.99, 0.999)]
    return asked.open(
      STALE, UNKNOWN, Reason('stale_if', size=size, updates=fewest[size], shares=shares)
    )
  stale = {batch_size: momentum**updates for batch_size, updates in fewest.items()}
  ends = [stale[min(stale)], stale[max(stale)]]
  apart = max(stale.values()) - min(stale.values())
  present = True if apart > STALE_SHARE else False if apart < LITTLE_STALE else UNKNOWN
  sizes = [min(stale), max(stale)]
  evidence = Reason('percent_stale', sizes=sizes, shares=ends, momentum=momentum)
  return asked.open(STALE, present, evidence)


def _updates(asked: _Asked, size: int) -> float:
  return min(lane.final['updates'] for lane in asked.of.chosen[size].lanes)


def _undertrained(asked: _Asked) -> Confound:
  """Whether some batch size still gained in the last fifth of training."""
  end = {size: reading for size, reading in asked.of.read['epochs'].items() if size in asked.sizes}
  ends = [np.mean(r.values['epoch']) for r in end.values() if not r.problem]
  if len(ends) < len(asked.sizes):
    return asked.open(UNDERTRAINED, UNKNOWN, Reason('no_reading_late'))
  before = readings(asked.of.chosen, 'epochs', LATE * min(ends))
  gains = {}
  for size in asked.sizes:
    gain = effect(contrast((end[size], before[size]), DIFFERENCE, USUAL.val)).interval
    if gain.value is None:
      return asked.open(UNDERTRAINED, UNKNOWN, Reason('no_reading_late'))
    gains[size] = gain
  most = max(gains, key=lambda size: gains[size].value)
  enough = USUAL.margin
  if (whole := asked.whole) is not None and whole.value:
    enough = min(USUAL.margin, max(SHARE * abs(whole.value), USUAL.margin / 5))
  gain = gains[most]
  evidence = Reason('gained_late', size=most, value=gain.value, low=gain.low, high=gain.high)
  if gain.low is None:
    return asked.open(UNDERTRAINED, UNKNOWN, evidence)
  if gain.low > 0 and gain.value > enough:
    return asked.open(UNDERTRAINED, True, evidence)
  none = all(one.high is not None and one.high < enough for one in gains.values())
  return asked.open(UNDERTRAINED, False if none else UNKNOWN, evidence)


def _few_trials(asked: _Asked, claims: Sequence[Claim]) -> Confound:
  """Whether nothing was shown, in either direction, for want of trials; and how many would do."""
  n = min(len(tuned.lanes) for tuned in asked.of.chosen.values())
  if n < 2:
    return Confound(FEW_TRIALS, True, None, (Reason('one_trial', over='trials'),))
  headline = [c for c in claims if c.family in (Family.HEADLINE, Family.SAME)]
  if asked.effect or any(c.verdict != 'undetermined' for c in headline):
    return Confound(FEW_TRIALS, False, None, (Reason('enough_trials', trials=n),))
  needed = [r.details['trials'] for c in headline if c.kind == Kind.TREND
            for r in c.reasons if r.code == 'contains_zero']  # fmt: skip
  evidence = Reason('trials_needed', trials=n, needed=needed[0] if needed else None)
  return Confound(FEW_TRIALS, True, None, (evidence,))


def _dropped(asked: _Asked) -> Confound:
  """Examples left over at the end of each epoch, which a loader may leave out."""
  total = asked.facts.train_examples
  if total is None:
    return asked.open(DROPPED, UNKNOWN, Reason('train_examples_not_known'))
  rest = {size: (total % size) / total for size in asked.sizes}
  most = max(rest, key=lambda size: rest[size])
  worst = Reason('may_drop', size=most, share=rest[most])
  if rest[most] < LITTLE_DROPPED:
    return asked.open(DROPPED, False, worst)
  if not {'epoch', 'updates'} <= set(asked.facts.logged):
    return asked.open(DROPPED, UNKNOWN, worst)
  lost = {}
  for size in asked.sizes:
    final = asked.of.chosen[size].lanes[0].final
    lost[size] = 1 - final['updates'] * size / (final['epoch'] * total)
  most = max(lost, key=lambda size: lost[size])
  present = lost[most] > DROPPED_SHARE or (False if lost[most] < LITTLE_DROPPED else UNKNOWN)
  return asked.open(DROPPED, present, Reason('drops', size=most, share=max(lost[most], 0.0)))


def _curse(asked: _Asked) -> Confound:
  """Whether the best of several rates is reported on the numbers that chose it."""
  if not asked.facts.rate_given:
    return asked.open(CURSE, UNKNOWN, Reason('rate_not_given'))
  counts = [len(asked.of.tried[size]) for size in asked.sizes]
  evidence = Reason('best_of', fewest=min(counts), most=max(counts))
  return asked.open(CURSE, max(counts) > 1, evidence)


def _scales(asked: _Asked) -> Confound:
  """What counts updates and is in no table: warm-up, decay of the schedule, averages of weights.

  Momentum and weight decay too where they are not said; those that are have confounds of their own.
  """
  numbers = {'momentum': asked.facts.momentum, 'weight_decay': asked.facts.weight_decay}
  unsaid = [name for name, value in numbers.items() if value is None]
  return asked.open(SCALES, UNKNOWN, Reason('scales_not_given', numbers=unsaid))


def _epochs_only(asked: _Asked) -> Confound:
  """Whether all runs were as long in epochs, and none as long in updates."""
  ends = [np.mean([lane.final['epoch'] for lane in asked.of.chosen[s].lanes]) for s in asked.sizes]
  same = bool(max(ends) < 1.01 * min(ends))
  return asked.open(EPOCHS_ONLY, same, Reason('ends_alike' if same else 'ends_apart'))


def _smoothed(asked: _Asked) -> Confound:
  """Whether neighbouring values of the metric err alike, as those of a moving average do."""
  if asked.facts.smoothed:
    return asked.open(SMOOTHED, True, Reason('smoothed_by_name'))
  correlations = []
  for tuned in asked.of.chosen.values():
    for lane in tuned.lanes:
      late = [row[USUAL.val] for row in lane.planned_rows[len(lane.planned_rows) // 2 :]]
      if len(late) >= FEWEST_RECORDS and None not in late:
        correlations.append(_autocorrelation(np.array(late)))
  known = [value for value in correlations if math.isfinite(value)]
  if not known:
    return asked.open(SMOOTHED, UNKNOWN, Reason('too_few_records', fewest=2 * FEWEST_RECORDS))
  value = float(np.mean(known))
  present = True if value > SMOOTH else False if value < ROUGH else UNKNOWN
  return asked.open(SMOOTHED, present, Reason('autocorrelation', value=value))


def _autocorrelation(values: np.ndarray) -> float:
  """Of the values about their least-squares parabola, from one to the next."""
  x = np.linspace(-1, 1, len(values))
  left = values - np.polyval(np.polyfit(x, values, 2), x)
  return float(left[1:] @ left[:-1] / (left @ left)) if (left @ left) > 1e-12 else math.nan


def _test(asked: _Asked) -> Confound:
  several = any(len(asked.of.tried[size]) > 1 for size in asked.sizes)
  if not asked.facts.test:
    return asked.open(TEST, False, Reason('validation_by_name'))
  return asked.open(TEST, True, Reason('test_by_name', several=several))


def _training_mode(asked: _Asked) -> Confound:
  """Whether the training metric is that of the epoch as it went, dropout and all."""
  if USUAL.train not in asked.of.columns:
    return asked.open(TRAINING_MODE, UNKNOWN, Reason('no_column', columns=[USUAL.train]))
  if asked.facts.keras:
    return asked.open(TRAINING_MODE, True, Reason('keras_averages'))
  firsts = [lane.rows[1] for tuned in asked.of.chosen.values() for lane in tuned.lanes
            if len(lane.rows) > 1]  # fmt: skip
  below = [row[USUAL.train] < row[USUAL.val] for row in firsts if row[USUAL.val] is not None]
  share = float(np.mean(below)) if below else 0.0
  present = True if share > LATE else UNKNOWN
  return asked.open(TRAINING_MODE, present, Reason('train_below_val', share=share))


def over_cells(of_cells: Sequence[Sequence[Confound]]) -> list[Confound]:
  """A confound is present where it is in some cell, with the evidence of the first such cell."""
  by_code: dict[str, list[Confound]] = {}
  for confound in (one for cell in of_cells for one in cell):
    by_code.setdefault(confound.code, []).append(confound)
  result = []
  for code, several in by_code.items():
    true_in = [one for one in several if one.present is True]
    unknown = [one for one in several if one.present == UNKNOWN]
    first = (true_in or unknown or several)[0]
    count = Reason('in_cells', count=len(true_in), unknown=len(unknown), cells=len(several))
    result.append(first._replace(code=code, explains=None, evidence=(count, *first.evidence)))
  return result
