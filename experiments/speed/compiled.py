"""Compiles configs/cifar.py for accelerators that are not here; rows go to compiled/TARGET.json.

`python experiments/speed/compiled.py H100 v5e:2x2 ...`, with `MODEL/STRATEGY` among the arguments
for some alone; a row that is there is not made again, and the README gets its table anew. Needs
JAX's compilers (`pip install 'bsjax[compile-for]'`). Images are made up: no time depends on them.
"""

import importlib.metadata
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from bsjax import cli  # noqa: E402

MODELS = ('cnn', 'resnet20', 'vit_tiny')
STRATEGIES = {
  'cuda': ('vmap-pallas', 'map-native', 'vmap-im2col', 'vmap-native'),
  'tpu': ('vmap-native', 'map-native', 'vmap-im2col'),
}
DTYPES = {'cuda': 'float32', 'tpu': 'bfloat16'}  # as one trains on them
MEMORY, TIMES = ('arguments', 'temporaries', 'copy'), ('arithmetic', 'memory', 'launches')
HEAD = (
  '| target | model | strategy | memory, GiB (arguments, temporaries, a copy) | '
  'kernels, least to most | GB moved | least ms: arithmetic, memory, launches |\n'
  '|---|---|---|---|---|---|---|\n'
)
VERSIONS = ('jax', 'jaxlib', 'libtpu', 'jax-cuda13-pjrt', 'jax-cuda12-pjrt')


def main(arguments: list[str]) -> None:
  cli.pin_options()
  wanted = [argument for argument in arguments if '/' in argument]
  for name in (argument for argument in arguments if '/' not in argument):
    for model in MODELS:
      for strategy in STRATEGIES[_platform(name)]:
        if not wanted or f'{model}/{strategy}' in wanted:
          _add(name, model, strategy)
  readme = HERE / 'README.md'
  head, _, rest = readme.read_text().partition(HEAD)
  readme.write_text(head + HEAD + '\n'.join(table()) + rest[rest.index('\n\n') :])


def _platform(name: str) -> str:
  return 'tpu' if name.startswith('v') else 'cuda'


def table() -> list[str]:
  """The rows of the README, from all files that there are."""
  lines = []
  for path in sorted((HERE / 'compiled').glob('*.json')):
    content = json.loads(path.read_text())
    for row in sorted(content['rows'], key=lambda row: MODELS.index(row['model'])):
      memory = [row['memory_bytes'][kind] / 2**30 for kind in MEMORY]
      kernels = ' to '.join(f'{count:,.0f}' for count in row['kernels'])
      least = ', '.join(f'{1000 * row["seconds"][kind]:.3g}' for kind in TIMES)
      lines.append(
        f'| {content["target"]} | `{row["model"]}` | `{row["strategy"]}` | '
        f'{", ".join(f"{share:.2f}" for share in memory)} | {kernels} | '
        f'{row["bytes"] / 1e9:.1f} | {least} |'
      )
  return lines


def _add(name: str, model: str, strategy: str) -> None:
  path = HERE / 'compiled' / f'{name.partition(":")[0]}.json'
  path.parent.mkdir(exist_ok=True)
  rows = json.loads(path.read_text())['rows'] if path.exists() else []
  if any((row['model'], row['strategy']) == (model, strategy) for row in rows):
    return
  rows += [{'model': model} | row for row in _rows(name, model, strategy)]
  content = {
    'target': name,
    'dtype': DTYPES[_platform(name)],
    'versions': _versions(),
    'rows': rows,
  }
  path.write_text(json.dumps(content, indent=1) + '\n')
  print(json.dumps(rows[-1]), flush=True)


def _rows(name: str, model: str, strategy: str) -> list[dict]:
  from bsjax.cost import foreseen
  from bsjax.data.dataset import Dataset, Split
  from bsjax.plan import plan
  from configs import cifar

  config = cifar.get_config()
  config.model.name, config.model.dtype = model, DTYPES[_platform(name)]
  config.execution.devices = 1
  splits = [
    Split(np.zeros((size, 32, 32, 3), np.uint8), np.zeros(size, np.int32)) for size in (45000, 5000)
  ]
  classes, scale = tuple(map(str, range(10))), np.ones(3, np.float32)
  dataset = Dataset('made up', classes, *splits, scale, scale)
  study = plan.make_plan(config, len(dataset.train))
  return foreseen.foreseer(config, dataset, study, name).rows([strategy])


def _versions() -> dict[str, str]:
  found = {}
  for package in VERSIONS:
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found


if __name__ == '__main__':
  main(sys.argv[1:])
