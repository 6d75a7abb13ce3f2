"""Arrays, structs and errors as kept cases hold them, and arrays to call functions with."""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

MOST = 64  # numbers of an array that are kept one by one


def plain(tree: Any) -> Any:
  """A tree as JSON has it; of large arrays what tells them from others."""
  if isinstance(tree, Mapping):
    return {str(key): plain(value) for key, value in tree.items()}
  if hasattr(tree, '_asdict'):
    return plain(tree._asdict())
  if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
    names = [field.name for field in dataclasses.fields(tree)]
    return {name: plain(getattr(tree, name)) for name in names}
  if isinstance(tree, set | frozenset):
    return plain(sorted(tree))
  if isinstance(tree, list | tuple):
    return [plain(value) for value in tree]
  if isinstance(tree, jax.Array) and jax.dtypes.issubdtype(tree.dtype, jax.dtypes.prng_key):
    return plain(jax.random.key_data(tree))
  if isinstance(tree, np.generic | np.ndarray | jax.Array):
    return _of_array(np.asarray(tree))
  return tree if isinstance(tree, bool | int | float | str | None) else str(tree)


def _of_array(array: np.ndarray) -> Any:
  if array.dtype.kind not in 'biufUS':
    array = array.astype(np.float32)  # bfloat16
  if array.size <= MOST:
    return array.tolist()
  if array.dtype.kind != 'f':
    wide = np.ascontiguousarray(array.astype(np.int64))
    return {'shape': list(array.shape), 'checksum': zlib.crc32(wide)}
  flat = array.ravel().astype(np.float64)
  sums = [float(flat @ wave(number, flat.size)) for number in range(4)]
  return {'shape': list(array.shape), 'sums': [*sums, float(flat @ flat)]}


def wave(number: float, size: int) -> np.ndarray:
  """Numbers between -1 and 1 without a pattern that a permutation would keep."""
  return np.sin(0.7 * np.arange(1, size + 1, dtype=np.float64) ** 1.3 + 1.9 * number)


def drawn(number: float, *shape: int) -> np.ndarray:
  """A float32 array that no library draws, so that all versions have the same one."""
  return wave(number, math.prod(shape)).reshape(shape).astype(np.float32)


def filled(shapes: Any, number: float = 0.0) -> Any:
  """Parameters and statistics of given shapes: small kernels, scales and variances near 1."""

  def one(path: tuple[Any, ...], shape: Any) -> np.ndarray:
    name = jax.tree_util.keystr(path)
    values = drawn(number + zlib.crc32(name.encode()) % 89, *shape.shape)
    if "'scale'" in name or "'var'" in name:
      return 1 + 0.2 * values
    inputs = math.prod(shape.shape[:-1]) if len(shape.shape) > 1 else 25
    return values * np.float32(1.5 / math.sqrt(inputs))

  return jax.tree_util.tree_map_with_path(one, shapes)


def said(call: Callable[[], Any], folder: Path | None = None) -> Any:
  """What a call gives, or the words of what it raises, without the name of the folder."""
  try:
    result = plain(call())
  except Exception as error:  # whatever it is, it is to stay so
    result = f'{type(error).__name__}: {error}'
  return json.loads(json.dumps(result).replace(str(folder), 'FOLDER')) if folder else result
