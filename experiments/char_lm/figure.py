"""Where larger batches stop paying, and what each ends with beside tables of letters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bsjax.report.figures.drawing import themed
from bsjax.report.panels import critical, marks
from bsjax.report.panels.source import Source
from bsjax.report.panels.style import MUTED, VALIDATION, batch_size_axis

SIZE = 8.2, 4.2  # inches


@themed
def figures(data: Mapping[str, Any]) -> dict[str, Figure]:
  summary = data['summary']
  source = Source(summary)
  figure = Figure(figsize=SIZE, layout='constrained')
  reached, hyperbola = figure.subplots(1, 2)
  _reached(reached, summary['batch_sizes'], data['tables']['bigram_bits'])
  critical.draw_hyperbola(hyperbola, source)
  hyperbola.set_title(f'To {summary["critical_batch_size"]["target"]:.2g} nats per character')
  hyperbola.legend(loc='upper center', bbox_to_anchor=(0.5, -0.2), fontsize=8.5)
  return {'figure.png': figure}


def _reached(axes: Axes, rows: list[Mapping[str, Any]], bigram: float) -> None:
  marks.estimates(axes, rows, 'val_bits', VALIDATION, label='transformer')
  axes.axhline(bigram, color=MUTED, linestyle='--', label='bigram table')
  batch_size_axis(axes, [row['batch_size'] for row in rows], 'After equal epochs, best rate')
  axes.set_ylabel('validation bits per character')
  axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=8.5)


def data_of(workdir: Path) -> dict[str, Any]:
  """What tables of letters, and of pairs of them, reach on the same held-out characters."""
  from bsjax.configs import char_lm

  letters, tokens = np.unique(list(char_lm.text()), return_inverse=True)
  cut = round(len(tokens) * (1 - char_lm.HELD_OUT))
  seen, (before, after) = tokens[:cut], char_lm.windows(tokens[cut:])
  single = np.bincount(seen, minlength=len(letters)) + 1.0  # none is impossible
  pairs = np.ones((len(letters), len(letters)))
  np.add.at(pairs, (seen[:-1], seen[1:]), 1)
  return {
    'tables.json': {
      'characters': len(tokens),
      'letters': len(letters),
      'unigram_bits': float(np.mean(-np.log2(single / single.sum())[after])),
      'bigram_bits': float(np.mean(-np.log2(pairs / pairs.sum(1, keepdims=True))[before, after])),
    }
  }
