"""Source 'image_folder': images in a folder or its subfolder `train`, and a CSV of their labels."""

import contextlib
import csv
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from ml_collections import ConfigDict

from bsjax.data.cache import cached, stamp
from bsjax.data.dataset import DataError, Raw, quoted
from bsjax.data.sources import images


def csv_conflicts(config: ConfigDict) -> list[str]:
  """What is wrong with the CSV."""
  try:
    _read_label_csv(config)
  except DataError as error:
    return [str(error)]
  return []


def read(config: ConfigDict, split: str) -> Raw:
  folder = Path(config.path).expanduser()
  names, labels = _read_label_csv(config)
  root = folder / 'train' if (folder / 'train').is_dir() else folder
  if missing := [name for name in names if not (root / name).is_file()]:
    raise DataError(
      f'{len(missing)} of {len(names)} files listed in {config.label_csv} are missing in {root}:'
      f' {quoted(missing)}; add them or drop their rows'
    )
  named_images = ((name, images.decode(root / name, name)) for name in names)
  arrays = cached(
    config,
    folder.name,
    ['image_folder', str(root.resolve()), [[name, *stamp(root / name)] for name in names]],
    f'{folder}: {len(names):,} images',
    lambda: {'images': images.stack(named_images, len(names))},
  )
  return Raw(arrays['images'], labels)


def _read_label_csv(config: ConfigDict) -> tuple[list[str], Shaped[np.ndarray, ' example']]:
  """File names and labels: the first two columns below the header, as in `id,has_cactus`."""
  path = Path(config.path).expanduser() / config.label_csv
  where = f'data.label_csv={config.label_csv!r} ({path})'
  try:
    with path.open(newline='', encoding='utf-8-sig') as file:
      reader = csv.reader(file)
      lines = [(reader.line_num, row) for row in reader if row]
  except (OSError, UnicodeDecodeError) as error:
    raise DataError(f'{where} cannot be read: {error}; name a CSV in the folder') from error
  short = [number for number, row in lines if len(row) < 2]
  if short or len(lines) < 2:
    raise DataError(
      f'{where} needs a header and rows below it, of 2 columns or more, file name and label; of its'
      f' {len(lines)} lines {len(short)} are shorter'
      + (f': line {quoted(short)}; complete them' if short else '; add the rows')
    )
  names, labels = zip(*(row[:2] for _, row in lines[1:]), strict=True)
  values, counts = np.unique(names, return_counts=True)
  if repeated := values[counts > 1].tolist():
    raise DataError(
      f'{where} lists {len(repeated)} files more than once: {quoted(repeated)}; keep one row each,'
      ' or training and validation examples overlap'
    )
  labels = np.asarray(labels)
  with contextlib.suppress(ValueError):  # texts stay texts; numbers sort as numbers, 9 before 10
    labels = labels.astype(np.int64)
  return list(names), labels
