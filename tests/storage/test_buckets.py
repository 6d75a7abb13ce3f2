"""A workdir in a bucket is at any moment one that the folder was, of one process at a time."""

import contextlib
import errno
import json
import os
import shutil
import threading
import time

import pytest
from helpers.bucket_like import HOME, BucketLike, nothing

from bsjax import load
from bsjax.config.errors import ConfigError
from bsjax.storage import bucket, buckets, hold, mirror, workdirs
from bsjax.storage.bucket_errors import InUse, Lost
from bsjax.storage.mirror import Mirror
from bsjax.storage.records import Damaged

URL = 'bucket-like://b/runs/study'

# What a study makes of its folder between one push and the next; names of links end with '@'.
STATES = (
  {'config.json': '{}', 'records.jsonl': '', 'checkpoints/1/a': 'one', 'checkpoints/1/b': 'two'},
  {'config.json': '{}', 'records.jsonl': '1\n', 'checkpoints/1/a': 'one', 'checkpoints/2/a': 'two'},
  {'config.json': '{}', 'records.jsonl': '1\n2\n', 'arms/x/plan.csv': '', 'later@': 'arms/x'},
  {'config.json': '{"n": 1}', 'records.jsonl': '1\n2\n', 'report.html': 'page'},
)


def put(folder, state):
  """Makes the folder this state, with files replaced where they differ; rows are added."""
  for path in [*holds(folder)]:
    if path not in state:
      (folder / path.rstrip('@')).unlink()
  for name, text in state.items():
    path = folder / name.rstrip('@')
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith('@'):
      path.is_symlink() or path.symlink_to(text)
    elif path.exists() and path.suffix == '.jsonl' and text.startswith(path.read_text()):
      with open(path, 'a') as file:
        file.write(text[len(path.read_text()) :])
    elif not path.exists() or path.read_text() != text:
      path.unlink(missing_ok=True)
      path.write_text(text)


def holds(folder):
  """What is in a folder, as in STATES."""
  found = {}
  for path in sorted(folder.rglob('*')):
    name = path.relative_to(folder).as_posix()
    if path.is_symlink():
      found[f'{name}@'] = os.readlink(path)
    elif path.is_file():
      found[name] = path.read_text()
  return found


def objects(tmp_path):
  return sorted(path.name for path in (tmp_path / 'buckets' / 'b').iterdir())


@pytest.fixture(autouse=True)
def _bucket(tmp_path, monkeypatch):
  (tmp_path / 'buckets' / 'b').mkdir(parents=True)
  monkeypatch.setenv(HOME, str(tmp_path / 'buckets'))
  monkeypatch.setattr(hold, 'PAUSES', (0.0,))
  monkeypatch.setattr(mirror, 'MEANWHILE', 0.0)
  monkeypatch.setattr(os, 'fsync', lambda _: None)  # which takes most of the time
  monkeypatch.setattr(BucketLike, 'operation', staticmethod(nothing))
  monkeypatch.setattr(BucketLike, 'done', staticmethod(nothing))


@pytest.fixture
def machine(tmp_path, monkeypatch):
  """Returns the mirror that a machine of this name has."""

  def on(name):
    monkeypatch.setenv('BSJAX_STAGING', str(tmp_path / name))
    return Mirror(URL)

  return on


def work(mirror, states=STATES):
  """Works through states, and pushes each."""
  with mirror.held():
    for state in states:
      put(mirror.folder, state)
      pushed(mirror)


def pushed(mirror):
  mirror.push()
  mirror._hold._push.join()


def fetched(mirror):
  mirror.fetch()
  return holds(mirror.folder)


def test_another_machine_has_what_was_pushed_and_nothing_is_left_behind(machine, tmp_path):
  work(machine('one'))
  assert fetched(machine('two')) == STATES[-1]
  kept = [name for name in objects(tmp_path) if 'files' in name]
  assert len(kept) == 3 and len([n for n in objects(tmp_path) if 'head' in n]) == 1
  beside = {n.rpartition('%2F')[2] for n in objects(tmp_path) if '.bsjax' not in n}
  assert beside == {'config.json', 'records.jsonl', 'report.html'}  # for people
  two = machine('two')
  work(two, ({'records.jsonl': 'x\n'},))
  assert fetched(machine('one')) == {'records.jsonl': 'x\n'}
  assert [n for n in objects(tmp_path) if '.bsjax' not in n] == ['runs%2Fstudy%2Frecords.jsonl']


class Faults:
  """Fails at an operation, counted from 0: at it and all later ones, or once, or once done."""

  def __init__(self, at, how):
    self.at, self.how, self.count = at, how, -1

  def before(self, kind, path):
    self.count += 1
    if self.count == self.at and self.how == 'once':
      raise OSError(f'one mistake ({kind})')
    if self.count >= self.at and self.how == 'dead':
      raise OSError(f'no network ({kind})')

  def after(self, kind, path):
    if self.count == self.at and self.how == 'answer lost':
      raise OSError(f'the answer was lost ({kind})')

  def install(self, monkeypatch):
    monkeypatch.setattr(BucketLike, 'operation', staticmethod(self.before))
    monkeypatch.setattr(BucketLike, 'done', staticmethod(self.after))


def operations(machine, monkeypatch):
  """How many there are of a study undisturbed."""
  none = Faults(-1, 'once')
  none.install(monkeypatch)
  work(machine('counting'))
  return none.count + 1


def test_killed_at_every_operation_another_machine_goes_on_from_a_state_of_the_folder(
  machine, tmp_path, monkeypatch
):
  total, found = operations(machine, monkeypatch), []
  assert total > 30
  monkeypatch.setattr(bucket, 'SILENCE', 0.0)
  for at in range(total):
    shutil.rmtree(tmp_path / 'buckets' / 'b')
    (tmp_path / 'buckets' / 'b').mkdir()
    Faults(at, 'dead').install(monkeypatch)
    with contextlib.suppress(OSError, ConfigError):
      work(machine(f'killed {at}'))
    Faults(-1, 'once').install(monkeypatch)
    left = fetched(machine(f'reads {at}'))
    assert left in ({}, *STATES), at
    found.append(0 if not left else 1 + STATES.index(left))
    two = machine(f'goes on {at}')
    work(two, STATES[found[-1] :])
    assert fetched(machine(f'reads again {at}')) == STATES[-1]
    assert sum('files' in name for name in objects(tmp_path)) == 3, at  # nothing is left behind
    assert sum('head' in name for name in objects(tmp_path)) == 1
  assert found == sorted(found) and {*found} == {*range(len(STATES) + 1)}


@pytest.mark.parametrize('how', ['once', 'answer lost'])
def test_an_operation_that_fails_once_changes_nothing(how, machine, tmp_path, monkeypatch):
  total, refused = operations(machine, monkeypatch), 0
  monkeypatch.setattr(bucket, 'SILENCE', 0.0)
  for at in range(how == 'once', total, 3):
    shutil.rmtree(tmp_path / 'buckets' / 'b')
    (tmp_path / 'buckets' / 'b').mkdir()
    Faults(at, how).install(monkeypatch)
    try:
      work(machine(f'{how} {at}'))
    except (OSError, ConfigError):  # at the start: said, and nothing is there
      refused += 1
      assert fetched(machine(f'reads {how} {at}')) == {}
      work(machine(f'{how} {at}'))
    assert fetched(machine(f'reads again {how} {at}')) == STATES[-1], at
  assert refused < 5


def test_a_second_process_is_told_who_has_it_and_when_that_one_would_count_as_dead(machine):
  one, two = machine('one'), machine('two')
  with one.held():
    put(one.folder, STATES[0])
    said = (
      rf'{URL} is in use by process {os.getpid()} on .* since 20.*takes over in 1[12]\d seconds'
    )
    with pytest.raises(InUse, match=said), two.held():
      pass
    with pytest.raises(InUse, match=f'process {os.getpid()} on'), machine('one').held():
      pass  # of the same machine
    assert not two.folder.exists()
  with two.held():
    assert holds(two.folder) == STATES[0]


def test_of_two_that_begin_at_the_same_moment_one_is_refused(machine, monkeypatch):
  one, two, entered = machine('one'), machine('two'), []

  def meanwhile(kind, path):
    if kind == 'create' and not entered:
      entered.append(kind)
      stack.enter_context(one.held())

  with contextlib.ExitStack() as stack:
    monkeypatch.setattr(BucketLike, 'operation', staticmethod(meanwhile))
    with pytest.raises(InUse), two.held():
      pass
    assert entered and not two.folder.exists()


def test_a_dead_process_is_followed_at_once_on_its_machine_and_later_on_others(
  machine, monkeypatch
):
  Faults(30, 'dead').install(monkeypatch)
  with contextlib.suppress(OSError):
    work(machine('one'))
  Faults(-1, 'once').install(monkeypatch)
  with pytest.raises(InUse), machine('two').held():
    pass
  with machine('one').held():
    pass
  silent = bucket.Bucket.silent
  with pytest.raises(Lost), machine('one').held():
    monkeypatch.setattr(bucket.Bucket, 'silent', lambda *a: silent(*a) + bucket.SILENCE)
    with machine('two').held():
      pass


def test_who_gives_signs_of_life_is_not_followed_and_who_gives_none_stops(machine, monkeypatch):
  monkeypatch.setattr(bucket, 'BEAT', 0.05)
  monkeypatch.setattr(bucket, 'SILENCE', 0.5)
  one, two = machine('one'), machine('two')
  with pytest.raises(Lost, match='another process has taken over'), one.held():
    put(one.folder, STATES[0])
    pushed(one)
    time.sleep(0.7)
    with pytest.raises(InUse), two.held():
      pass
    monkeypatch.setattr(bucket.Bucket, 'renew', lambda *_: None)  # the network of one is away
    time.sleep(0.6)
    with two.held():
      put(two.folder, STATES[3])
    deadline = time.monotonic() + 5
    while not one.lost and time.monotonic() < deadline:
      time.sleep(0.01)
    put(one.folder, STATES[2])
    one.push()
  assert fetched(machine('three')) == STATES[3]


def test_nothing_of_another_is_touched_by_who_has_not_noticed_it_yet(machine, monkeypatch):
  one, two = machine('one'), machine('two')
  with pytest.raises(Lost), one.held():
    put(one.folder, STATES[0])
    monkeypatch.setattr(bucket, 'SILENCE', 0.0)
    with two.held():
      put(two.folder, STATES[3])
    put(one.folder, STATES[1])
    pushed(one)
    assert one.lost
  assert fetched(machine('three')) == STATES[3]


def test_pushes_that_fail_are_said_once_and_the_end_is_kept(machine, monkeypatch, caplog):
  one = machine('one')
  with pytest.raises(OSError, match=rf'could not be written.*{one.folder}'), one.held():
    put(one.folder, STATES[0])
    pushed(one)
    Faults(0, 'dead').install(monkeypatch)
    for state in STATES[1:3]:
      put(one.folder, state)
      pushed(one)
    assert caplog.text.count('cannot be pushed to') == 1
  Faults(-1, 'once').install(monkeypatch)
  assert fetched(machine('two')) == STATES[0]
  again = machine('one')
  again.fetch()
  assert holds(again.folder) == STATES[2] and 'could not be pushed' in caplog.text
  with again.held():
    pass
  assert fetched(machine('two')) == STATES[2]


@pytest.mark.parametrize('why', ['another went on', 'the folder was emptied'])
def test_what_could_not_be_pushed_gives_way(why, machine, monkeypatch):
  one = machine('one')
  with pytest.raises(OSError, match='could not be written'), one.held():
    put(one.folder, STATES[0])
    pushed(one)
    put(one.folder, STATES[1])
    Faults(0, 'dead').install(monkeypatch)
  Faults(-1, 'once').install(monkeypatch)
  monkeypatch.setattr(bucket, 'SILENCE', 0.0)
  wanted = STATES[0]
  if why == 'another went on':
    work(machine('two'), [STATES[3]])
    wanted = STATES[3]
  else:
    (one.folder / 'records.jsonl').unlink()
  with machine('one').held():
    assert holds(one.folder) == wanted
  assert fetched(machine('three')) == wanted


def test_after_a_kill_the_bucket_counts(machine, monkeypatch):
  one = machine('one')
  work(one, STATES[:2])
  put(one.folder, STATES[3])  # what a killed process had not pushed
  assert fetched(machine('one')) == STATES[1]


def test_a_reader_follows_who_replaces_what_it_reads(machine, monkeypatch):
  one, two, states = machine('one'), machine('two'), iter(STATES[1:])

  def meanwhile(kind, path):
    of_reader = threading.current_thread() is threading.main_thread()
    if of_reader and kind == 'get' and 'files' in path and (state := next(states, None)):
      put(one.folder, state)
      pushed(one)

  with one.held():
    put(one.folder, STATES[0])
    pushed(one)
    monkeypatch.setattr(BucketLike, 'operation', staticmethod(meanwhile))
    assert fetched(two) == STATES[3]


def test_a_push_under_way_is_not_changed_by_what_comes_after_it(machine, monkeypatch):
  one, put_, gate = machine('one'), bucket.Bucket.put, threading.Event()
  monkeypatch.setattr(bucket.Bucket, 'put', lambda *a: gate.wait(5) and put_(*a))
  with one.held():
    put(one.folder, STATES[0])
    one.push()
    put(one.folder, STATES[2])
    one.push()  # is not begun
    gate.set()
    one._hold._push.join()
    assert fetched(machine('two')) == STATES[0]
  assert fetched(machine('two')) == STATES[2]


def head(tmp_path):
  path = max((tmp_path / 'buckets' / 'b').glob('*head*'))
  return path, json.loads(path.read_text())


SUM = '0' * 40


@pytest.mark.parametrize(
  'said',
  [
    {'files': {'../x': SUM}},
    {'files': {'/x': SUM}},
    {'files': {'a//x': SUM}},
    {'files': {'a/.ssh/x': SUM}},
    {'files': {'x.tmp': SUM}},  # which no push would name, and no fetch remove
    {'files': {'x': '../../y'}},
    {'links': {'x': '/etc'}},
    {'links': {'a/x': '../../y'}},
    {'links': {'a/b/up': '../../top', 'a/b/x': 'up/../../y'}, 'files': {'top/z': SUM}},
    {'links': {'x': 'a'}, 'files': {'x/y': SUM}},
    {'shown': {'../../other/x': SUM}},  # it would be removed
  ],
)
def test_no_name_in_a_bucket_leads_out_of_the_folder(said, machine, tmp_path):
  work(machine('one'), STATES[:1])
  path, content = head(tmp_path)
  path.write_text(json.dumps(content | {'files': {}, 'links': {}} | said))
  with pytest.raises(Damaged, match='the bucket names'):
    machine('two').fetch()
  with pytest.raises(Damaged, match='the bucket names'), machine('three').held():
    pass
  assert not holds(machine('two').folder)


def test_a_link_that_leads_out_is_said_and_keeps_nothing_from_being_fetched(
  machine, tmp_path, caplog
):
  one = machine('one')
  with one.held():
    put(one.folder, STATES[2] | {'data@': str(tmp_path), 'arms/up@': '../../x'})
    pushed(one)
  assert fetched(machine('two')) == STATES[2]
  assert 'leads out of its workdir: not pushed' in caplog.text


@pytest.mark.parametrize('folder', ['checkpoints', 'x'])
def test_rows_that_are_added_while_they_are_pushed_are_in_the_next_push(
  folder, machine, tmp_path, monkeypatch
):
  """Files of checkpoints are linked and not copied; nothing else is, whatever it lies in."""
  machine('checkpoints')
  one = Mirror(f'bucket-like://b/{folder}')
  get = bucket.Bucket.put
  with one.held():
    put(one.folder, STATES[1])

    def meanwhile(*given):
      with open(one.folder / 'records.jsonl', 'a') as file:
        file.write('2\n')
      get(*given)

    monkeypatch.setattr(bucket.Bucket, 'put', meanwhile)
    pushed(one)
    monkeypatch.setattr(bucket.Bucket, 'put', get)
    machine('two')
    assert fetched(Mirror(one.url)) == STATES[1]


def test_a_head_that_got_there_though_that_failed_is_one_of_this_process(machine, monkeypatch):
  one = machine('one')

  def lost_answers(kind, path):
    if kind == 'create':
      monkeypatch.setattr(BucketLike, 'operation', staticmethod(Faults(0, 'dead').before))
      raise OSError('the answer was lost')

  with one.held():
    put(one.folder, STATES[0])
    monkeypatch.setattr(BucketLike, 'done', staticmethod(lost_answers))
    pushed(one)
    Faults(-1, 'once').install(monkeypatch)
    put(one.folder, STATES[3])
    pushed(one)
    assert fetched(machine('two')) == STATES[3]  # and not what was pushed before
    monkeypatch.setattr(BucketLike, 'done', staticmethod(lost_answers))
    put(one.folder, STATES[2])
    pushed(one)
    Faults(-1, 'once').install(monkeypatch)
    waited = []
    over = one._hold._over
    monkeypatch.setattr(over, 'wait', lambda _: len(waited) > 1 or waited.append(1))
    one._hold._live()
    assert not one.lost and fetched(machine('three')) == STATES[2]
  assert fetched(machine('four')) == STATES[2]


def test_what_is_put_while_a_start_stalls_is_not_taken_for_what_the_dead_left(machine, monkeypatch):
  """Between its head and what it removes others may have followed it."""
  clear, entered = bucket.Bucket.clear, []

  def stalls(self, *given):
    monkeypatch.setattr(bucket.Bucket, 'clear', clear)
    monkeypatch.setattr(bucket, 'SILENCE', 0.0)
    entered.append(work(machine('two'), STATES[:1]))
    clear(self, *given)

  monkeypatch.setattr(bucket.Bucket, 'clear', stalls)
  with pytest.raises(Lost), machine('one').held():
    put(machine('one').folder, STATES[3])
  assert entered and fetched(machine('three')) == STATES[0]


def test_a_request_that_goes_on_after_its_push_has_failed_puts_what_it_was_to(
  machine, tmp_path, monkeypatch
):
  put_, one, left = bucket.Bucket.put, machine('one'), []

  def fails(self, files):
    left.append((self, dict(files)))
    raise OSError('one of several requests')

  with one.held():
    put(one.folder, STATES[0])
    monkeypatch.setattr(bucket.Bucket, 'put', fails)
    pushed(one)
    monkeypatch.setattr(bucket.Bucket, 'put', put_)
    put(one.folder, {'another': 'first', **STATES[0]})
    pushed(one)
    for there, files in left:
      for checksum, path in files.items():
        with contextlib.suppress(FileNotFoundError):
          put_(there, {checksum: path})
  assert fetched(machine('two')) == {'another': 'first', **STATES[0]}


def test_what_a_killed_process_left_halfway_is_not_in_what_is_fetched(machine):
  one = machine('one')
  work(one, STATES[:1])
  put(one.folder, {**STATES[0], 'arms/x/.lock': '', 'arms/x/plan.csv.tmp': 'half', '.lock': ''})
  assert fetched(machine('one')) == STATES[0]
  assert not (one.folder / 'arms').exists()


def test_a_reader_waits_for_one_of_its_machine_that_fetches(machine, monkeypatch):
  work(machine('one'))
  get, seen = bucket.Bucket.get, []

  def meanwhile(*given):
    get(*given)
    reader = threading.Thread(target=lambda: seen.append(fetched(machine('two'))))
    monkeypatch.setattr(bucket.Bucket, 'get', get)
    reader.start()
    reader.join(0.3)
    assert not seen
    readers.append(reader)

  readers = []
  monkeypatch.setattr(bucket.Bucket, 'get', meanwhile)
  machine('two').fetch()
  readers[0].join(5)
  assert seen == [STATES[-1]]


def test_what_was_fetched_is_read_again_only_where_it_has_changed(machine, monkeypatch):
  work(machine('one'), STATES[:2])
  reader, placed = machine('two'), []
  place = mirror.staging.place
  monkeypatch.setattr(mirror.staging, 'place', lambda *given: placed.append(place(*given)))
  assert fetched(reader) == fetched(reader) == STATES[1] and len(placed) == 1
  work(machine('one'), STATES[2:])
  placed.clear()
  assert fetched(reader) == fetched(reader) == STATES[-1] and len(placed) == 1


@pytest.mark.parametrize('name', ['apart', 'lock', 'base.json'])
def test_a_folder_may_have_any_name(name, machine):
  machine('one')
  work(one := Mirror(f'bucket-like://b/{name}'))
  assert holds(one.folder) == STATES[-1]
  machine('two')
  assert fetched(Mirror(one.url)) == STATES[-1]


@pytest.mark.parametrize('spelling', [f'{URL}/', f'{URL}//', 'bucket-like://b//runs///study'])
def test_one_bucket_has_one_folder_however_its_url_is_spelled(spelling, machine):
  one = machine('one')
  workdirs.local(spelling)
  assert (Mirror(spelling).folder, Mirror(spelling).url) == (one.folder, URL)


@pytest.mark.parametrize(
  'url', ['ftp://me:SECRET@host/x', 'abfs://c/x?sig=SECRET', 's3://b/x#SECRET', 'sb://a:SECRET@b']
)
def test_a_password_in_a_url_is_refused_and_not_said(url):
  with pytest.raises(ConfigError, match='give no password') as error:
    workdirs.local(url)
  assert 'SECRET' not in str(error.value)


def test_no_room_on_this_machine_is_not_said_of_the_bucket(machine, tmp_path, monkeypatch):
  work(machine('one'))

  def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(bucket.Bucket, 'get', full)
  with pytest.raises(ConfigError, match=r'No space left.*free space where .* BSJAX_STAGING'):
    machine('two').fetch()
  (tmp_path / 'file').write_text('')
  with pytest.raises(ConfigError, match=r'file.* cannot be written to .*BSJAX_STAGING'):
    machine('file').fetch()


def test_a_bucket_that_may_only_be_read_is_read_for_a_page(machine, monkeypatch, caplog):
  monkeypatch.setattr(buckets, '_mirrors', {})
  work(machine('one'))

  def refused(kind, path):
    if kind in ('put', 'create', 'remove'):
      raise OSError('Forbidden')

  monkeypatch.setattr(BucketLike, 'operation', staticmethod(refused))
  machine('two')
  path = workdirs.local(URL)
  with buckets.held_if_free(path):
    assert holds(path) == STATES[-1]
  assert 'Forbidden' in caplog.text and f'stays in {path}' in caplog.text
  with pytest.raises(ConfigError, match='Forbidden'), buckets.held(path):
    pass


def test_an_end_that_is_not_pushed_after_an_error_is_said_too(machine, monkeypatch, caplog):
  one = machine('one')
  with pytest.raises(ZeroDivisionError), one.held():
    put(one.folder, STATES[0])
    Faults(0, 'dead').install(monkeypatch)
    raise ZeroDivisionError
  assert f'it is in {one.folder}' in caplog.text


def test_an_object_that_is_damaged_is_named_and_a_file_of_another_kind_is_no_study(
  machine, tmp_path
):
  work(machine('one'))
  for path in (tmp_path / 'buckets' / 'b').glob('*files*'):
    path.write_bytes(path.read_bytes() + b'x')
  with pytest.raises(Damaged, match='is damaged'), machine('two').held():
    pass
  assert head(tmp_path)[1]['holder'] is None and head(tmp_path)[1]['files']  # nothing is lost
  for path in (tmp_path / 'buckets' / 'b').glob('*files*'):
    path.unlink()
  with pytest.raises(Damaged, match='an object that it should hold is missing'):
    machine('three').fetch()
  head(tmp_path)[0].write_text('[]')
  with pytest.raises(ConfigError, match='cannot be used'):
    machine('two').fetch()


def test_a_bucket_that_creates_over_what_is_there_is_said(machine, monkeypatch, caplog):
  pipe_file = BucketLike.pipe_file
  monkeypatch.setattr(BucketLike, 'pipe_file', lambda *a, mode='', **k: pipe_file(*a, **k))
  work(machine('one'))
  assert 'does not refuse to create what is there' in caplog.text
  assert fetched(machine('two')) == STATES[-1]


def test_a_workdir_that_was_copied_to_a_bucket_is_left_alone(machine, tmp_path):
  copied = tmp_path / 'buckets' / 'b' / 'runs%2Fstudy%2Frecords.jsonl'
  copied.write_text('1\n')
  for call in (machine('one').fetch, lambda: machine('one').held().__enter__()):
    with pytest.raises(ConfigError, match=r'holds records\.jsonl, which bsjax has not put there'):
      call()
  assert objects(tmp_path) == [copied.name]


@pytest.mark.parametrize(
  'url, said',
  [
    ('gss://b/x', r'gss:// is unknown; did you mean gs://\?'),
    ('file:///tmp/x', 'is no bucket; give the path of a folder'),
    ('memory://b/x', 'is no bucket'),
    ('bucket-like://b', r'name a folder of a bucket, as bucket-like://BUCKET/FOLDER'),
    ('bucket-like:/b/x', 'name a folder of a bucket'),
    ('bucket-like:///x', 'name a folder of a bucket'),
    ('bucket-like://b/..', "'..' begins with a dot"),
    ('bucket-like://b/x/../y', "'..' begins with a dot"),
    ('https://b/x', 'is no bucket'),
    ('oss://b/x', 'needs ossfs, which is not installed: pip install ossfs'),
  ],
)
def test_a_url_that_can_be_no_workdir_is_refused_without_a_request(url, said):
  with pytest.raises(ConfigError, match=f'--workdir={url}.*{said}|--workdir={url}:? {said}'):
    workdirs.local(url)


@pytest.mark.parametrize(('url', 'home'), [('s3://b/x', 's3fs'), ('gs://b/x', 'gcsfs')])
def test_a_missing_package_is_named_with_what_installs_it(url, home, monkeypatch):
  import fsspec

  def missing(name):
    raise ImportError

  monkeypatch.setattr(fsspec, 'get_filesystem_class', missing)
  with pytest.raises(ConfigError, match=rf"{home}, which is not installed: pip install 'bsjax\[bu"):
    workdirs.local(url)


def test_a_bucket_that_is_not_there_or_does_not_answer_is_one_line(machine, tmp_path, monkeypatch):
  monkeypatch.setenv('BSJAX_STAGING', str(tmp_path / 'staging'))
  with pytest.raises(FileNotFoundError, match='bucket-like://other/x holds no study'):
    load('bucket-like://other/x')
  other = Mirror('bucket-like://other/x')
  said = r'cannot be used \(FileNotFoundError.*bucket does not exist: other.*check the name'
  with pytest.raises(ConfigError, match=said) as error, other.held():
    pass
  assert '\n' not in str(error.value)
  with pytest.raises(ConfigError, match=said), buckets.held_if_free(workdirs.local(other.url)):
    pass
  monkeypatch.setattr(bucket, 'PATIENCE', 0.1)
  monkeypatch.setattr(BucketLike, 'operation', staticmethod(lambda *_: time.sleep(1)))
  with pytest.raises(ConfigError, match='does not answer within'):
    machine('one').fetch()


def test_what_is_added_to_a_study_that_another_process_runs_stays_here(machine, tmp_path, caplog):
  path = workdirs.local(URL)
  one = machine('one')
  with one.held():
    put(one.folder, STATES[0])
    pushed(one)
    with buckets.held_if_free(path):
      (path / 'report.html').write_text('page')
    assert 'in use by' in caplog.text and f'stays in {path}' in caplog.text
  assert fetched(machine('two')) == STATES[0]
