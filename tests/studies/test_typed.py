"""Types are checked while tests run, and what runs afterwards from the same folder is unchecked."""

import sys
from importlib.util import find_spec

import pytest
from jaxtyping import TypeCheckError

from bsjax import format


def test_annotations_are_checked():
  with pytest.raises(TypeCheckError):
    format.number('three')


def test_code_that_tests_run_as_a_command_is_not_kept_for_others(tmp_path, monkeypatch):
  """Only the hook of the tests knows its checks: a command that loaded them would fail."""
  monkeypatch.setattr(sys, 'dont_write_bytecode', False)
  monkeypatch.setattr(sys, 'pycache_prefix', str(tmp_path))
  find_spec('bsjax.native_cost').loader.get_code('bsjax.native_cost')  # as runpy does
  kept = [path.name for path in tmp_path.rglob('native_cost.*')]
  assert len(kept) == 1 and '.opt-jaxtyping' in kept[0]
