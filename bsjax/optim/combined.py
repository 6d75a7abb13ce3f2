"""Optimizers put together from optax's parts, all with decoupled weight decay times the rate."""

from collections.abc import Callable
from typing import Any

import optax
from jaxtyping import Array, Float, PyTree

Rate = float | Float[Array, '']
Mask = Callable[[PyTree], Any]
MUON_RMS = 0.2  # of an orthogonal step's entries, as Adam's have: so one rate serves both


def signum(
  learning_rate: Rate, b1: Rate, weight_decay: Rate, mask: Mask
) -> optax.GradientTransformation:
  """The sign of the mean gradient (Bernstein et al. 2018, "signSGD", with momentum b1)."""
  # Lion's step looks further back than its mean does; where both are alike it is the mean's sign.
  return optax.lion(learning_rate, b1=b1, b2=b1, weight_decay=weight_decay, mask=mask)


def muon(
  learning_rate: Rate,
  momentum: Rate,
  b1: Rate,
  b2: Rate,
  eps: Rate,
  weight_decay: Rate,
  mask: Mask,
  nesterov: bool,
) -> optax.GradientTransformation:
  """Orthogonalized momentum for matrices, and Adam for all else (Jordan 2024; Liu et al. 2025).

  Matrices are arrays of two axes, so kernels of convolutions are Adam's.
  """
  step = optax.contrib.muon(
    learning_rate=1.0,
    beta=momentum,
    adam_b1=b1,
    adam_b2=b2,
    eps=eps,
    nesterov=nesterov,
    consistent_rms=MUON_RMS,
  )
  # It decays no biases only outside of optax's own, whose part by Adam takes no mask.
  return optax.chain(step, optax.scale(-1.0), *_decayed(learning_rate, weight_decay, mask))


def adafactor(learning_rate: Rate, weight_decay: Rate, mask: Mask) -> optax.GradientTransformation:
  """Adam's second moment by rows and columns, relative steps (Shazeer & Stern 2018).

  Updates are clipped at a root mean square of 1 and times that of the parameters, which counts as
  at least 0.001. Arrays with two axes of 128 or more are factored.
  """
  return optax.chain(
    optax.scale_by_factored_rms(),
    optax.clip_by_block_rms(1.0),
    optax.scale_by_param_block_rms(),
    *_decayed(learning_rate, weight_decay, mask),
  )


def _decayed(
  learning_rate: Rate, weight_decay: Rate, mask: Mask
) -> tuple[optax.GradientTransformation, ...]:
  decay = optax.add_decayed_weights(weight_decay, mask)
  return decay, optax.scale_by_learning_rate(learning_rate)
