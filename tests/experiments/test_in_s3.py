"""A study in S3 itself, as a server of this machine speaks it, killed and continued elsewhere."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / 'experiments/surviving/in_s3.py'
HOW = "needs pip install 'moto[server]' s3fs"


@pytest.mark.slow
def test_killed_studies_in_s3_end_as_those_in_a_folder(tmp_path):
  pytest.importorskip('moto', reason=HOW)
  pytest.importorskip('s3fs', reason=HOW)
  out = tmp_path / 'in_s3.json'
  subprocess.run([sys.executable, SCRIPT, '--kills=3', f'--out={out}'], check=True)
  studies = json.loads(out.read_text())['studies']
  assert sum(len(study['kills']) for study in studies) >= 3
  assert not any(study['different'] for study in studies)
