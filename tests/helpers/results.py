"""What a finished training holds, whenever and wherever it ran."""

from bsjax.storage import records


def results(workdir):
  """Records and summary, without the starts that it took."""
  summary = records.read_json(workdir / 'summary.json')
  assert summary.pop('provenance')
  return (workdir / 'records.jsonl').read_text(), summary


def same(workdir, whole):
  """Whether both hold the same, byte by byte, and have a page."""
  assert results(workdir) == results(whole)
  for name in ('plan.csv', 'config.json', 'data.json', 'methodology.txt'):
    assert (workdir / name).read_bytes() == (whole / name).read_bytes(), name
  assert (workdir / 'report.html').exists()
