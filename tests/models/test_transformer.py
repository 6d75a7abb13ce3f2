"""The decoder: what a place sees, and what the study of text is made of."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bsjax.configs import char_lm
from bsjax.models.transformer import Decoder


def test_a_place_depends_on_itself_and_what_lies_before():
  model, tokens = Decoder(7, width=8, layers=2, heads=2), jnp.arange(10)[None] % 7
  variables = model.init(jax.random.key(0), tokens)
  plain = model.apply(variables, tokens)
  for place in (0, 4, 9):
    changed = model.apply(variables, tokens.at[0, place].set((tokens[0, place] + 1) % 7))
    differs = np.abs(np.asarray(changed - plain)).max((0, 2)) > 1e-6
    assert not differs[:place].any() and differs[place:].all()


def test_attention_is_that_of_the_formula():
  """One block with one head against softmax(q k^T / sqrt(d)) v written out."""
  model, tokens = Decoder(5, width=4, layers=1, heads=1), jnp.array([[0, 3, 1]])
  params = model.init(jax.random.key(1), tokens)['params']
  block = params['block_0']

  def norm(x, name):
    scale, shift = block[name]['scale'], block[name]['bias']
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(
      x.var(-1, keepdims=True) + 1e-6
    ) * scale + shift

  def dense(x, part):
    return x @ np.asarray(part['kernel']) + np.asarray(part['bias'])

  x = np.asarray(params['tokens']['embedding'])[[0, 3, 1]] + np.asarray(params['places'])
  query, key, value = np.split(dense(norm(x, 'LayerNorm_0'), block['query_key_value']), 3, axis=-1)
  rows = []
  for place in range(3):
    weights = np.exp(query[place] @ key[: place + 1].T / math.sqrt(4))
    rows.append(weights / weights.sum() @ value[: place + 1])
  x = x + dense(np.stack(rows), block['mix'])
  hidden = np.asarray(jax.nn.gelu(dense(norm(x, 'LayerNorm_1'), block['hidden'])))
  x = x + dense(hidden, block['out'])
  last = params['norm']
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
  expected = dense(x * last['scale'] + last['bias'], params['head'])
  found = model.apply({'params': params}, tokens)[0]
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_windows_follow_each_other_and_targets_are_the_next_tokens():
  inputs, targets = char_lm.windows(np.arange(200))
  assert inputs.shape == targets.shape == (3, char_lm.LENGTH)
  assert (inputs.ravel() == np.arange(192)).all() and (targets.ravel() == np.arange(1, 193)).all()


def test_the_study_of_text_is_of_real_text_and_judged_in_bits():
  made = char_lm.parts(char_lm.get_config())
  (train, following), (held_out, _) = made['data'].train, made['data'].validation
  assert len(char_lm.text()) > 100_000 and 'The "if" statement' in char_lm.text()
  assert abs(len(held_out) / (len(train) + len(held_out)) - char_lm.HELD_OUT) < 0.01
  assert train.max() < made['model'].vocabulary
  following = jnp.asarray(following[:2])
  logits = jax.nn.one_hot(following, made['model'].vocabulary) * 30.0
  assert made['task'].measure('bits', logits, following).max() < 1e-6
  even = jnp.zeros((2, char_lm.LENGTH, made['model'].vocabulary))
  np.testing.assert_allclose(
    made['task'].measure('bits', even, following),
    math.log2(made['model'].vocabulary),
    rtol=1e-6,
  )
  loss = optax.softmax_cross_entropy_with_integer_labels(even, following).mean(-1)
  np.testing.assert_allclose(made['task'].loss(even, following), loss, rtol=1e-6)
