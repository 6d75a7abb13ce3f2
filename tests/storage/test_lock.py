"""One process at a time in a workdir."""

import subprocess
import sys

import pytest

from bsjax.config.errors import ConfigError
from bsjax.storage import lock

HOLD = """
import sys, time
from pathlib import Path
from bsjax.storage import lock
with lock.held(Path(sys.argv[1])):
  print('held', flush=True)
  time.sleep(60)
"""


def test_the_second_process_is_told_who_has_it_and_a_killed_one_has_it_no_more(tmp_path):
  other = subprocess.Popen(
    [sys.executable, '-c', HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
  )
  try:
    assert other.stdout.readline() == 'held\n'
    with pytest.raises(ConfigError) as refused, lock.held(tmp_path):
      pass
    assert f'process {other.pid}' in str(refused.value) and '--workdir' in str(refused.value)
    assert 'since 20' in str(refused.value)
  finally:
    other.kill()
    other.wait()
  with lock.held(tmp_path):
    pass
  with lock.held(tmp_path):  # and again, once given back
    assert (tmp_path / lock.HOLDER).exists()
  assert not (tmp_path / lock.HOLDER).exists()


def test_a_workdir_that_is_a_file_is_refused(tmp_path):
  (tmp_path / 'file').write_text('mine')
  for path in (tmp_path / 'file', tmp_path / 'file' / 'below'):
    refused = pytest.raises(ConfigError, match=r'cannot be written to .*another --workdir')
    with refused, lock.held(path):
      pass
  assert (tmp_path / 'file').read_text() == 'mine'


@pytest.mark.parametrize('content', ['', '{', '[]', '{"host": 1}'])
def test_a_holder_that_cannot_be_read_is_not_named(content, tmp_path):
  (tmp_path / 'who').write_text(content)
  assert lock._holder(tmp_path / 'who') == lock._holder(tmp_path / 'nobody') == ''
