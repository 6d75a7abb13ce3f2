"""Tells a writer what a study has recorded already."""

from __future__ import annotations

import itertools
from pathlib import Path

from bsjax.storage import buckets, records, workdirs
from bsjax.storage.writers import Writer


def replay(workdir: str | Path, writer: Writer) -> None:
  """Tells a writer all that is on record of a training, as if it had been there from the start.

  Raises FileNotFoundError where `workdir` holds none; what the writer raises is not caught.
  """
  folder = buckets.fetch(workdirs.local(workdir))
  rows = records.read(folder / 'records.jsonl')
  writer.begin(workdirs.read_config(folder), records.read_plan(folder / 'plan.csv'))
  try:
    in_order = sorted(rows, key=lambda row: row['examples'])
    for _, at_one in itertools.groupby(in_order, key=lambda row: row['examples']):
      writer.rows(list(at_one))
    if (folder / 'summary.json').is_file():
      writer.summary(records.read_json(folder / 'summary.json'))
  finally:
    writer.close()
