"""Every way to draw examples, once: how likely each class is, and its other properties.

A new way to weigh classes is one function and its entry in SAMPLERS. Reports read the entries too,
so nothing here needs JAX.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from bsjax.config.errors import Problem

Counts = Float[np.ndarray, ' class']


@dataclass(frozen=True)
class SamplerEntry:
  """What is known of a value of `data.sampler`.

  `weights(config.data, counts)` says how likely an example is drawn, given how many its class has,
  but for a factor common to all; None: every example is drawn once per epoch.
  """

  weights: Callable[[ConfigDict, Counts], Counts] | None
  method: str  # a sentence of the paragraph on method, with {key} for keys of `config.data`


def _inverse_frequency(config: ConfigDict, counts: Counts) -> Counts:
  """Every class as often as any other."""
  return 1 / counts


def _effective_number(config: ConfigDict, counts: Counts) -> Counts:
  """(1 - b) / (1 - b^n): one over the effective number of n examples (Cui et al. 2019, eq. 2).

  b = 0 weighs all examples alike, b towards 1 becomes the inverse frequency. Cui et al. weigh the
  loss with it; drawing by it has the same expected gradient, up to a factor common to all classes.
  """
  beta = config.sampler_beta
  # 1 - b^n without the cancellation where b is close to 1.
  return (1 - beta) / -np.expm1(counts * (math.log(beta) if beta else -math.inf))


SAMPLERS = {
  'uniform': SamplerEntry(None, 'Every epoch visited each training example once, in a new order.'),
  'inverse_frequency': SamplerEntry(
    _inverse_frequency, 'Examples were drawn with replacement, every class as often as any other.'
  ),
  'effective_number': SamplerEntry(
    _effective_number,
    'Examples were drawn with replacement, weighted by one over the effective number of examples '
    'of their class (β {sampler_beta}).',
  ),
}


def with_replacement(config: ConfigDict) -> bool:
  """Whether the sampler of a `data` config draws every example anew, so that some may repeat."""
  return SAMPLERS[config.sampler].weights is not None


def class_probabilities(
  config: ConfigDict, counts: Int[np.ndarray, ' class']
) -> Float[np.ndarray, ' class']:
  """How likely a draw is of each class; 0 for a class without examples."""
  counts = np.asarray(counts, np.float64)
  mass = counts
  weights = SAMPLERS[config.sampler].weights
  if weights:
    present = np.maximum(counts, 1)  # what is absent has no mass whatever its weight
    mass = counts * weights(config, present)
  return mass / mass.sum()


def probe_conflicts(config: ConfigDict) -> list[Problem]:
  """Says where the single gradients of a config's probe are not those of the sampler."""
  name, exact = config.data.sampler, config.noise_scale.exact_examples
  if not exact or not with_replacement(config.data):
    return []
  sentence = (
    f'noise_scale.exact_examples={exact} draws examples uniformly, but data.sampler={name!r} does'
    ' not: the probe would measure another loss than the one trained on; set'
    ' noise_scale.exact_examples=0 (the online noise scale is that of the weighted draws), or'
    " data.sampler='uniform'"
  )
  return [Problem(sentence, 'noise_scale.exact_examples', 'data.sampler')]
