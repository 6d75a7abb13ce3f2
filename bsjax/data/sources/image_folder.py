"""Source 'image_folder': images in a folder or its subfolder `train`, and a CSV of their labels."""

import os
from pathlib import Path

from ml_collections import ConfigDict

from bsjax.config.errors import Problem
from bsjax.data.cache import cached, stamp
from bsjax.data.dataset import DataError, Raw, quoted
from bsjax.data.sources import images, label_csv


def csv_conflicts(config: ConfigDict) -> list[Problem]:
  """What is wrong with the CSV."""
  try:
    label_csv.read(config)
  except DataError as error:
    return [Problem(str(error), *error.problems[0].keys or ('data.label_csv', 'data.path'))]
  return []


def read(config: ConfigDict, split: str) -> Raw:
  folder = Path(config.path).expanduser()
  names, labels = label_csv.read(config)
  root = folder / 'train' if (folder / 'train').is_dir() else folder
  if missing := [name for name in names if not os.path.isfile(root / name)]:
    raise DataError(
      f'{len(missing)} of {len(names)} files listed in {config.label_csv} are missing in {root}:'
      f' {quoted(missing)}; add them or drop their rows'
    )
  named_images = ((name, images.decode(root / name, name)) for name in names)
  arrays = cached(
    config,
    folder.name,
    [
      'image_folder',
      images.RULES,
      str(root.resolve()),
      [[name, *stamp(root / name)] for name in names],
    ],
    f'{folder}: {len(names):,} images',
    lambda: {'images': images.stack(named_images, len(names))},
  )
  return Raw(arrays['images'], labels)
