"""Memory that is short: a compiler that finds no room, as that of a TPU does, and what is said."""

import jax
import pytest
from helpers.small import small_config

from bsjax import data
from bsjax.autotune import timer
from bsjax.engine import device_lanes, memory, stage_lanes
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
