"""Draws of made-up inputs, all from one seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Draw:
  """What is drawn of choices; `random` draws numbers."""

  def __init__(self, seed: int | Sequence[int]):
    self.random = np.random.default_rng(seed)

  def one(self, *choices: Any) -> Any:
    """One of the choices, each as likely as any other."""
    return choices[int(self.random.integers(len(choices)))]

  def chance(self, share: float) -> bool:
    return bool(self.random.random() < share)

  def some(self, choices: Sequence[Any], share: float) -> list[Any]:
    """Of the choices, in order, about this share."""
    return [choice for choice in choices if self.chance(share)]
