"""What a finished training holds, whenever and wherever it ran."""

from bsjax.storage import records


def results(workdir):
  """Records and summary, without the starts that it took."""
  summary = records.read_json(workdir / 'summary.json')
  assert summary.pop('provenance')
  return (workdir / 'records.jsonl').read_text(), summary
