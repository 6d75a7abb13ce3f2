"""Whether a study that is run under other roundings says something else.

  python experiments/verdicts/roundings.py train runs/roundings --epochs=10 --examples=0,1,2
  OTHER_PYTHON experiments/verdicts/roundings.py train runs/roundings --epochs=10
  python experiments/verdicts/roundings.py compare runs/roundings

The first trains the digits study, shortened, as it is and with one bit changed: the lowest of the
middle pixel of one training example, for each that --examples names. The second trains it under
another JAX. The third compares the claims of all pairs of studies of a length, as
`tests/helpers/contradictions.py` says, and writes roundings.json.
"""

import argparse
import importlib.metadata
import itertools
import json
import statistics
import sys
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]

from helpers import contradictions  # noqa: E402

import bsjax  # noqa: E402
from bsjax import cli  # noqa: E402
from bsjax.config import base_config  # noqa: E402
from bsjax.config.metrics import judged  # noqa: E402
from bsjax.data import stratify  # noqa: E402

VAL = judged().val

OUT = Path(__file__).parent / 'roundings.json'
VERSIONS = 'jax', 'jaxlib', 'flax', 'optax', 'numpy'


def get_config():
  """As configs/digits.py, but for fewer rates and epochs and more evaluations."""
  config = base_config()
  config.batch_sizes = (8, 16, 32, 64, 128, 256)
  config.learning_rates = (0.01, 0.03, 0.1, 0.3)
  config.trials = 3
  config.epochs = 10.0
  config.evaluations = 16
  config.micro_batch = 8
  config.execution.strategy = 'map-canonical'  # what is fastest differs from run to run
  config.noise_scale.probe_every = 4
  config.noise_scale.every = 1
  config.model.name = 'mlp'
  config.model.width = 64
  config.model.normalization = 'none'
  return config


def train(config, workdir: Path, example: int | None = None) -> dict:
  """Trains the study in `workdir` on digits, and returns its summary.

  With an `example` the lowest bit of the middle pixel of that training example is turned around.
  """
  workdir.mkdir(parents=True, exist_ok=True)
  config.data.source, config.data.path = 'npz', str(workdir / 'digits.npz')
  config.data.cache_dir = str(workdir / 'cache')
  write_digits(config, example)
  versions = {name: importlib.metadata.version(name) for name in VERSIONS}
  about = {'example': example, 'python': sys.version.split()[0], **versions}
  (workdir / 'about.json').write_text(json.dumps(about) + '\n')
  study = bsjax.Study(config, workdir)
  assert study.run()
  return study.summary()


def write_digits(config, example: int | None) -> None:
  from sklearn.datasets import load_digits

  digits = load_digits()
  images = digits.images.astype(np.uint8)
  if example is not None:
    trained, _ = stratify.choose(config.data, digits.target, config.seed)
    images[trained[example], 4, 4] ^= 1
  np.savez(config.data.path, train_images=images, train_labels=digits.target)


def compared(first: Path, second: Path) -> dict:
  """Counts of questions by how two studies answer them, and how far apart their lanes end."""
  studies = [bsjax.load(path) for path in (first, second)]
  result = contradictions.compare(*(study.summary() for study in studies))
  named = [[str(part) for part in key] for key in (*result.opposite, *result.weaker)]
  return {
    'studies': [first.name, second.name],
    **counts(result),
    'not_alike': named,
    'lanes': lanes_apart(*(study.rows() for study in studies)),
  }


def counts(result: contradictions.Compared) -> dict[str, int]:
  """How many questions were answered so, those of confounds apart."""
  found = {}
  for name, keys in result._asdict().items():
    found[name] = sum(key[0] != 'confound' for key in keys)
    found[f'{name}_confounds'] = len(keys) - found[name]
  return found


def lanes_apart(first: list, second: list) -> dict:
  """Of the lanes of two studies, how many differ at their ends, and by how many points."""
  ends = [{row['lane']: row for row in rows} for rows in (first, second)]
  assert ends[0].keys() == ends[1].keys()
  pairs = [(row, ends[1][lane]) for lane, row in ends[0].items()]
  points = [100 * abs(a[VAL] - b[VAL]) for a, b in pairs]
  return {
    'of': len(pairs),
    'other_train_loss': sum(a['train_loss'] != b['train_loss'] for a, b in pairs),
    'other_val_accuracy': sum(a[VAL] != b[VAL] for a, b in pairs),
    'mean_points': statistics.fmean(points),
    'largest_points': max(points),
  }


def compare(runs: Path) -> dict:
  """All pairs of studies of each length, which has a folder of its own, and the sums over them."""
  lengths = {folder.name: of_length(folder) for folder in sorted(runs.iterdir())}
  total = Counter()
  for part in lengths.values():
    total.update(part['all_pairs'])
  return {'all_pairs': total} | lengths


def of_length(folder: Path) -> dict:
  workdirs = sorted(path.parent for path in folder.glob('*/summary.json'))
  pairs = [compared(*pair) for pair in itertools.combinations(workdirs, 2)]
  total = Counter(pairs=len(pairs))
  for pair in pairs:
    total.update({name: number for name, number in pair.items() if isinstance(number, int)})
  headlines = {path.name: bsjax.load(path).summary()['answer']['headline'] for path in workdirs}
  return {
    'seed': json.loads((workdirs[0] / 'config.json').read_text())['seed'],
    'studies': {path.name: json.loads((path / 'about.json').read_text()) for path in workdirs},
    'headlines': headlines,
    'all_pairs': total,
    'pairs': pairs,
  }


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('what', choices=['train', 'compare'])
  parser.add_argument('runs', type=Path)
  parser.add_argument('--examples', default='', help='training examples, such as 0,1,2')
  parser.add_argument('--epochs', type=float, default=10.0)
  flags = parser.parse_args()
  if flags.what == 'compare':
    OUT.write_text(json.dumps(compare(flags.runs), indent=1) + '\n')
    return
  cli.set_up_machine()
  name = f'jax-{importlib.metadata.version("jax")}'
  for example in (None, *map(int, filter(None, flags.examples.split(',')))):
    config = get_config()
    config.epochs = flags.epochs
    folder = name if example is None else f'{name}-example-{example}'
    train(config, flags.runs / f'{flags.epochs:g}-epochs' / folder, example)


if __name__ == '__main__':
  main()
