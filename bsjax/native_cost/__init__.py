"""What a batch size costs when it is run alone on a device: memory, throughput, seconds an epoch.

`run.measure_study` measures, `run.write` keeps it as native_cost.json, and
`python -m bsjax.native_cost` does both.
"""

import math

from ml_collections import ConfigDict

FEWEST_REPEATS = 5  # of which a median and a range mean something


def problems(config: ConfigDict) -> list[str]:
  """Lists what is wrong with `config.native_cost`: each with its value, bound and remedy."""
  found = []
  sizes, repeats = tuple(config.batch_sizes), config.repeats
  if any(not isinstance(size, int) or isinstance(size, bool) or size < 1 for size in sizes):
    found.append(
      f'native_cost.batch_sizes={sizes}: give whole numbers, each at least 1, or () for those of '
      'the study'
    )
  elif len(set(sizes)) < len(sizes):
    found.append(f'native_cost.batch_sizes={sizes} names a batch size twice; give each once')
  if repeats < FEWEST_REPEATS:
    found.append(f'native_cost.repeats={repeats} must be at least {FEWEST_REPEATS}')
  if not 0 <= config.memory < math.inf:
    found.append(
      f'native_cost.memory={config.memory} must be finite and at least 0 (GiB); 0 is what the '
      'device reports'
    )
  return found
