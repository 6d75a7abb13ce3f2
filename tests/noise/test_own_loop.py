"""The noise scale in loops of one's own: against lanes, a closed form, and each other."""

import functools
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.linear_regression import DISTANCE, EIGENVALUES, LABEL_NOISE, regression_truth
from helpers.small import small_config, trained

from bsjax import data, models, noise
from bsjax.data import stream
from bsjax.engine import lanes
from bsjax.models import convolution
from bsjax.noise import estimators

MICRO, COUNT = 8, 4


@pytest.fixture(scope='module')
def lane():
  """One lane of batch size 32 that ticks at 8: its windows, and its examples, update by update."""
  config = small_config(batch_sizes=(MICRO * COUNT,), learning_rates=(0.1,), trials=1)
  config.data.train_examples, config.epochs, config.micro_batch = 128, 3.0, MICRO
  config.noise_scale.probe_every = 0
  dataset = data.load(config.data, config.seed)
  study, (group,), _ = trained(config, dataset)
  key = stream.trial_key(config.seed, jnp.int32(0))
  orders = np.asarray(stream.epoch_orders(key, 0, 3, study.train_examples)).reshape(-1)
  chosen = orders[: study.total_examples].reshape(-1, COUNT, MICRO)
  images = (dataset.train.images[chosen] - dataset.mean) / dataset.std
  model = models.create(config.model, dataset.num_classes, conv=convolution.conv('native'))
  params = model.init(jax.random.fold_in(key, lanes.INIT), jnp.zeros((1, 8, 8, 1)), train=False)[
    'params'
  ]

  def loss(params, images, labels):
    logits = model.apply({'params': params}, images, train=True)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

  batches = jnp.asarray(images, jnp.float32), jnp.asarray(dataset.train.labels[chosen])
  window = jax.tree.map(lambda x: x[0], group.to_host().noise.windows['plain'])
  assert window.updates.count == len(chosen) == 12
  return params, jax.grad(loss), batches, window, group.to_host().params


def assert_same(window, expected):
  for name in ('trace', 'grad_sq', 'trace_m2', 'grad_sq_m2', 'cross_m2'):
    values = getattr(window.updates, name), getattr(expected.updates, name)
    np.testing.assert_allclose(*values, rtol=2e-4, err_msg=name)
  assert window.updates.count == expected.updates.count


def test_observing_micro_batches_gives_what_a_lane_measures(lane):
  params, grad, batches, expected, _ = lane
  tx = optax.sgd(0.1, momentum=0.9)
  state, window = tx.init(params), None

  @jax.jit
  def step(params, state, window, images, labels):
    grads = jax.vmap(grad, (None, 0, 0))(params, images, labels)
    window = noise.observe(grads, MICRO, window, population=128)
    updates, state = tx.update(jax.tree.map(lambda g: g.mean(0), grads), state)
    return optax.apply_updates(params, updates), state, window

  for images, labels in zip(*batches, strict=True):
    params, state, window = step(params, state, window, images, labels)
  assert_same(window, expected)


def test_an_accumulating_optimizer_measures_and_trains_as_a_lane_does(lane):
  params, grad, batches, expected, trained_params = lane
  tx = noise.accumulate(optax.sgd(0.1, momentum=0.9), COUNT, MICRO, population=128)
  state = tx.init(params)

  @jax.jit
  def step(params, state, images, labels):
    updates, state = tx.update(grad(params, images, labels), state, params)
    return optax.apply_updates(params, updates), state

  for images, labels in zip(*(x.reshape(-1, *x.shape[2:]) for x in batches), strict=True):
    params, state = step(params, state, images, labels)
  assert_same(state.window, expected)
  for a, b in zip(*map(jax.tree.leaves, (params, trained_params)), strict=True):
    np.testing.assert_allclose(a, b[0], atol=1e-5)
  assert state.count == 0


def test_replicas_say_what_their_micro_batches_say_together(lane):
  params, grad, batches, *_ = lane
  grads = jax.vmap(grad, (None, 0, 0))(params, *(x[0] for x in batches))
  together = noise.observe(grads, MICRO)
  observe = functools.partial(noise.observe, examples=MICRO, axis_name='replica')
  apart = jax.vmap(observe, axis_name='replica')(jax.tree.map(lambda g: g[:, None], grads))
  pairs = jax.vmap(observe, axis_name='replica')(
    jax.tree.map(lambda g: g.reshape(2, 2, *g.shape[1:]), grads)
  )
  for windows in (apart, pairs):
    for replica in range(len(windows.gathered)):
      window = jax.tree.map(lambda x, replica=replica: x[replica], windows)
      np.testing.assert_allclose(window.updates.trace, together.updates.trace, rtol=1e-5)
      np.testing.assert_allclose(window.updates.grad_sq, together.updates.grad_sq, rtol=1e-4)


def regression_gradients(rng, updates, count, micro):
  """Mean gradients of micro-batches of a linear regression at one point, `[update, micro, 4]`."""
  x = rng.standard_normal((updates, count, micro, 4)) * np.sqrt(EIGENVALUES)
  residuals = x @ DISTANCE - LABEL_NOISE * rng.standard_normal((updates, count, micro))
  return np.einsum('ukmd,ukm->ukd', x, residuals) / micro


def squared_norms(grads):
  return np.square(grads).sum(-1).mean(-1), np.square(grads.mean(1)).sum(-1)


def test_intervals_hold_the_closed_form_as_often_as_they_say():
  trace, grad_sq = regression_truth()
  rng, held = np.random.default_rng(0), 0
  for _ in range(400):
    norms = squared_norms(regression_gradients(rng, 64, COUNT, MICRO))
    found = noise.from_squared_norms(*norms, MICRO, MICRO * COUNT)
    held += found.low <= trace / grad_sq <= (found.high or np.inf)
  assert 0.92 <= held / 400 <= 0.98  # of 95%, within three standard errors


@pytest.mark.parametrize('updates', [1, 3, 20, 100])
def test_squared_norms_say_what_a_window_in_a_program_says(updates):
  grads = regression_gradients(np.random.default_rng(1), updates, COUNT, MICRO)
  observe = jax.jit(functools.partial(noise.observe, examples=MICRO, population=1000))
  window = estimators.zero_window()
  for of_update in grads:
    window = observe({'w': jnp.float32(of_update)}, window=window)
  inside = noise.estimate(window)
  outside = noise.from_squared_norms(*squared_norms(grads), MICRO, MICRO * COUNT, 1000)
  assert outside.n == inside.n
  assert outside.unbounded == inside.unbounded
  assert [reason.code for reason in outside.reasons] == [reason.code for reason in inside.reasons]
  for name in ('value', 'low', 'high'):
    np.testing.assert_allclose(
      *(np.float64(getattr(each, name) or np.nan) for each in (outside, inside)), rtol=2e-3
    )


def test_noise_alone_has_no_upper_bound_and_windows_are_pooled():
  rng = np.random.default_rng(2)
  grads = rng.standard_normal((2, 40, COUNT, 50))
  alone = noise.from_squared_norms(*squared_norms(grads[0]), MICRO, MICRO * COUNT)
  assert alone.unbounded and alone.high is None and alone.low > 10
  windows = []
  for half in grads + 0.2:
    window = None
    for of_update in half:
      window = noise.observe(jnp.float32(of_update), MICRO, window)
    windows.append(window)
  one, both = noise.estimate(windows[0]), noise.estimate(*windows)
  assert both.high - both.low < one.high - one.low
  assert both.low < MICRO * 50 / (50 * 0.2**2) < both.high


def example(name):
  path = Path(__file__).parents[2] / 'docs' / 'examples' / f'{name}.py'
  spec = importlib.util.spec_from_file_location(name, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_the_example_in_jax_sees_the_noise_scale_grow():
  module = example('noise_in_jax')
  scales = module.train()
  assert len(scales) == module.EPOCHS
  assert scales[0].high < scales[-1].low  # as the gradient shrinks
  start = module.replicas()
  assert scales[0].low < start.low < start.value < start.high < scales[0].high


def test_the_example_in_pytorch_finds_what_that_in_jax_does():
  pytest.importorskip('torch', reason='PyTorch is not installed')
  scales = [example(f'noise_in_{framework}').train() for framework in ('pytorch', 'jax')]
  for of_torch, of_jax in zip(*scales, strict=True):
    assert of_torch.low < (of_jax.high or np.inf) and of_jax.low < (of_torch.high or np.inf)
  assert 2 * scales[0][0].value < scales[0][-1].value


def test_bad_input_is_refused():
  grads = {'a': jnp.ones((1, 3))}
  with pytest.raises(ValueError, match='one micro-batch'):
    noise.observe(grads, 8)
  with pytest.raises(ValueError, match='leading axes'):
    noise.observe({'a': jnp.ones((2, 3)), 'b': jnp.ones((4, 3))}, 8)
  with pytest.raises(ValueError, match='leading axes'):
    noise.observe({'a': jnp.ones((2, 3)), 'b': jnp.ones(())}, 8)
  with pytest.raises(ValueError, match='micro_batches=1'):
    noise.accumulate(optax.sgd(0.1), 1, 8)
  with pytest.raises(ValueError, match='equally long'):
    noise.from_squared_norms([1.0, 2.0], [1.0], 8, 32)
  for sizes in ((32, 8, None), (8, 8, None), (0, 8, None), (8, 32, 16)):
    with pytest.raises(ValueError, match='smaller than the batch'):
      noise.from_squared_norms([1.0], [1.0], *sizes)


def test_a_whole_training_set_is_a_batch_too():
  """Then the larger norm is that of the gradient itself: nothing is taken off."""
  small, large = [5.0, 7.0, 6.0, 5.5], [3.0, 4.0, 3.5, 3.0]
  found = noise.from_squared_norms(small, large, 8, 32, population=32)
  trace = (np.mean(small) - np.mean(large)) / (1 / 8 - 1 / 32)
  assert found.value == pytest.approx(trace / np.mean(large))
  endless = noise.from_squared_norms(small, large, 8, 32)
  assert endless.value == pytest.approx(trace / (np.mean(large) - trace / 32))


def test_an_accumulating_optimizer_steps_in_the_type_of_the_gradients():
  """The mean is taken in float32: of bfloat16 numbers 256 and 1 the sum would be 256."""
  tx = noise.accumulate(optax.sgd(1.0), 2, MICRO)
  params = {'w': jnp.zeros(1, jnp.bfloat16)}
  state = tx.init(params)
  for value, expected in ((256.0, 0.0), (2.0, -129.0)):
    updates, state = tx.update({'w': jnp.full(1, value, jnp.bfloat16)}, state, params)
    assert updates['w'].dtype == jnp.bfloat16 and updates['w'] == expected
  assert not state.grad_sum['w'].any() and state.sq_norm_sum == 0


def test_an_accumulating_optimizer_decays_weights_and_passes_on_what_it_is_given():
  def update(grads, state, params=None, *, value):
    return jax.tree.map(lambda g, w: -value * (g + w), grads, params), state

  inner = optax.GradientTransformationExtraArgs(lambda params: (), update)
  tx, params = noise.accumulate(inner, 2, MICRO), {'w': jnp.ones(1, jnp.bfloat16)}
  state = tx.init(params)
  for grad, expected in ((1.0, 0.0), (3.0, -6.0)):
    grads = {'w': jnp.full(1, grad, jnp.bfloat16)}
    updates, state = tx.update(grads, state, params, value=jnp.float32(2.0))  # gives float32
    assert updates['w'] == expected and updates['w'].dtype == jnp.bfloat16
