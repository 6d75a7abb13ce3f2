"""What a workdir was begun with, and is refused without: its data, parts from outside, and plan."""

from pathlib import Path

from absl import logging
from ml_collections import ConfigDict

from bsjax.config.errors import ConfigError
from bsjax.data import Dataset
from bsjax.engine import processes
from bsjax.engine.own import Own, fingerprints
from bsjax.plan import plan
from bsjax.plan.lanes import StudyPlan
from bsjax.storage import records, workdirs

OWN_FILE = 'own.json'  # in a workdir: what parts from outside compute


def refuse_other_data(workdir: Path, dataset: Dataset) -> None:
  """Raises ConfigError where the workdir was begun with other data, wherever these are now."""
  path = workdir / 'data.json'
  if processes.count() > 1:
    known = processes.exchange(dataset.fingerprint())[0]
    workdirs.refuse_other_data(workdir, known, dataset.fingerprint())
  known = processes.first(
    lambda: records.read_json(path).get('fingerprint') if path.exists() else None
  )
  if known is not None:
    workdirs.refuse_other_data(workdir, known, dataset.fingerprint())


def refuse_other_parts(workdir: Path, own: Own, dataset: Dataset) -> None:
  """Raises ConfigError where parts from outside compute something else than those begun with."""
  path, now = workdir / OWN_FILE, fingerprints(own, dataset)
  known = processes.first(lambda: records.read_json(path) if path.exists() else None)
  if known is None or not now:
    return
  if known['jax'] != now['jax']:  # which may write the same in other words
    logging.warning(
      '%s was begun with JAX %s, this is %s: whether its parts from outside are the same cannot '
      'be told',
      workdir,
      known['jax'],
      now['jax'],
    )
    return
  if other := [part for part in now if known.get(part) != now[part]]:
    raise ConfigError(
      f'{workdir} was begun with another {" and ".join(other)} of that name: what it computes has '
      'changed; restore it, or choose another workdir'
    )


def note_parts(workdir: Path, own: Own, dataset: Dataset) -> None:
  """Writes what parts from outside compute, if there are any, once."""
  path = workdir / OWN_FILE
  if own.any and not path.exists():
    records.write_json(path, fingerprints(own, dataset))


def claim(workdir: Path, config: ConfigDict, study_plan: StudyPlan, recorded: bool) -> None:
  """Writes config and plan to a new workdir, or checks that an old one has this training set.

  `recorded` says whether it is known how the training runs there.
  """
  rows, path = plan.lane_rows(study_plan), workdir / 'plan.csv'
  if not (workdir / 'config.json').exists():
    workdirs.write_config(workdir, config)
    records.write_plan(path, rows)
  elif not path.exists() and not (recorded and workdirs.has_results(workdir)):
    records.write_plan(path, rows)
  elif records.read_plan(path) != rows:
    raise ConfigError(
      f'{path} was made for another training set than the one read now, of '
      f'{study_plan.train_examples} examples; restore the data, or choose another --workdir'
    )
