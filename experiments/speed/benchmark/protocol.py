"""Rounds in which every side is measured in turn, and what they say: medians, spreads, ratios.

Machines drift. Sides measured in one round, next to one another, are compared with each other only,
and the ratios of the rounds are what is summed up.
"""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmark.jax_loop import Run, Sample
from benchmark.works import Work

# Of a loss: what rounding may make of it in a whole training, and in a few updates. A loss near
# zero is that of examples known by heart, where rounding shows most: less counts as this much.
TOLERANCE, TOLERANCE_AT_FIRST = 0.02, 1e-3
SMALL_LOSS = 0.05


class WrongResult(Exception):
  """A side computed something else than the reference."""


@dataclasses.dataclass
class Budget:
  """The seconds there are; nothing is begun that would take longer than what is left."""

  seconds: float
  begun: float = dataclasses.field(default_factory=time.perf_counter)

  @property
  def left(self) -> float:
    return self.seconds - (time.perf_counter() - self.begun)


def summary(samples: Sequence[float]) -> dict[str, Any]:
  """Returns the median, the range and all samples."""
  return {
    'median': statistics.median(samples),
    'min': min(samples),
    'max': max(samples),
    'n': len(samples),
    'samples': list(samples),
  }


def check(side: str, sample: Sample, reference: Sample, tolerance: float) -> None:
  """Raises WrongResult unless every loss is that of the reference, up to a share of it.

  The share is of at least `SMALL_LOSS`.
  """
  for i, (loss, expected) in enumerate(zip(sample.losses, reference.losses, strict=True)):
    allowed = tolerance * max(abs(expected), SMALL_LOSS)
    if not (math.isfinite(loss) and abs(loss - expected) <= allowed):
      raise WrongResult(
        f'{side}: the loss of setting {i} is {loss:.6g}, that of the reference {expected:.6g}; '
        f'more than {allowed:.2g} apart'
      )


def measure(
  work: Work,
  sides: Mapping[str, Callable[[], Run]],
  reference: str,
  repeats: int,
  budget: Budget,
  say: Callable[[str], None],
  rows: dict[str, Any],
  save: Callable[[], None],
) -> None:
  """Measures all sides in rounds; fills `rows`, one for each, and saves whenever there is more.

  A side is made and warmed up, compared with the reference after a few updates and after all of
  them, and left out if it differs or cannot be made. Ratios are to the first side. What does not
  fit in the budget is left out, of a round too.
  """
  rows.update({name: {'not_measured': 'no time was left'} for name in sides})
  runs: dict[str, Run] = {}
  guesses: dict[str, float] = {}
  truth: tuple[Sample, Sample] | None = None
  for name in (reference, *(name for name in sides if name != reference)):
    save()
    if budget.left <= 0:
      break
    say(f'{work.name}: {name} warms up')
    try:
      runs[name], at_first, at_end = _warm_up(work, sides[name], rows[name])
      truth = truth or (at_first, at_end)
      check(name, at_first, truth[0], TOLERANCE_AT_FIRST)
      check(name, at_end, truth[1], TOLERANCE)
      rows[name]['once_seconds'] = guesses[name] = at_end.seconds
    except Exception as error:  # a rival that does not run here is reported, not fatal
      if name == reference:
        raise
      runs.pop(name, None)
      wrong = isinstance(error, WrongResult)
      rows[name] = {'wrong' if wrong else 'not_measured': _reason(error)}
      if wrong:
        say(f'WRONG: {error}')
  save()
  order = {name: runs[name] for name in sides if name in runs}
  samples: dict[str, dict[int, float]] = {name: {} for name in sides}
  for number in range(repeats):
    say(f'{work.name}: round {number + 1} of {repeats}')
    turn = number % max(len(order), 1)  # nobody is always first
    for name, run in (*list(order.items())[turn:], *list(order.items())[:turn]):
      if guesses[name] <= budget.left:
        sample = run(work.examples, None)
        samples[name][number] = sample.seconds
        if sample.cpu_seconds is not None:
          rows[name].setdefault('cores_busy', []).append(sample.cpu_seconds / sample.seconds)
        for done in [done for done in order if samples[done]]:
          rows[done] = _row(work, samples[done], samples[next(iter(sides))], rows[done])
        save()


def _warm_up(work: Work, make: Callable[[], Run], row: dict) -> tuple[Run, Sample, Sample]:
  """Makes a side; returns it, and what it finds after a few updates and after all of them."""
  begun = time.perf_counter()
  run = make()
  at_first = run(work.chunk, None)
  row['warm_up_seconds'] = time.perf_counter() - begun
  return run, at_first, run(work.examples, None)


def _row(
  work: Work, samples: dict[int, float], of_first: dict[int, float], before: dict[str, Any]
) -> dict[str, Any]:
  """What the rounds so far say of a side, and of its ratio to the first one in the same rounds."""
  median = statistics.median(samples.values())
  ratios = [samples[i] / of_first[i] for i in samples if i in of_first]
  return {
    **{
      key: before[key] for key in ('warm_up_seconds', 'once_seconds', 'cores_busy') if key in before
    },
    'seconds': summary(list(samples.values())),
    'ms_per_lane_step': 1e3 * median / work.steps(),
    'us_per_lane_example': 1e6 * median / (work.examples * len(work.settings)),
    'times_first': summary(ratios) if ratios else None,
  }


def _reason(error: Exception) -> str:
  """The first line of an error, or what is missing."""
  if isinstance(error, ModuleNotFoundError):
    return f'{error.name} is not installed'
  if isinstance(error, WrongResult):
    return str(error)
  return f'{type(error).__name__}: {(str(error).splitlines() or [""])[0][:200]}'


def pairs(
  first: Callable[[], float], second: Callable[[], float], repeats: int, budget: Budget
) -> dict[str, Any] | None:
  """Measures two things in turn; returns both and their ratios, or None if time ran out at once."""
  samples: list[tuple[float, float]] = []
  took = 0.0
  for _ in range(repeats):
    begun = time.perf_counter()
    if budget.left <= took:
      break
    samples.append((first(), second()))
    took = time.perf_counter() - begun
  if not samples:
    return None
  a, b = zip(*samples, strict=True)
  return {
    'first': summary(a),
    'second': summary(b),
    'first_by_second': summary([x / y for x, y in samples]),
  }


def by_loop(samples: Mapping[str, Sequence[float]]) -> dict[str, Any]:
  """Returns the cost per lane and step, and that of the better plain loop divided by it."""
  loops = {name: times for name, times in samples.items() if name != 'lanes'}
  best = min(loops, key=lambda name: statistics.median(loops[name]))
  ratios = [loop / lane for loop, lane in zip(loops[best], samples['lanes'], strict=True)]
  return {
    'seconds': summary(samples['lanes']),
    'loop': best,
    'loop_seconds': summary(loops[best]),
    'loop_by_lanes': summary(ratios),
  }
