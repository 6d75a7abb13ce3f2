"""Decoded arrays on disk, memory-mapped afterwards; the directory may be deleted at any time."""

import contextlib
import hashlib
import json
import shutil
import sys
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from bsjax.data.dataset import DataError
from bsjax.storage import user_cache, workdirs

Arrays = dict[str, np.ndarray]


def cached(
  config: ConfigDict, label: str, identity: list, what: str, decode: Callable[[], Arrays]
) -> Arrays:
  """The arrays that `decode` makes, memory-mapped from the folder of this label and identity.

  `identity` is whatever the arrays depend on, as JSON; `what` is said when they are decoded. Where
  the folder has no room they stay in memory, but a `data.cache_dir` that was asked for and cannot
  be written to is a DataError.
  """
  root = workdirs.on_disk(config.cache_dir or user_cache.folder(), 'data.cache_dir')
  digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
  folder = root / f'{label}-{digest}'
  try:
    return _open(folder)
  except (OSError, ValueError) as error:
    note = f' (what was there is damaged: {error})' if folder.exists() else ''
    shutil.rmtree(folder, ignore_errors=True)
  print(f'decoding {what}, once; cached in {folder}{note}', file=sys.stderr, flush=True)
  arrays = decode()
  try:
    return _publish(folder, arrays)
  except OSError as error:
    said = f'cannot write decoded arrays to {folder}: {error}'
    remedy = (
      'set data.cache_dir to a directory with '
      f'{sum(array.nbytes for array in arrays.values()) / 2**20:.0f} MiB of room'
    )
    if config.cache_dir:
      raise DataError(f'{said}; {remedy}', 'data.cache_dir') from error
    print(f'{said}; they are decoded anew in every run, or {remedy}', file=sys.stderr, flush=True)
    return arrays


def stamp(path: Path) -> list[int]:
  """What tells that a file was changed: its size in bytes and its time in nanoseconds."""
  state = path.stat()
  return [state.st_size, state.st_mtime_ns]


def _fingerprint(array: np.ndarray) -> list:
  return [array.dtype.str, list(array.shape), zlib.crc32(np.ascontiguousarray(array).data)]


def _open(folder: Path) -> Arrays:
  """The folder's arrays; OSError or ValueError where they are not there as written."""
  fingerprints = json.loads((folder / 'fingerprints.json').read_text())
  arrays = {name: np.load(folder / f'{name}.npy', mmap_mode='r') for name in fingerprints}
  for name, array in arrays.items():
    if _fingerprint(array) != fingerprints[name]:
      raise ValueError(f'{name}.npy is not what was written')
  return arrays


def _publish(folder: Path, arrays: Arrays) -> Arrays:
  """Writes the arrays beside `folder` and renames: other processes see all of them or none."""
  written = folder.with_name(f'{folder.name}.{uuid.uuid4().hex}')
  try:
    written.mkdir(parents=True)
    for name, array in arrays.items():
      np.save(written / f'{name}.npy', array)
    fingerprints = {name: _fingerprint(array) for name, array in arrays.items()}
    (written / 'fingerprints.json').write_text(json.dumps(fingerprints))
    opened = _open(written)  # the maps outlive renaming and removal
    with contextlib.suppress(OSError):  # another process was faster
      written.rename(folder)
    return opened
  finally:
    shutil.rmtree(written, ignore_errors=True)
