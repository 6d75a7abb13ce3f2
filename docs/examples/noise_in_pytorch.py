"""The gradient noise scale in a PyTorch loop: two squared norms per update are all it takes.

  python docs/examples/noise_in_pytorch.py

Gradient accumulation: the squared norm of each micro-batch's gradient, and of their mean. Under
DistributedDataParallel replicas are the micro-batches: see `replica_norms`.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from bsjax import noise
from bsjax.stats.estimate import Estimate

MICRO_BATCH, MICRO_BATCHES, EPOCHS = 16, 4, 5


def sq_norm(grads: list[torch.Tensor]) -> torch.Tensor:
  return sum(grad.float().square().sum() for grad in grads)


def train() -> list[Estimate]:
  """Trains with accumulated gradients; returns the noise scale of every epoch."""
  images, labels = load_digits(return_X_y=True)
  images = torch.tensor(images[:1536] / 16, dtype=torch.float32)
  labels = torch.tensor(labels[:1536])
  torch.manual_seed(0)
  model = nn.Linear(64, 10)
  nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
  optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
  scales = []
  for _ in range(EPOCHS):
    small, large = [], []
    for batch in torch.randperm(len(images)).view(-1, MICRO_BATCHES, MICRO_BATCH):
      norms, total = [], [torch.zeros_like(p) for p in model.parameters()]
      for micro_batch in batch:
        loss = F.cross_entropy(model(images[micro_batch]), labels[micro_batch])
        grads = torch.autograd.grad(loss, list(model.parameters()))
        norms.append(sq_norm(grads))
        total = [a + b / MICRO_BATCHES for a, b in zip(total, grads, strict=True)]
      small.append(torch.stack(norms).mean().item())
      large.append(sq_norm(total).item())
      for parameter, grad in zip(model.parameters(), total, strict=True):
        parameter.grad = grad
      optimizer.step()
    scales.append(
      noise.from_squared_norms(
        small, large, MICRO_BATCH, MICRO_BATCH * MICRO_BATCHES, population=len(images)
      )
    )
  return scales


def replica_norms(local: list[torch.Tensor]) -> tuple[float, float]:
  """The mean squared norm over replicas, and that of the mean gradient, of one update.

  `local` are the gradients of this replica before they are averaged: from a loss computed under
  `model.no_sync()`, or in a communication hook.
  """
  import torch.distributed as dist

  mean, replicas = [grad.clone() for grad in local], dist.get_world_size()
  for grad in mean:
    dist.all_reduce(grad)
    grad /= replicas
  norm = sq_norm(local)
  dist.all_reduce(norm)
  return (norm / replicas).item(), sq_norm(mean).item()


def shown(scale: Estimate) -> str:
  if scale.value is None:
    return 'undefined'
  high = 'unbounded' if scale.unbounded else f'{scale.high:.0f}'
  return f'{scale.value:.0f} examples, 95% interval {scale.low:.0f} to {high}'


if __name__ == '__main__':
  for epoch, scale in enumerate(train(), 1):
    print(f'epoch {epoch}: {shown(scale)}')
