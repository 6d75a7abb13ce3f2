"""Network of Tan and Le 2019, "EfficientNet: Rethinking Model Scaling" (arXiv:1905.11946)."""

from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array

from bsjax.models.mobilenet import MobileNetV2, Stages

# Expansion, channels, blocks, stride and kernel size of each stage: table 1.
STAGES: Stages = (
  (1, 16, 1, 1, 3),
  (6, 24, 2, 2, 3),
  (6, 40, 2, 2, 5),
  (6, 80, 3, 2, 3),
  (6, 112, 3, 1, 5),
  (6, 192, 4, 2, 5),
  (6, 320, 1, 1, 3),
)


class EfficientNetB0(MobileNetV2, kw_only=True):
  """A MobileNetV2 with SiLU, gates, and kernels of 3x3 or 5x5 pixels.

  `width` over 32 is a factor on the channels of all layers (to multiples of 8), the last one too,
  as between the published sizes, whose depths are not scaled here. Stochastic depth is left out,
  because its randomness is not the batch's.
  """

  stages: Stages = STAGES
  activation: Callable[[Array], Array] = nn.silu
  gated: int = 4
  least_last: float = 0.0
