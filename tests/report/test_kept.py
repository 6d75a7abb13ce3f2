"""Numbers and words of made-up studies, plans, refusals and tables are those that were kept.

They tell that something changed, not that it was right. After a change on purpose, write them anew
and read what changed: `PYTHONPATH=tests:. python tests/report/test_kept.py [NAME ...]`.
"""

import functools
import sys

import jaxtyping
import pytest
from helpers import kept
from helpers.kept_calls import kept_calls
from helpers.kept_calls_of_readings import READINGS
from helpers.kept_calls_of_runs import RUNS
from helpers.kept_calls_of_stats import STATS
from helpers.kept_costs import COSTS
from helpers.kept_drawn import DRAWN
from helpers.kept_drawn_tables import DRAWN_TABLES
from helpers.kept_panels import panels
from helpers.kept_plans import PLANS
from helpers.kept_refusals import refused
from helpers.kept_studies import STUDIES, kept_study
from helpers.kept_tables import TABLES

CASES = {
  **{f'study_{name}': functools.partial(kept_study, name) for name in STUDIES},
  **{f'plan_{name}': make for name, make in PLANS.items()},
  'refused': refused,
  **COSTS,
  **TABLES,
  **DRAWN,
  'calls_of_stats': functools.partial(kept_calls, STATS, 20),
  'calls_of_readings': functools.partial(kept_calls, READINGS, 20),
  'calls_of_runs': functools.partial(kept_calls, RUNS, 4),
  **DRAWN_TABLES,
  'panels': panels,
}


@pytest.mark.parametrize('name', CASES)
def test_numbers_and_words_are_those_that_were_kept(name):
  jaxtyping.config.update('jaxtyping_disable', True)  # for half of the time; see tests/conftest.py
  differences = kept.differences(kept.read(name), CASES[name]())
  assert not differences, '\n'.join(differences)


def test_every_case_is_kept_and_no_other():
  assert {*kept.FOLDER.iterdir()} == {kept.path_of(name) for name in CASES}


def test_kept_files_are_small():
  sizes = [path.stat().st_size for path in kept.FOLDER.iterdir()]
  assert max(sizes) < 200_000 and sum(sizes) < 1_250_000


def main(names):
  kept.write_all(CASES, names)


if __name__ == '__main__':
  main(sys.argv[1:])
