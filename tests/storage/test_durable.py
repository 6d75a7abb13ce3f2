"""What a power cut leaves: whole files, and every row that `append` has returned from."""

import os

import pytest

from bsjax.storage import records


def test_append_returns_once_the_disk_has_all_rows(tmp_path, monkeypatch):
  synced, fsync = [], os.fsync

  def note(number):
    synced.append(os.fstat(number).st_size)
    fsync(number)

  monkeypatch.setattr(os, 'fsync', note)
  path = tmp_path / 'records.jsonl'
  for count in (1, 2):
    records.append(path, [{'lane': 0, 'examples': count}, {'lane': 1, 'examples': count}])
    assert synced[-1] == path.stat().st_size and len(synced) == count
  assert len(records.read(path)) == 4


@pytest.mark.parametrize('call', ['fsync', 'replace'])
def test_a_write_that_is_cut_short_leaves_the_file_as_it_was(tmp_path, monkeypatch, call):
  """Whether the cut comes while the new text is written, or before it takes the old one's place."""
  path = tmp_path / 'summary.json'
  records.write_json(path, {'n': 1})

  def cut(*_):
    raise OSError('power cut')

  monkeypatch.setattr(os, call, cut)
  with pytest.raises(OSError, match='power cut'):
    records.write_json(path, {'n': 2})
  assert path.read_text() == '{\n  "n": 1\n}\n'


def test_a_written_file_is_on_the_disk_before_it_takes_the_place_of_the_old_one(
  tmp_path, monkeypatch
):
  calls, fsync, replace = [], os.fsync, os.replace
  monkeypatch.setattr(os, 'fsync', lambda number: calls.append('fsync') or fsync(number))
  monkeypatch.setattr(os, 'replace', lambda *paths: calls.append('replace') or replace(*paths))
  records.write_text(tmp_path / 'x.txt', 'new')
  assert calls[:2] == ['fsync', 'replace'] and (tmp_path / 'x.txt').read_text() == 'new'
