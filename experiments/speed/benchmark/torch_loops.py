"""The same training in PyTorch: eager, compiled, and the lanes of a batch size under torch.func."""

import functools
import itertools
import os
import time
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from benchmark import torch_models, works
from benchmark.jax_loop import Run, Sample
from benchmark.works import Setting, Work

Batches = list[tuple[torch.Tensor, torch.Tensor]]


def eager(work: Work) -> Run:
  """One setting after the other, operation by operation."""
  return _in_turn(work, _model(work), lambda loss: loss)


def compiled(work: Work) -> Run:
  """One setting after the other, forward and backward pass compiled for every batch size."""
  torch._dynamo.config.recompile_limit = 64
  mode = 'reduce-overhead' if work.accelerator else 'default'
  return _in_turn(work, _model(work), functools.partial(torch.compile, mode=mode, dynamic=False))


def _in_turn(work: Work, model: nn.Module, compile_loss: Callable) -> Run:
  loss_of = compile_loss(lambda images, labels: F.cross_entropy(model(images), labels))
  start = functools.cache(lambda trial: _initial(work, trial))
  cut = _cutter(work)
  losses = _evaluator(work, model)

  def train(setting: Setting, batches: Batches) -> None:
    optimizer = torch.optim.SGD(
      model.parameters(), lr=setting.learning_rate, momentum=works.MOMENTUM, fused=True
    )
    for images, labels in batches:
      optimizer.zero_grad(set_to_none=True)
      loss_of(images, labels).backward()
      optimizer.step()

  def run(examples: int, which: Sequence[int] | None = None) -> Sample:
    settings = [work.settings[i] for i in which] if which is not None else work.settings
    seconds, final_losses = 0.0, []
    for setting in settings:
      batches = cut(setting.batch_size, setting.trial)[: examples // setting.batch_size]
      model.load_state_dict(start(setting.trial))  # copies into the same tensors
      _wait(work)
      begun = time.perf_counter()
      train(setting, batches)
      _wait(work)
      seconds += time.perf_counter() - begun
      final_losses.append(losses(dict(model.named_parameters())))
    return Sample(seconds, final_losses)

  return run


def lanes_of_a_batch_size(work: Work) -> Run:
  """Settings of one batch size as lanes of `vmap(grad)`, the batch sizes one after the other."""
  model = _model(work).to('meta')
  cut = _cutter(work)
  start = functools.cache(lambda trial: _initial(work, trial))
  losses = _evaluator(work, _model(work))

  def loss(params: dict, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(functional_call(model, params, (images,)), labels)

  def run(examples: int, which: Sequence[int] | None = None) -> Sample:
    if which is not None:
      raise ValueError('lanes are trained together: give no settings')
    seconds, final_losses = 0.0, []
    for size, group in itertools.groupby(work.settings, key=lambda s: s.batch_size):
      settings = list(group)
      batches = _stacked([cut(size, setting.trial) for setting in settings], work)
      dims = (0, None, None) if work.config.trials == 1 else (0, 0, 0)
      params = _stack_states([start(setting.trial) for setting in settings])
      rates = torch.tensor([s.learning_rate for s in settings], device=_device(work))
      gradient = vmap(grad(loss), in_dims=dims)
      _wait(work)
      begun = time.perf_counter()
      _train_lanes(gradient, params, rates, batches[: examples // size])
      _wait(work)
      seconds += time.perf_counter() - begun
      final_losses += [losses({k: v[i] for k, v in params.items()}) for i in range(len(settings))]
    return Sample(seconds, final_losses)

  return run


def _train_lanes(gradient: Callable, params: dict, rates: torch.Tensor, batches: Batches) -> None:
  """SGD with momentum on stacked parameters, in place."""
  values = list(params.values())
  momentum = [torch.zeros_like(value) for value in values]
  scales = [-rates.view(-1, *[1] * (value.ndim - 1)) for value in values]
  for images, labels in batches:
    gradients = gradient(params, images, labels)
    torch._foreach_mul_(momentum, works.MOMENTUM)
    torch._foreach_add_(momentum, [gradients[key] for key in params])
    torch._foreach_add_(values, torch._foreach_mul(momentum, scales))


def _stacked(of_lanes: list[Batches], work: Work) -> Batches:
  """Batches for all lanes: the same for all with one trial, else behind a lane axis."""
  # GroupNorm under `vmap` takes no channels-last tensors.
  of_lanes = [[(images.contiguous(), labels) for images, labels in lane] for lane in of_lanes]
  if work.config.trials == 1:
    return of_lanes[0]
  return [
    tuple(torch.stack(parts) for parts in zip(*batches, strict=True))
    for batches in zip(*of_lanes, strict=True)
  ]


def _stack_states(states: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
  return {key: torch.stack([state[key] for state in states]) for key in states[0]}


def _model(work: Work) -> nn.Module:
  """Sets PyTorch up for a work and returns its model on the device."""
  if work.config.model.dtype == 'bfloat16':
    raise ValueError('PyTorch is compared in float32 and tf32 only')
  torch.set_num_threads(len(os.sched_getaffinity(0)))
  tf32 = work.config.model.dtype == 'tf32'
  torch.set_float32_matmul_precision('high' if tf32 else 'highest')
  torch.backends.cudnn.allow_tf32 = tf32
  torch.backends.cudnn.benchmark = True
  make = torch_models.MODELS[work.config.model.name]
  model = make(work.dataset.image_shape, work.dataset.num_classes)
  return model.to(_device(work), memory_format=torch.channels_last)


def _initial(work: Work, trial: int) -> dict[str, torch.Tensor]:
  state = torch_models.from_flax(work.config.model.name, works.initial_params(work, trial))
  return {key: value.to(_device(work)) for key, value in state.items()}


def _cutter(work: Work) -> Callable[[int, int], Batches]:
  """Returns the function from batch size and trial to the batches, on the device."""
  of_trial = functools.cache(lambda trial: _on_device(work, *works.examples(work, trial)))
  return lambda size, trial: list(zip(*(x.split(size) for x in of_trial(trial)), strict=True))


def _on_device(work: Work, images, labels) -> tuple[torch.Tensor, torch.Tensor]:
  turned = torch.from_numpy(images).to(_device(work)).permute(0, 3, 1, 2)
  turned = turned.contiguous(memory_format=torch.channels_last)
  return turned, torch.from_numpy(labels).long().to(_device(work))


def _evaluator(work: Work, model: nn.Module) -> Callable[[dict], float]:
  images, labels = _on_device(work, *works.evaluated(work))

  def loss(params: dict) -> float:
    with torch.no_grad():
      return float(F.cross_entropy(functional_call(model, params, (images,)), labels))

  return loss


def _device(work: Work) -> str:
  return 'cuda' if work.accelerator else 'cpu'


def _wait(work: Work) -> None:
  if work.accelerator:
    torch.cuda.synchronize()
