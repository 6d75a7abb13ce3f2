"""Which batch sizes tick together, and at which micro-batch: what is predicted to end first."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

# Fewer micro-batches an update would leave little of the spread between them, so of the noise.
FEWEST_TICKS = 4
# Between the micro-batches that are timed. On a CPU lanes cost what they cost alone, so neighbours
# close enough to stop at the first that is no faster are worth their timing.
STEPS = {'cpu': 2}
STEP_ELSEWHERE = 4
SMALLEST = 8  # examples; smaller ticks are all overhead
GAIN = 0.1  # share of the time that a less plain grouping must save


@dataclasses.dataclass(frozen=True)
class Rules:
  """Which micro-batches a study may tick at, and how its lanes share the devices."""

  common: int  # the micro-batch at which all batch sizes can tick
  fewest_ticks: int = FEWEST_TICKS  # of an update at a larger micro-batch
  step: int = STEP_ELSEWHERE
  devices: int = 1


def rules(common: int, measured: bool, platform: str, devices: int) -> Rules:
  """Returns the rules of a study; where no noise is `measured`, a whole batch may be one tick."""
  fewest = FEWEST_TICKS if measured else 1
  return Rules(common, fewest, STEPS.get(platform, STEP_ELSEWHERE), devices)


@dataclasses.dataclass(frozen=True)
class Timing:
  """How long one tick of so many lanes took, all devices at work."""

  micro_batch: int
  strategy: str
  lanes: int
  seconds: float
  start_seconds: float  # until the first tick was done, compilation included

  @property
  def per_lane(self) -> float:
    return self.seconds / self.lanes


def usable(batch_size: int, micro_batch: int, own: Rules) -> bool:
  """Whether lanes of a batch size may tick at a micro-batch."""
  few = batch_size // micro_batch < own.fewest_ticks
  return batch_size % micro_batch == 0 and (micro_batch <= own.common or not few)


def candidates(batch_sizes: Sequence[int], own: Rules) -> tuple[list[int], list[int]]:
  """Returns the micro-batches worth timing beside the common one, a step apart from one another.

  Those below, the largest first, and those above, the smallest first. On a CPU it goes on from one
  to the next while that pays; elsewhere there is one below, and all above are timed.
  """
  smaller, larger = [], []
  micro = own.common
  while micro % own.step == 0 and micro // own.step >= SMALLEST:
    micro //= own.step
    smaller.append(micro)
  micro = own.common * own.step
  while any(usable(size, micro, own) for size in batch_sizes):
    larger.append(micro)
    micro *= own.step
  return smaller, larger


def fastest(timings: Sequence[Timing], micro_batch: int) -> Timing:
  """Returns the timing of the strategy that is fastest at a micro-batch."""
  at_hand = [timing for timing in timings if timing.micro_batch == micro_batch]
  return min(at_hand, key=lambda timing: timing.per_lane)


def predicted_seconds(
  micro_batches: Mapping[int, int],
  lanes: Mapping[int, int],
  total_examples: int,
  timings: Sequence[Timing],
  devices: int = 1,
) -> float:
  """Returns how long training takes, with a start for every group, by the timings of ticks.

  `lanes` counts those of each batch size; all see `total_examples`. Lanes of a group that are left
  over when every device has the same number of them cost as much as one on every device.
  """
  seats = lambda count: -(-count // devices) * devices
  seconds = 0.0
  for micro in set(micro_batches.values()):
    own = sum(count for size, count in lanes.items() if micro_batches[size] == micro)
    best = fastest(timings, micro)
    tick = best.seconds * seats(own) / seats(best.lanes)
    seconds += best.start_seconds + total_examples / micro * tick
  return seconds


def choose(
  lanes: Mapping[int, int], total_examples: int, timings: Sequence[Timing], own: Rules
) -> dict[int, int]:
  """Returns the micro-batch of each batch size with which training is predicted to end first.

  All batch sizes stay together at the common one unless another choice saves at least `GAIN` of the
  time.
  """
  together = dict.fromkeys(lanes, own.common)
  predict = lambda choice: predicted_seconds(choice, lanes, total_examples, timings, own.devices)
  timed = sorted({timing.micro_batch for timing in timings})
  choices = []
  for count in range(1, len(timed) + 1):
    for subset in itertools.combinations(timed, count):
      options = {size: [m for m in subset if usable(size, m, own)] for size in lanes}
      if all(options.values()):
        choices.append(
          {
            size: min(each, key=lambda m: fastest(timings, m).per_lane / m)
            for size, each in options.items()
          }
        )
  best = min(choices, key=predict)
  return best if predict(best) <= (1 - GAIN) * predict(together) else together
