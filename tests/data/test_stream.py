"""The stream of examples: one order per trial and epoch, the same at every micro-batch size."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bsjax.data import stream

NUM_EXAMPLES = 20  # no multiple of the micro-batches 8 and 32: they straddle epochs
NUM_EPOCHS = 6
KEY = jax.random.key(3)

epoch_orders = jax.jit(stream.epoch_orders, static_argnums=(2, 3))
augment = jax.jit(stream.augment, static_argnames=('crop', 'flip'))


@pytest.fixture
def images():
  pixels = np.random.default_rng(0).integers(1, 256, (NUM_EXAMPLES, 6, 5, 2), dtype=np.uint8)
  return jnp.asarray(pixels)


def labels():
  return jnp.arange(NUM_EXAMPLES)


def read(key, images, size, first_epoch, begin, end, **augmentation):
  """The stream's positions begin..end-1, read `size` at a time as the compiled program does."""
  orders = epoch_orders(key, first_epoch, NUM_EPOCHS, NUM_EXAMPLES)

  def tick(start):
    batch, label = stream.micro_batch(images, labels(), orders, first_epoch, start, size)
    return augment(key, start, batch, **augmentation), label

  batches, label = jax.jit(lambda starts: jax.lax.map(tick, starts))(jnp.arange(begin, end, size))
  return np.concatenate(np.asarray(batches)), np.concatenate(np.asarray(label))


def test_each_epoch_is_another_permutation():
  orders = np.asarray(epoch_orders(KEY, 0, NUM_EPOCHS, NUM_EXAMPLES))
  np.testing.assert_array_equal(
    np.sort(orders, axis=1), np.tile(np.arange(NUM_EXAMPLES), (NUM_EPOCHS, 1))
  )
  assert len({tuple(order) for order in orders}) == NUM_EPOCHS


def test_orders_depend_on_key_and_epoch_alone():
  orders = epoch_orders(KEY, 0, NUM_EPOCHS, NUM_EXAMPLES)
  later = jax.jit(lambda first: epoch_orders(KEY, first, 2, NUM_EXAMPLES))(4)
  np.testing.assert_array_equal(orders[4:], later)
  keys = jax.random.split(KEY, 2)
  both = jax.vmap(lambda key: epoch_orders(key, 2, 1, NUM_EXAMPLES))(keys)
  np.testing.assert_array_equal(both[1], epoch_orders(keys[1], 2, 1, NUM_EXAMPLES))
  assert (both[0] != both[1]).any()


def test_an_epoch_of_micro_batches_holds_every_example_once(images):
  for epoch in range(3):
    begin = epoch * NUM_EXAMPLES
    _, seen = read(KEY, images, 4, epoch, begin, begin + NUM_EXAMPLES, crop=0, flip=False)
    assert sorted(seen) == list(range(NUM_EXAMPLES))


def test_images_keep_their_labels(images):
  batch, label = read(KEY, images, 8, 0, 0, 32, crop=0, flip=False)
  np.testing.assert_array_equal(batch, np.asarray(images)[label])


@pytest.mark.parametrize(
  'augmentation',
  [{'crop': 0, 'flip': False}, {'crop': 2, 'flip': True}],
  ids=['plain', 'augmented'],
)
def test_stream_does_not_depend_on_micro_batch_size(images, augmentation):
  whole = read(KEY, images, 32, 0, 0, 64, **augmentation)
  for size in (1, 8):
    parts = read(KEY, images, size, 0, 0, 64, **augmentation)
    np.testing.assert_array_equal(parts[0], whole[0])
    np.testing.assert_array_equal(parts[1], whole[1])


def test_stream_continues_from_any_position(images):
  whole = read(KEY, images, 8, 0, 0, 96, crop=1, flip=True)
  rest = read(KEY, images, 8, 2, 48, 96, crop=1, flip=True)
  np.testing.assert_array_equal(rest[0], whole[0][48:])
  np.testing.assert_array_equal(rest[1], whole[1][48:])


def test_two_trials_differ(images):
  mine = read(jax.random.key(0), images, 8, 0, 0, 16, crop=0, flip=False)
  other = read(jax.random.key(1), images, 8, 0, 0, 16, crop=0, flip=False)
  assert (mine[1] != other[1]).any()
  same = jnp.tile(images[:1], (32, 1, 1, 1))
  augmented = [augment(jax.random.key(k), 0, same, crop=2, flip=True) for k in (0, 1)]
  assert (augmented[0] != augmented[1]).any()


def test_positions_near_the_int32_bound(images):
  start = 2**31 - 9
  first_epoch = start // NUM_EXAMPLES
  orders = np.asarray(epoch_orders(KEY, first_epoch, 2, NUM_EXAMPLES))
  _, label = stream.micro_batch(images, labels(), jnp.asarray(orders), first_epoch, start, 8)
  expected = [
    orders[p // NUM_EXAMPLES - first_epoch, p % NUM_EXAMPLES] for p in range(start, 2**31 - 1)
  ]
  np.testing.assert_array_equal(label, expected)


def window(image, top, left, crop, flipped):
  padded = np.pad(image, ((crop, crop), (crop, crop), (0, 0)))
  cut = padded[top : top + image.shape[0], left : left + image.shape[1]]
  return cut[:, ::-1] if flipped else cut


def test_augmentation_draws_every_window_of_the_padded_image_evenly(images):
  crop, draws = 1, 3600
  image = np.asarray(images[0])
  copies = jnp.tile(images[:1], (draws, 1, 1, 1))
  found = np.asarray(augment(KEY, 0, copies, crop=crop, flip=True)).reshape(draws, -1)
  windows = [
    window(image, top, left, crop, flipped).reshape(-1)
    for top in range(2 * crop + 1)
    for left in range(2 * crop + 1)
    for flipped in (False, True)
  ]
  counts = np.asarray([(found == expected).all(axis=1).sum() for expected in windows])
  assert counts.sum() == draws  # nothing but these windows
  # 18 windows, 200 expected each with a standard deviation of 14.
  assert counts.min() > 140 and counts.max() < 260


def drawn_windows(images, crop, draws):
  """Where many copies of the first image were cropped, and whether they were flipped."""
  image, sides = np.asarray(images[0]), range(2 * crop + 1)
  windows = {
    window(image, top, left, crop, flipped).tobytes(): (top, left, flipped)
    for top, left, flipped in itertools.product(sides, sides, (False, True))
  }
  copies = jnp.tile(images[:1], (draws, 1, 1, 1))
  found = np.asarray(augment(KEY, 0, copies, crop=crop, flip=True))
  return np.array([windows[cut.tobytes()] for cut in found]).T


def test_where_an_image_is_cropped_does_not_tell_whether_it_is_flipped(images):
  """Offsets and flips of many images against independence, one axis at a time and together."""
  top, left, flipped = drawn_windows(images, crop=2, draws=20_000)
  for offset in (top, left, 5 * top + left):
    table = [np.bincount(offset[flipped == side]) for side in (0, 1)]
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_crop_and_flip_of_an_image_are_drawn_from_two_keys(images):
  """Two draws from one key pass for independent ones: no statistic of many images would tell."""
  crop, draws = 2, 256
  top, left, flipped = drawn_windows(images, crop, draws)

  def draw(position):
    key = jax.random.fold_in(jax.random.fold_in(KEY, stream.AUGMENT), position)
    crop_key, flip_key = jax.random.split(key)
    return jax.random.randint(crop_key, (2,), 0, 2 * crop + 1), jax.random.bernoulli(flip_key)

  offsets, flips = jax.vmap(draw)(jnp.arange(draws))
  np.testing.assert_array_equal(np.stack([top, left], axis=1), offsets)
  np.testing.assert_array_equal(flipped, flips)


def test_crop_and_flip_can_be_off_separately(images):
  np.testing.assert_array_equal(augment(KEY, 0, images, crop=0, flip=False), images)
  image = np.asarray(images[0])
  copies = jnp.tile(images[:1], (64, 1, 1, 1))
  only_flip = {a.tobytes() for a in np.asarray(augment(KEY, 0, copies, crop=0, flip=True))}
  assert only_flip == {image.tobytes(), image[:, ::-1].tobytes()}
  only_crop = {a.tobytes() for a in np.asarray(augment(KEY, 0, copies, crop=1, flip=False))}
  assert only_crop == {
    window(image, top, left, 1, False).tobytes() for top in range(3) for left in range(3)
  }


def test_normalize(images):
  pixels = np.asarray(images, np.float64)
  mean, std = pixels.mean((0, 1, 2)), pixels.std((0, 1, 2))
  arguments = mean.astype(np.float32), std.astype(np.float32)
  normalized = stream.normalize(images, *arguments)
  assert normalized.dtype == jnp.float32
  np.testing.assert_allclose(normalized, (pixels - mean) / std, atol=2e-6)
  rounded = stream.normalize(images, *arguments, dtype=jnp.bfloat16)
  assert rounded.dtype == jnp.bfloat16
  np.testing.assert_array_equal(rounded, normalized.astype(jnp.bfloat16))
