"""Which examples are drawn, in which order, from which data; `tests/studies/test_kept_runs.py`."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bsjax import data
from bsjax.config.keys import base_config
from bsjax.data import cache, dataset, doubts, sampler, sampling, stratify, stream, views, windows
from bsjax.data import own as own_data
from bsjax.data.dataset import Dataset, Split
from bsjax.engine import lanes
from bsjax.plan import stages
from helpers.builders import data_config, write_image_folder, write_npz
from helpers.kept import Kept
from helpers.kept_arrays import drawn, plain, said

LABELS = np.array([0] * 9 + [1] * 5 + [3] * 2 + [4] * 4)[np.argsort(drawn(0, 20))].astype(np.int32)


def keys_of(**changes: Any) -> Any:
  config = base_config().data
  config.update(changes)
  return config


def stream_orders() -> Kept:
  """Orders of all samplers, keys of streams, and what a lane reads across epochs."""
  numbers: dict[str, Any] = {}
  samplers = {
    'uniform': keys_of(),
    'inverse': keys_of(sampler='inverse_frequency'),
    'effective': keys_of(sampler='effective_number', sampler_beta=0.7),
    'all alike': keys_of(sampler='effective_number', sampler_beta=0.0),
  }
  used = np.flatnonzero(LABELS != 1)
  made = {
    f'{name} {some is not None}': sampler.create(config, LABELS, some)
    for (name, config), some in itertools.product(samplers.items(), (None, used))
    if some is None or name in ('uniform', 'inverse')
  }
  keys = {f'{t} {s}': stream.stream_key(3, jnp.int32(t), s) for t in (0, 2) for s in (0, 1)}
  numbers['keys'] = plain(keys)
  images = (drawn(4, 20, 5, 4, 2) * 100 + 120).astype(np.uint8)

  @jax.jit
  def found(key: Any, images: Any) -> Any:
    results: dict[str, Any] = {name: draw(key, jnp.int32(1), 2) for name, draw in made.items()}
    orders = stream.epoch_orders(key, jnp.int32(2), 3, 20)
    batch, labels = stream.micro_batch(
      images, jnp.asarray(LABELS), orders, jnp.int32(2), jnp.int32(55), 12
    )
    results |= {'orders': orders, 'labels': labels, 'batch': batch}
    for crop, flip in ((0, True), (2, False), (1, True)):
      results[f'augmented {crop} {flip}'] = stream.augment(key, jnp.int32(9), batch, crop, flip)
    mean, std = jnp.float32([100.0, 120.0]), jnp.float32([50.0, 25.0])
    results['normal'] = stream.normalize(batch, mean, std)
    results['drawn by a model'] = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(3))
    return results

  numbers |= plain(found(keys['2 1'], images))
  numbers['folded'] = [lanes.INIT, lanes.MODEL, stream.ORDER, stream.AUGMENT, stream.LATER_STREAMS]
  for name, config in samplers.items():
    numbers[f'{name} classes'] = plain(sampling.class_probabilities(config, np.bincount(LABELS)))
    given = made[f'{name} False'], LABELS, [keys['0 0'], keys['2 0']]
    for reach in ((0, 20), (30, 75), (30, 34)):
      numbers[f'{name} {reach}'] = sampler.distinct_classes(*given, (8, 2, 5), reach, 20)
  config = base_config()
  config.noise_scale.exact_examples, config.data.sampler = 8, 'inverse_frequency'
  numbers['conflict'] = list(map(str, sampling.probe_conflicts(config)))
  return Kept(numbers, {})


def shares_of_classes() -> Kept:
  """Which examples are held out, kept of a tail, and a stage's; what cannot be cut."""
  numbers: dict[str, Any] = {}
  labels = np.repeat(np.arange(4), (40, 30, 20, 10))[np.argsort(drawn(7, 100))]
  for size, seed in itertools.product((1, 7, 50, 100), (0, 1)):
    numbers[f'stratified {size} {seed}'] = plain(stratify.stratified(labels, size, seed))
  changes: dict[str, dict[str, Any]] = {
    'plain': {},
    'tail': {'imbalance_factor': 4.0},
    'cut': {'max_per_class': 12, 'train_examples': 20},
    'both': {'max_per_class': 15, 'imbalance_factor': 3.0, 'train_examples': 24},
    'other split': {'validation': 'test', 'train_examples': 30},
    'too steep': {'imbalance_factor': 60.0},
    'many held': {'validation_share': 0.99},
    'few held': {'validation_share': 0.01},
    'few': {'train_examples': 3},
    'many': {'train_examples': 90},
    'may lose': {'imbalance_factor': 8.0, 'train_examples': 5},
  }
  for name, keys in changes.items():
    config = keys_of(**keys)
    numbers[name] = said(lambda c=config: stratify.choose(c, labels, 3))
    numbers[f'{name} counts'] = said(lambda c=config: stratify.tail_counts(c, np.bincount(labels)))
  numbers['no class'] = said(lambda: stratify.tail_counts(keys_of(), np.array([3, 0, 2])))
  numbers['single'] = said(lambda: stratify.choose(keys_of(), np.array([0, 0, 1]), 0))
  config = base_config()
  stages.add(config, 'a', data_share=0.3)
  stages.add(config, 'b', data_share=1.0, image_size=4)
  for stage in stages.of(config):
    numbers[f'share {stage.name}'] = said(lambda s=stage: views.examples_in_use(s, labels, 2))
    seen = views.view(made_up(), stage)
    numbers[f'view {stage.name}'] = plain([seen.train.images, seen.validation.images, seen.mean])
  return Kept(numbers, {})


def made_up(names: tuple[str, ...] = ('a', 'b', 'A ', 'unknown'), channels: int = 3) -> Dataset:
  images = (drawn(4, 12, 6, 6, channels) * 100 + 120).astype(np.uint8)
  images[3], images[5], images[7] = images[2], images[2], images[6]
  train = Split(images[:9], np.array([0, 1, 0, 0, 1, 1, 0, 0, 1], np.int32))
  validation = Split(images[[3, 10, 11]], np.array([0, 1, 2], np.int32))
  return Dataset('made up', names, train, validation, *dataset.mean_and_std(train.images))


def data_sets() -> Kept:
  """What is read of arrays, files and folders, what is doubtful in it, and what is refused."""
  numbers: dict[str, Any] = {}
  for name, made in {'colour': made_up(), 'grey': made_up(('-1', '1', 'n/a'), 2)}.items():
    about = [made.fingerprint(), made.class_counts(), made.mean, made.std, made.image_shape]
    about += [made.digests[1][0].hex(), doubts.copies(made), doubts.doubts(made), made.strata]
    numbers[name] = plain(about)
  with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()) as told:
    folder = Path(name)
    numbers |= _files(folder)
    numbers |= _cached(folder)
    said_there = re.sub('-[0-9a-f]{16}', '', told.getvalue().replace(name, 'FOLDER'))
  for kind, labels in {
    'empty': np.array(['a', '', 'b']),
    'nan': np.array(['a', 'NaN', 'b']),
    'negative': np.array([0, -1, 2]),
    'two': np.array([-1, 1]),
  }.items():
    numbers[f'labels {kind}'] = said(lambda labels=labels: dataset.check_labels(labels, 'there'))
  return Kept(numbers | _own(), {'told': said_there})


def _files(folder: Path) -> dict[str, Any]:
  labels = np.arange(60) % 4
  images = (drawn(3, 60, 5, 4, 3) * 100 + 120).astype(np.uint8)
  write_npz(folder / 'a.npz', labels, train_images=images, test_images=images[:9, ::-1])
  write_npz(folder / 'few.npz', labels[:3], train_images=images[:3])
  write_npz(folder / 'turned.npz', labels, train_images=images.transpose(0, 3, 1, 2))
  write_npz(folder / 'one.npz', labels * 0, train_images=images)
  write_npz(folder / 'same.npz', labels, train_images=images * 0)
  write_npz(folder / 'odd.npz', labels, train_images=images.astype(float))
  with np.load(folder / 'a.npz') as arrays:
    np.savez(folder / 'b.npz', **arrays, test_labels=labels[:9] + 1)
  write_image_folder(folder / 'pictures', images[:24], [f'{label}' for label in labels[:24]])
  (folder / 'pictures' / 'two.csv').write_text('id;kind;size\n0.png;cat;3\n1.png;dog;4\n')
  (folder / 'pictures' / 'bad.csv').write_text('id,kind\n0.png,cat\n0.png,dog\n../x.png,\n')
  source = {'source': 'npz', 'path': f'{folder}/a.npz', 'validation_share': 0.2}
  pictures = {'source': 'image_folder', 'path': f'{folder}/pictures'}
  asked: dict[str, dict[str, Any]] = {
    'digits': {'train_examples': 64, 'validation_share': 0.05},
    'digits tail': {'imbalance_factor': 10.0},
    'npz': source,
    'npz tail': source | {'max_per_class': 5, 'imbalance_factor': 2.0},
    'npz crop': source | {'crop': 4},
    'npz none': source | {'path': f'{folder}/c.npz'},
    'npz test': source | {'path': f'{folder}/b.npz', 'validation': 'test'},
    'npz validation': source | {'validation': 'train'},
    'npz lacks': source | {'validation': 'test'},
    **{name: source | {'path': f'{folder}/{name}.npz'} for name in ('few', 'turned', 'one', 'odd')},
    'same': source | {'path': f'{folder}/same.npz'},
    'pictures': pictures,
    'pictures test': pictures | {'validation': 'test'},
    'pictures two': pictures | {'label_csv': 'two.csv'},
    'pictures kind': pictures | {'label_csv': 'two.csv', 'label_column': 'kind'},
    'pictures bad': pictures | {'label_csv': 'bad.csv'},
    'nowhere': {'source': 'nowhere'},
    'own': {'source': 'own'},
    'share': {'validation_share': 1.5},
  }
  return {
    f'load {name}': _loaded(data_config(folder, **keys), folder) for name, keys in asked.items()
  }


def _loaded(config: Any, folder: Path) -> Any:
  def load() -> Any:
    found = data.load(config, 5)
    return [
      *(found.name, found.class_names, found.class_counts(), found.mean, found.std),
      *(found.image_shape, found.fingerprint(), found.train.labels, found.validation.labels),
    ]

  return said(load, folder)


def _cached(folder: Path) -> dict[str, Any]:
  config, made = data_config(folder), []
  arrays = {'images': np.arange(6, dtype=np.uint8)}

  def decode() -> Any:
    made.append(1)
    return arrays

  def once() -> Any:
    return plain(cache.cached(config, 'some', ['a', 1], 'some pictures', decode)['images'])

  found = [once(), once(), len(made)]
  (kept,) = folder.glob('cache/some-*')
  (kept / 'images.npy').write_bytes(b'damaged')
  return {'cached': [*found, once(), len(made), sorted(path.name for path in kept.iterdir())]}


def _own() -> dict[str, Any]:
  inputs, classes = drawn(2, 10, 3), np.arange(10) % 3
  images = (drawn(4, 10, 4, 4, 1) * 100 + 120).astype(np.uint8)
  given: dict[str, tuple[Any, Any, bool]] = {
    'arrays': ((inputs[:7], classes[:7]), (inputs[7:], classes[7:]), True),
    'dicts': (
      {'b': inputs[:7], 'a': classes[:7] > 1},
      {'b': inputs[7:], 'a': classes[7:] > 1},
      False,
    ),
    'images': ((images[:7], classes[:7]), (images[7:], classes[7:]), True),
    'wide': ((inputs.astype(float), classes.astype(np.int64)), (inputs, classes), False),
    'uneven': ((inputs[:7], classes), (inputs[7:], classes[7:]), True),
    'unlike': ((inputs[:7], classes[:7]), (inputs[7:, :2], classes[7:]), True),
    'no class': ((inputs[:7], classes[:7] - 1), (inputs[7:], classes[7:]), True),
    'one class': ((inputs[:7], classes[:7] * 0), (inputs[7:], classes[7:] * 0), True),
    'not finite': ((inputs[:7] * np.inf, classes[:7]), (inputs, classes), True),
    'large': ((classes * 2**31, classes), (classes, classes), True),
    'words': ((np.array(['a', 'b']), classes[:2]), (inputs, classes), True),
    'none': ((inputs[:0], classes[:0]), (inputs, classes), True),
  }
  numbers: dict[str, Any] = {}
  for name, (train, validation, of_classes) in given.items():

    def made(train: Any = train, validation: Any = validation, flag: bool = of_classes) -> Any:
      found = own_data.dataset(own_data.Data(train, validation), flag)
      about = [found.name, found.class_names, found.mean, found.std, found.fingerprint()]
      return [*about, found.image_shape, found.train.labels, found.strata, len(found.train)]

    numbers[f'own {name}'] = said(made)
  numbers['own given'] = said(lambda: own_data.given([1, 2]))
  return numbers


def windows_of_data() -> Kept:
  """Windows of examples that are fed from the host, and what is called ahead."""
  numbers: dict[str, Any] = {}
  for start, length, reach in ((0, 10, 4), (7, 10, 4), (25, 10, 23), (30, 10, 10)):
    places = windows.places(start, length, reach, 2)
    numbers[f'{start} {length} {reach}'] = [plain(places), windows.epochs(length, reach)]
  calls: list[int] = []
  ahead = windows.Prefetched(lambda at: calls.append(at) or 10 * at)
  asked = ((0, 1), (1, 2), (5, 6), (6, None), (7, 8))
  numbers['values'] = [ahead.at(*one) for one in asked]
  numbers['calls'] = sorted(set(calls))
  split = Split({'a': drawn(1, 6, 2), 'b': np.arange(6)}, np.arange(6, dtype=np.int32))
  numbers['bytes'] = [windows.example_bytes(split), windows.split_bytes(split)]
  numbers['taken'] = plain(windows.take(split, np.array([4, 0, 4])))
  return Kept(numbers, {})


STREAMS: dict[str, Callable[[], Kept]] = {
  'stream_orders': stream_orders,
  'shares_of_classes': shares_of_classes,
  'data_sets': data_sets,
  'windows_of_data': windows_of_data,
}
