"""Shares of lanes: how they are dealt, and what becomes of records that do not add up."""

import collections
import shutil
import threading
import time

import pytest
from helpers.small import small_config

import bsjax
from bsjax.config.errors import ConfigError
from bsjax.plan import plan
from bsjax.storage import lock, provenance, records, shards
from bsjax.storage.records import Damaged
from bsjax.storage.shards import Shard


@pytest.mark.parametrize(
  'text', ['0/4', '5/4', '1/0', '1', '/', '1/4/2', '-1/4', '1/x', '１/4', ' 1/4']
)
def test_what_is_no_share_is_refused(text):
  with pytest.raises(ConfigError, match='give i/n with i from 1 to n'):
    Shard.parse(text)


@pytest.mark.parametrize('micro_batch', ['auto', 'batch'])
@pytest.mark.parametrize('count', [1, 2, 3, 4, 5, 7])
def test_lanes_are_dealt_evenly_and_keep_their_places_in_time(count, micro_batch):
  whole = plan.make_plan(small_config(trials=4, micro_batch=micro_batch), 150)
  parts = [plan.share(whole, Shard(index, count)) for index in range(1, count + 1)]
  assert sorted(x.lane for part in parts for x in part.lanes) == [x.lane for x in whole.lanes]
  by_lane = {x.lane: x for x in whole.lanes}
  for part in parts:
    assert [p.evaluations for p in part.stages] == [p.evaluations for p in whole.stages]
    assert part.first.block_examples == whole.first.block_examples
    assert all(x.micro_batch == by_lane[x.lane].micro_batch for x in part.lanes)
  sizes = [collections.Counter(x.batch_size for x in part.lanes) for part in parts]
  for size in (8, 16, 32):  # what a lane costs depends on it
    counts = [counter[size] for counter in sizes]
    assert max(counts) - min(counts) <= 1
  if 4 % count == 0:  # whole trials
    assert all(len({x.trial for x in part.lanes}) == 4 // count for part in parts)


@pytest.fixture
def workdir(tmp_path):
  """A study of six lanes and two evaluations in two shards that have ended."""
  study = plan.make_plan(small_config(learning_rates=(0.1,)), 150)
  for folder, part in [
    (tmp_path, study),
    *((Shard(i, 2).folder(tmp_path), plan.share(study, Shard(i, 2))) for i in (1, 2)),
  ]:
    folder.mkdir(parents=True, exist_ok=True)
    records.write_json(folder / 'config.json', {})
    records.write_plan(folder / 'plan.csv', plan.lane_rows(part))
    if folder != tmp_path:
      rows = [
        {'lane': x.lane, 'examples': mark, 'epoch': mark / 150, 'stage': 0}
        for mark in (0, study.total_examples)
        for x in part.lanes
      ]
      records.write(folder / 'records.jsonl', rows)
      shards.write_done(folder, '1 CPU core')
  return tmp_path


def test_rows_are_merged_in_order_of_the_plan(workdir):
  shards.merge(workdir)
  rows = records.read(workdir / 'records.jsonl')
  end = rows[-1]['examples']
  assert [(row['examples'], row['lane']) for row in rows] == [
    (at, i) for at in (0, end) for i in range(6)
  ]
  assert shards.hardware(workdir) == '1 CPU core'


def test_starts_are_merged_in_order_of_time_and_say_of_which_shard(workdir):
  for index, dates in ((1, ('2026-01-02', '2026-01-04')), (2, ('2026-01-01', '2026-01-03'))):
    folder = Shard(index, 2).folder(workdir)
    records.write_json(folder / provenance.FILE, {'starts': [{'date': date} for date in dates]})
    shards.write_done(folder, f'{3 - index} CPU cores')
  shards.merge(workdir)
  starts = provenance.read(workdir)
  assert [start['date'][-1] for start in starts] == ['1', '2', '3', '4']
  assert [start['shard'] for start in starts] == ['2/2', '1/2', '2/2', '1/2']
  assert shards.hardware(workdir) == '2 CPU cores; 1 CPU cores'  # in order of the shards


def test_shards_are_merged_once_and_when_all_have_ended(workdir):
  done, path = Shard(1, 2).folder(workdir) / shards.DONE, workdir / 'records.jsonl'
  content = done.read_text()
  done.unlink()
  shards.merge_if_ended(workdir)
  assert not path.exists()
  done.write_text(content)
  shards.merge_if_ended(workdir)
  assert len(records.read(path)) == 12
  path.write_text('{"lane": 0}\n')
  shards.merge_if_ended(workdir)
  assert records.read(path) == [{'lane': 0}]  # nothing is written over


def test_a_shard_without_lanes_of_a_group_is_its_share_all_the_same(tmp_path):
  """It counts the groups that it has from 0."""
  config = small_config(learning_rates=(0.1,), trials=1, micro_batch='batch')
  study = plan.make_plan(config, 150)
  for index in range(4):
    part = plan.share(study, Shard(index, 3)) if index else study
    folder = Shard(index, 3).folder(tmp_path) if index else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    records.write_json(folder / 'config.json', {})
    records.write_plan(folder / 'plan.csv', plan.lane_rows(part))
    if index:
      (lane,) = part.lanes
      assert (lane.group, study.lanes[index - 1].group) == (0, index - 1)
      records.write(folder / 'records.jsonl', [{'lane': lane.lane, 'examples': 0}])
  assert [row['lane'] for row in shards.rows(tmp_path)] == [0, 1, 2]


def test_a_study_goes_on_in_as_many_shards_as_it_was_begun_in(workdir):
  shards.refuse_otherwise(workdir, Shard(2, 2))
  for shard, words in (
    (None, 'begun in 2 shards: give each --shard=i/2'),
    (Shard(1, 3), 'begun in 2 shards, and --shard=1/3 is of 3; give --shard=i/2'),
    (Shard(1, 1), 'begun in 2 shards, and --shard=1/1 is of 1; give --shard=i/2'),
  ):
    with pytest.raises(ConfigError, match=words):
      shards.refuse_otherwise(workdir, shard)
  (workdir / 'summary.json').write_text('{}')
  shards.refuse_otherwise(workdir, None)  # once merged it is read and finished undivided


def test_a_study_is_read_while_its_shards_are_not_merged(workdir, tmp_path_factory):
  study = bsjax.load(workdir)
  rows = [(row['examples'], row['lane']) for row in study.rows()]
  assert rows == [(at, lane) for at in (0, rows[-1][0]) for lane in range(6)]
  table = study.records()
  assert list(zip(table['examples'], table['lane'], strict=True)) == rows
  whole = tmp_path_factory.mktemp('arms')
  shutil.copytree(workdir, whole / 'arms' / 'wide')
  records.write_json(whole / 'config.json', {})
  of_arms = bsjax.load(whole)
  assert of_arms.rows() == [{'arm': 'wide', **row} for row in study.rows()]
  assert list(of_arms.records()['lane']) == list(table['lane'])
  shards.merge(workdir)
  records.append(workdir / 'records.jsonl', study.rows()[-1:])
  with pytest.raises(Damaged, match=r'row 13: lane 5 at \d+ examples is there twice'):
    study.records()


def test_what_does_not_add_up_is_named_and_nothing_is_written(workdir):
  first, second = (Shard(i, 2).folder(workdir) for i in (1, 2))
  path = second / 'records.jsonl'
  rows = records.read(path)

  def refused(words, error=Damaged):
    with pytest.raises(error, match=words):
      shards.merge(workdir)
    assert not (workdir / 'records.jsonl').exists()

  records.write(path, [*rows, rows[-1]])
  refused(r'2-of-2/records\.jsonl, row 7: lane 5 at \d+ examples is there twice')
  records.write(path, records.read(first / 'records.jsonl'))  # another shard's
  refused(r'2-of-2/records\.jsonl, row 1: lane 0 .* is not planned')
  records.write(path, rows[:-1])
  refused(r'rows of lanes \[5\] at \d+ examples are missing')
  records.write(path, rows[:3])  # all of an evaluation
  refused(r'rows of lanes \[1, 3, 5\] at \d+ examples are missing')
  whole = records.read(first / 'records.jsonl')
  records.write(first / 'records.jsonl', whole[:3])  # of all shards
  refused(r'rows of lanes \[0, 1, 2, 3, 4\] and more at \d+ examples are missing')
  records.write(first / 'records.jsonl', whole)
  records.write(path, rows)
  plan_csv = (second / 'plan.csv').read_text()
  (second / 'plan.csv').write_text((first / 'plan.csv').read_text())
  refused(r'2-of-2/plan\.csv is not the share 2/2')
  (second / 'plan.csv').write_text(plan_csv)
  (second / shards.DONE).unlink()
  refused('the shards 2/2 have not ended', ConfigError)
  (second / 'config.json').unlink()  # it has not begun
  refused('the shards 2/2 have not ended', ConfigError)


def test_a_shard_waits_for_its_turn_and_says_for_whom(tmp_path):
  held, said = threading.Event(), []

  def hold():
    with lock.held(tmp_path):
      held.set()
      time.sleep(0.3)

  other = threading.Thread(target=hold)
  other.start()
  held.wait()
  with lock.held(tmp_path, said.append):
    other.join(0)
    assert not other.is_alive()
  assert said and 'in use by process' in said[0]
