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
from bsjax.analysis.runs.histories import Curve, LaneHistory, Row, Setting

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
  def chosen(self) -> dict[int, Setting]:
    """The setting of each batch size at its best learning rate; without one it is left out."""
    rates = {row['batch_size']: row['learning_rate'] for row in self.summary['batch_sizes']}
    return {
      size: setting
      for size, tried in self.settings.items()
      for setting in tried
      if setting.learning_rate == rates[size]
    }

  @cached_property
  def curves(self) -> dict[str, dict[str, dict[int, Curve]]]:
    """Curves of the chosen settings: clock -> quantity -> batch size -> mean and interval."""
    return gap.curves(self.chosen)

  @cached_property
  def learning_rates(self) -> list[float]:
    """All learning rates tried, ascending."""
    return sorted({each.learning_rate for tried in self.settings.values() for each in tried})

  def reported(self, row: Row) -> list[LaneHistory]:
    """The runs behind a row of results: each trial's, at the rate that the others chose for it."""
    by_rate = {setting.learning_rate: setting for setting in self.settings[row['batch_size']]}
    return [by_rate[rate].lanes[trial] for trial, rate in enumerate(row['trial_learning_rates'])]
