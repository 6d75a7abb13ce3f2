"""Memory that is short: a compiler that finds no room, as that of a TPU does, and what is said."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small import small_config

from bsjax import data
from bsjax.autotune import timer
from bsjax.config.errors import ConfigError
from bsjax.engine import device_axis, device_lanes, memory, processes, stage_lanes
from bsjax.engine.device_data import DeviceData
from bsjax.engine.strategies import STRATEGIES
from bsjax.plan import plan
from bsjax.study import Study

CONFIG = {
  'execution__strategy': 'vmap-im2col',
  'execution__devices': 1,
  'learning_rates': (0.1,),
  'batch_sizes': (8, 16),
}
NO_ROOM = 'RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 17.70G of 15.75G hbm.'


class Lowered:
  """A program for which the compiler has room up to so many seats."""

  def __init__(self, seats, most, error):
    self.room, self.error = seats <= most, error

  def compile(self):
    if not self.room:
      raise jax.errors.JaxRuntimeError(self.error)
    return self

  def memory_analysis(self):
    return self

  temp_size_in_bytes = 600


@pytest.fixture
def room_for(monkeypatch):
  """Leaves room for programs of at most so many lanes, on a device that says what it has."""

  def leave(most, error=NO_ROOM):
    def lower(self, part, on_device):
      return Lowered(part.order.shape[1], most, error)

    monkeypatch.setattr(device_lanes.Lanes, 'lower', lower)
    monkeypatch.setattr(memory, 'free_bytes', lambda device, bound: 2**40)

  return leave


@pytest.fixture(scope='module')
def study():
  config = small_config(**CONFIG)
  dataset = data.load(config.data, config.seed)
  of_plan = plan.make_plan(config, len(dataset.train)).first
  return config, dataset, of_plan, DeviceData(dataset, config, of_plan)


def lanes_of(study):
  config, dataset, of_plan, _ = study
  return stage_lanes.create(config, dataset, of_plan)[0]


@pytest.mark.parametrize(('most', 'parts'), [(2, 2), (0, 4)])
def test_lanes_for_which_a_compiler_has_no_room_take_turns(study, room_for, most, parts):
  room_for(most)
  lanes = lanes_of(study)
  said = memory.fit(lanes, study[3], 0.0)
  assert len(lanes.parts) == parts
  assert any('more than the device has at once' in sentence for sentence in said)
  assert any('even with one lane at a time' in sentence for sentence in said) == (most == 0)
  held = memory.bytes_per_lane(lanes, study[3])
  assert (held is None) == (most == 0)


def test_parts_of_one_shape_are_compiled_once(study, room_for, monkeypatch):
  room_for(1)
  compiled, compile_ = [], Lowered.compile
  monkeypatch.setattr(Lowered, 'compile', lambda self: compiled.append(1) or compile_(self))
  lanes = lanes_of(study)
  memory.fit(lanes, study[3], 0.0)
  assert memory.bytes_per_lane(lanes, study[3]) > 600
  assert len(lanes.parts) == 4 and len(compiled) == 3  # of four seats, of two, and of one


def test_other_errors_of_a_compiler_are_raised(study, room_for):
  room_for(2, 'INTERNAL: something else')
  with pytest.raises(jax.errors.JaxRuntimeError, match='something else'):
    memory.fit(lanes_of(study), study[3], 0.0)


def test_a_strategy_is_timed_in_parts_where_its_compiler_has_no_room(study, room_for, monkeypatch):
  config, dataset, of_plan, on_device = study
  room_for(2)
  monkeypatch.setattr(timer, 'MEASUREMENTS', 1)
  parts = []
  monkeypatch.setattr(timer, '_timed', lambda run, *_: parts.append(len(run.parts)) or 1.0)
  group, strategy = of_plan.groups[0], STRATEGIES['vmap-im2col']
  timing = timer.measure(config, dataset, of_plan, group, on_device, strategy)
  assert timing.seconds < float('inf') and set(parts) == {2}


def test_a_dry_run_says_what_has_no_room(room_for, tmp_path, capsys):
  room_for(0)
  Study(small_config(**CONFIG), tmp_path / 'study').run(dry_run=True)
  printed = capsys.readouterr().out
  assert 'take turns' in printed
  assert 'even with one lane at a time' in printed and 'no room' in printed


def test_three_lanes_take_turns_in_two_parts_and_then_in_three(room_for):
  config = small_config(**CONFIG | {'batch_sizes': (8, 16, 32), 'trials': 1})
  dataset = data.load(config.data, config.seed)
  of_plan = plan.make_plan(config, len(dataset.train)).first
  room_for(0)
  lanes = stage_lanes.create(config, dataset, of_plan)[0]
  memory.fit(lanes, DeviceData(dataset, config, of_plan), 0.0)
  assert [part.lanes.tolist() for part in lanes.parts] == [[0], [1], [2]]


def state_bytes(lanes):
  """What the states of all lanes take, and what of it is copied."""
  (states,) = (part.states for part in lanes.parts)
  sizes = [sum(x.nbytes for x in jax.tree.leaves(y)) for y in (states, states.grad_sum)]
  return sizes[0], sizes[0] - sizes[1]


def test_a_lane_takes_its_state_twice_and_its_share_of_the_program(study, room_for):
  """Two lanes on each of two devices."""
  config, dataset, of_plan, _ = study
  room_for(9)
  config = config.copy_and_resolve_references()
  config.execution.devices = 2
  on_two = DeviceData(dataset, config, of_plan)
  lanes = stage_lanes.create(config, dataset, of_plan)[0]
  states, copied = state_bytes(lanes)
  assert memory.bytes_per_lane(lanes, on_two) == (states + copied) // 4 + 600 // 2
  # A device holds the copies of its own two lanes beside what the program needs.
  needed = 600 + copied // 2
  for free, fits in ((needed, True), (needed - 1, False)):
    said = fitted(lanes_of((config, dataset, of_plan, None)), on_two, [free, 2**40])
    assert (said == []) == fits
  assert 'need 0.00 GiB at once' in said[0] and 'take turns, in 2 parts' in said[0]


def fitted(lanes, on_device, free):
  """What is said where these bytes are free, one after the other."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(memory, 'free_bytes', lambda device, bound: free.pop(0))
    return memory.fit(lanes, on_device, 0.0)


def test_parts_run_one_at_a_time_and_their_copies_stay(study, room_for):
  room_for(9)
  lanes = lanes_of(study)
  copied = state_bytes(lanes)[1]
  enough = 600 + copied  # of the largest part alone, whatever their number
  assert len(fitted(lanes, study[3], [enough - 1, enough])) == 1 and len(lanes.parts) == 2


def test_what_is_free_is_what_is_not_held_there():
  """However often it is asked, and of arrays over both devices a half on each."""
  first, second = jax.local_devices()[:2]

  def held():
    return np.array([2**30 - memory.free_bytes(device, 1.0) for device in (first, second)])

  before, arrays = held(), []
  for array, devices, taken in (
    (np.zeros(1000, np.float32), [second], [0, 4000]),
    (np.zeros((2, 500), np.float32), [first, second], [2000, 2000]),
    (np.zeros((1, 10), np.int8), [first], [10, 0]),
  ):
    arrays.append(device_axis.spread(array.reshape(len(devices), -1), devices))
    for _ in range(2):
      assert (held() - before).tolist() == taken
    before = held()
  assert memory.free_bytes(second, 2.0) - memory.free_bytes(second, 1.5) == 2**29
  assert memory.free_bytes(first, 0.0) is None  # a CPU does not tell


@pytest.mark.parametrize(
  ('limits', 'lanes', 'refused'),
  [
    ((2000, 2000), 10, False),  # of 100 parameters of four bytes
    ((2000, 1999), 10, True),
    ((2000, 2000), 11, True),
    ((2000, None), 10, False),  # where one does not tell, the machine's memory counts
  ],
)
def test_lanes_whose_parameters_no_device_holds_are_refused(limits, lanes, refused, monkeypatch):
  devices = [
    SimpleNamespace(memory_stats=lambda limit=limit: limit and {'bytes_limit': limit})
    for limit in limits
  ]
  monkeypatch.setattr(memory.device_axis, 'devices', lambda count: devices)
  params = {'w': jnp.zeros((9, 10)), 'b': jnp.zeros(10)}
  try:
    memory.refuse_too_large(params, lanes, 0)
  except ConfigError as error:
    assert refused and f'{lanes} lanes of 100 parameters' in str(error)
  else:
    assert not refused
  monkeypatch.setattr(processes, 'count', lambda: 2)  # each of which has as much
  memory.refuse_too_large(params, lanes, 0)
