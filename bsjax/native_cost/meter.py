"""Measures the steps of one training at batch sizes; finds micro-batches where one is too large."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache
from jax.stages import Compiled

from bsjax.native_cost import memory, timing
from bsjax.native_cost import step as steps
from bsjax.program import out_of_memory
from bsjax.progress import now

Row = dict[str, Any]
SMALL = 8, 32  # batch sizes
SUGGESTED = 'micro_batch', 'accumulation', 'memory_bytes', 'examples_per_second'
MEASURED = 'memory_bytes', 'fits', 'examples_per_second', 'compile_seconds', 'cores_busy'


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a row may take: bytes of the device (None: not known), and how often it is timed."""

  device: jax.Device
  memory: int | None
  repeats: int


class Meter:
  """One training, the states of its steps, and the memory of those compiled so far."""

  def __init__(self, training: steps.Training, limits: Limits, say: Callable[[str], None]):
    self.training, self.limits, self.say = training, limits, say
    self.shapes = steps.state_shapes(training)
    self._init = jax.jit(functools.partial(steps.init, training))
    self._totals: dict[int, int] = {}  # bytes of steps on whole batches
    self._gathering: dict[int, tuple[Compiled, Row] | None] = {}  # by micro-batch

  def rows(self, sizes: Sequence[int]) -> list[Row]:
    """A row for each batch size; suggestions come last, when the memory of all sizes is known."""
    found = [self._row(size) for size in sizes]
    for row in found:
      if row['problem'] and row['fits'] is not True:
        row['suggestion'] = self._suggestion(row)
    return found

  def _row(self, size: int) -> Row:
    self.say(f'Batch size {size}, run alone ...')
    row: Row = {'batch_size': size, 'trained_parameters': count(self.shapes.trained)}
    row |= dict.fromkeys((*MEASURED, 'suggestion', 'problem'))
    with _no_room_noted(row, 'compiling it'):
      compiled, row['compile_seconds'] = _compile(lambda: steps.compile_step(self.training, size))
    if row['problem']:
      return row
    row['memory_bytes'] = memory.of_step(compiled, self.shapes, steps.shapes(self.training, size))
    total, bound = row['memory_bytes']['total'], self.limits.memory
    self._totals[size] = total
    row['fits'] = bound is None or total <= bound
    row['problem'] = self._no_room(total)
    if not row['problem']:
      with _no_room_noted(row, 'running it'):
        run = timing.stepper(compiled, self.training, self._state(), size)
        self._time(row, run)
      row['fits'] = not row['problem']
    return row

  def _no_room(self, total: int) -> str | None:
    """Why a step is not run; None if it can be."""
    if self.limits.memory is not None and total > self.limits.memory:
      return f'needs {memory.text(total)} of {memory.text(self.limits.memory)}: not run'
    free = memory.free(self.limits.device)
    if free is not None and total > free:
      return f'needs {memory.text(total)}, and {memory.text(free)} are free at this moment: not run'
    return None

  def _state(self) -> steps.State:
    return self._init(jax.random.key(0))

  def _time(self, row: Row, run: Callable[[int], None]) -> None:
    rates, busy = timing.throughput(run, row['batch_size'], self.limits.repeats)
    row['examples_per_second'] = rates
    row['cores_busy'] = busy if self.limits.device.platform == 'cpu' else None

  def _suggestion(self, row: Row) -> Row | None:
    """The largest micro-batch that has room; what ran out of memory takes more than there is."""
    size, known = row['batch_size'], row['memory_bytes']
    ends = [self.limits.memory, known['total'] - 1 if known else None]
    most = min((end for end in ends if end is not None), default=None)
    while most is not None:
      fits = lambda micro, most=most: (found := self._gather(micro)) and found[1]['total'] <= most
      micro = memory.largest_micro_batch(size, self._predict(), most, fits)
      if micro is None:
        break
      compiled, needed = self._gather(micro)
      found: Row = {'micro_batch': micro, 'accumulation': size // micro, 'memory_bytes': needed}
      found |= {'batch_size': size, 'examples_per_second': None, 'problem': None}
      if not self._no_room(needed['total']):
        with _no_room_noted(found, 'running it'):
          own = self.training, self._state(), micro, size // micro
          self._time(found, timing.gatherer(compiled, *own))
      if not found['problem']:
        return {key: found[key] for key in SUGGESTED}
      most = needed['total'] - 1
    row['problem'] += '; no micro-batch was found that fits'
    return None

  def _gather(self, micro: int) -> tuple[Compiled, Row] | None:
    """The gathering step of a micro-batch and its bytes; None if it does not even compile."""
    if micro not in self._gathering:
      note: Row = {'problem': None}
      with _no_room_noted(note, 'compiling it'):
        compiled = steps.compile_gather(self.training, micro)
        batch, grad_sum = steps.shapes(self.training, micro), self.shapes.trained
        found = compiled, memory.of_step(compiled, self.shapes, batch, grad_sum)
      self._gathering[micro] = None if note['problem'] else found
    return self._gathering[micro]

  def _predict(self) -> Callable[[int], float]:
    """Bytes of a gathering step: those of a whole batch of its size, and the sum of gradients.

    The line goes through the sizes of the study; where these are too few, through small ones too.
    """
    for size in SMALL:
      if len(self._totals) < 2 and size not in self._totals:
        with _no_room_noted({}, 'compiling it'):
          compiled = steps.compile_step(self.training, size)
          batch = steps.shapes(self.training, size)
          self._totals[size] = memory.of_step(compiled, self.shapes, batch)['total']
    if len(self._totals) < 2:
      return lambda micro: math.inf  # then the smallest is asked first
    whole, more = memory.line(self._totals), memory.tree_bytes(self.shapes.trained)
    return lambda micro: whole(micro) + more


def count(tree: Any) -> int:
  """How many numbers a tree of arrays, or of their shapes, holds."""
  return sum(math.prod(x.shape) for x in jax.tree.leaves(tree))


@contextlib.contextmanager
def _no_room_noted(row: Row, doing: str) -> Iterator[None]:
  """Makes running out of device memory the problem of a row; other errors are errors."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if not out_of_memory(error):
      raise
    row['problem'] = f'{doing} ran out of device memory (RESOURCE_EXHAUSTED)'


def _compile(make: Callable[[], Compiled]) -> tuple[Compiled, float]:
  """Returns a compiled step and the seconds it took to trace and compile, found in no cache."""
  before = jax.config.jax_enable_compilation_cache
  jax.config.update('jax_enable_compilation_cache', False)
  compilation_cache.reset_cache()  # JAX asks once a process whether there is one
  try:
    begun = now()
    return make(), now() - begun
  finally:
    jax.config.update('jax_enable_compilation_cache', before)
    compilation_cache.reset_cache()
