"""Measures the steps of one training at batch sizes; finds micro-batches where one is too large."""

import contextlib
import dataclasses
import functools
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache
from jax.stages import Compiled

from bsjax import format
from bsjax.console import now
from bsjax.cost import memory, timing
from bsjax.cost import step as steps
from bsjax.cost.timing import Timed
from bsjax.engine.memory import out_of_memory

Row = dict[str, Any]
SMALL = 8, 32  # batch sizes whose memory is asked for where the study has too few
MEASURED = 'memory_bytes', 'fits', 'examples_per_second', 'compile_seconds', 'cores_busy'
SUGGESTED = 'micro_batch', 'accumulation', 'memory_bytes', 'examples_per_second'
EXHAUSTED = 'ran out of device memory (RESOURCE_EXHAUSTED)'


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a step may take: bytes of the device (None: not known), and how often it is timed."""

  device: jax.Device
  memory: int | None
  repeats: int


class Meter:
  """One training, the states of its steps, and the memory of those compiled so far."""

  def __init__(self, training: steps.Training, limits: Limits, say: Callable[[str], None]):
    self.training, self.limits, self.say = training, limits, say
    self.shapes = steps.state_shapes(training)
    self._trained = steps.trained(training, self.shapes.params)
    self._init = jax.jit(functools.partial(steps.init, training))
    self._totals: dict[int, int] = {}  # bytes of steps on whole batches
    self._gathering: dict[int, tuple[Compiled, Row] | None] = {}  # by micro-batch

  def rows(self, sizes: Sequence[int]) -> list[Row]:
    """One row per batch size: compiled first, then timed in rounds."""
    rows, timed = [], []
    for size in sizes:
      row, to_time = self._compiled_row(size)
      rows.append(row)
      timed += to_time
    tight = [row for row in rows if row['problem'] and not row['fits']]
    timed += [step for row in tight for step in self._suggest(row)]
    while timed:
      self._time(timed)
      timed = [step for row in rows if _ran_out(row) for step in self._suggest(row)]
    for row in rows:
      if row['suggestion']:
        row['suggestion'] = {key: row['suggestion'][key] for key in SUGGESTED}
    return rows

  def _compiled_row(self, size: int) -> tuple[Row, list[Timed]]:
    """The row of a batch size before timing, and the step to time if there is room for it."""
    self.say(f'Compiling batch size {size} ...')
    row: Row = {'batch_size': size, 'trained_parameters': count(self._trained)}
    row |= dict.fromkeys((*MEASURED, 'suggestion', 'problem'))
    with _exhaustion_noted(row, 'compiling it'):
      compiled, row['compile_seconds'] = _compile(lambda: steps.compile_step(self.training, size))
    if row['problem']:
      return row, []
    row['memory_bytes'] = memory.of_step(compiled, self.shapes, steps.shapes(self.training, size))
    total = self._totals[size] = row['memory_bytes']['total']
    row['fits'] = self.limits.memory is None or total <= self.limits.memory
    row['problem'] = self._no_room(total)
    if row['problem']:
      return row, []
    return row, [
      Timed(row, size, lambda: timing.stepper(compiled, self.training, self._state(), size))
    ]

  def _no_room(self, total: int) -> str | None:
    """Why a step is not run; None if it can be."""
    if self.limits.memory is not None and total > self.limits.memory:
      return f'needs {format.bytes_text(total)} of {format.bytes_text(self.limits.memory)}: not run'
    free = memory.free(self.limits.device)
    if free is not None and total > free:
      needs = f'needs {format.bytes_text(total)}'
      return f'{needs}, and {format.bytes_text(free)} are free at this moment: not run'
    return None

  def _state(self) -> steps.State:
    return self._init(jax.random.key(0))

  def _time(self, timed: Sequence[Timed]) -> None:
    """Times all steps once per round, as long as they have room; their rows take the results."""
    for number in range(self.limits.repeats):
      self.say(f'Timing, round {number + 1} of {self.limits.repeats} ...')
      for step in timed:
        if not step.row['problem']:
          with _exhaustion_noted(step.row, 'running it'):
            step.repeat()
    for step in timed:
      if step.row['problem']:
        step.row['fits'] = False
        continue
      step.row['examples_per_second'] = step.throughput()
      if self.limits.device.platform == 'cpu':
        step.row['cores_busy'] = statistics.median(step.busy)

  def _suggest(self, row: Row) -> list[Timed]:
    """Puts the largest micro-batch that has room into a row; returns it to be timed.

    What ran out of memory, whole or gathered, takes more than there is.
    """
    size, last = row['batch_size'], row['suggestion'] or row
    known = last['memory_bytes']
    ends = [self.limits.memory, known['total'] - 1 if known else None]
    most = min((end for end in ends if end is not None), default=None)
    row['suggestion'] = None
    micro = most and memory.largest_micro_batch(
      size, self._predict(), most, lambda micro: self._gathers(micro, most)
    )
    if not micro:
      row['problem'] += '; no micro-batch was found that fits'
      return []
    gathering, accumulation = self._gather(micro), size // micro
    assert gathering is not None  # as it fits
    compiled, needed = gathering
    suggestion: Row = {'micro_batch': micro, 'accumulation': accumulation, 'memory_bytes': needed}
    row['suggestion'] = suggestion | {'examples_per_second': None, 'problem': None}
    if self._no_room(needed['total']):  # free is less than there is: it fits, but not now
      return []

    def start() -> timing.Run:
      return timing.gatherer(compiled, self.training, self._state(), micro, accumulation)

    return [Timed(row['suggestion'], size, start)]

  def _gathers(self, micro: int, most: int) -> bool:
    gathering = self._gather(micro)
    return gathering is not None and gathering[1]['total'] <= most

  def _gather(self, micro: int) -> tuple[Compiled, Row] | None:
    """The gathering step of a micro-batch and its bytes; None if it does not even compile."""
    if micro not in self._gathering:
      note: Row = {'problem': None}
      with _exhaustion_noted(note, 'compiling it'):
        compiled = steps.compile_gather(self.training, micro)
        batch, grad_sum = steps.shapes(self.training, micro), self._trained
        gathering = compiled, memory.of_step(compiled, self.shapes, batch, grad_sum)
      self._gathering[micro] = None if note['problem'] else gathering
    return self._gathering[micro]

  def _predict(self) -> Callable[[int], float]:
    """Bytes of a gathering step: those of a whole batch of its size, and the sum of gradients.

    The line goes through the sizes of the study; where these are too few, through small ones too.
    """
    for size in SMALL:
      if len(self._totals) < 2 and size not in self._totals:
        with _exhaustion_noted({}, 'compiling it'):
          compiled = steps.compile_step(self.training, size)
          batch = steps.shapes(self.training, size)
          self._totals[size] = memory.of_step(compiled, self.shapes, batch)['total']
    if len(self._totals) < 2:
      return lambda micro: math.inf  # then the smallest is asked first
    whole, more = memory.line(self._totals), memory.tree_bytes(self._trained)
    return lambda micro: whole(micro) + more


def count(tree: Any) -> int:
  """How many numbers a tree of arrays, or of their shapes, holds."""
  return sum(math.prod(x.shape) for x in jax.tree.leaves(tree))


def _ran_out(row: Row) -> bool:
  """Whether a row, or its suggestion, ran out of memory and has nothing else suggested."""
  last = row['suggestion'] or row
  return (last['problem'] or '') == f'running it {EXHAUSTED}'


@contextlib.contextmanager
def _exhaustion_noted(row: Row, doing: str) -> Iterator[None]:
  """Makes running out of device memory the problem of a row; other errors are errors."""
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if not out_of_memory(error):
      raise
    row['problem'] = f'{doing} {EXHAUSTED}'


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
