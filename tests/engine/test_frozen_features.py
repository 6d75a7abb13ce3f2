"""Features of frozen layers in place of images: the same model, where that is allowed."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small import small_config

from bsjax import data
from bsjax.data import stream
from bsjax.engine import frozen_features, lanes
from bsjax.engine.spec import lane_spec
from bsjax.plan import plan

HEAD = frozenset({'Dense_1/kernel', 'Dense_1/bias'})


def made(trainable, **keys):
  """What lanes share that train these parameters, two lanes that agree, and their data."""
  config = small_config(**{'model__name': 'cnn', 'model__width': 4, **keys})
  dataset = data.load(config.data, config.seed)
  study = plan.make_plan(config, len(dataset.train)).first
  spec = lane_spec(config, dataset, study, study.groups[0])
  spec = dataclasses.replace(spec, trainable=trainable)
  lane = lanes.LaneParams(jnp.float32(0.1), jnp.int32(1), jnp.int32(0))
  state = jax.jit(lambda: lanes.init(spec, lane, dataset.image_shape))()
  return spec, jax.tree.map(lambda x: np.stack([x, x]), state), dataset


@pytest.mark.parametrize(
  ('trainable', 'cut'),
  [
    (None, None),
    (HEAD, 'Dense_1'),
    (HEAD | {'Dense_0/bias'}, 'Dense_0'),
    (frozenset({'Conv_1/bias'}), 'Conv_1'),  # the first that trains, whatever follows
    (HEAD | {'Conv_0/bias'}, None),  # nothing is frozen before it
  ],
)
def test_the_model_is_cut_where_the_first_trainable_module_begins(trainable, cut):
  spec, states, dataset = made(trainable)
  params = jax.tree.map(lambda x: x[0], states.params)
  assert frozen_features.cut_of(spec, params, dataset.image_shape) == cut


@pytest.mark.parametrize('chunk', [64, 256])
@pytest.mark.parametrize('cut', ['Conv_1', 'Dense_1'])
def test_the_rest_of_the_model_makes_of_features_what_the_model_makes_of_images(
  cut, chunk, monkeypatch
):
  """Of 150 images in chunks that do not divide them, or in a single one that is not full."""
  monkeypatch.setattr(frozen_features, 'CHUNK', chunk)
  spec, states, dataset = made(HEAD)
  rest, features = frozen_features.compute(spec, cut, states, dataset)
  variables = {'params': jax.tree.map(lambda x: jnp.asarray(x[0]), states.params)}

  def logits(model, images, of):
    def apply(images):
      inputs = stream.normalize(images, of.mean, of.std)
      return model(variables, inputs, train=False)

    return jax.jit(apply)(images)

  for before, after in ((dataset.train, features.train), (dataset.validation, features.validation)):
    expected = logits(spec.model.apply, before.images, dataset)
    np.testing.assert_allclose(logits(rest.apply, after.images, features), expected, atol=1e-5)
    np.testing.assert_array_equal(after.labels, before.labels)
  assert features.train.images.shape[1:] == {'Conv_1': (4, 4, 4), 'Dense_1': (1, 1, 16)}[cut]
  assert rest.num_classes == 10


class Shortcut(nn.Module):
  """A model whose head sees the image beside what its last module makes."""

  num_classes: int = 10

  @nn.compact
  def __call__(self, x, train):
    x = x.reshape(len(x), -1)
    return nn.Dense(10)(jnp.tanh(nn.Dense(6)(x))) + x[:, :10]


def test_a_rest_that_needs_the_images_is_refused():
  spec, _, dataset = made(HEAD)
  spec = dataclasses.replace(spec, model=Shortcut())
  params = spec.model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False)['params']
  lane = lanes.LaneParams(jnp.float32(0.1), jnp.int32(1), jnp.int32(0))
  state = jax.jit(lambda: lanes.init(spec, lane, dataset.image_shape))()
  states = jax.tree.map(lambda x: np.asarray(x)[None], state.replace(params=params))
  with pytest.raises(ValueError, match='what follows Dense_1 depends on more'):
    frozen_features.compute(spec, 'Dense_1', states, dataset)


def test_features_serve_where_images_stay_the_same_and_lanes_agree():
  spec, states, _ = made(HEAD)
  assert frozen_features.usable(spec, states)
  for augmented in ({'crop': 1}, {'flip': True}):
    assert not frozen_features.usable(dataclasses.replace(spec, **augmented), states)

  def other(path):
    module, leaf = path.split('/')
    own = states.params[module]
    changed = {**own, leaf: own[leaf] + np.arange(2.0).reshape(2, *[1] * (own[leaf].ndim - 1))}
    return states.replace(params={**states.params, module: changed})

  assert not frozen_features.usable(spec, other('Conv_0/bias'))
  assert frozen_features.usable(spec, other('Dense_1/bias'))  # which trains


def test_frozen_batch_norm_must_keep_its_statistics():
  norms = frozenset({'BatchNorm_0', 'BatchNorm_1', 'BatchNorm_2'})
  spec, states, _ = made(HEAD, model__normalization='batch')
  for held, usable in ((frozenset(), False), (norms - {'BatchNorm_1'}, False), (norms, True)):
    own = dataclasses.replace(spec, model=spec.model.clone(frozen_norms=held))
    assert frozen_features.usable(own, states) == usable
  trained = HEAD | {'BatchNorm_2/scale'}  # whose statistics go on
  own = dataclasses.replace(own, model=spec.model.clone(frozen_norms=norms - {'BatchNorm_2'}))
  assert frozen_features.usable(dataclasses.replace(own, trainable=trained), states)
