"""The user's cache directory: anything in it may be deleted at any time."""

import os
from pathlib import Path


def folder(name: str = '') -> Path:
  """Returns bsjax's folder in the user's cache directory, or the folder of a name in it."""
  root = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
  return Path(root, 'bsjax', name).expanduser()
