"""A summary as summary.json holds it: reasons as sentences, estimates as numbers with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bsjax.report.text.reasons import sentence, sentences
from bsjax.stats.estimate import Estimate, Reason


def rendered(tree: Any) -> Any:
  """The same tree in plain values: dicts, lists, text and numbers."""
  if isinstance(tree, Reason):
    return sentence(tree)
  if isinstance(tree, Estimate):
    return tree.to_json()
  if isinstance(tree, Mapping):
    return {key: rendered(value) for key, value in tree.items()}
  if isinstance(tree, tuple) and tree and all(isinstance(item, Reason) for item in tree):
    return sentences(tree)
  if isinstance(tree, list | tuple):
    return [rendered(item) for item in tree]
  return tree
