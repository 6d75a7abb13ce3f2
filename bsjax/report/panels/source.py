"""What the figures of a study are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from bsjax.analysis.measures import gap
from bsjax.analysis.runs.budgets import at_end
from bsjax.analysis.runs.histories import Curve, Row, Setting
from bsjax.analysis.runs.reading import Reading
from bsjax.analysis.runs.selection import Chosen, select

Summary = Mapping[str, Any]
Settings = Mapping[int, Sequence[Setting]]


@dataclass(frozen=True)
class Source:
  """A summary and the runs behind it, with what several panels need of them.

  `settings` and `branches` hold runs: the former all of the first branch, the latter those that are
  reported, by branch. `sharpness` has one row per lane; `native_cost` is native_cost.json.
  """

  summary: Summary
  settings: Settings = field(default_factory=dict)
  sharpness: Sequence[Row] = ()
  native_cost: Mapping[str, Any] | None = None
  branches: Mapping[str, Mapping[int, Setting]] = field(default_factory=dict)

  @property
  def any_result(self) -> bool:
    """Whether some batch size has a learning rate to be reported at."""
    return any(row['learning_rate'] is not None for row in self.summary['batch_sizes'])

  @cached_property
  def sizes(self) -> list[int]:
    """The batch sizes of the study, ascending."""
    return sorted(row['batch_size'] for row in self.summary['batch_sizes'])

  @cached_property
  def colours(self) -> dict[int, str]:
    """A colour by batch size: lightness grows with the size, so grey prints keep the order."""
    shades = matplotlib.colormaps['plasma'](np.linspace(0.0, 0.8, len(self.sizes)))
    return {size: to_hex(shade) for size, shade in zip(self.sizes, shades, strict=True)}

  @cached_property
  def chosen(self) -> Chosen:
    """Each batch size at its best learning rate; without one it is left out."""
    return select(self.settings).chosen

  @cached_property
  def curves(self) -> dict[str, dict[str, dict[int, Curve]]]:
    """Curves of the chosen settings: clock -> quantity -> batch size -> mean and interval."""
    return gap.curves(self.chosen)

  @cached_property
  def learning_rates(self) -> list[float]:
    """All learning rates tried, ascending."""
    return sorted({each.learning_rate for tried in self.settings.values() for each in tried})

  @cached_property
  def ends(self) -> dict[int, Reading]:
    """What each batch size reached at its end, by trial."""
    return {size: at_end(tuned) for size, tuned in self.chosen.items()}
