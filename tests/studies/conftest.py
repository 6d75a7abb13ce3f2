"""Studies of one module share their programs."""

import pytest
from helpers import same_programs


@pytest.fixture(autouse=True, scope='module')
def _same_programs_in_a_module():
  with pytest.MonkeyPatch.context() as monkeypatch, same_programs.shared(monkeypatch):
    yield
