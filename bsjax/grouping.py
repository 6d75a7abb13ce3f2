"""Which batch sizes tick together, and at which micro-batch: what is predicted to end first."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

# Fewer micro-batches an update would leave little of the spread between them, so of the noise.
FEWEST_TICKS = 4
STEP = 4  # between the micro-batches that are timed
SMALLEST = 8  # examples; smaller ticks are all overhead
GAIN = 0.1  # share of the time that a less plain grouping must save


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


def usable(batch_size: int, micro_batch: int, common: int) -> bool:
  """Whether lanes of a batch size may tick at a micro-batch, where all could at `common`."""
  few = batch_size // micro_batch < FEWEST_TICKS
  return batch_size % micro_batch == 0 and (micro_batch <= common or not few)


def candidates(batch_sizes: Sequence[int], common: int) -> list[int]:
  """Returns the micro-batches worth timing: the common one first, then others `STEP` apart."""
  found = [common]
  if common % STEP == 0 and common // STEP >= SMALLEST:
    found.append(common // STEP)
  larger = common * STEP
  while any(usable(size, larger, common) for size in batch_sizes):
    found.append(larger)
    larger *= STEP
  return found


def fastest(timings: Sequence[Timing], micro_batch: int) -> Timing:
  """Returns the timing of the strategy that is fastest at a micro-batch."""
  at_hand = [timing for timing in timings if timing.micro_batch == micro_batch]
  return min(at_hand, key=lambda timing: timing.per_lane)


def predicted_seconds(
  micro_batches: Mapping[int, int],
  lanes: Mapping[int, int],
  total_examples: int,
  timings: Sequence[Timing],
) -> float:
  """Returns how long training takes, with a start for every group, by the timings of ticks.

  `lanes` counts those of each batch size; all see `total_examples`.
  """
  ticks = sum(
    lanes[size] * total_examples / micro * fastest(timings, micro).per_lane
    for size, micro in micro_batches.items()
  )
  starts = sum(fastest(timings, micro).start_seconds for micro in set(micro_batches.values()))
  return ticks + starts


def choose(
  lanes: Mapping[int, int], total_examples: int, timings: Sequence[Timing], common: int
) -> dict[int, int]:
  """Returns the micro-batch of each batch size with which training is predicted to end first.

  All batch sizes stay together at `common` unless another choice saves at least `GAIN` of the time.
  """
  together = dict.fromkeys(lanes, common)
  predict = lambda choice: predicted_seconds(choice, lanes, total_examples, timings)
  timed = sorted({timing.micro_batch for timing in timings})
  choices = []
  for count in range(1, len(timed) + 1):
    for subset in itertools.combinations(timed, count):
      options = {size: [m for m in subset if usable(size, m, common)] for size in lanes}
      if all(options.values()):
        choices.append(
          {
            size: min(own, key=lambda m: fastest(timings, m).per_lane / m)
            for size, own in options.items()
          }
        )
  best = min(choices, key=predict)
  return best if predict(best) <= (1 - GAIN) * predict(together) else together
