"""What frozen layers make of every image, computed once per stage instead of in every tick.

Where a stage trains only later layers, all lanes begin it with the same earlier ones (as after a
transfer), and images are not augmented, what enters the first trainable module is a function of the
image alone. `compute` takes it down for the whole data set, and `Suffix` is the rest of the
model, for images that are such features.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Float, PyTree

from bsjax.data import Dataset, Split, stream
from bsjax.engine.averages import AveragedState
from bsjax.engine.lanes import LaneSpec

CHUNK = 256  # images at a time
CLOSE = 1e-4  # relative difference of logits that rounding may make


@dataclasses.dataclass(frozen=True)
class Suffix:
  """A model from the input of one of its modules on; it stands where a model does in a spec."""

  model: nn.Module
  cut: str  # the module, whose input images are now
  image_shape: tuple[int, int, int]
  feature_shape: tuple[int, ...]  # of one example, where images are [batch, height, width, channel]

  def apply(
    self, variables: PyTree, images: Float[Array, 'batch height width channel'], **how: Any
  ) -> Any:
    """As `model.apply`, of features; what comes before them is never computed."""
    features = images.reshape(len(images), *self.feature_shape)

    def enter(call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext):
      if _enters(context, self.cut):
        args = (features, *args[1:])
      return call(*args, **kwargs)

    # Nothing depends on these, so XLA drops the layers that they would go through.
    blank = jnp.zeros((len(images), *self.image_shape))
    with nn.intercept_methods(enter):
      return self.model.apply(variables, blank, **how)

  def init(self, key: Array, images: Float[Array, '...'], **how: Any) -> PyTree:
    """The variables of the whole model."""
    return self.model.init(key, jnp.zeros((1, *self.image_shape)), **how)

  @property
  def num_classes(self) -> int:
    """As the model's."""
    return self.model.num_classes

  def clone(self, **changes: Any) -> 'Suffix':
    """As `model.clone`."""
    return dataclasses.replace(self, model=self.model.clone(**changes))


def _enters(context: nn.module.InterceptorContext, cut: str) -> bool:
  return context.method_name == '__call__' and context.module.path == (cut,)


def cut_of(spec: LaneSpec, params: PyTree, image_shape: tuple[int, int, int]) -> str | None:
  """Returns the module at the top of the model where the first trainable parameter is.

  None where nothing is frozen before it.
  """
  if spec.trainable is None:
    return None
  trained = {path.partition('/')[0] for path in spec.trainable}
  called: list[str] = []

  def note(call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext):
    if context.method_name == '__call__' and len(context.module.path) == 1:
      called.append(context.module.path[0])
    return call(*args, **kwargs)

  images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  with nn.intercept_methods(note):
    jax.eval_shape(lambda x: spec.model.init(jax.random.key(0), x, train=False), images)
  before = [name for name in called if name in params]
  first = next((name for name in before if name in trained), None)
  return first if first != before[0] else None


def usable(spec: LaneSpec, states: Any) -> bool:
  """Whether lanes `[lane, ...]` agree on the frozen modules, and these stay as they are.

  Their averages too: those of modules that were trained before still come closer to them.
  """
  if spec.crop or spec.flip:
    return False
  layers = {path.rpartition('/')[0] for path in flatten_dict(states.batch_stats, sep='/')}
  held = getattr(spec.model, 'frozen_norms', frozenset())
  if any(layer not in held for layer in layers if _frozen_module(spec, layer)):
    return False
  trees = states.params, states.batch_stats
  flat = [(path, x) for tree in trees for path, x in flatten_dict(tree, sep='/').items()]
  alike = all(_same_in_all_lanes(np.asarray(x)) for path, x in flat if _frozen_module(spec, path))
  return alike and (not isinstance(states, AveragedState) or _averages_stay(spec, states))


def _averages_stay(spec: LaneSpec, states: AveragedState) -> bool:
  """Whether the averages of frozen modules are what these are."""
  params, average = (flatten_dict(x, sep='/') for x in (states.params, states.average))
  frozen = [path for path in params if _frozen_module(spec, path)]
  return all(np.array_equal(average[path], params[path]) for path in frozen)


def _same_in_all_lanes(values: Float[np.ndarray, ' lane *shape']) -> bool:
  return bool((values == values[:1]).all())


def _frozen_module(spec: LaneSpec, path: str) -> bool:
  """Whether a path lies in a module at the top without any trainable parameter."""
  module = path.partition('/')[0]
  return all(trained.partition('/')[0] != module for trained in spec.trainable)


def compute(spec: LaneSpec, cut: str, states: Any, dataset: Dataset) -> tuple[Suffix, Dataset]:
  """Returns the rest of the model, and the data set with features where images were.

  Raises ValueError where the rest cannot do without the images, as behind a shortcut around the
  module.
  """
  variables = {
    'params': jax.tree.map(lambda x: jnp.asarray(x[0]), states.params),
    'batch_stats': jax.tree.map(lambda x: jnp.asarray(x[0]), states.batch_stats),
  }
  shape = dataset.image_shape

  @jax.jit
  def whole(images: Array) -> tuple[Array, Array]:
    entering = []

    def note(call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext):
      if _enters(context, cut):
        entering.append(args[0])
      return call(*args, **kwargs)

    with nn.intercept_methods(note):
      inputs = stream.normalize(images, spec.mean, spec.std)
      logits = spec.model.apply(variables, inputs, train=False)
    return entering[0].astype(jnp.float32), logits

  feature_shape = whole(dataset.train.images[:1])[0].shape[1:]

  def features(split: Split) -> Split:
    out = np.empty((len(split.labels), *feature_shape), np.float32)
    for at in range(0, len(out), CHUNK):
      at = min(at, max(len(out) - CHUNK, 0))  # the last chunk ends with the split: one shape
      out[at : at + CHUNK] = whole(split.images[at : at + CHUNK])[0]
    # The axes of images, whatever those of features are.
    return Split(
      out.reshape(len(out), *(1,) * (3 - len(feature_shape)), *feature_shape), split.labels
    )

  train, validation = features(dataset.train), features(dataset.validation)
  rest = Suffix(spec.model, cut, shape, feature_shape)
  few = slice(0, min(CHUNK, len(dataset.train.labels)))
  expected = np.asarray(whole(dataset.train.images[few])[1])
  logits = np.asarray(jax.jit(lambda x: rest.apply(variables, x, train=False))(train.images[few]))
  if np.abs(logits - expected).max() > CLOSE * np.abs(expected).max():
    raise ValueError(f'what follows {cut} depends on more than what enters it')
  channels = train.images.shape[-1]
  new = dataclasses.replace(
    dataset,
    train=train,
    validation=validation,
    mean=np.zeros(channels, np.float32),
    std=np.ones(channels, np.float32),
  )
  return rest, new
