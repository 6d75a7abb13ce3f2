"""A decoder-only transformer: logits of the next token at every position (Vaswani et al. 2017).

Pre-normalized blocks as in GPT-2 (Radford et al. 2019), learned positions. It is no entry of
MODELS, whose inputs are images, but given to `bsjax.Study(model=...)` (configs/char_lm.py).
"""

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

MASKED = -1e9  # a score whose weight is zero in float32


class Decoder(nn.Module):
  """Blocks of causal attention and a hidden layer of four times the width.

  Between them all places of all examples are one axis: of two, XLA copies one side of every kernel
  gradient on a CPU, and multiplies it the slow way (experiments/speed).
  """

  vocabulary: int
  width: int = 64
  layers: int = 2
  heads: int = 4

  @nn.compact
  def __call__(self, tokens: Int[Array, 'example place']) -> Float[Array, 'example place token']:
    length = tokens.shape[-1]
    places = self.param('places', nn.initializers.normal(0.02), (length, self.width))
    x = nn.Embed(self.vocabulary, self.width, name='tokens')(tokens) + places
    x = x.reshape(-1, self.width)
    for number in range(self.layers):
      x = Block(self.heads, length, name=f'block_{number}')(x)
    logits = nn.Dense(self.vocabulary, name='head')(nn.LayerNorm(name='norm')(x))
    return logits.reshape(*tokens.shape, -1)


class Block(nn.Module):
  """Attention to what lies before in the same example, then a hidden layer, each added."""

  heads: int
  length: int  # places of an example

  @nn.compact
  def __call__(self, x: Float[Array, 'place width']) -> Float[Array, 'place width']:
    width = x.shape[-1]
    x += nn.Dense(width, name='mix')(self._attended(nn.LayerNorm()(x)))
    hidden = nn.gelu(nn.Dense(4 * width, name='hidden')(nn.LayerNorm()(x)))
    return x + nn.Dense(width, name='out')(hidden)

  def _attended(self, x: Float[Array, 'place width']) -> Float[Array, 'place width']:
    width = x.shape[-1]
    parts = nn.Dense(3 * width, name='query_key_value')(x)
    of_examples = parts.reshape(-1, self.length, self.heads, 3 * width // self.heads)
    query, key, value = jnp.split(of_examples, 3, axis=-1)
    scores = jnp.einsum('eqhd,ekhd->ehqk', query, key) / math.sqrt(width // self.heads)
    before = jnp.tril(jnp.ones((self.length, self.length), bool))
    weights = nn.softmax(jnp.where(before, scores, MASKED))
    return jnp.einsum('ehqk,ekhd->eqhd', weights, value).reshape(x.shape)
