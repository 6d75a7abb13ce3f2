"""What is trained: four studies, the same for every side, made anew by each process."""

import contextlib
import dataclasses
import importlib
import itertools
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PyTree, Shaped, UInt8
from ml_collections import ConfigDict

from bsjax import data, models
from bsjax.config import keys
from bsjax.data import stream
from bsjax.data.dataset import Dataset, Split, mean_and_std
from bsjax.engine import lanes
from bsjax.engine import validate as study_config
from bsjax.engine.own import CONFIGS, Own, with_own
from bsjax.models import convolution
from bsjax.study import own_parts

EVALUATED = 512  # examples of the training set on which final losses are compared
# Updates of the largest batch after which losses are first compared: few, so that rounding has not
# grown yet and a wrong update shows. Learning rates are low for the same reason.
FEW = 2
MOMENTUM = 0.9
MADE_UP = 10_000  # images


@dataclasses.dataclass(frozen=True)
class Options:
  """What the processes of a benchmark must agree on."""

  accelerator: bool = False
  trials: int = 0  # 0: as usual on the kind of device
  dtype: str = 'float32'
  data: str = ''  # an .npz file with train_images and train_labels; empty: made-up images
  micro_batch: str = 'auto'  # of bsjax, as in its config
  strategy: str = 'auto'  # of bsjax, as execution.strategy of its config
  factor: int = 1  # how many times as many examples as usual


class Setting(NamedTuple):
  """One training run of a study."""

  batch_size: int
  learning_rate: float
  trial: int


class Size(NamedTuple):
  """How much a work trains on one kind of device."""

  batch_sizes: tuple[int, ...]
  examples: int  # that every setting sees
  rates: int = 2
  trials: int = 1


class Recipe(NamedTuple):
  """The fixed part of a work."""

  learning_rates: tuple[float, float]  # the lowest and the highest
  cpu: Size
  accelerator: Size
  model: dict
  digits: bool = False
  # Of a study in configs/, whose `parts` are the model, the data and the task.
  parts: str = ''

  @property
  def made_up(self) -> bool:
    """Whether its images are, where none are given."""
    return not (self.digits or self.parts)


# Rates and trials that fill an accelerator as the study of configs/cifar.py does, with 105 lanes.
MANY = 12, 3

RECIPES = {
  'mlp': Recipe(
    (0.005, 0.02),
    Size((8, 16, 32, 64, 128, 256), 16384),
    Size((8, 16, 32, 64, 128, 256), 2048, *MANY),
    {'name': 'mlp', 'width': 256, 'depth': 2, 'normalization': 'none'},
    digits=True,
  ),
  'cnn': Recipe(
    (0.0001, 0.0005),
    Size((16, 32, 64, 128, 256, 512), 1024),
    Size((16, 64, 256), 1024, *MANY),
    {'name': 'cnn', 'normalization': 'none'},
  ),
  'resnet20': Recipe(
    (0.01, 0.05),
    Size((16, 64, 256), 512),
    Size((16, 64, 256), 1024, *MANY),
    {'name': 'resnet20', 'normalization': 'group'},
  ),
  'char_lm': Recipe(
    (0.005, 0.02),
    Size((8, 16, 32, 64, 128), 1024),
    Size((8, 32, 128), 1024, *MANY),
    {},
    parts='char_lm',
  ),
}


@dataclasses.dataclass(frozen=True)
class Work:
  """A study for every side to train: from the same parameters, on examples in the same order."""

  name: str
  config: ConfigDict
  dataset: Dataset
  note: str  # where the data are from
  examples: int  # that every setting sees, a multiple of `chunk`
  chunk: int  # a multiple of every batch size
  accelerator: bool = False
  own: Own = CONFIGS

  @property
  def settings(self) -> list[Setting]:
    c = self.config
    return [
      Setting(*setting)
      for setting in itertools.product(c.batch_sizes, c.learning_rates, range(c.trials))
    ]

  def steps(self, examples: int | None = None) -> int:
    """Updates of all settings together."""
    return sum((examples or self.examples) // setting.batch_size for setting in self.settings)


def make(name: str, options: Options) -> Work:
  """Returns a work of `RECIPES`; the same options give the same numbers in every process."""
  recipe = RECIPES[name]
  size = recipe.accelerator if options.accelerator else recipe.cpu
  examples = size.examples * options.factor
  chunk = min(size.examples, FEW * max(size.batch_sizes))
  config, own = keys.base_config(), CONFIGS
  if recipe.parts:
    study = importlib.import_module(f'bsjax.configs.{recipe.parts}')
    own = own_parts(**study.parts(config))
    dataset, note = own.data, own.data.name
  else:
    dataset, note = _digits() if recipe.digits else _images(options.data)
  rates = np.geomspace(*recipe.learning_rates, size.rates).tolist()
  config.batch_sizes, config.learning_rates = size.batch_sizes, tuple(rates)
  config.trials = options.trials or size.trials
  config.epochs = examples / len(dataset.train.labels)
  config.evaluations = 1
  config.optimizer.momentum = MOMENTUM
  config.noise_scale.online = False  # the others measure none
  for key, value in {**recipe.model, 'dtype': options.dtype}.items():
    config.model[key] = value
  micro = options.micro_batch
  config.micro_batch = int(micro) if micro.isdigit() else micro
  config.execution.strategy = options.strategy
  config = with_own(config, own)
  study_config.validate(config)
  return Work(name, config, dataset, note, examples, chunk, options.accelerator, own)


@contextlib.contextmanager
def on_disk(work: Work, options: Options) -> Iterator[Options]:
  """Gives options with which every process reads the images that this one has made."""
  if options.data or not RECIPES[work.name].made_up:
    yield options
    return
  with tempfile.TemporaryDirectory() as folder:
    train, path = work.dataset.train, f'{folder}/images.npz'
    np.savez(path, train_images=train.images, train_labels=train.labels)
    yield dataclasses.replace(options, data=path)


def _digits() -> tuple[Dataset, str]:
  config = keys.base_config()
  return data.load(config.data, config.seed), "scikit-learn's digits"


def _images(path: str) -> tuple[Dataset, str]:
  if path:
    with np.load(path) as file:
      images, labels = file['train_images'], file['train_labels']
    note = 'images of the file given by --data'
  else:
    images, labels = _made_up()
    note = 'made-up images of 32 x 32 x 3: a pattern for each class, and noise'
  train = Split(images, labels.astype(np.int32))
  few = Split(images[:EVALUATED], train.labels[:EVALUATED])  # bsjax wants a validation split
  names = tuple(str(label) for label in np.unique(labels))
  return Dataset('images', names, train, few, *mean_and_std(images)), note


def _made_up() -> tuple[UInt8[np.ndarray, 'example 32 32 3'], Int[np.ndarray, ' example']]:
  rng = np.random.default_rng(0)
  labels = rng.integers(0, 10, MADE_UP)
  patterns = rng.normal(0, 1, (10, 8, 8, 3)).repeat(4, 1).repeat(4, 2).astype(np.float32)
  images = rng.standard_normal((MADE_UP, 32, 32, 3), np.float32) * 60
  images += 128 + 15 * patterns[labels]
  return images.clip(0, 255).astype(np.uint8), labels


def model(work: Work, form: str = 'native') -> Any:
  """Returns what has `init` and `apply` as flax, with convolutions of a form of `ops.FORMS`."""
  if work.own.model:
    return work.own.model
  return models.create(work.config.model, work.dataset.num_classes, conv=convolution.conv(form))


def initial_params(work: Work, trial: int) -> PyTree:
  """Returns the parameters of a trial before its first update, as host arrays."""
  key = jax.random.fold_in(stream.trial_key(work.config.seed, jnp.int32(trial)), lanes.INIT)
  zeros = lanes.blank(work.dataset.image_shape)
  params = jax.jit(lambda: model(work).init(key, zeros, train=False)['params'])()
  return jax.tree.map(np.asarray, params)


def examples(
  work: Work, trial: int
) -> tuple[Shaped[np.ndarray, 'position ...'], Int[np.ndarray, 'position ...']]:
  """Returns inputs, ready for the model, and targets in the order in which a trial sees them."""
  train = work.dataset.train
  epochs = -(-work.examples // len(train.labels))
  key = stream.trial_key(work.config.seed, jnp.int32(trial))
  orders = stream.epoch_orders(key, 0, epochs, len(train.labels))
  order = np.asarray(orders).reshape(-1)[: work.examples]
  return normalized(work, train.images[order]), train.labels[order]


def evaluated(
  work: Work,
) -> tuple[Shaped[np.ndarray, 'example ...'], Int[np.ndarray, 'example ...']]:
  """Returns the training examples on which final losses are compared."""
  train = work.dataset.train
  return normalized(work, train.images[:EVALUATED]), train.labels[:EVALUATED]


def normalized(
  work: Work, images: Shaped[np.ndarray, 'example ...']
) -> Shaped[np.ndarray, 'example ...']:
  """Returns inputs as the model takes them, as `stream.normalize` does inside a program."""
  if work.dataset.mean is None:  # no images
    return images
  return (images.astype(np.float32) - work.dataset.mean) / work.dataset.std
