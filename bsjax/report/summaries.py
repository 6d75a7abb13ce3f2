"""The content of summary.json: what the analysis finds, its codes rendered as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bsjax.analysis import summary
from bsjax.analysis.claims.classes import Facts
from bsjax.analysis.runs.histories import Row
from bsjax.analysis.runs.judging import judged_by
from bsjax.config.metrics import judging
from bsjax.report.text.answer import answer
from bsjax.report.text.rendered import rendered


def summarize(
  config: Mapping[str, Any],
  plan_rows: Sequence[Row],
  record_rows: Sequence[Row],
  hardware: str = '',
  facts: Facts | None = None,
  starts: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
  """As `analysis.summary.summarize`, in plain values: text, numbers, lists and dicts.

  With what the page has on top, {'answer': {'headline', 'detail', 'remarks'}}, and `starts`, those
  of provenance.json, as 'provenance'.
  """
  with judging(judged_by(config, record_rows)):
    summary_row = rendered(summary.summarize(config, plan_rows, record_rows, hardware, facts))
    summary_row |= {'answer': answer(summary_row)._asdict()}
  return summary_row | ({'provenance': list(starts)} if starts else {})
