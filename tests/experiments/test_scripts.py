"""The scripts beside the package find what they start."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_benchmark_starts_from_anywhere_without_a_path_or_pytorch(tmp_path):
  unset = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
  done = subprocess.run(
    [ROOT / 'scripts' / 'benchmark', '--accelerator', '--help'],
    cwd=tmp_path,
    env=unset | {'PYTHON': sys.executable},
    capture_output=True,
    text=True,
  )
  assert '--works: Of mlp, cnn, resnet20' in done.stdout, done.stderr
