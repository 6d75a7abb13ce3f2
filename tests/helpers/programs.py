"""Programs that tests compiled are kept from run to run, in the user's cache directory."""

import hashlib
import os
import platform
from pathlib import Path

KEPT_BYTES = 2 * 2**30  # of about a hundred runs of which each changes a tenth of all programs


def folder() -> Path:
  """The directory of this kind of processor, as a program may use what only its kind can do.

  What else a program depends on, such as the version of JAX, is in the name JAX gives its file.
  """
  from bsjax.storage import user_cache  # once its types are checked

  return user_cache.folder('test_programs') / hashlib.sha256(_processor().encode()).hexdigest()[:16]


def _processor() -> str:
  """The instructions that the processor has, or its name where the system does not tell them."""
  try:
    lines = Path('/proc/cpuinfo').read_text().splitlines()
  except OSError:
    return f'{platform.machine()} {platform.processor()}'
  named = ('vendor_id', 'model name', 'flags', 'Features')
  return '\n'.join(sorted({line for line in lines if line.startswith(named)}))


def prune(kept: Path, limit: int = KEPT_BYTES) -> None:
  """Deletes the oldest files of a directory until the rest has at most so many bytes."""
  files = [(file.stat().st_mtime, file.stat().st_size, file) for file in kept.glob('*')]
  size = sum(size for _, size, _ in files)
  for _, freed, file in sorted(files):
    if size <= limit:
      return
    file.unlink(missing_ok=True)
    size -= freed


def keep() -> None:
  """Has this process keep its programs, and those that it starts, in one directory.

  The first process of a run finds the directory; workers inherit its name.
  """
  import jax

  if 'BSJAX_TEST_PROGRAMS' not in os.environ:
    kept = folder()
    kept.mkdir(parents=True, exist_ok=True)
    prune(kept)
    os.environ['BSJAX_TEST_PROGRAMS'] = str(kept)
  os.environ['JAX_COMPILATION_CACHE_DIR'] = os.environ['BSJAX_TEST_PROGRAMS']
  jax.config.update('jax_compilation_cache_dir', os.environ['BSJAX_TEST_PROGRAMS'])
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.02)
