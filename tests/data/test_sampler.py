"""Samplers: what is drawn how often, by whom, and what it means for the noise scale."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small import largest_difference, small_config, trained
from scipy.stats import hypergeom

from bsjax import data
from bsjax.config.errors import ConfigError
from bsjax.data import sampler, stream
from bsjax.data.facts import data_facts
from bsjax.engine import lanes
from bsjax.engine.device_data import DeviceData
from bsjax.engine.stage_lanes import create
from bsjax.engine.validate import validate
from bsjax.noise import estimators
from bsjax.plan import stages
from bsjax.plan.plan import make_plan

COUNTS = np.array([60, 0, 25, 9, 2])  # class 1 has no example
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(5), COUNTS)).astype(np.int32)
EPOCHS = 400
KEY = jax.random.key(7)
BETA = 0.97


def data_keys(name, **keys):
  config = small_config(data__sampler=name, data__sampler_beta=BETA).data
  config.update(keys)
  return config


@functools.cache
def program(name):
  """One compilation for all draws by a sampler."""
  sample = sampler.create(data_keys(name), LABELS)
  return jax.jit(lambda key, first: sample(key, first, EPOCHS))


def draws(name, first=0, key=KEY):
  return np.asarray(program(name)(key, jnp.int32(first)))


# Weight of an example of a class of n, as the papers give it.
WEIGHT = {
  'inverse_frequency': lambda n: 1 / n,
  'effective_number': lambda n: (1 - BETA) / (1 - BETA**n),
}


def example_probabilities(weight, labels=LABELS):
  each = weight(np.bincount(labels)[labels].astype(float))
  return each / each.sum()


def misfit(found, probabilities):
  """The largest deviation of a frequency, in standard deviations."""
  n = found.size
  often = np.bincount(found.ravel(), minlength=len(probabilities))
  return np.abs(
    (often - n * probabilities) / np.sqrt(n * probabilities * (1 - probabilities))
  ).max()


@pytest.mark.parametrize('name', WEIGHT)
def test_every_example_is_drawn_as_often_as_its_weight_says(name):
  found = draws(name)
  assert found.shape == (EPOCHS, len(LABELS))
  assert misfit(found, example_probabilities(WEIGHT[name])) < 4.5  # of 96 examples
  assert misfit(LABELS[found], sampler.class_probabilities(data_keys(name), COUNTS) + 1e-12) < 4.5


FAULTS = {
  'classes by weight': lambda n: 1 / n**2,  # the weight taken for that of the whole class
  'uniform': lambda n: np.ones_like(n),
  'effective number upside down': lambda n: (1 - BETA**n) / (1 - BETA),
  'root': lambda n: n**-0.5,
}


@pytest.mark.parametrize('name', WEIGHT)
@pytest.mark.parametrize('fault', FAULTS)
def test_frequencies_tell_other_weights_apart(name, fault):
  assert misfit(draws(name), example_probabilities(FAULTS[fault])) > 8


def test_effective_number_lies_between_uniform_and_inverse_frequency():
  counts = np.array([5000, 500, 50])

  def of(name, beta):
    return sampler.class_probabilities(data_keys(name, sampler_beta=beta), counts)

  np.testing.assert_allclose(of('effective_number', 0.0), counts / counts.sum(), rtol=1e-12)
  np.testing.assert_allclose(of('effective_number', 1 - 1e-12), [1 / 3] * 3, rtol=1e-6)
  np.testing.assert_allclose(of('inverse_frequency', 0.0), [1 / 3] * 3, rtol=1e-12)
  middle = of('effective_number', 0.999)
  assert counts[2] / counts.sum() < middle[2] < 1 / 3


@pytest.mark.parametrize('name', sampler.SAMPLERS)
def test_draws_depend_on_trial_and_epoch_alone(name):
  whole = draws(name)
  np.testing.assert_array_equal(whole[100:], draws(name, first=100)[:-100])
  assert (whole[0] != whole[1]).any()
  assert (draws(name, key=jax.random.key(8)) != whole).any()
  sample = sampler.create(data_keys(name), LABELS)
  keys = jnp.stack([jax.random.key(8), KEY])
  both = jax.jit(jax.vmap(lambda key: sample(key, jnp.int32(2), 3)))(keys)
  np.testing.assert_array_equal(both[1], whole[2:5])


def test_uniform_epochs_are_those_they_always_were():
  np.testing.assert_array_equal(
    draws('uniform', first=3)[:4], stream.epoch_orders(KEY, 3, 4, len(LABELS))
  )
  config = small_config()
  dataset = data.load(config.data, config.seed)
  study = make_plan(config, len(dataset.train.labels)).first
  source, _ = DeviceData(dataset, config, study).at(310)  # in the third epoch of 150
  for trial in range(config.trials):
    key = stream.trial_key(config.seed, jnp.int32(trial))
    found = np.asarray(source.orders)[0, trial]
    np.testing.assert_array_equal(found, stream.epoch_orders(key, 2, len(found), 150))


@pytest.mark.parametrize('name', sampler.SAMPLERS)
def test_a_subset_is_drawn_by_its_own_counts_and_in_places_of_the_whole(name):
  indices = np.flatnonzero(LABELS != 0)[::2]
  sample = sampler.create(data_keys(name), LABELS, indices)
  found = np.asarray(jax.jit(lambda key: sample(key, jnp.int32(0), EPOCHS))(KEY))
  assert found.shape[1] == len(indices) and set(np.unique(found)) == set(indices)
  weight = WEIGHT.get(name, np.ones_like)
  places = np.searchsorted(indices, found)
  if name == 'uniform':
    assert (np.bincount(places.ravel()) == EPOCHS).all()
  else:
    assert misfit(places, example_probabilities(weight, LABELS[indices])) < 4.5
  config = small_config(data__sampler=name)
  dataset = data.load(config.data, config.seed)
  used = np.arange(3, 150, 3)
  on_device = DeviceData(dataset, config, make_plan(config, len(used)).first, used)
  source, end = on_device.at(51)  # in the second epoch of 49
  orders = np.asarray(source.orders)[0, 0]
  assert (
    orders.shape[1] == 49 and end == 49 * (1 + len(orders)) and set(orders.ravel()) <= set(used)
  )
  images, labels = stream.micro_batch(
    source.images[0], source.labels[0], jnp.asarray(orders), 1, jnp.int32(96), 4
  )
  chosen = np.concatenate([orders[0, 47:], orders[1, :2]])  # over the end of the short epoch
  np.testing.assert_array_equal(labels, dataset.train.labels[chosen])
  np.testing.assert_array_equal(images, dataset.train.images[chosen])


def test_training_on_weighted_draws_continues_where_it_stopped():
  config = small_config(data__sampler='inverse_frequency', data__imbalance_factor=10.0)
  config.data.train_examples = 0
  config.epochs = 1.0
  dataset = data.load(config.data, config.seed)
  study, (group,), on_device = trained(config, dataset)
  middle = study.total_examples // study.block_examples // 2 * study.block_examples
  _, (half,), _ = trained(config, dataset, examples=middle)
  (rest,) = create(config, dataset, study)
  rest.load(half.to_host(), half.ticks)
  while rest.position < study.total_examples:
    rest.advance(on_device, (study.total_examples - rest.position) // study.block_examples)
  assert largest_difference(group.to_host(), rest.to_host()) == 0


# --- classes in a batch ---


@pytest.mark.parametrize('name', sampler.SAMPLERS)
def test_classes_in_a_batch_are_counted_from_the_draws(name):
  sample, keys = sampler.create(data_keys(name), LABELS), [KEY, jax.random.key(9)]
  start, end = 50, 700
  rows = sampler.distinct_classes(sample, LABELS, keys, (8, 3), (start, end), len(LABELS))
  assert [row['batch_size'] for row in rows] == [3, 8]
  for row in rows:
    size, found = row['batch_size'], []
    for key in keys:
      seen = LABELS[draws(name, key=key).ravel()[start:end]]
      found += [len(set(seen[i : i + size])) for i in range(0, len(seen) - size + 1, size)]
    assert row == {
      'batch_size': size,
      'mean': pytest.approx(np.mean(found), abs=1e-12),
      'percentile_5': pytest.approx(np.percentile(found, 5)),
      'share_lacking': pytest.approx(np.mean(np.array(found) < 4), abs=1e-12),
      'batches': len(found),
      'classes': 4,
    }


@pytest.mark.parametrize('name', sampler.SAMPLERS)
def test_their_mean_is_what_the_laws_of_drawing_say(name):
  """Within an epoch hypergeometric, with replacement binomial."""
  size, n = 8, len(LABELS)  # which divides an epoch
  row = sampler._distinct_row(LABELS[draws(name)].reshape(1, -1), size, 4)
  if name == 'uniform':
    absent = [hypergeom(n, count, size).pmf(0) for count in COUNTS]
  else:
    absent = (1 - sampler.class_probabilities(data_keys(name), COUNTS)) ** size
  expected = sum(1 - np.array(absent))
  error = 0.6 / np.sqrt(row['batches'])  # the standard deviation of one batch is below 0.6
  assert abs(row['mean'] - expected) < 4 * error and error < 0.01
  wrong = sum(1 - (1 - COUNTS / n) ** size) if name != 'uniform' else 4.0
  assert abs(row['mean'] - wrong) > 10 * error


def test_a_batch_larger_than_the_run_and_a_long_run(monkeypatch):
  def sample(key, first, epochs):
    return jnp.tile(jnp.arange(len(LABELS)), (epochs, 1))

  (row,) = sampler.distinct_classes(sample, LABELS, [KEY], (64,), (0, 50), len(LABELS))
  assert row['batches'] == 0 and row['mean'] is None
  monkeypatch.setattr(sampler, 'MOST_DRAWS', 100)
  (row,) = sampler.distinct_classes(sample, LABELS, [KEY], (8,), (0, 10**9), len(LABELS))
  assert row['batches'] == 12


# --- the noise scale ---


def weighted_truth(grads, probabilities):
  mean = probabilities @ grads
  return float(probabilities @ ((grads - mean) ** 2).sum(1)), float(mean @ mean)


def test_estimates_of_weighted_draws_are_unbiased_for_the_weighted_loss():
  """Monte Carlo over 16,000 updates of 4 micro-batches of 6; four updates are an epoch of 96."""
  grads = np.random.default_rng(3).standard_normal((len(LABELS), 3)) + LABELS[:, None] * 0.5
  grads -= example_probabilities(WEIGHT['inverse_frequency']) @ grads - 0.2  # mostly noise
  k, m, updates = 4, 6, 16_000
  found = np.concatenate([draws('inverse_frequency', first=i * EPOCHS) for i in range(10)])
  micro = grads[found.ravel()].reshape(updates, k, m, 3).mean(2)
  small_sq, big_sq = (micro**2).sum(2).mean(1), (micro.mean(1) ** 2).sum(1)
  truth = weighted_truth(grads, example_probabilities(WEIGHT['inverse_frequency']))

  def errors(population):
    def factor(size):
      return estimators.variance_factor(5, size, population)

    def solve(*norms):
      return estimators.from_variances(*norms, factor(m), factor(k * m))

    estimate = jax.vmap(solve)(jnp.asarray(small_sq - big_sq), jnp.asarray(big_sq))
    pairs = zip(estimate, truth, strict=True)
    means = [(np.mean(x, dtype=float), np.std(x, dtype=float), t) for x, t in pairs]
    return [abs(mean - t) / (sd / np.sqrt(updates)) for mean, sd, t in means]

  assert max(errors(None)) < 4
  assert (
    max(errors(len(LABELS))) > 10
  )  # the correction for drawing without replacement is wrong here


def test_lanes_measure_the_noise_scale_of_the_weighted_draws():
  """Still lanes of one and of several micro-batches an update, against all examples' gradients."""
  config = small_config(
    data__sampler='inverse_frequency',
    data__imbalance_factor=30.0,
    data__train_examples=0,
    data__max_per_class=60,
    batch_sizes=(8, 32),
    learning_rates=(1e-30,),
    trials=1,
    micro_batch=8,
    epochs=80.0,
    noise_scale__probe_every=1,
  )
  dataset = data.load(config.data, config.seed)
  _, (group,), on_device = trained(config, dataset)
  snapshot, states = group.evaluate(on_device)(), group.to_host()
  params = jax.tree.map(lambda x: jnp.asarray(x[0]), states.params)
  images = stream.normalize(jnp.asarray(dataset.train.images), dataset.mean, dataset.std)

  def gradient(image, label):
    state = jax.tree.map(lambda x: x[0], states).replace(params=params, batch_stats={})
    zero = jnp.int32(0), jnp.int32(0)
    grads, _ = lanes.gradients(group.spec, state, *zero, image[None], label[None])
    return jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(grads)])

  grads = np.asarray(jax.jit(jax.vmap(gradient))(images, jnp.asarray(dataset.train.labels)), float)
  labels = dataset.train.labels
  truth = weighted_truth(grads, example_probabilities(WEIGHT['inverse_frequency'], labels))
  plain = weighted_truth(grads, np.full(len(labels), 1 / len(labels)))
  for i in range(2):
    found = estimators.window_summary(jax.tree.map(lambda x, i=i: x[i], snapshot.noise['plain']))
    spans = found['spans']
    for name, value in zip(('trace', 'grad_sq'), truth, strict=True):
      error = np.sqrt(spans[f'{name}_var'] / spans['count'])
      assert abs(found[name] - value) < 4 * error, (i, name)
      assert error < 0.15 * value
    error = np.sqrt(spans['grad_sq_var'] / spans['count'])
    assert abs(found['grad_sq'] - plain[1]) > 5 * error  # uniform draws have another gradient


@pytest.mark.parametrize(
  'keys, texts',
  [
    (
      {'data__sampler': 'inverse_freq'},
      ["sampler='inverse_freq'", "'inverse_frequency'?", 'uniform'],
    ),
    ({'data__sampler_beta': 1.0}, ['sampler_beta=1.0', 'below 1', '0.9999']),
    ({'data__sampler_beta': -0.1}, ['sampler_beta=-0.1', 'at least 0']),
    (
      {'data__sampler': 'effective_number', 'noise_scale__exact_examples': 64},
      ['exact_examples=64', "sampler='effective_number'", 'exact_examples=0', "'uniform'"],
    ),
  ],
)
def test_problems(keys, texts):
  with pytest.raises(ConfigError) as caught:
    validate(small_config(**keys))
  assert '1 problem' in str(caught.value)
  assert all(text in str(caught.value) for text in texts), caught.value


@pytest.mark.parametrize('name', sampler.SAMPLERS)
def test_what_is_allowed(name):
  validate(small_config(data__sampler=name, data__sampler_beta=0.0))


@pytest.mark.parametrize('share', [1.0, 0.5])
def test_facts_of_a_study_are_counted_from_the_orders_it_trains_on(share):
  config = small_config(data__sampler='inverse_frequency', trials=2, epochs=2.0)
  stages.add(config, 'early', epochs=1.0)
  stages.add(config, 'late', epochs=2.0, batch_size=('multiply:2',), data_share=share)
  dataset = data.load(config.data, config.seed)
  study = make_plan(config, len(dataset.train.labels))
  facts = data_facts(config, dataset, study)
  assert facts['class_counts'] == {
    'train': np.bincount(dataset.train.labels).tolist(),
    'validation': np.bincount(dataset.validation.labels).tolist(),
  }
  for part, sizes in zip(study.stages, ([8, 16, 32], [16, 32, 64]), strict=True):
    rows = [row for row in facts['classes_per_batch'] if row['stage'] == part.stage.index]
    assert [row['batch_size'] for row in rows] == sizes
    begin, end = part.start - part.origin, part.end - part.origin
    on_device, n = DeviceData(dataset, config, part), part.train_examples
    epochs = range(begin // n, -(-end // n))
    orders = [np.asarray(on_device.at(epoch * n)[0].orders)[0, :, 0] for epoch in epochs]
    labels = dataset.train.labels[np.concatenate(orders, axis=1)][:, begin % n :][:, : end - begin]
    for row, size in zip(rows, sizes, strict=True):
      batches = labels[:, : (end - begin) // size * size].reshape(-1, size)
      assert row['batches'] == len(batches)
      assert row['mean'] == pytest.approx(np.mean([len(set(each)) for each in batches]))
