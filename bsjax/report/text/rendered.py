"""A summary as summary.json holds it: rows of claims, sentences of reasons, plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bsjax.analysis.claims.causes import Confound
from bsjax.analysis.claims.claim import Claim, Finding
from bsjax.report.text.claims import claim_row
from bsjax.report.text.goal_reasons import title
from bsjax.report.text.reasons import coded, full_sentence, sentence, sentences
from bsjax.stats.estimate import Estimate, Reason


def rendered(tree: Any) -> Any:
  """The same tree in plain values: dicts, lists, text and numbers."""
  if isinstance(tree, Reason):
    return sentence(tree)
  if isinstance(tree, Estimate):
    return tree.to_json()
  if isinstance(tree, Claim):
    return rendered(claim_row(tree))
  if isinstance(tree, Finding):
    return rendered(_finding(tree))
  if isinstance(tree, Confound):
    return _confound(tree)
  if isinstance(tree, Mapping):
    return {key: rendered(value) for key, value in tree.items()}
  if isinstance(tree, tuple) and tree and all(isinstance(item, Reason) for item in tree):
    return sentences(tree)
  if isinstance(tree, list | tuple):
    return [rendered(item) for item in tree]
  return tree


def _confound(confound: Confound) -> dict[str, Any]:
  return {
    'confound': confound.code,
    'present': confound.present,
    'explains': confound.explains,
    'evidence': ' '.join(map(full_sentence, confound.evidence)),
    'reasons': [coded(reason) for reason in confound.evidence],
  }


def _finding(finding: Finding) -> dict[str, Any]:
  goal = finding.columns.get('goal')
  return {
    **finding.columns,
    **({'goal': title(goal), 'quantity': goal} if goal else {}),
    'why': ' '.join(map(full_sentence, finding.reasons)),
    'reasons': [coded(reason) for reason in finding.reasons],
  }
