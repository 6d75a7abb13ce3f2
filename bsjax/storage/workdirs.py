"""Whose a workdir is, and whether anything is left to do in it."""

import json
import os
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from bsjax.config.errors import ConfigError
from bsjax.config.grid_keys import may_grow
from bsjax.config.keys import KEYS, base_config, computes
from bsjax.config.own import OWN, lacking
from bsjax.storage import buckets, records, urls

RESULTS = ('records.jsonl', 'checkpoints')  # of a training that was begun


def local(path: str | Path, key: str = '--workdir') -> Path:
  """Returns a path of this machine, with ~ as the home directory.

  That of a URL is the folder which stands for it (buckets.py); nothing is fetched yet. Raises
  ConfigError where it cannot be a workdir.
  """
  text = os.fspath(path)
  if not urls.is_url(path):
    return Path(path).expanduser()
  urls.check(text, key)
  return buckets.at(text).folder


def on_disk(path: str | Path, key: str) -> Path:
  """Returns a path of this machine, as `local`; raises ConfigError for a URL."""
  if urls.is_url(path):
    raise ConfigError(f'{key}={os.fspath(path)} is no folder of this machine; give one', key)
  return local(path, key)


def has_results(workdir: Path) -> bool:
  """Whether a training has left anything in a workdir but its plan."""
  return any((workdir / name).exists() for name in RESULTS)


def refuse_another(workdir: Path, config: ConfigDict) -> None:
  """Checks that a workdir, if it holds a study, holds this one.

  It may go on with other values of keys that change nothing of what is computed.
  """
  path = workdir / 'config.json'
  if not path.exists():
    if left := [name for name in RESULTS if (workdir / name).exists()]:
      raise ConfigError(
        f'{workdir} holds {" and ".join(left)} but no config.json, so it cannot be told of which '
        'study; restore that file, or choose another --workdir'
      )
    return
  stored, wanted = records.read_json(path), json.loads(config.to_json())
  if sentence := lacking(stored, wanted.get(OWN) or {}):
    raise ConfigError(f'{workdir}: {sentence}')
  if differing := differences(workdir, config):
    same_keys = (_before() | _flat(stored)).keys() == _flat(wanted).keys()
    asked = (stored.get('decide') or {}).get('question')  # whose rounds are not extended by hand
    may_add = not asked and all(map(may_grow, differing))
    more = ', with --extend to add to it' if may_add else ''
    raise ConfigError(
      f'{workdir} holds another study; choose another --workdir{more}, or give its configuration:\n'
      + '\n'.join(f'  - {key}: {was!r} there, {now!r} now' for key, (was, now) in differing.items())
      + ('' if same_keys else '\n(it was begun by another version of bsjax)')
    )


def differences(workdir: Path, config: ConfigDict) -> dict[str, tuple[Any, Any]]:
  """Returns the keys that change what is computed and of which a study has other values than those
  of a config: (there, now).
  """
  old = _before() | _flat(records.read_json(workdir / 'config.json'))
  new = _flat(json.loads(config.to_json()))
  # Data are known by their fingerprint, wherever they lie; a training compares it.
  may_move = {'data.path'} if _data_known(workdir) else set()
  return {
    key: (old.get(key), new.get(key))
    for key in sorted(old.keys() | new.keys())
    if old.get(key) != new.get(key) and computes(key) and key not in may_move
  }


def refuse_other_data(workdir: Path, begun_with: str, fingerprint: str) -> None:
  """Raises ConfigError where a workdir was begun with data of another fingerprint."""
  if begun_with != fingerprint:
    raise ConfigError(
      f'{workdir} was begun with other images or labels (fingerprint {begun_with}) than those '
      f'read now ({fingerprint}); restore the data, or choose another --workdir'
    )


def _data_known(workdir: Path) -> bool:
  """Whether the study, or each of its arms that has begun, says which data it was begun with."""
  paths = [*workdir.glob('data.json'), *workdir.glob('arms/*/data.json')]
  return bool(paths) and all('fingerprint' in records.read_json(path) for path in paths)


def write_config(workdir: Path, config: ConfigDict) -> None:
  """Writes config.json, by which a workdir is known."""
  workdir.mkdir(parents=True, exist_ok=True)
  records.write_json(workdir / 'config.json', json.loads(config.to_json()))


def read_config(workdir: Path) -> ConfigDict:
  """Returns what config.json holds, but how it was executed, which says nothing of this machine."""
  config = base_config()
  stored = records.read_json(workdir / 'config.json')
  stored.pop('execution', None)
  with config.unlocked():  # for the names of stages and arms, and what they change
    config.update_from_flattened_dict(_before())
    config.update(stored)
  return config


def _before() -> dict[str, Any]:
  """What studies did that were begun before there was a key for it."""
  return {
    key.name: list(key.before) if isinstance(key.before, tuple) else key.before
    for key in KEYS
    if key.before is not None
  }


def _flat(tree: dict[str, Any], prefix: str = '') -> dict[str, Any]:
  flat: dict[str, Any] = {}
  for key, value in tree.items():
    inner = _flat(value, f'{prefix}{key}.') if isinstance(value, dict) else {prefix + key: value}
    flat.update(inner)
  return flat
