"""Where a study has come to: all that its host must know, beside the states, to go on exactly."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class RateSum(NamedTuple):
  """Sums of learning rates over updates, of the lanes of a group, up to a tick of it."""

  tick: int
  sums: tuple[float, ...]


class BatchSizeState(NamedTuple):
  """Where a lane's batch size has come to, and the factor on its learning rate with it."""

  batch_size: int
  rate_factor: float = 1.0


class Divergence(NamedTuple):
  """When and why a lane was lost."""

  lane: int
  examples: int  # that it had seen, of the study; if it was frozen, at its last good update
  because: str  # a code
  frozen: bool  # whether it was left there; else it trains on


class GivenUp(NamedTuple):
  """Since when a lane is trained no more, though it had not diverged."""

  lane: int
  examples: int  # that it had seen, of the study


class BatchSizes(NamedTuple):
  """Of all lanes in order: what they have now, and what they began the stage with."""

  now: tuple[BatchSizeState, ...]
  begun: tuple[BatchSizeState, ...]


@dataclasses.dataclass(frozen=True)
class Position:
  """The only state of the host that a continuation needs, as a checkpoint holds it."""

  stage: int  # its index
  examples: int  # that every lane has seen; groups may be further
  ticks: tuple[int, ...]  # of each group, since its stream of examples began
  rate_sums: tuple[RateSum, ...]  # of each group
  batch_sizes: BatchSizes
  evaluated: int  # the last evaluation on record, in examples; -1: none
  data: str  # the fingerprint of the data set
  diverged: tuple[Divergence, ...] = ()
  given_up: tuple[GivenUp, ...] = ()

  def to_json(self) -> dict[str, Any]:
    """Returns plain values, under the names that checkpoints have always had."""
    return {
      'stage': self.stage,
      'examples': self.examples,
      'ticks': list(self.ticks),
      'rates_before': [{'tick': r.tick, 'sums': list(r.sums)} for r in self.rate_sums],
      'courses': [list(state) for state in self.batch_sizes.now],
      'first_courses': [list(state) for state in self.batch_sizes.begun],
      'evaluated': self.evaluated,
      'data': self.data,
      **({'diverged': [list(lost) for lost in self.diverged]} if self.diverged else {}),
      **({'given_up': [list(lane) for lane in self.given_up]} if self.given_up else {}),
    }

  @classmethod
  def from_json(cls, values: Mapping[str, Any]) -> 'Position':
    """Reads `to_json` back.

    Checkpoints by the first versions hold less, and serve for their weights only: what they lack
    is empty, and they were saved at evaluations.
    """
    now, begun = (_batch_sizes(values.get(key, ())) for key in ('courses', 'first_courses'))
    return cls(
      stage=values.get('stage', 0),
      examples=values.get('examples', values['evaluated']),
      ticks=tuple(values['ticks']),
      rate_sums=tuple(RateSum(r['tick'], tuple(r['sums'])) for r in values.get('rates_before', ())),
      batch_sizes=BatchSizes(now, begun),
      evaluated=values['evaluated'],
      data=values['data'],
      diverged=tuple(Divergence(*lost) for lost in values.get('diverged', ())),
      given_up=tuple(GivenUp(*lane) for lane in values.get('given_up', ())),
    )


def _batch_sizes(states: Iterable[Sequence[int | float]]) -> tuple[BatchSizeState, ...]:
  return tuple(BatchSizeState(int(size), float(factor)) for size, factor in states)
