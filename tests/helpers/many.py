"""Settings of tests that try many malformed inputs: as many as BSJAX_EXAMPLES says, or a few.

An input that takes more than 30 seconds is a failure. A few inputs are the same in every run; of
more `--hypothesis-seed` says which. `--hypothesis-show-statistics` prints the shares of outcomes.
"""

import datetime
import os

import hypothesis

LONGEST = datetime.timedelta(seconds=30)


def many(usual):
  """Returns settings of `usual` inputs, where the environment does not ask for another number."""
  asked = os.environ.get('BSJAX_EXAMPLES', '')
  return hypothesis.settings(
    max_examples=int(asked or usual),
    deadline=LONGEST,
    derandomize=not asked,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
  )


def outcome(refused):
  """Counts an input as refused or taken."""
  hypothesis.event('refused' if refused else 'taken')
