"""Accelerators that programs are compiled for without one: what they are, and their peaks."""

import dataclasses
import importlib.util
import os
from typing import Any

from bsjax.config.errors import ConfigError
from bsjax.engine.strategies import Strategy
from bsjax.format import GIB, joined

EXTRA = "pip install 'bsjax[compile-for]'"
# Of a GPU's memory, what JAX takes at its start; XLA_PYTHON_CLIENT_MEM_FRACTION changes it.
PREALLOCATED = 0.75
# Products of float32 numbers whose parts a tensor core, or matrix unit, multiplies one by one.
TF32_PARTS, BFLOAT16_PARTS, BFLOAT16_PARTS_OF_TF32 = 3, 6, 3


@dataclasses.dataclass(frozen=True)
class Target:
  """A kind of accelerator; peaks are those of one device, without sparsity."""

  platform: str  # as JAX lowers for it
  memory: int  # bytes that JAX may take
  bandwidth: float  # bytes per second
  flops: dict[str, float]  # per second, by model.dtype
  launch_seconds: float  # from one kernel to the next; 0: a tick is one program
  source: str
  text: str = ''  # of a GPU, as its compiler is told what it is

  def peak(self, dtype: str, strategy: Strategy) -> float:
    """Products and sums per second; convolutions of 'pallas' are made of parts in tf32."""
    if dtype == 'float32' and strategy.conv == 'pallas':
      return self.flops['tf32'] / TF32_PARTS
    return self.flops[dtype]


GPU_TEXT = """gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: %(bandwidth)d l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: %(memory)d
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 }
runtime_version { major: 12 minor: 9 patch: 0 }
device_description_str: "%(name)s"
"""
HOPPER = {'float32': 66.9e12, 'tf32': 494.7e12, 'bfloat16': 989.4e12}
LAUNCH = 2.5e-6  # seconds; 2 to 5 microseconds are usual


def _hopper(name: str, memory: int, bandwidth: float) -> Target:
  """A GPU of NVIDIA's Hopper generation (SXM)."""
  text = GPU_TEXT % {'name': name, 'memory': memory, 'bandwidth': bandwidth}
  source = f'NVIDIA {name.split()[1]} datasheet (SXM)'
  return Target('cuda', int(PREALLOCATED * memory), bandwidth, HOPPER, LAUNCH, source, text)


def _tpu(name: str, memory: float, bandwidth: float, bfloat16: float) -> Target:
  """A TPU, which multiplies bfloat16 numbers, and others in several passes."""
  flops = {
    'bfloat16': bfloat16,
    'tf32': bfloat16 / BFLOAT16_PARTS_OF_TF32,
    'float32': bfloat16 / BFLOAT16_PARTS,
  }
  source = f'Google Cloud documentation, TPU {name}'
  return Target('tpu', int(memory * GIB), bandwidth, flops, 0.0, source)


TARGETS = {
  'H100': _hopper('NVIDIA H100 80GB HBM3', 84942979072, 3.35e12),
  'H200': _hopper('NVIDIA H200', 151397597184, 4.8e12),
  # A compiler for v5e has 15.75 GiB to give away.
  'v5e': _tpu('v5e', 15.75, 819e9, 197e12),
  'v6e': _tpu('v6e', 31.25, 1640e9, 918e12),
}


def find(name: str) -> tuple[Target, list[Any]]:
  """Returns a target such as 'H100' or 'v5e:2x2' (a TPU's chips), and devices to compile for.

  Raises ConfigError, with what to do, where there is none of that name or no compiler for it.
  """
  kind, _, chips = name.partition(':')
  target = TARGETS.get(kind)
  if target is None or (chips and target.platform != 'tpu'):
    known = [key if x.platform != 'tpu' else f'{key}:2x2' for key, x in TARGETS.items()]
    raise ConfigError(f'--target={name} is unknown; choose {joined(known, "or")}')
  if not _installed(target.platform):
    what = 'libtpu' if target.platform == 'tpu' else "JAX's plugin for CUDA"
    raise ConfigError(f'to compile for {name} {what} must be installed: {EXTRA}')
  return target, _devices(target, name, chips)


def _installed(platform: str) -> bool:
  if platform == 'tpu':
    return importlib.util.find_spec('libtpu') is not None
  plugins = importlib.util.find_spec('jax_plugins')
  folders = list(plugins.submodule_search_locations or ()) if plugins else []
  return any('cuda' in name for folder in folders for name in os.listdir(folder))


def _devices(target: Target, name: str, chips: str) -> list[Any]:
  from jax.experimental import topologies  # loads the compilers that are installed

  os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')  # there is no TPU to ask
  if target.platform == 'tpu':
    given = {'topology_name': name if chips else f'{name}:2x2'}
  else:
    given = {'topology_name': '', 'topology': '1x1x1', 'target_config': target.text}
  try:
    devices = topologies.get_topology_desc(platform=target.platform, **given).devices
  except (RuntimeError, ValueError) as error:  # JAX's own is a RuntimeError
    why = ' '.join(str(error).split())
    raise ConfigError(
      f'JAX has no compiler for {name} ({why:.200}); {EXTRA} installs those of its version'
    ) from None
  return list(devices)
