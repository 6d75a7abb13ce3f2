"""What the device does in a tick: every kernel by the time it takes, from JAX's profiler."""

import collections
import tempfile
from pathlib import Path
from typing import Any

import jax

from benchmark import lanes_side
from benchmark.works import Work

BLOCKS = 2
MOST = 30  # kernels that are listed


def kernels(work: Work) -> dict[str, Any]:
  """Returns milliseconds per tick and kernels per tick, in all and of the slowest ones.

  Kernels of streams that run side by side are added up. Of the work's lanes as they would run.
  """
  how = lanes_side.chosen(work, lanes_side.LONGER)
  groups, on_device = lanes_side.programs(work, how)
  group = max(groups, key=lambda group: len(group.group.lanes))
  group.advance(on_device, 1)
  group.wait()
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      blocks = group.advance(on_device, BLOCKS)
      group.wait()
    (path,) = Path(folder).rglob('*.xplane.pb')
    totals = _totals(jax.profiler.ProfileData.from_file(str(path)))
  ticks = blocks * group.group.block_ticks
  rows = sorted(((ms / ticks, count / ticks, name) for name, (count, ms) in totals.items()))[::-1]
  return {
    'lanes': len(group.group.lanes),
    'micro_batch': group.group.micro_batch,
    'strategy': group.programs.strategy.name,
    'ms_per_tick': sum(row[0] for row in rows),
    'kernels_per_tick': sum(row[1] for row in rows),
    'slowest': [
      {'ms': ms, 'times': count, 'kernel': name[:120]} for ms, count, name in rows[:MOST]
    ],
  }


def _totals(profile: Any) -> dict[str, tuple[int, float]]:
  """How often each kernel ran, and its milliseconds; on a CPU there are none."""
  totals: dict[str, tuple[int, float]] = collections.defaultdict(lambda: (0, 0.0))
  for plane in profile.planes:
    for line in plane.lines if 'GPU' in plane.name else ():
      if 'Stream' in line.name:
        for event in line.events:
          count, ms = totals[event.name]
          totals[event.name] = count + 1, ms + event.duration_ns / 1e6
  return totals
