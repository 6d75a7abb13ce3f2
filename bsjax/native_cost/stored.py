"""The config of a study in a workdir, as a file for --config: `stored.py:WORKDIR`."""

import json
from pathlib import Path

from ml_collections import ConfigDict

from bsjax.config import base_config


def get_config(workdir: str) -> ConfigDict:
  """Returns what config.json holds, but how it was executed, which says nothing of this machine."""
  config = base_config()
  stored = json.loads((Path(workdir) / 'config.json').read_text())
  stored.pop('execution', None)
  config.update(stored)
  return config
