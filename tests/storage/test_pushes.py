"""What is pushed to a bucket and when, whose bucket it is, and how long another one is silent."""

import errno
import os
import time

import pytest
from helpers.bucket_like import HOME, BucketLike, nothing
from helpers.small import small_config

from bsjax.config.errors import ConfigError
from bsjax.storage import bucket_errors, buckets, workdirs
from bsjax.storage.bucket import Bucket, Head
from bsjax.storage.mirror import Mirror
from bsjax.study import Study
from bsjax.train.study_run import StudyRun

URL = 'bucket-like://b/study'
DAYS = 3 * 86400.0 + 60  # in seconds


@pytest.fixture(autouse=True)
def objects(tmp_path, monkeypatch):
  """Returns the folder that is the bucket; this machine has seen nothing of it."""
  folder = tmp_path / 'buckets' / 'b'
  folder.mkdir(parents=True)
  monkeypatch.setenv(HOME, str(folder.parent))
  monkeypatch.setenv('BSJAX_STAGING', str(tmp_path / 'here'))
  monkeypatch.setattr(buckets, '_mirrors', {})
  monkeypatch.setattr(BucketLike, 'operation', staticmethod(nothing))
  return folder


def pushed(mirror):
  mirror.push()
  mirror._hold._push.join()


def elsewhere(tmp_path, monkeypatch):
  """The folder as a machine that has not seen it before fetches it."""
  monkeypatch.setenv('BSJAX_STAGING', str(tmp_path / 'elsewhere'))
  other = Mirror(URL)
  other.fetch()
  return other.folder


@pytest.mark.parametrize('in_place', [True, False])
def test_a_file_that_changes_and_keeps_its_size_is_pushed_again(in_place, tmp_path, monkeypatch):
  mirror = Mirror(URL)
  with mirror.held():
    path = mirror.folder / 'execution.json'
    path.write_text('{"a": 1}')
    pushed(mirror)
    before = path.stat()
    if in_place:
      path.write_text('{"a": 2}')
      os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    else:
      (mirror.folder / 'x').write_text('{"a": 2}')
      os.utime(mirror.folder / 'x', ns=(before.st_atime_ns, before.st_mtime_ns))
      os.replace(mirror.folder / 'x', path)
    pushed(mirror)
    assert (elsewhere(tmp_path, monkeypatch) / 'execution.json').read_text() == '{"a": 2}'


def test_a_checkpoint_that_is_being_written_is_not_pushed(tmp_path, monkeypatch):
  mirror = Mirror(URL)
  with mirror.held():
    for step in ('5', '6.orbax-checkpoint-tmp-17'):
      (mirror.folder / 'checkpoints' / step).mkdir(parents=True)
      (mirror.folder / 'checkpoints' / step / 'state').write_text(step)
    pushed(mirror)
    there = elsewhere(tmp_path, monkeypatch)
    assert [path.name for path in (there / 'checkpoints').iterdir()] == ['5']


def test_copies_for_people_are_those_of_the_end(objects):
  for text in ('first', 'second'):
    with Mirror(URL).held():
      (Mirror(URL).folder / 'report.html').write_text(text)
    assert (objects / 'study%2Freport.html').read_text() == text


def test_a_failure_after_pushes_that_succeeded_is_said_again(monkeypatch, caplog):
  mirror, said = Mirror(URL), []

  def fails(*_):
    raise OSError('no network')

  with mirror.held():
    for number, works in enumerate((False, False, True, False)):
      (mirror.folder / 'config.json').write_text(str(number))
      with monkeypatch.context() as patch:
        if not works:
          patch.setattr(Bucket, 'put', fails)
        pushed(mirror)
      said.append(caplog.text.count('cannot be pushed to'))
  assert said == [1, 1, 1, 2]


def test_what_lies_in_a_workdir_is_of_its_bucket():
  folder = workdirs.local(URL)
  assert buckets.of(folder / 'arms' / 'wide') is buckets.of(folder) is buckets.at(URL)
  assert buckets.of(folder.parent) is None and buckets.opened()


@pytest.fixture
def there():
  """The bucket with a head of a process that works on it, as it was created just now."""
  found = Bucket(URL)
  assert found.create(Head(1, holder={'token': 'a'}, by='a'))
  return found


def test_a_process_that_is_silent_for_days_is_not_taken_for_one_that_lives(there, objects):
  assert there.silent(there.newest()) == pytest.approx(0, abs=30)
  path = objects / 'study%2F.bsjax%2Fhead-000000001.json'
  then = time.time() - DAYS
  os.utime(path, (then, then))
  assert there.silent(there.newest()) == pytest.approx(DAYS, abs=30)
  head = there.newest()
  path.unlink()
  assert there.silent(head) == 0  # who replaced it just now lives
  assert not [path.name for path in objects.iterdir() if 'clock' in path.name]


def test_where_a_bucket_tells_no_times_signs_of_life_do(there, monkeypatch):
  def modified(*_):
    raise NotImplementedError

  monkeypatch.setattr(BucketLike, 'modified', modified)
  now, later = time.time, [0.0]
  monkeypatch.setattr(time, 'time', lambda: now() + later[0])
  for seconds in (0.0, 500.0):
    later[0] = seconds
    assert there.silent(there.newest()) == pytest.approx(seconds, abs=30)
  there.renew(there.newest())
  assert there.silent(there.newest()) == pytest.approx(0, abs=30)


@pytest.mark.parametrize(
  ('code', 'here'),
  [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EROFS, True), (errno.ECONNRESET, False)],
)
def test_a_disk_that_takes_no_more_is_no_fault_of_the_bucket(code, here):
  with pytest.raises(ConfigError) as said, bucket_errors.reaching(URL):
    raise OSError(code, os.strerror(code))
  assert ('free space where folders stand' in str(said.value)) == here
  assert ('check the name' in str(said.value)) != here


@pytest.mark.parametrize('kind', [Study, StudyRun])
def test_a_dry_run_writes_nothing_to_a_bucket(kind, objects, monkeypatch):
  with Mirror(URL).held():
    (Mirror(URL).folder / 'notes.txt').write_text('there')
  before = {path.name: path.read_bytes() for path in objects.iterdir()}
  name = '_run_it' if kind is Study else '_run_all'
  monkeypatch.setattr(kind, name, lambda *_: (workdirs.local(URL) / 'notes.txt').exists())
  assert kind(small_config(), URL).run(dry_run=True)  # it is fetched
  assert {path.name: path.read_bytes() for path in objects.iterdir()} == before
