"""Lets `--config=stored.py:WORKDIR` read the config of a study from its workdir."""

from pathlib import Path

from ml_collections import ConfigDict

from bsjax.storage.workdirs import read_config


def get_config(workdir: str) -> ConfigDict:
  """Returns what config.json holds, but how it was executed, which says nothing of this machine."""
  return read_config(Path(workdir))
