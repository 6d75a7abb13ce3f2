"""What an extension does with the study that is there: goes on from it, or leaves it as it is."""

import contextlib
import dataclasses
import types

import pytest
from helpers import synthetic
from helpers.small import small_config

from bsjax.autotune import execution
from bsjax.autotune.execution import Execution
from bsjax.config.errors import ConfigError
from bsjax.engine.strategies import STRATEGIES
from bsjax.plan import arms, plan
from bsjax.plan.extension import Extension
from bsjax.storage import checkpoint, records
from bsjax.storage.position import BatchSizes, Position, RateSum
from bsjax.train import extension, extension_part
from bsjax.train.training import Training

SUMS = (RateSum(4, (0.1, 0.2)),)


def position(rate_sums):
  """Of a study that was stopped on its way from one evaluation to the next."""
  return Position(0, 96, (6,), rate_sums, BatchSizes((), ()), evaluated=64, data='a')


@pytest.mark.parametrize(
  ('there', 'lost', 'why'),
  [
    (position(SUMS), (), ''),
    (position(SUMS), (1,), ''),
    (position(SUMS), (0, 1), 'diverged'),
    (position(()), (), 'weights'),  # what was merged keeps nothing else
    (None, (), 'weights'),
    (FileNotFoundError(), (), 'weights'),
    (checkpoint.Unreadable(), (), 'weights'),
  ],
)
def test_lanes_go_on_from_a_checkpoint_with_all_of_their_state(
  there, lost, why, tmp_path, monkeypatch
):
  def read(*_):
    if isinstance(there, Exception):
      raise there
    return there

  monkeypatch.setattr(checkpoint, 'open_to_read', lambda _: contextlib.nullcontext())
  monkeypatch.setattr(checkpoint, 'newest_first', lambda _: [3, 1] if there else [])
  monkeypatch.setattr(checkpoint, 'position', read)
  rows = [{'lane': x, 'examples': at, 'diverged': x in lost} for at in (0, 64) for x in (0, 1)]
  records.write(tmp_path / 'records.jsonl', rows)
  assert extension_part._no_way_on(tmp_path) == why


@pytest.mark.parametrize(('end', 'reached'), [(43008, True), (43000, False)])
def test_a_study_has_come_to_its_end_where_a_row_stands_there(end, reached, tmp_path):
  records.write_plan(tmp_path / 'plan.csv', synthetic.plan((8, 16), (0.1,), 1))
  records.write(tmp_path / 'records.jsonl', [{'lane': 0, 'examples': at} for at in (0, end)])
  assert extension_part._reached(tmp_path) == reached


@pytest.mark.parametrize(('sizes', 'taken'), [((8, 16), True), ((8, 16, 32), False)])
def test_costs_of_the_same_batch_sizes_are_taken_over(sizes, taken, tmp_path):
  path, made = tmp_path / 'study', tmp_path / 'made'
  path.mkdir()
  records.write_plan(path / 'plan.csv', synthetic.plan((8, 16), (0.1,), 1))
  records.write_json(path / 'native_cost.json', {'rows': []})
  whole = Extension(plan.make_plan(small_config(batch_sizes=sizes), 150), {})
  extension_part._take_over(path, made, whole, None)
  assert (made / 'native_cost.json').exists() == taken


@pytest.fixture
def halfway(tmp_path):
  """A study that an extension is taking the place of: the config is not there yet."""
  for name in ('config.json', 'before/config.json', 'before/records.jsonl'):
    path = tmp_path / 'extensions' / '1' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{}')
  return tmp_path


def test_a_study_that_is_halfway_is_begun_and_a_dry_run_moves_none_of_it(halfway):
  assert extension._is_begun(halfway) and not extension._is_begun(halfway / 'extensions')
  before = sorted(halfway.rglob('*'))
  with pytest.raises(ConfigError, match='was interrupted while it took its place'):
    extension.extend(small_config(), halfway, dry_run=True)
  assert sorted(halfway.rglob('*')) == before
  extension.settle(halfway)
  assert (halfway / 'config.json').exists()


@pytest.mark.parametrize(
  ('there', 'now', 'words'),
  [
    (('one', 'two'), ('one', 'two', 'three'), ''),
    (('one', 'two'), ('one', 'three'), r"arms.order=\('one', 'three'\), and .* has the arm two"),
    ((), ('one',), r"arms.order=\('one',\), and .* has no arms: nothing is taken away"),
    ((), ('',), ''),
  ],
)
def test_no_arm_is_taken_away(there, now, words, tmp_path):
  config = small_config()
  for name in there:
    arms.add(config, name, {})
  refused = pytest.raises(ConfigError, match=words) if words else contextlib.nullcontext()
  with refused:
    extension._refuse_other_arms(tmp_path, config, now)


def test_the_study_there_says_how_the_extended_one_runs(tmp_path, monkeypatch):
  """Strategies for other micro-batches are timed, and parts are those of the lanes there."""
  strategy = STRATEGIES['map-canonical']
  there = Execution('2 cores', {8: 8}, {8: strategy}, [], parts={0: 3})
  monkeypatch.setattr(execution, 'read', lambda _: there)
  for sizes, micro, device in (((8, 16), 8, '2 cores'), ((8, 16), 4, '')):
    whole = plan.make_plan(small_config(batch_sizes=sizes, micro_batch=micro), 150)
    held = extension_part._held(tmp_path, Extension(whole, {}))
    assert held.micro_batches == dict.fromkeys(sizes, micro)
    assert (held.device, held.parts, held.strategies) == (device, {}, {8: strategy})
  monkeypatch.setattr(execution, 'read', lambda _: None)
  with pytest.raises(records.Damaged, match=r'lacks plan\.csv; restore the file'):
    extension_part._held(tmp_path, Extension(whole, {}))


def test_a_shard_runs_as_those_before_it_and_in_parts_of_its_own(monkeypatch):
  own, others, there = (Execution(name, {8: 8}, {}, [], parts={0: 3}) for name in 'abc')
  known = {}
  monkeypatch.setattr(execution, 'read', known.get)
  made = types.SimpleNamespace(workdir='own', whole='whole', extends=None)
  assert Training._read_execution(made) is None
  made.extends = types.SimpleNamespace(execution=there)
  assert Training._read_execution(made) == there
  known['whole'] = others
  assert Training._read_execution(made) == dataclasses.replace(others, parts={})
  known['own'] = own
  assert Training._read_execution(made) == own
