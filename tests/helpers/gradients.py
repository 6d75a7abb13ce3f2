"""Simulated gradients of known noise scale, as the micro-batches of updates show them."""

import math

import numpy as np

TAILS = ('normal', 'student 5', 'lognormal scales')
TRUTH = 40.0  # noise scale of the simulated gradients, in examples
BLOCKS, MICRO_BATCHES, MICRO_BATCH, PARAMETERS = 100, 4, 4, 4


def simulated_blocks(rng, replications, tails):
  """(trace, grad_sq) of BLOCKS updates a replication: gradients with the given tails."""
  shape = (replications, BLOCKS, MICRO_BATCHES, MICRO_BATCH)
  grads = rng.standard_normal((*shape, PARAMETERS), np.float32)
  one = (*shape, 1)  # a scale for each example
  scale, mean_square = {
    'normal': lambda: (1.0, 1.0),
    'student 5': lambda: ((rng.standard_gamma(2.5, one, np.float32) / 2.5) ** -0.5, 5 / 3),
    'lognormal scales': lambda: (np.exp(0.5 * rng.standard_normal(one, np.float32)), math.exp(0.5)),
  }[tails]()
  micro = (grads * scale).mean(3) + math.sqrt(mean_square / TRUTH)
  mean_micro_sq = (micro**2).sum(-1).mean(-1)
  mean_sq = (micro.mean(2) ** 2).sum(-1)
  trace = (mean_micro_sq - mean_sq) * MICRO_BATCHES * MICRO_BATCH / (MICRO_BATCHES - 1)
  return trace, mean_sq - trace / (MICRO_BATCHES * MICRO_BATCH)
