"""Numbers, words and files of calls and tiny studies are those that were kept.

They tell that something changed, not that it was right. After a change on purpose, write them anew
and read what changed: `PYTHONPATH=tests:. python tests/studies/test_kept_runs.py [NAME ...]`.
"""

import sys

import jax
import jaxtyping
import pytest
from helpers import kept
from helpers.kept_runs import CASES, FOLDER, LOOSE


@pytest.mark.parametrize('name', CASES)
def test_numbers_and_words_are_those_that_were_kept(name):
  jaxtyping.config.update('jaxtyping_disable', True)  # for half of the time; see tests/conftest.py
  differences = kept.differences(kept.read(name, FOLDER), CASES[name](), LOOSE)
  assert not differences, '\n'.join(differences)


def test_every_case_is_kept_and_no_other():
  assert {path.name for path in FOLDER.iterdir()} == {f'{name}.json.gz' for name in CASES}


def test_kept_files_are_small():
  sizes = [path.stat().st_size for path in FOLDER.iterdir()]
  assert max(sizes) < 60_000 and sum(sizes) < 350_000


def main(names):
  jax.config.update('jax_platforms', 'cpu')
  jax.config.update('jax_num_cpu_devices', 2)
  kept.write_all(CASES, names, FOLDER, LOOSE)


if __name__ == '__main__':
  main(sys.argv[1:])
