"""Which rule keeps the training curve closest, for all architectures and learning rates at once.

  python experiments/scaling_rule/analyze.py WORKDIR

reads the finished arms of configs/scaling_rule.py and writes result.json beside itself. The report
of an arm corrects for the rules and batch sizes of one learning rate; a sentence that picks some of
several rates and architectures needs intervals that hold for all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bsjax.analysis.claims.claim import ABOVE, SUPPORTED, UNDETERMINED
from bsjax.plan.arms import FOLDER
from bsjax.report import arms_page, stored_study
from bsjax.report.summaries import summarize
from bsjax.stats.paired import against_best, simultaneous
from bsjax.storage import records

HERE = Path(__file__).parent


def closest(arms: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
  """One row for each arm, base learning rate and batch size: how much farther the other rules are.

  `arms` are summary['scaling_rules'] by name. 'rule' has the smallest mean distance, and the
  verdict is whether all others are shown to be farther; intervals of all rows hold at 95% at once.
  'best_rate' says whether the base batch size does best at this rate.
  """
  places = [
    (name, place, size)
    for name, compared in arms.items()
    for place, rate in enumerate(compared['rates'])
    for size in sorted({run['batch_size'] for run in rate['runs']})
  ]
  return [_row(name, arms[name], place, size, len(places)) for name, place, size in places]


def _row(
  name: str, compared: Mapping[str, Any], place: int, size: int, count: int
) -> dict[str, Any]:
  rate = compared['rates'][place]
  runs = [run for run in rate['runs'] if run['batch_size'] == size]
  # The smallest distance is the best: so the values are minus distances.
  values = {run['rule']: -np.array(run['distance']['each']) for run in runs}
  pairs = against_best(values, simultaneous(count))
  shown = all(ABOVE.verdict(pair.interval) == SUPPORTED for pair in pairs)
  return {
    'arm': name,
    'learning_rate': rate['learning_rate'],
    'best_rate': place == compared['shown'],
    'batch_size': size,
    'rule': pairs[0].best,
    'verdict': SUPPORTED if shown else UNDETERMINED,
    'confidence': pairs[0].confidence,
    'others': [{'rule': pair.other, **pair.interval.to_json('effect')} for pair in pairs],
  }


def analyze(workdir: Path) -> dict[str, Any]:
  """What result.json holds."""
  names = arms_page.arm_names(workdir)
  return {'closest': closest({name: _compared(workdir / FOLDER / name) for name in names})}


def _compared(workdir: Path) -> dict[str, Any]:
  study = stored_study.load(workdir)
  return summarize(study.config, study.plan, study.rows)['scaling_rules']


if __name__ == '__main__':
  records.write_json(HERE / 'result.json', analyze(Path(sys.argv[1])))
