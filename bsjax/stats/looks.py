"""Looks at data that grow until a question is decided: when, and how much error each may spend.

A 95% interval taken again and again errs in one study of six. Here the error is divided over the
numbers of trials at which one may look, in proportion to the trials that came since the last, and
an interval at a look is as wide as its own part says. So all intervals at all looks hold together
(a union bound), whatever is decided in between: to stop, to leave looks out, to drop settings or to
add others, for which the joint distribution of several looks is not known. Where it is, taking it
into account would save a few percent of the trials (experiments/decide).
"""

from __future__ import annotations

import itertools
import math

GROWTH = 1.5  # from one number of trials to the next: less looks more often, each less exactly
LAST = 1.25  # a last step as small as this is taken together with the one before


def ladder(first: int, most: int) -> tuple[int, ...]:
  """The numbers of trials at which one may look, ascending from `first` to `most`.

  Raises:
    ValueError: there is no spread to go by at `first`, or `most` is less.
  """
  if not 2 <= first <= most:
    raise ValueError(f'looks at {first} to {most} trials: give two or more, and no fewer at last.')
  rungs = [first]
  while rungs[-1] < most:
    rungs.append(max(rungs[-1] + 1, math.ceil(GROWTH * rungs[-1])))
    if LAST * rungs[-1] >= most:
      rungs[-1] = most
  return tuple(rungs)


def spending(rungs: tuple[int, ...], error: float) -> dict[int, float]:
  """How much of the error each look may spend; all parts together are `error`."""
  steps = (b - a for a, b in itertools.pairwise((0, *rungs)))
  return {rung: error * step / rungs[-1] for rung, step in zip(rungs, steps, strict=True)}
