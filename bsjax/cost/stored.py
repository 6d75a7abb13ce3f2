"""The config of a study in a workdir, as a file for --config: `stored.py:WORKDIR`."""

from pathlib import Path

from ml_collections import ConfigDict

from bsjax.storage.workdirs import read_config


def get_config(workdir: str) -> ConfigDict:
  """Returns what config.json holds, but how it was executed, which says nothing of this machine."""
  return read_config(Path(workdir))
