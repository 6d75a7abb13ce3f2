"""A study in a bucket: the first of its processes holds and fetches it, all hear what it raises."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bsjax.engine import processes
from bsjax.storage import buckets
from bsjax.train import stopping

PUSHING = 'during the last push to the bucket; the same command goes on from what is there'


@contextlib.contextmanager
def held(workdir: Path, dry_run: bool = False) -> Iterator[None]:
  """Has the first process hold the bucket of a workdir if it is of one, or with `dry_run` read it.

  Raises in all processes what the first does. What ends the context early ends it in each alone.
  """
  if not buckets.of(workdir):
    yield
    return
  if dry_run:
    processes.first(lambda: buckets.fetch(workdir))
    yield
    return
  with contextlib.ExitStack() as stack:
    processes.first(lambda: stack.enter_context(buckets.held(workdir)))
    yield
    with stopping.leaving(PUSHING):
      processes.first(stack.close)
