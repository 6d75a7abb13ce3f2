"""Versions, commit, host and command of every start, and a warning where they change."""

import json
import os
import shlex
import subprocess
import sys

from bsjax.storage import provenance, records


def test_every_start_is_kept_and_a_change_of_versions_said(tmp_path, monkeypatch):
  assert provenance.read(tmp_path) == []
  assert provenance.note(tmp_path, '2 CPU cores') == []
  assert provenance.note(tmp_path, '2 CPU cores') == []
  monkeypatch.setattr(provenance, '_version', lambda name: '9.9' if name == 'jax' else '1.0')
  (sentence,) = provenance.note(tmp_path, '1 x NVIDIA H100')
  assert 'jax' in sentence and '9.9' in sentence and provenance.FILE in sentence
  assert provenance.note(tmp_path, '1 x NVIDIA H100') == []  # it has not changed since
  starts = provenance.read(tmp_path)
  assert [one['device'] for one in starts] == ['2 CPU cores'] * 2 + ['1 x NVIDIA H100'] * 2
  for one in starts:
    assert one['date'].endswith('+00:00') and one['host'] and 'python' in one['command']
    assert shlex.split(one['command'])[1:] == sys.orig_argv[1:]
    assert {'bsjax', 'jax', 'flax', 'python'} <= one['versions'].keys()


def test_a_commit_is_that_of_the_checkout_with_a_mark_where_files_differ(tmp_path, monkeypatch):
  package = tmp_path / 'bsjax' / 'storage'
  package.mkdir(parents=True)
  (package / 'provenance.py').write_text('a')
  (tmp_path / 'notes.txt').write_text('a')
  monkeypatch.setattr(provenance, '__file__', str(package / 'provenance.py'))
  assert provenance.commit() is None  # an installed wheel
  git = ['git', '-C', str(tmp_path), '-c', 'user.name=a', '-c', 'user.email=a@b']
  for arguments in (['init', '-q'], ['add', '.'], ['commit', '-qm', 'a']):
    subprocess.run([*git, *arguments], check=True)
  clean = provenance.commit()
  assert len(clean) == 40
  (tmp_path / 'notes.txt').write_text('no part of the package')
  (package / 'untracked.py').write_text('a')
  assert provenance.commit() == clean
  (package / 'provenance.py').write_text('b')
  assert provenance.commit() == f'{clean}+'
  monkeypatch.setenv('PATH', '')
  assert provenance.commit() is None


def test_a_file_of_another_shape_is_read_as_far_as_it_goes(tmp_path):
  (tmp_path / provenance.FILE).write_text(json.dumps({'starts': [{'host': 'a'}]}))
  (sentence,) = provenance.note(tmp_path, 'a device')
  assert 'None to' in sentence
  assert len(records.read_json(tmp_path / provenance.FILE)['starts']) == 2


def test_another_commit_is_said_though_all_versions_are_the_same(tmp_path, monkeypatch):
  for commit, said in (('abc', []), ('def', ['commit abc to def']), ('def', []), (None, ['None'])):
    monkeypatch.setattr(provenance, 'commit', lambda commit=commit: commit)
    sentences = provenance.note(tmp_path, 'a device')
    assert len(sentences) == len(said)
    assert all(words in sentence for words, sentence in zip(said, sentences, strict=True))


def test_cores_are_those_that_the_process_may_use(monkeypatch):
  monkeypatch.setattr(os, 'cpu_count', lambda: 64)
  monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {1, 3, 5}, raising=False)
  assert provenance.cores() == 3
  monkeypatch.delattr(os, 'sched_getaffinity')  # as on macOS
  assert provenance.cores() == 64
