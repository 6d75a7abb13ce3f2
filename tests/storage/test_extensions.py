"""Where extensions of a study are made, what they take over, and how they take its place."""

import os

import pytest
from helpers import synthetic

from bsjax.config.errors import ConfigError
from bsjax.storage import extensions, provenance, records, shards


def files(folder, *names):
  """Makes files, each of which holds its name."""
  for name in names:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)


def holds(folder):
  return {
    path.relative_to(folder).as_posix(): path.read_text()
    for path in folder.rglob('*')
    if path.is_file()
  }


@pytest.mark.parametrize(
  ('there', 'number', 'halfway'),
  [
    ((), 1, False),
    (('1/shards/lanes.json',), 1, False),  # begun, and cut before it had a config
    (('1/config.json',), 1, False),
    (('1/config.json', '1/before.part/config.json'), 1, True),
    (('1/before.part/config.json',), 1, True),
    (('1/config.json', '1/before/config.json'), 1, True),
    (('1/before/config.json',), 2, False),
    (('1/before/config.json', '2.part/plan.csv'), 2, False),
    (tuple(f'{number}/before/config.json' for number in range(1, 11)), 11, False),
  ],
)
def test_an_extension_has_its_folder_until_it_has_taken_its_place(there, number, halfway, tmp_path):
  files(tmp_path / 'extensions', *there)
  assert extensions.folder(tmp_path) == tmp_path / 'extensions' / str(number)
  assert extensions.taking_its_place(tmp_path) == halfway
  if halfway:
    with pytest.raises(ConfigError, match='was interrupted while it took its place; give'):
      extensions.refuse_halfway(tmp_path)
  else:
    extensions.refuse_halfway(tmp_path)


def test_a_config_leaves_first_and_comes_last_and_what_is_shared_stays(tmp_path, monkeypatch):
  made, moved, replace = 'extensions/1', [], os.replace
  files(tmp_path, 'config.json', 'a.csv', 'z.csv', 'pretrain/records.jsonl', '.lock')
  new = ('config.json', 'a.csv', 'z.csv', 'shards/1-of-2/plan.csv', 'shards/2-of-2/plan.csv')
  files(tmp_path / made, *new)
  monkeypatch.setattr(os, 'replace', lambda *paths: moved.append(paths[0]) or replace(*paths))
  extensions.take_place(tmp_path)
  assert moved[0] == tmp_path / 'config.json' and moved[-1] == tmp_path / made / 'config.json'
  assert holds(tmp_path) == {
    **{name: name for name in ('pretrain/records.jsonl', '.lock')},
    **{name: name for name in ('config.json', 'a.csv', 'z.csv')},
    **{f'{made}/before/{name}': name for name in ('config.json', 'a.csv', 'z.csv')},
    f'{made}/shards/2-of-2/plan.csv': 'shards/2-of-2/plan.csv',
  }


@pytest.fixture
def study(tmp_path):
  """A finished study of two lanes, and where its extension is to be made."""
  workdir = tmp_path / 'study'
  files(workdir, 'execution.json', 'report.html', 'checkpoints/3/state')
  plan = synthetic.plan((8, 16), (0.1,), 1)
  records.write_plan(workdir / 'plan.csv', plan)
  records.write(workdir / 'records.jsonl', [{'lane': i, 'loss': 0.5 + i} for i in range(2)])
  records.write_json(workdir / 'config.json', {'seed': 3})
  records.write_json(workdir / 'summary.json', {'hardware': 'a core'})
  records.write_json(workdir / provenance.FILE, {'starts': [{'host': 'a'}]})
  return workdir, workdir / 'extensions' / '1', plan


def test_lanes_of_a_study_have_their_new_numbers_in_the_first_of_two_shards(study):
  workdir, into, plan = study
  for _ in range(2):  # what an interruption left is done anew
    extensions.take_over(workdir, into, {0: 1, 1: 3}, 5)
  mine = into / 'shards' / '1-of-2'
  planned = [{**row, 'lane': lane} for row, lane in zip(plan, (1, 3), strict=True)]
  assert records.read_plan(mine / 'plan.csv') == planned
  rows = records.read(mine / 'records.jsonl')
  assert rows == [{'lane': 1, 'loss': 0.5}, {'lane': 3, 'loss': 1.5}]
  one, two = shards.all_of(into)
  assert (sorted(one.lanes), sorted(two.lanes)) == ([1, 3], [0, 2, 4])
  assert shards.is_done(mine) and records.read_json(mine / 'done.json') == {'hardware': 'a core'}
  assert provenance.read(mine) == [{'host': 'a'}]
  assert (mine / 'checkpoints/3/state').read_text() == 'checkpoints/3/state'
  assert records.read_json(mine / 'config.json') == {'seed': 3}


def test_a_longer_study_begins_with_copies_of_what_is_there_and_once(study):
  workdir, into, plan = study
  longer = [{**row, 'epochs': 60.0} for row in plan]
  files(into, 'left.json')  # by an older try, as is the next
  files(into.with_name('1.part'), 'left.json')
  extensions.go_on(workdir, into, {'seed': 4}, longer)
  same = ('records.jsonl', 'execution.json', provenance.FILE, 'checkpoints/3/state')
  found = holds(into)
  assert {*found} == {*same, 'config.json', 'plan.csv'}
  assert {name: found[name] for name in same} == {
    name: (workdir / name).read_text() for name in same
  }
  assert records.read_json(into / 'config.json') == {'seed': 4}
  assert records.read_plan(into / 'plan.csv') == longer
  records.append(into / 'records.jsonl', [{'lane': 0}])
  extensions.go_on(workdir, into, {'seed': 4}, longer)
  assert len(records.read(into / 'records.jsonl')) == 3  # what was trained since is kept
  assert not into.with_name('1.part').exists()
