"""Which batch sizes tick together, and at which micro-batch: what is predicted to finish first."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

# Fewer micro-batches per update would leave little of the spread between them, so of the noise.
FEWEST_TICKS = 4
# Between the micro-batches that are timed. On a CPU lanes cost what they cost alone, so neighbours
# close enough to stop at the first that is no faster are worth their timing.
STEPS = {'cpu': 2}
STEP_ELSEWHERE = 4
SMALLEST = 8  # examples; smaller ticks are all overhead
GAIN = 0.1  # share of the time that a less plain grouping must save


@dataclasses.dataclass(frozen=True)
class GroupingLimits:
  """Which micro-batches a study may tick at, and how its lanes share the devices."""

  common: int  # the micro-batch at which all batch sizes can tick
  fewest_ticks: int = FEWEST_TICKS  # of an update at a larger micro-batch
  step: int = STEP_ELSEWHERE
  devices: int = 1


def limits(common: int, measured: bool, platform: str, devices: int) -> GroupingLimits:
  """Returns the limits of a study; where no noise is `measured`, a whole batch may be one tick."""
  fewest = FEWEST_TICKS if measured else 1
  return GroupingLimits(common, fewest, STEPS.get(platform, STEP_ELSEWHERE), devices)


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


def usable(batch_size: int, micro_batch: int, limits: GroupingLimits) -> bool:
  """Whether lanes of a batch size may tick at a micro-batch."""
  few = batch_size // micro_batch < limits.fewest_ticks
  return batch_size % micro_batch == 0 and (micro_batch <= limits.common or not few)


def candidates(batch_sizes: Sequence[int], limits: GroupingLimits) -> tuple[list[int], list[int]]:
  """Returns the micro-batches worth timing beside the common one, a step apart from one another.

  Those below, the largest first, and those above, the smallest first. On a CPU it goes on from one
  to the next while that pays; elsewhere there is one below, and all above are timed.
  """
  smaller, larger = [], []
  micro = limits.common
  while micro % limits.step == 0 and micro // limits.step >= SMALLEST:
    micro //= limits.step
    smaller.append(micro)
  micro = limits.common * limits.step
  while any(usable(size, micro, limits) for size in batch_sizes):
    larger.append(micro)
    micro *= limits.step
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
  seconds = 0.0
  for micro in set(micro_batches.values()):
    members = sum(count for size, count in lanes.items() if micro_batches[size] == micro)
    best = fastest(timings, micro)
    tick = best.seconds * _seats(members, devices) / _seats(best.lanes, devices)
    seconds += best.start_seconds + total_examples / micro * tick
  return seconds


def _seats(lanes: int, devices: int) -> int:
  """The lanes that there would be if every device had as many as the fullest."""
  return -(-lanes // devices) * devices


def choose(
  lanes: Mapping[int, int], total_examples: int, timings: Sequence[Timing], limits: GroupingLimits
) -> dict[int, int]:
  """Returns the micro-batch of each batch size with which training is predicted to end first.

  All batch sizes stay together at the common one unless another choice saves at least `GAIN` of the
  time.
  """

  def predict(choice: Mapping[int, int]) -> float:
    return predicted_seconds(choice, lanes, total_examples, timings, limits.devices)

  together = dict.fromkeys(lanes, limits.common)
  timed = sorted({timing.micro_batch for timing in timings})
  choices = []
  for count in range(1, len(timed) + 1):
    for subset in itertools.combinations(timed, count):
      options = {size: [m for m in subset if usable(size, m, limits)] for size in lanes}
      if all(options.values()):
        choices.append(
          {
            size: min(micros, key=lambda m: fastest(timings, m).per_lane / m)
            for size, micros in options.items()
          }
        )
  best = min(choices, key=predict)
  return best if predict(best) <= (1 - GAIN) * predict(together) else together
