"""What is chosen for a machine, and counted of programs; `tests/studies/test_kept_runs.py`."""

from __future__ import annotations

import itertools
import math
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from bsjax import models
from bsjax.autotune import execution, grouping, timer
from bsjax.autotune.grouping import Timing
from bsjax.cost import hlo, memory, targets
from bsjax.cost import meter as meters
from bsjax.cost.timing import Timed
from bsjax.engine import (
  arithmetic,
  averages,
  device_axis,
  device_data,
  divergence,
  fed_data,
  rate_sums,
  seats,
  strategies,
  vectorize,
)
from bsjax.engine import memory as lane_memory
from bsjax.format import GIB
from bsjax.optim import schedules
from bsjax.plan import plan, stages
from bsjax.recommend import short_run
from helpers.kept import Kept
from helpers.kept_arrays import drawn, plain, said
from helpers.kept_trainings import small

PROGRAM = Path(__file__).with_name('kept_program.txt')


def timings(*, start: float = 1.0) -> list[Timing]:
  """Ticks of three strategies at four micro-batches."""
  rows = []
  for micro, (name, overhead, lanes) in itertools.product(
    (8, 16, 32, 64),
    (('map-canonical', 2e-3, 2), ('vmap-im2col', 8e-4, 12), ('unrolled-canonical', 5e-4, 3)),
  ):
    seconds = lanes * (overhead + micro * 4e-5 * (1 + lanes / 40))
    rows.append(Timing(micro, name, lanes, seconds, start * (1 + lanes / 4)))
  return rows


def groupings() -> Kept:
  """Micro-batches and strategies that made-up timings speak for."""
  numbers: dict[str, Any] = {}
  sizes = (8, 16, 64, 256, 1024), (32, 96, 160), (12, 24), (16, 128)
  for batch_sizes, (measured, platform) in itertools.product(
    sizes, ((True, 'cpu'), (False, 'cpu'), (True, 'gpu'), (False, 'gpu'))
  ):
    common = min(32, math.gcd(*batch_sizes))
    limits = grouping.limits(common, measured, platform, 2)
    tried = [m for m in (4, 8, 16, 32, 64) if grouping.usable(batch_sizes[-1], m, limits)]
    found = [grouping.candidates(batch_sizes, limits), tried]
    for total, start in itertools.product((2_000, 50_000, 5_000_000), (0.0, 1.0, 30.0)):
      lanes = {size: 3 + i for i, size in enumerate(batch_sizes)}
      if common in (8, 16, 32):
        rows = [row for row in timings(start=start) if row.micro_batch >= 8]
        chosen = grouping.choose(lanes, total, rows, limits)
        found.append([list(chosen.items()), said(_predict(chosen, lanes, total, rows))])
    numbers[f'{batch_sizes} {measured} {platform}'] = plain(found)
  kinds = ('cpu', 'nvidia', 'tpu'), (False, True), (1, 2, 4, 5, 16, 17)
  for kind, convolves, lanes in itertools.product(*kinds):
    names = [s.name for s in strategies.candidates(kind, convolves, lanes)]
    numbers[f'worth {kind} {convolves} {lanes}'] = [strategies.usual(kind).name, *names]
  for capability in ('9.0', '8.0', '7.5', 'gfx90a', ''):
    device = types.SimpleNamespace(platform='gpu', compute_capability=capability)
    with mock.patch.object(strategies, '_installed', lambda _: True):
      numbers[f'kind {capability}'] = strategies.kind(device)
  return Kept(numbers, {})


def _predict(chosen: Any, lanes: Any, total: int, rows: Any) -> Callable[[], Any]:
  return lambda: grouping.predicted_seconds(chosen, lanes, total, rows, 2)


def executions() -> Kept:
  """How a study is run by timings that are known, as it is said and stored."""
  numbers: dict[str, Any] = {}
  config = small(batch_sizes=(8, 16, 64, 256), execution__strategy='auto', micro_batch='auto')
  config.execution.devices = 2
  study = plan.make_plan(config, 1024)
  names = {row.strategy for row in timings()}
  asked: list[Any] = []
  watch = mock.Mock(timings=timings())
  watch.pays.side_effect = lambda *given, **more: asked.append([*given, more]) or True

  def time(chosen: Any, micro: int, wanted: Any) -> list[Timing]:
    asked.append([sorted(chosen.items()), micro, list(wanted)])
    return [t for t in timings() if t.micro_batch == micro and t.strategy in wanted]

  watch.time.side_effect = time
  device = 'two cores, made up'
  with (
    mock.patch.object(timer, 'Timer', lambda *_: watch),
    mock.patch.object(execution, 'describe', lambda _: 'two cores'),
    mock.patch.object(timer, 'processor', lambda: 'made up'),
  ):
    chosen = execution.choose(config, mock.Mock(), study)
    again = execution.choose(config, mock.Mock(), study, recorded=chosen)
    elsewhere = execution.Execution('another', {8: 8, 16: 8, 64: 8, 256: 64}, {}, [], parts={0: 2})
    moved = execution.choose(config, mock.Mock(), study, recorded=elsewhere)
    config.execution.strategy = 'map-im2col'
    fixed = execution.choose(config, mock.Mock(), study, recorded=chosen)
    config.execution.strategy, config.model.normalization = 'auto', 'batch'
    still = execution.choose(config, mock.Mock(), study)
  assert chosen.device == device and names
  made = {'chosen': chosen, 'again': again, 'moved': moved, 'fixed': fixed, 'still': still}
  for name, one in made.items():
    numbers[name] = [plain(one.micro_batches), {m: s.name for m, s in one.strategies.items()}]
    numbers[name] += [one.fixed, plain(one.parts), one.lines()]
    numbers[name].append(said(lambda one=one: execution.training_seconds(config, study, one)))
    numbers[name].append(execution.total_time(config, study, one))
  few = execution.Execution(device, {8: 8, 16: 8, 64: 8, 256: 8}, {}, [])
  numbers['not timed'] = [
    few.lines() if few.strategies else '',
    execution.total_time(config, study, few),
  ]
  return Kept({'asked': plain(asked), **numbers}, {})


def lanes_on_devices() -> Kept:
  """Where lanes sit, what they sum up, when they are lost, and what memory they need."""
  numbers: dict[str, Any] = {}
  trials = np.array([0, 1, 2] * 4), np.array([0, 0, 1, 1, 1]), np.array([0, 1] * 3)
  for i, (of_lanes, devices) in enumerate(itertools.product(trials, (1, 2, 3))):
    for name in ('map-canonical', 'vmap-im2col', 'unrolled-native'):
      order, rows = seats.seating(strategies.STRATEGIES[name], of_lanes, devices)
      numbers[f'seats {i} {name}'] = [plain(order), rows]
      for out in ([0, 2], [1], [0, 1, 2, 3]):
        gone = np.isin(np.arange(len(of_lanes)), out)
        numbers[f'even {i} {name} {out}'] = plain(seats.evened(order, gone))
  numbers['dealt'] = [plain(device_axis.deal(n, d)) for n, d in ((5, 2), (6, 3), (1, 4))]
  config = small(batch_sizes=(8, 16), schedule__name='cosine', schedule__warmup_epochs=0.25)
  study = plan.make_plan(config, 64).first
  numbers['params'] = plain(seats.params_of(study.groups[0]))
  schedule = schedules.create_schedule(config.schedule, 128, 64)
  by_tick, lanes = rate_sums.factors(schedule, 128, 8), study.groups[0].lanes
  half = rate_sums.after(rate_sums.none(lanes), by_tick, 6, lanes)
  numbers['rates'] = plain([by_tick, half, rate_sums.after(half, by_tick, 16, lanes)])
  numbers['reach'] = [device_data.reach(study), device_data.largest_micro_batch(study)]
  for given in (
    ('cpu', 8, 3, (8,)),
    ('gpu', 8, 3, (8,)),
    ('gpu', 8, 3, (64, 256)),
    ('gpu', 2, 4, (512,)),
  ):
    numbers[f'shares {given}'] = said(lambda given=given: device_data.shares_left_open(*given))
  for ticks, size in ((8, 10), (64, 2**20), (1000, 2**10), (7, 2**30), (12, 2**22)):
    numbers[f'read {ticks} {size}'] = vectorize.ticks_read_at_once(ticks, size)
  for bound in (0.0, 1.0):
    config.execution.memory = bound
    numbers[f'budget {bound}'] = said(lambda: fed_data.budget(config, 10 * GIB))
  words = 'RESOURCE_EXHAUSTED: x', 'Out of memory', 'std::bad_alloc', 'exhausted', 'memory'
  numbers['out'] = [lane_memory.out_of_memory(Exception(word)) for word in words]
  shapes = {'a': jax.ShapeDtypeStruct((2**20, 2**10), jnp.float32)}
  known = types.SimpleNamespace(memory_stats=lambda: {'bytes_limit': 3 * GIB})
  with mock.patch.object(lane_memory.device_axis, 'devices', lambda _: [known, known]):
    for lanes_there in (1, 2):
      numbers[f'room {lanes_there}'] = said(
        lambda n=lanes_there: lane_memory.refuse_too_large(shapes, n, 0)
      )
  return Kept(numbers | _averaged(), {})


def _averaged() -> dict[str, Any]:
  state = averages.AveragedState(
    **{'params': {'a': drawn(1, 3)}, 'batch_stats': {}, 'opt_state': (), 'grad_sum': ()},
    **{'count': 0, 'updates': 0, 'noise': (), 'average': {'a': drawn(2, 3)}},
    mass=jnp.float32(0),
  )
  seen = [state.averaged().params]
  for number, share in enumerate((0.5, 0.02, 1e-6, 3.0)):
    state = state.replace(params={'a': drawn(3 + number, 3)}).after_update(jnp.float32(share))
    seen += [state.average, state.mass, state.averaged().params]
  seen.append(averages.anew(state).average)
  trees = {'a': drawn(1, 3), 'b': np.int32(3)}, {'a': drawn(1, 3) * np.inf}, {'b': np.nan}
  finite = [bool(divergence.all_finite(jax.tree.map(jnp.asarray, tree))) for tree in trees]
  flags = jnp.array([True, False, True])
  chosen = divergence.choose(flags, {'a': drawn(1, 3, 2)}, {'a': drawn(2, 3, 2)})
  return {'average': plain(seen), 'finite': finite, 'chosen': plain(chosen)}


def programs_and_costs() -> Kept:
  """Work of a compiled program, memory of steps, peaks of accelerators, a short run."""
  numbers: dict[str, Any] = {}
  text = PROGRAM.read_text()
  for name, part in enumerate(text.split('=====\n')):
    found = [hlo.work(part, branch) for branch in (min, max)]
    numbers[f'program {name}'] = plain([*found, hlo.work(part) * 3 + found[1]])
  shapes = 'f32[3,5]{1,0}', 'pred[7]{0}', 'bf16[2,3]', 'f32[105,16]{1,0:T(8,128)}', 's4[9]{0}'
  shapes += '(f32[2]{0}, /*index=1*/s32[3]{0})', 'f32[9,16]{0,1:T(8,128)S(1)}', 'token[]'
  numbers['bytes'] = {shape: hlo.array_bytes(shape) for shape in shapes}
  line = memory.line({8: 1000, 32: 2500, 128: 9100})
  for size, most in itertools.product((96, 7, 1, 256), (900, 1500, 4000, 10**6)):
    asked: list[int] = []

    def fits(micro: int, most: int = most, asked: list[int] = asked) -> bool:
      asked.append(micro)
      return 1.2 * line(micro) <= most

    found = memory.largest_micro_batch(size, line, most, fits)
    numbers[f'micro {size} {most}'] = [found, asked]
  for name, target in targets.TARGETS.items():
    peaks = [
      target.peak(dtype, strategies.STRATEGIES[strategy])
      for dtype in ('float32', 'tf32', 'bfloat16')
      for strategy in ('map-native', 'vmap-pallas')
    ]
    numbers[name] = [
      target.platform,
      target.memory,
      target.bandwidth,
      target.launch_seconds,
      *peaks,
    ]
  for name in ('H300', 'H100:2', 'v5e:x', 'v7'):
    if name != 'v5e:x':
      numbers[f'target {name}'] = said(lambda name=name: targets.find(name))
  numbers |= _metered()
  config = small(schedule__name='cosine', schedule__warmup_epochs=3.0, trials=2, epochs=9.0)
  for share in (0.1, 1.0, 0.0, 1.5):
    numbers[f'short {share}'] = said(lambda s=share: _short(config, s))
  stages.add(config, 'a')
  numbers['short of stages'] = said(lambda: _short(config, 0.1))
  return Kept(numbers, {})


def _short(config: Any, share: float) -> Any:
  made = short_run.short_config(config, 5000, share).to_dict()
  names = 'batch_sizes', 'trials', 'epochs', 'evaluations', 'schedule', 'noise_scale', 'native_cost'
  return [{name: made[name] for name in names}, short_run._powers(70_000), short_run._powers(100)]


def _metered() -> dict[str, Any]:
  """Sums of products, medians of rates, what has no room."""

  def program(x: Any, kernel: Any) -> Any:
    layout = ('NHWC', 'HWIO', 'NHWC')
    conv = jax.lax.conv_general_dilated(x, kernel, (2, 1), 'SAME', dimension_numbers=layout)

    def body(y: Any, _: Any) -> Any:
      return jax.lax.cond(y.sum() > 0, lambda y: y @ y @ y, lambda y: y @ y, y), None

    return (
      conv,
      jax.lax.scan(body, jnp.ones((3, 3)), length=5)[0],
      jnp.einsum('abc,cd->abd', *_two()),
    )

  shapes = jax.ShapeDtypeStruct((2, 6, 6, 3), 'f4'), jax.ShapeDtypeStruct((3, 3, 3, 4), 'f4')
  numbers: dict[str, Any] = {'flops': arithmetic.flops(jax.make_jaxpr(program)(*shapes).jaxpr)}
  numbers['rates'] = Timed({}, 8, lambda: print, rates=[3.0, 1.0, 9.0, 4.0]).throughput()
  free = {'none': None, 'little': 50, 'enough': 100}
  for (name, left), most in itertools.product(free.items(), (None, 99, 100)):
    own = types.SimpleNamespace(limits=meters.Limits(mock.Mock(), most, 5))
    with mock.patch.object(memory, 'free', lambda _, left=left: left):
      numbers[f'room {name} {most}'] = meters.Meter._no_room(own, 100)
  numbers['count'] = [meters.count({'a': np.zeros((2, 3)), 'b': np.zeros(())})]
  numbers['tree'] = memory.tree_bytes({'a': np.zeros((2, 3), 'f4'), 'b': np.zeros(5, 'i1')})
  numbers['names'] = [
    [m.title, m.stride, m.convolves, list(m.keys)] for m in models.MODELS.values()
  ]
  return numbers


def _two() -> tuple[Any, Any]:
  return jnp.ones((2, 3, 4)), jnp.ones((4, 5))


MACHINES: dict[str, Callable[[], Kept]] = {
  'groupings': groupings,
  'executions': executions,
  'lanes_on_devices': lanes_on_devices,
  'programs_and_costs': programs_and_costs,
}
