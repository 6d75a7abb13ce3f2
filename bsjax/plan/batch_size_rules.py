"""What happens to a lane's batch size where a stage begins, or while it lasts: rules as text.

- 'keep': it stays.
- 'multiply:F': F times as large, or with F below 1 smaller; whole numbers only.
- 'grow:F': F times as large up to the stage's largest batch size; what is left of F beyond it
  divides the learning rate (Smith et al. 2018, "Don't Decay the Learning Rate, Increase the Batch
  Size").
- 'set:N': N examples.
- 'noise:THETA': follows the noise scale while the stage lasts, by the norm test tr(Sigma) / B <=
  THETA^2 |G|^2 (Byrd et al. 2012, "Sample Size Selection in Optimization Methods for Machine
  Learning"); it never shrinks.
- 'cabs': follows B = learning rate x tr(Sigma) / loss (Balles et al. 2017, "Coupling Adaptive Batch
  Sizes with Learning Rates"), up and down.

Rules that follow a measurement move on a ladder of sizes, each twice the one below it, between the
stage's bounds, so that they all divide the largest.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

STATIC = ('keep', 'multiply', 'grow', 'set')
FOLLOWING = ('noise', 'cabs')
LONE = ('keep', 'cabs')  # rules without a number


class Bounds(NamedTuple):
  """The smallest and largest batch size that rules may reach, in examples."""

  smallest: int
  largest: int


class Measured(NamedTuple):
  """What a following rule is told of a lane since it was told last."""

  trace: float  # estimate of tr(Sigma)
  grad_sq: float  # estimate of |G|^2, possibly negative
  learning_rate: float
  loss: float


def parse(rule: str) -> tuple[str, float]:
  """Returns the kind and the number of a rule (NaN where it has none).

  Raises ValueError with the remedy.
  """
  kind, colon, text = rule.partition(':')
  forms = "'keep', 'multiply:F', 'grow:F', 'set:N', 'noise:THETA' or 'cabs'"
  if kind not in STATIC + FOLLOWING or (kind in LONE) == bool(colon):
    raise ValueError(f'the rule {rule!r} is none of {forms}')
  if kind in LONE:
    return kind, math.nan
  try:
    number = float(text)
  except ValueError:
    raise ValueError(f'the rule {rule!r} needs a number behind the colon: {forms}') from None
  if not 0 < number < math.inf or (kind == 'set' and number != int(number)):
    what = 'a whole number' if kind == 'set' else 'a finite number'
    raise ValueError(f'the rule {rule!r} needs {what} above 0')
  if kind == 'grow' and number < 1:
    raise ValueError(f'the rule {rule!r} must grow, by 1 or more; multiply:{number:g} shrinks')
  return kind, number


def follows(rule: str) -> bool:
  """Whether a rule changes the batch size while its stage lasts."""
  return parse(rule)[0] in FOLLOWING


def begin(rule: str, batch_size: int, bounds: Bounds) -> tuple[int, float]:
  """Returns the batch size with which a stage begins, and the factor on the learning rate with it.

  Raises ValueError where that is no whole number of examples, or out of bounds.
  """
  kind, number = parse(rule)
  if kind == 'grow':
    largest = max(batch_size, bounds.largest)
    size = min(batch_size * number, largest)
    return _whole(rule, batch_size, size), size / (batch_size * number)
  if kind == 'multiply':
    return _whole(rule, batch_size, batch_size * number), 1.0
  if kind == 'set':
    return int(number), 1.0
  if kind in FOLLOWING and not bounds.smallest <= batch_size <= bounds.largest:
    raise ValueError(
      f'the rule {rule!r} cannot begin at batch size {batch_size}: its bounds are '
      f'{bounds.smallest} and {bounds.largest}; set smallest_batch_size and largest_batch_size'
    )
  return batch_size, 1.0


def reachable(rule: str, batch_size: int, bounds: Bounds) -> set[int]:
  """Returns every batch size that a lane may have while a stage with this rule lasts."""
  size, _ = begin(rule, batch_size, bounds)
  return set(ladder(size, bounds)) if follows(rule) else {size}


def ladder(batch_size: int, bounds: Bounds) -> list[int]:
  """Returns the sizes that are `batch_size` times a power of two, within bounds, from below."""
  sizes = [batch_size]
  while sizes[0] % 2 == 0 and sizes[0] // 2 >= bounds.smallest:
    sizes.insert(0, sizes[0] // 2)
  while sizes[-1] * 2 <= bounds.largest:
    sizes.append(sizes[-1] * 2)
  return sizes


def follow(rule: str, batch_size: int, bounds: Bounds, measured: Measured) -> int:
  """Returns the batch size that a following rule asks for next.

  Where the measurement does not tell (no estimate, or a gradient lost in the noise), it stays.
  """
  kind, number = parse(rule)
  wanted = WANTED[kind](number, measured)
  if not math.isfinite(wanted) or wanted <= 0:
    return batch_size
  sizes = ladder(batch_size, bounds)
  enough = next((size for size in sizes if size >= wanted), sizes[-1])
  return max(batch_size, enough) if kind == 'noise' else enough


def _norm_test(theta: float, measured: Measured) -> float:
  """The least batch size that passes the test; not finite where |G|^2 is not above zero."""
  if not measured.grad_sq > 0:
    return math.nan
  return measured.trace / (theta**2 * measured.grad_sq)


def _cabs(_: float, measured: Measured) -> float:
  return measured.learning_rate * measured.trace / measured.loss if measured.loss > 0 else math.nan


# A following rule is one function: (its number, what was measured) -> the batch size wanted.
WANTED: Mapping[str, Callable[[float, Measured], float]] = {'noise': _norm_test, 'cabs': _cabs}


def _whole(rule: str, before: int, size: int | float) -> int:
  if size < 1 or abs(size - round(size)) > 1e-9 * size:
    raise ValueError(f'the rule {rule!r} makes {size:g} examples of batch size {before}')
  return round(size)


def measured(window: Mapping[str, Any], learning_rate: float, loss: float | None) -> Measured:
  """Returns what a record's noise columns (`noise_scale.window_summary`) say to a rule."""
  trace, grad_sq, loss = (
    math.nan if value is None else float(value)
    for value in (window.get('trace'), window.get('grad_sq'), loss)
  )
  return Measured(trace, grad_sq, learning_rate, loss)
