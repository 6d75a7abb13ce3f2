"""Whose a workdir is, and whether anything is left to do in it."""

import json
from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from bsjax import data, execution, plan, records, report
from bsjax.choices import ConfigError


def is_finished(
  workdir: Path,
  config: ConfigDict,
  dataset: data.Dataset,
  recorded: execution.Execution,
  console: Console,
) -> bool:
  """Whether nothing is left to do in a workdir; checks that it was begun with these data."""
  claim(workdir, config, plan.make_plan(config, len(dataset.train.labels), recorded.micro_batches))
  if not (workdir / 'summary.json').exists():
    return False
  path = workdir / 'report.html'
  console.print(f'This study is finished: {path if path.exists() else report.write(workdir)}')
  return True


# What may differ when a study is continued: how it runs, not what it computes.
FREE_KEYS = ('execution.', 'checkpoint.', 'report.', 'data.cache_dir')


def refuse_another(workdir: Path, config: ConfigDict) -> None:
  """Checks that a workdir, if it holds a study, holds this one."""
  path = workdir / 'config.json'
  if not path.exists():
    return
  found, new = _flat(json.loads(path.read_text())), _flat(json.loads(config.to_json()))
  differing = [
    f'{key}: {found.get(key)!r} there, {new.get(key)!r} now'
    for key in sorted(found.keys() | new.keys())
    if found.get(key) != new.get(key) and not key.startswith(FREE_KEYS)
  ]
  if differing:
    raise ConfigError(
      f'{workdir} holds another study; choose another --workdir, or give its configuration:\n'
      + '\n'.join(f'  - {line}' for line in differing)
      + ('' if found.keys() == new.keys() else '\n(it was begun by another version of bsjax)')
    )


def claim(workdir: Path, config: ConfigDict, study: plan.Plan) -> None:
  """Writes config and plan to a new workdir, or checks that an old one has this training set."""
  path = workdir / 'config.json'
  if not path.exists():
    workdir.mkdir(parents=True, exist_ok=True)
    records.write_plan(workdir / 'plan.csv', plan.lane_rows(study))
    write_config(workdir, config)
  elif records.read_plan(workdir / 'plan.csv') != plan.lane_rows(study):
    raise ConfigError(
      f'{workdir / "plan.csv"} was made for another training set than the one read now, of '
      f'{study.train_examples} examples; restore the data, or choose another --workdir'
    )


def write_config(workdir: Path, config: ConfigDict) -> None:
  """Writes config.json, by which a workdir is known."""
  workdir.mkdir(parents=True, exist_ok=True)
  records.write_json(workdir / 'config.json', json.loads(config.to_json()))


def _flat(tree: dict, prefix: str = '') -> dict:
  flat = {}
  for key, value in tree.items():
    inner = _flat(value, f'{prefix}{key}.') if isinstance(value, dict) else {prefix + key: value}
    flat.update(inner)
  return flat
