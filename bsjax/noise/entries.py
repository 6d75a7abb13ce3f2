"""The noise scales that are measured, each with all its properties; loads no JAX.

An online estimator is one module and one entry of ONLINE. The module has, of one lane:

- `init(like) -> gathered`, before the first micro-batch; `like` is a tree as gradients are.
- `micro_batch(gathered, grads, draw) -> gathered`, after each micro-batch of an update. Where
  `draw.count` is 1 an update begins, and what was gathered before must be dropped.
- `update(gathered, mean_grads, draw) -> Measurement`, after the last: unbiased estimates of the
  trace of the covariance and of the squared gradient.
- `pair(grads_a, grads_b, draw) -> Measurement`, optional: from two micro-batches at the same
  parameters, for lanes that update in every tick. Without it they count as an update of two.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class NoiseScale:
  """How a noise scale is called in summary.json's `noise_scales`, and shown in figures."""

  name: str
  title: str
  colour: str
  marker: str


@dataclasses.dataclass(frozen=True)
class Online(NoiseScale):
  """One that lanes measure while they train, from the gradients of micro-batches."""

  scale: str  # column of records.jsonl: the noise scale since the last record
  window: str  # and that of what it was computed from
  module: str  # of its functions, imported when lanes are compiled
  scaled: bool = False  # measures gradients as the optimizer scales them, if it does

  @property
  def early(self) -> str:
    """The column of what was measured while the parameters knew all examples about equally well."""
    return f'{self.window}_early'


@dataclasses.dataclass(frozen=True)
class Exact(NoiseScale):
  """One that a probe of single examples gives, in the column 'exact' of records.jsonl."""


# The lengths that gradients are measured by: as they are, and as the optimizer scales them.
PLAIN, PRECONDITIONED = 'plain', 'preconditioned'

ONLINE = {
  PLAIN: Online(
    'b_simple',
    'from the batches',
    colour='#1f5fbf',
    marker='o',
    scale='b_simple',
    window='noise',
    module='bsjax.noise.micro_batches',
  ),
  PRECONDITIONED: Online(
    'preconditioned',
    'preconditioned, from the batches',
    colour='#7b8cc4',
    marker='v',
    scale='b_preconditioned',
    window='preconditioned_noise',
    module='bsjax.noise.micro_batches',
    scaled=True,
  ),
}
# By the name in the column 'exact'.
EXACT = {
  PLAIN: Exact('exact', 'from single examples', '#c2410c', 's'),
  PRECONDITIONED: Exact(
    'exact_preconditioned', 'preconditioned, from single examples', '#8b3fa8', 'P'
  ),
  'curvature': Exact('b_noise', 'weighted by the Hessian', '#2a8f6b', 'D'),
}


def title(name: str) -> str:
  """What a noise scale is called, by its name in summary.json."""
  return next(kind.title for kind in (*ONLINE.values(), *EXACT.values()) if kind.name == name)


def measured(scaling: bool) -> dict[str, Online]:
  """Returns the online estimators of lanes whose optimizer scales coordinates, or does not."""
  return {kind: entry for kind, entry in ONLINE.items() if scaling or not entry.scaled}
