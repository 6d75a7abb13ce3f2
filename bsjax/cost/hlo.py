"""Kernels of a compiled program, and the bytes they move, counted in the compiler's own text."""

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

BITS = re.compile(r'[a-z]+(\d+)')  # of a number; `pred` has eight
# dtype[dimensions]{order:tiles and memory}
ARRAY = re.compile(r'\b([a-z]+\d*\w*)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?')
TILE = re.compile(r'T\((\d+),(\d+)\)')
FAST_MEMORY = re.compile(r'S\([1-9]\d*\)')  # on the chip itself
INSTRUCTION = re.compile(r'^\s+(ROOT )?%?([\w.\-]+) = ')
HEAD = re.compile(r'^(?:ENTRY )?%?([\w.\-]+) \(.*\{$')
NAME = re.compile(r'%([\w.\-]+)')
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
CONSTANT = re.compile(r'constant\((\d+)\)')
# What moves nothing; what ends with '-done' ends what has been counted.
FREE = {'parameter', 'constant', 'get-tuple-element', 'tuple', 'bitcast', 'after-all', 'domain'}
FREE |= {'partition-id', 'replica-id', 'opt-barrier', 'add-dependency', 'get-dimension-size'}
SLICES = ('dynamic-slice', 'slice', 'gather')


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a computation."""

  name: str
  shape: str
  opcode: str
  operands: tuple[str, ...]
  rest: str  # its attributes
  root: bool

  def called(self, key: str) -> list[str]:
    """The computations that an attribute names."""
    value = re.search(rf'\b{key}=(\{{[^}}]*\}}|%[\w.\-]+)', self.rest)
    return NAME.findall(value[1]) if value else []


Computation = dict[str, Instruction]


@dataclasses.dataclass(frozen=True)
class Work:
  """Kernels, and the bytes that they read and write."""

  kernels: int | float = 0
  bytes: int | float = 0

  def __add__(self, other: 'Work') -> 'Work':
    return Work(self.kernels + other.kernels, self.bytes + other.bytes)

  def __mul__(self, times: int | float) -> 'Work':
    return Work(self.kernels * times, self.bytes * times)


def work(text: str, branch: Callable[[Iterable[Any]], Any] = min) -> Work:
  """Returns the work of one round of the loops that count at run time, loops around them and in
  them included; what is outside of them is not.

  Of a condition it is the branch with the fewest kernels, or with `max` the most. A slice of an
  array counts what it takes and not the array; bytes are those of tiles, as they lie in memory.
  """
  computations, entry = _parse(text)

  @functools.cache
  def of_rounds(name: str) -> Work:
    """Work inside loops that count at run time."""
    total = Work()
    for instruction in computations[name].values():
      if instruction.opcode == 'while':
        known = _trips(instruction, computations)
        body, condition = instruction.called('body')[0], instruction.called('condition')[0]
        total += of_rounds(body) * known if known else of_all(body) + of_all(condition)
      elif instruction.opcode == 'call':
        total += of_rounds(instruction.called('to_apply')[0])
    return total

  @functools.cache
  def of_all(name: str) -> Work:
    computation, total = computations[name], Work()
    for instruction in computation.values():
      if instruction.opcode == 'while':
        rounds = _trips(instruction, computations) or 1
        called = instruction.called('body') + instruction.called('condition')
        total += sum(map(of_all, called), Work()) * rounds
      elif instruction.opcode == 'conditional':
        branches = ('branch_computations', 'true_computation', 'false_computation')
        ways = [of_all(one) for key in branches for one in instruction.called(key)]
        least = branch(way.kernels for way in ways)
        total += next(way for way in ways if way.kernels == least)
      elif instruction.opcode == 'call':
        total += of_all(instruction.called('to_apply')[0])
      elif instruction.opcode not in FREE and not instruction.opcode.endswith('-done'):
        total += Work(1, _moved(instruction, computation, computations))
    return total

  return of_rounds(entry)


def _parse(text: str) -> tuple[dict[str, Computation], str]:
  """The computations by name, and the name of the one that is run."""
  computations: dict[str, Computation] = {}
  entry, current = '', None
  for line in text.splitlines():
    if current is None:
      if head := HEAD.match(line):
        current = computations.setdefault(head[1], {})
        entry = head[1] if line.startswith('ENTRY') else entry
    elif line.startswith('}'):
      current = None
    elif start := INSTRUCTION.match(line):
      instruction = _instruction(line[start.end() :], start[2], bool(start[1]))
      current[instruction.name] = instruction
  return computations, entry


def _instruction(line: str, name: str, root: bool) -> Instruction:
  called = re.search(r' [\w\-]+\(', line)
  if called is None:
    raise ValueError(f'an instruction of the compiled program cannot be read: {line!r}')
  end = _closing(line, 0) + 1 if line.startswith('(') else called.start()
  shape, line = line[:end], line[end:].lstrip()
  opening = line.index('(')
  closing = _closing(line, opening)
  inside = line[opening + 1 : closing]
  rest = line[closing + 1 :] if line[:opening] != 'constant' else line
  return Instruction(name, shape, line[:opening], tuple(NAME.findall(inside)), rest, root)


def _closing(line: str, opening: int) -> int:
  """Where the parenthesis closes that opens there."""
  depth = 0
  for place in re.finditer(r'[()]', line[opening:]):
    depth += 1 if place[0] == '(' else -1
    if not depth:
      return opening + place.start()
  raise ValueError(f'no closing parenthesis in {line!r:.200}')


def _trips(loop: Instruction, computations: dict[str, Computation]) -> int | None:
  """How often a loop goes round, as the compiler says or its condition compares; None: unknown."""
  if known := TRIPS.search(loop.rest):
    return int(known[1])
  condition = computations[loop.called('condition')[0]]
  inside = [condition, *(computations[c] for i in condition.values() for c in i.called('calls'))]
  constants = [
    int(value[1])
    for computation in inside
    for instruction in computation.values()
    if instruction.opcode == 'constant' and (value := CONSTANT.search(instruction.rest))
  ]
  return constants[0] if len(constants) == 1 else None


def array_bytes(shape: str) -> int:
  """Bytes of an array, or of those of a tuple, in a device's large memory, whole tiles each."""
  total = 0
  for dtype, dimensions, order, layout in ARRAY.findall(shape):
    if dtype == 'token' or FAST_MEMORY.search(layout):
      continue
    sizes = [int(size) for size in dimensions.split(',') if size]
    if (tile := TILE.search(layout)) and len(sizes) > 1:
      for axis, step in zip(map(int, order.split(',')), (int(tile[2]), int(tile[1])), strict=False):
        sizes[axis] = -(-sizes[axis] // step) * step
    bits = BITS.match(dtype)
    total += math.prod(sizes) * (int(bits[1]) if bits else 8) // 8
  return total


def _moved(
  kernel: Instruction, computation: Computation, computations: dict[str, Computation]
) -> int:
  """The bytes that a kernel reads and writes."""
  shapes = [computation[name].shape for name in kernel.operands if name in computation]
  called = kernel.called('calls')
  inside = computations.get(called[0], {}) if called else {}
  if not inside:
    inside = {kernel.name: dataclasses.replace(kernel, root=True)}
    whole = dict(zip(kernel.operands, shapes, strict=False))
  else:
    parameters = [i for i in inside.values() if i.opcode == 'parameter']
    whole = {i.name: i.shape for i in parameters}
  read = sum(_read(name, shape, inside) for name, shape in whole.items())
  written = [i for i in inside.values() if i.opcode == 'dynamic-update-slice']
  root = next(i for i in inside.values() if i.root)
  if written and root.opcode in ('dynamic-update-slice', 'tuple', 'bitcast'):
    updates = sum(array_bytes(_shape(inside, i.operands[1], whole)) for i in written)
    rest = array_bytes(kernel.shape) - sum(array_bytes(i.shape) for i in written)
    return read + updates + max(rest, 0)
  return read + array_bytes(kernel.shape)


def _shape(inside: Computation, name: str, whole: dict[str, str]) -> str:
  return whole[name] if name in whole else inside[name].shape


def _read(name: str, shape: str, inside: Computation) -> int:
  """What is read of an array of which a kernel may take only slices."""
  users = [i for i in inside.values() if name in i.operands]
  if users and all(_part(i, name) for i in users):
    return sum(array_bytes(i.shape) for i in users if i.opcode in SLICES)
  return array_bytes(shape)


def _part(user: Instruction, name: str) -> bool:
  """Whether an instruction takes a slice of an array, or changes one in place."""
  return user.opcode in (*SLICES, 'dynamic-update-slice') and user.operands[0] == name
