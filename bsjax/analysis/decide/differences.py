"""What besides the batch size may make the differences that a question has found.

A batch size that is shown to be worse has no further trials, so that the runs of the last round
show no difference to it any more. It is asked of the runs of the look that did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bsjax.analysis.claims.causes import UNKNOWN, Confound, causes
from bsjax.analysis.claims.claim import REFUTED, SUPPORTED, UNDETERMINED, Claim, Family
from bsjax.analysis.decide.looks import Look, shown
from bsjax.analysis.runs.budgets import CLOCKS, readings
from bsjax.config.decide_keys import BEST, EQUIVALENT, FACTORS, Asked
from bsjax.stats.estimate import Reason


def confounds(
  config: Mapping[str, Any], question: Asked, sizes: Sequence[int], found: Sequence[Look]
) -> list[Confound]:
  """All confounds of the differences that the looks have shown; empty where they show none.

  Where several looks have shown some, a confound explains these if it explains those of each.
  """
  parts = []
  for number, claims in _by_look(question, sizes, found).items():
    look = found[number]
    chosen = look.surrounded
    read = {budget: readings(chosen, budget) for budget in CLOCKS}
    parts.append(causes(config, look.tried, chosen, read, claims))
  return [_together(same) for same in zip(*parts, strict=True)]


def differ(question: Asked, sizes: Sequence[int], found: Sequence[Look]) -> bool:
  """Whether some batch size is shown to do better than another by what was asked."""
  return bool(_by_look(question, sizes, found))


def _by_look(
  question: Asked, sizes: Sequence[int], found: Sequence[Look]
) -> dict[int, list[Claim]]:
  """The claims that show a difference, by the number of their look."""
  by_look: dict[int, list[Claim]] = {}
  if question.kind == BEST:
    for one in shown(question, sizes, found):
      if one.state == 'worse' and one.claim is not None and one.look is not None:
        by_look.setdefault(one.look, []).append(one.claim)
    return by_look
  looks = [number for number, look in enumerate(found) if look.error is not None]
  if question.kind in FACTORS or not looks or not found[looks[-1]].claims:
    return {}
  first, within = found[looks[-1]].claims  # better, or the sign of the trend; and how much at most
  differs = within.verdict == REFUTED and first.verdict == SUPPORTED
  if question.kind != EQUIVALENT:
    differs = first.verdict != UNDETERMINED
  return {looks[-1]: [replace(first, family=Family.HEADLINE)]} if differs else {}


def _together(same: Sequence[Confound]) -> Confound:
  """One confound of several differences as one."""
  present = [one.present for one in same]
  explains = {one.explains for one in same}
  evidence: list[Reason] = []
  for reason in (reason for one in same for reason in one.evidence):
    if reason not in evidence:
      evidence.append(reason)
  return Confound(
    same[0].code,
    True if True in present else UNKNOWN if UNKNOWN in present else False,
    explains.pop() if len(explains) == 1 else UNKNOWN,
    tuple(evidence),
  )
