"""Where numbers come from: versions, commit, host and command of every start of a training."""

import datetime
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bsjax.storage import records

FILE = 'provenance.json'  # in a workdir
LIBRARIES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'scipy')
GIT_SECONDS = 5.0  # a repository on a slow disk must not hold a study up


def note(workdir: Path, device: str) -> list[str]:
  """Adds this start to a workdir's file; returns sentences on what changed since the one before."""
  starts, now = read(workdir), start(device)
  records.write_json(workdir / FILE, {'starts': [*starts, now]})
  return _changes(starts[-1], now) if starts else []


def read(workdir: Path) -> list[dict[str, Any]]:
  """Returns the starts of a training, the first one first; none of one by an older version."""
  path = workdir / FILE
  return records.read_json(path).get('starts', []) if path.is_file() else []


def start(device: str) -> dict[str, Any]:
  """Returns what is known of this process."""
  return {
    'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    'host': platform.node(),
    'command': shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]]),
    'device': device,
    'versions': {name: _version(name) for name in ('bsjax', *LIBRARIES)}
    | {'python': platform.python_version()},
    'commit': commit(),
  }


def holder() -> dict[str, Any]:
  """Returns what others are told of this process while it works on a workdir."""
  since = datetime.datetime.now().astimezone().isoformat(' ', 'seconds')
  return {'host': platform.node(), 'process': os.getpid(), 'since': since}


def named(holder: Mapping[str, Any]) -> str:
  """Returns the words for what `holder` said, of this or another process."""
  return f'process {holder["process"]} on {holder["host"]} since {holder["since"]}'


def cores() -> int:
  """Returns the number of cores that this process may use."""
  mine = getattr(os, 'sched_getaffinity', lambda _: range(os.cpu_count() or 1))  # not on macOS
  return len(mine(0))


def commit() -> str | None:
  """Returns the commit of the checkout that bsjax runs from, with '+' after it where files differ.

  None where it runs from no checkout, or git does not answer.
  """
  root = Path(__file__).parents[2]
  if not (root / '.git').exists():  # a repository further up is not of bsjax
    return None
  head = _git(root, 'rev-parse', 'HEAD')
  changed = _git(root, 'status', '--porcelain', '--untracked-files=no', '--', 'bsjax')
  return None if head is None else f'{head}{"+" if changed else ""}'


def _git(root: Path, *arguments: str) -> str | None:
  environment = {**os.environ, 'GIT_OPTIONAL_LOCKS': '0'}
  try:
    done = subprocess.run(
      ['git', '-C', str(root), *arguments],
      env=environment,
      capture_output=True,
      text=True,
      timeout=GIT_SECONDS,
      check=True,
    )
  except (OSError, subprocess.SubprocessError):
    return None
  return done.stdout.strip()


def _version(name: str) -> str | None:
  try:
    return version(name)
  except PackageNotFoundError:
    return None


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
  versions = before.get('versions', {})
  changed = [
    f'{name} {versions.get(name)} to {number}'
    for name, number in now['versions'].items()
    if versions.get(name) != number
  ]
  if before.get('commit') != now['commit']:
    changed.append(f'commit {before.get("commit")} to {now["commit"]}')
  if not changed:
    return []
  return [
    f'This study was begun or continued under other versions ({", ".join(changed)}): from now on'
    f' numbers may be rounded otherwise; {FILE} has all of them'
  ]
