"""The models in PyTorch, as a PyTorch user writes them, and bsjax's parameters for them."""

import itertools

import numpy as np
import torch
from jaxtyping import PyTree
from torch import nn
from torch.nn import functional as F

from bsjax.models.normalization import group_size

EPS = 1e-6  # of flax's GroupNorm; PyTorch's own is 1e-5


class MLP(nn.Module):
  """Two hidden layers with ReLU, without normalization."""

  def __init__(self, inputs: int, width: int, depth: int, classes: int):
    super().__init__()
    sizes = [inputs] + [width] * depth
    self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
    self.last = nn.Linear(sizes[-1], classes)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    x = x.flatten(1)
    for layer in self.hidden:
      x = F.relu(layer(x))
    return self.last(x)


class CNN(nn.Module):
  """Two convolutions with pooling and a dense layer, without normalization."""

  def __init__(self, height: int, width: int, channels: int, first: int, classes: int):
    super().__init__()
    self.conv0 = nn.Conv2d(channels, first, 3, padding=1)
    self.conv1 = nn.Conv2d(first, 2 * first, 3, padding=1)
    self.dense = nn.Linear(2 * first * (height // 4) * (width // 4), 4 * first)
    self.last = nn.Linear(4 * first, classes)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    x = F.max_pool2d(F.relu(self.conv0(x)), 2)
    x = F.max_pool2d(F.relu(self.conv1(x)), 2)
    # Units in flax's order; of channels-last memory, so without a copy.
    x = x.permute(0, 2, 3, 1).flatten(1)
    return self.last(F.relu(self.dense(x)))


class Block(nn.Module):
  """Two convolutions beside a shortcut that subsamples and adds zero channels."""

  def __init__(self, inputs: int, channels: int, stride: int):
    super().__init__()
    self.conv0 = nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False)
    self.norm0 = _norm(channels)
    self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    self.norm1 = _norm(channels)
    self.stride, self.added = stride, channels - inputs

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    branch = self.norm1(self.conv1(F.relu(self.norm0(self.conv0(x)))))
    if self.stride > 1 or self.added:
      x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
    return F.relu(branch + x)


class ResNet(nn.Module):
  """The CIFAR network of He et al. 2016 with group normalization."""

  def __init__(self, channels: int, stages: tuple[int, ...], width: int, classes: int):
    super().__init__()
    self.stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    self.norm = _norm(width)
    blocks, inputs = [], width
    for stage, count in enumerate(stages):
      for block in range(count):
        outputs = width * 2**stage
        blocks.append(Block(inputs, outputs, 2 if stage and not block else 1))
        inputs = outputs
    self.blocks = nn.Sequential(*blocks)
    self.last = nn.Linear(inputs, classes)

  def forward(self, x: torch.Tensor) -> torch.Tensor:
    x = self.blocks(F.relu(self.norm(self.stem(x))))
    return self.last(x.mean((2, 3)))


def _norm(channels: int) -> nn.GroupNorm:
  return nn.GroupNorm(channels // group_size(channels), channels, eps=EPS)


MODELS = {
  'mlp': lambda shape, classes: MLP(int(np.prod(shape)), 256, 2, classes),
  'cnn': lambda shape, classes: CNN(*shape, 32, classes),
  'resnet20': lambda shape, classes: ResNet(shape[-1], (3, 3, 3), 16, classes),
}


def from_flax(name: str, params: PyTree) -> dict[str, torch.Tensor]:
  """Returns the state of the model of a name, of the parameters of its flax twin."""
  state = {}
  for path, leaves in _layers(params):
    layer = RENAMED[name](path)
    for kind, value in leaves.items():
      state[f'{layer}.{"bias" if kind == "bias" else "weight"}'] = _turned(np.asarray(value))
  return state


def _layers(tree: PyTree, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], dict]]:
  """The innermost dicts of a tree, and where they are."""
  if not isinstance(next(iter(tree.values())), dict):
    return [(path, tree)]
  return [layer for key, value in tree.items() for layer in _layers(value, (*path, key))]


def _turned(value: np.ndarray) -> torch.Tensor:
  """Kernels HWIO to OIHW and [in, out] to [out, in]; vectors as they are."""
  axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[value.ndim]
  return torch.from_numpy(np.array(value.transpose(axes), order='C'))


def _in_mlp(path: tuple[str, ...]) -> str:
  return {'Dense_0': 'hidden.0', 'Dense_1': 'hidden.1', 'Dense_2': 'last'}[path[0]]


def _in_cnn(path: tuple[str, ...]) -> str:
  return {'Conv_0': 'conv0', 'Conv_1': 'conv1', 'Dense_0': 'dense', 'Dense_1': 'last'}[path[0]]


def _in_resnet(path: tuple[str, ...]) -> str:
  if len(path) == 1:
    return {'Conv_0': 'stem', 'GroupNorm_0': 'norm', 'Dense_0': 'last'}[path[0]]
  block, layer = path[0].split('_')[1], path[1].split('_')
  return f'blocks.{block}.{ {"Conv": "conv", "GroupNorm": "norm"}[layer[0]] }{layer[1]}'


RENAMED = {'mlp': _in_mlp, 'cnn': _in_cnn, 'resnet20': _in_resnet}
