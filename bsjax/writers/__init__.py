"""Writers that come with bsjax, chosen by `config.writers` or given to a study as objects.

Each has one run per lane. They load their libraries when a training begins.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from bsjax.config.errors import Problem, unknown
from bsjax.storage.writers import Writer
from bsjax.writers.replay import replay as replay
from bsjax.writers.tensorboard import TensorBoard as TensorBoard
from bsjax.writers.trackers import Trackio as Trackio
from bsjax.writers.trackers import WeightsAndBiases as WeightsAndBiases


class Entry(NamedTuple):
  """The library that a writer needs, and how it is made for a training of a study.

  `make` takes the workdir of the study and that of the training, such as one of an arm.
  """

  library: str
  make: Callable[[Path, Path], Writer]


WRITERS: dict[str, Entry] = {
  'tensorboard': Entry('tensorboardX', lambda _, workdir: TensorBoard(workdir / 'tensorboard')),
  'wandb': Entry('wandb', lambda study, workdir: WeightsAndBiases(**_of_study(study, workdir))),
  'trackio': Entry('trackio', lambda study, workdir: Trackio(**_of_study(study, workdir))),
}


def _of_study(study: Path, workdir: Path) -> dict[str, Any]:
  part = workdir.relative_to(study).as_posix()  # '.', or such as 'arms/wide'
  return {'workdir': study, 'title': study.resolve().name, 'part': '' if part == '.' else part}


def _names(config: ConfigDict) -> list[str]:
  """Those of `config.writers`, once each; a flag gives several as one text, 'tensorboard,wandb'."""
  return list(dict.fromkeys(name for item in config.writers for name in item.split(',')))


def chosen_by(config: ConfigDict, study: Path, workdir: Path) -> list[Writer]:
  """Returns the writers of `config.writers` for a training of the study in `study`."""
  return [WRITERS[name].make(study, workdir) for name in _names(config)]


def problems(config: ConfigDict) -> list[Problem]:
  """Returns a sentence for each writer that is unknown, or whose library is missing."""
  sentences = []
  for name in _names(config):
    if name not in WRITERS:
      sentences.append(unknown('writers', name, WRITERS))
    elif importlib.util.find_spec(WRITERS[name].library) is None:
      library = WRITERS[name].library
      sentence = f'writers={name!r} needs {library}, which is missing: pip install {library}'
      sentences.append(Problem(sentence, 'writers'))
  return sentences
