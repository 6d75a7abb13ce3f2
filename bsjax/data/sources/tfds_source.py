"""Source 'tfds': a set of TensorFlow Datasets, read without TensorFlow from array_record files.

TFDS itself is imported only to prepare a set and to decode it, never when the cache has it.
"""

import io
import json
import os
import re
import socket
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from bsjax.config.errors import Problem
from bsjax.data.cache import Arrays, cached, stamp
from bsjax.data.dataset import DataError, Raw, quoted, shown
from bsjax.data.sources import images


def set_conflicts(config: ConfigDict) -> list[Problem]:
  """What is wrong with the set where it is prepared already."""
  if not config.name:
    sentence = (
      "data.name is empty: source 'tfds' needs the name of a set, such as 'cifar10', or"
      " 'emnist/balanced' where a set has several variants"
    )
    return [Problem(sentence, 'data.name', 'data.source')]
  folder = _prepared(config)
  return [] if folder is None else _folder_conflicts(config, folder)


def read(config: ConfigDict, split: str) -> Raw:
  folder = _prepared(config)
  if folder is None:
    folder = _prepare(config)
    if sentences := _folder_conflicts(config, folder):
      raise DataError('\n'.join(sentences))
  files = [[path.name, *stamp(path)] for path in sorted(folder.iterdir())]
  arrays = cached(
    config,
    '-'.join([config.name.partition(':')[0].replace('/', '-'), folder.name, split]),
    ['tfds', images.RULES, split, str(folder.resolve()), files],
    f'{config.name} {split}: {_examples(folder)[split]:,} images',
    lambda: _decode_whole(config, folder, split),
  )
  class_names = _class_names(config, folder)
  return Raw(**arrays, class_names=class_names)


def _class_names(config: ConfigDict, folder: Path) -> tuple[str, ...] | None:
  """The names of the classes in order, None where they have none; DataError where some lack."""
  path = folder / 'label.labels.txt'
  if not path.exists():
    return None
  try:
    names = tuple(path.read_text(encoding='utf-8').splitlines())
    features = json.loads((folder / 'features.json').read_text())['featuresDict']['features']
    count = int(features['label'].get('classLabel', {}).get('numClasses', len(names)))
    if len(set(names)) != count:
      raise ValueError(f'{path.name} has {len(set(names))} different names for {count} classes')
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise DataError(_damaged(config, folder, error)) from error
  return names


def _data_dir(config: ConfigDict) -> Path:
  usual = os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'
  return Path(config.path or usual).expanduser()


def _prepared(config: ConfigDict) -> Path | None:
  """The folder of the newest prepared version, found without importing TFDS."""
  name, _, version = config.name.partition(':')
  try:
    infos = list((_data_dir(config) / name).glob(f'{version or "*"}/dataset_info.json'))
  except (OSError, ValueError, RuntimeError):  # what can be no path is not prepared
    return None
  folders = [info.parent for info in infos if re.fullmatch(r'\d+\.\d+\.\d+', info.parent.name)]
  return max(folders, key=lambda folder: [int(n) for n in folder.name.split('.')], default=None)


def _info(folder: Path) -> dict:
  return json.loads((folder / 'dataset_info.json').read_text())


def _examples(folder: Path) -> dict[str, int]:
  """The number of examples in each split."""
  splits = _info(folder)['splits']
  return {split['name']: sum(map(int, split.get('shardLengths', ()))) for split in splits}


def _damaged(config: ConfigDict, folder: Path, error: Exception) -> Problem:
  return Problem(
    f'data.name={config.name!r}: what is prepared in {folder} is damaged or not whole'
    f' ({type(error).__name__}: {shown(error)}); remove that folder, and the set is prepared again',
    'data.name',
  )


def _folder_conflicts(config: ConfigDict, folder: Path) -> list[Problem]:
  try:
    return _conflicts_of_info(config, folder)
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    return [_damaged(config, folder, error)]


def _conflicts_of_info(config: ConfigDict, folder: Path) -> list[Problem]:
  sentences = []
  file_format = _info(folder).get('fileFormat', 'tfrecord')
  if file_format != 'array_record':
    sentence = (
      f'{folder} is prepared as {file_format} files, and only array_record can be read without'
      f' TensorFlow; prepare the set in another directory:\n{_recipe(config)}'
    )
    sentences.append(Problem(sentence, 'data.name', 'data.path'))
  splits = _examples(folder)
  if missing := {'train', config.validation} - {'split', *splits}:
    sentence = (
      f'data.validation={config.validation!r}: {config.name} has no split'
      f" {quoted(sorted(missing))}; it has {quoted(sorted(splits), 9)}, and 'split' holds out a"
      ' share of the training data'
    )
    sentences.append(Problem(sentence, 'data.validation'))
  return sentences


def _recipe(config: ConfigDict) -> str:
  return (
    '  pip install tensorflow-datasets tensorflow-cpu array-record importlib_resources\n'
    '  python -c "import tensorflow_datasets as tfds; tfds.builder('
    f"'{config.name}', data_dir='DIR', file_format='array_record').download_and_prepare()\"\n"
    'on a machine with a network, copy DIR here, and set TFDS_DATA_DIR or data.path to it.'
  )


def _prepare(config: ConfigDict) -> Path:
  """Downloads and prepares the set with TFDS; the folder of its record files."""
  data_dir = _data_dir(config)
  import tensorflow_datasets as tfds

  try:
    builder = tfds.builder(config.name, data_dir=data_dir, file_format='array_record')
    if not builder.data_path.exists():  # it may be: TFDS knows which variant is the default
      print(f'{config.name} is not in {data_dir}: preparing it', file=sys.stderr, flush=True)
      _check_network(builder.url_infos or ())
      builder.download_and_prepare()
  except tfds.core.DatasetNotFoundError as error:
    close = re.search(r'Did you mean: .* -> (\S+)', str(error))
    raise DataError(
      f'data.name={config.name!r} is neither prepared in {data_dir} nor known to TFDS; '
      + (f'did you mean {close[1]!r}?' if close else 'see tfds.list_builders() for the known sets'),
      'data.name',
    ) from error
  except Exception as error:  # whatever failed in there, the remedy is the same
    raise DataError(
      f'data.name={config.name!r} is not prepared in {data_dir} (data.path, else $TFDS_DATA_DIR,'
      f' else ~/tensorflow_datasets), and preparing it failed:\n'
      f'  {type(error).__name__}: {error}\n'
      f'Prepare it by\n{_recipe(config)}',
      'data.name',
    ) from error
  return Path(builder.data_dir)


def _check_network(urls: Iterable[str]) -> None:
  """Fails at once without a network, where TFDS itself would try for minutes."""
  if not urllib.request.getproxies():  # a proxy finds the hosts itself
    for host in {urllib.parse.urlparse(url).hostname for url in urls}:
      socket.getaddrinfo(host, None)


def _decode_whole(config: ConfigDict, folder: Path, split: str) -> Arrays:
  """Decodes a split; whatever TFDS or the record files raise, the remedy is the same."""
  try:
    return _decode(config, folder, split)
  except (DataError, ImportError):
    raise
  except Exception as error:
    raise DataError(_damaged(config, folder, error)) from error


def _decode(config: ConfigDict, folder: Path, split: str) -> Arrays:
  import tensorflow_datasets as tfds

  builder = tfds.builder_from_directory(folder)
  features = dict(builder.info.features.items())
  image, label = features.get('image'), features.get('label')
  good_image = isinstance(image, tfds.features.Image) and image.np_dtype == np.uint8
  scalar_label = label is not None and label.shape == ()
  if not (good_image and scalar_label and np.issubdtype(label.np_dtype, np.integer)):
    raise DataError(
      f"{config.name} has the features {features}, and needed are an 'image' of uint8 and an"
      " integer 'label'; choose another set, or write this one as .npz and choose source 'npz'"
    )
  # The files' bytes, decoded by Pillow here: 2.5 times faster than TFDS decodes them.
  source = builder.as_data_source(split, decoders={'image': tfds.decode.SkipDecoding()})
  labels = np.empty(len(source), np.int64)
  mode = {1: 'L', 3: 'RGB', 4: 'RGBA'}.get(image.shape[-1])

  def named_images(at_once: int = 1024) -> Iterator[tuple[str, np.ndarray]]:
    for start in range(0, len(source), at_once):
      indices = range(start, min(start + at_once, len(source)))
      for index, example in zip(indices, source.__getitems__(indices), strict=True):
        labels[index] = example['label']
        name = f'{config.name} {split} example {index}'
        yield name, images.decode(io.BytesIO(example['image']), name, mode)

  return {'images': images.stack(named_images(), len(source)), 'labels': labels}
