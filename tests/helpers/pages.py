"""Made-up workdirs, and pages of them without the figures."""

from bsjax.report.summaries import summarize
from bsjax.storage import records


def save(workdir, settings, plan, rows, finished=True):
  """The files of a study; returns its summary."""
  workdir.mkdir(parents=True, exist_ok=True)
  records.write_json(workdir / 'config.json', settings)
  records.write_plan(workdir / 'plan.csv', plan)
  records.append(workdir / 'records.jsonl', rows)
  read = records.read(workdir / 'records.jsonl')
  summary = summarize(settings, plan, read, 'a made-up machine')
  if finished:
    records.write_json(workdir / 'summary.json', summary)
  return summary
