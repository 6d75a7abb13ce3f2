"""Parts of a study from outside, in its config: what they are called, and who may go on with it."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from ml_collections import ConfigDict

Config: TypeAlias = Mapping[str, Any] | ConfigDict
OWN = 'own'  # the name of a model, source of data and optimizer, and the section that names them


def lacking(config: Config, given: Config) -> str:
  """Says what a config has from outside that is not given; '' where nothing is missing.

  `given` is the section of those that are.
  """
  missing = [part for part in config.get(OWN) or {} if part not in given]
  if not missing:
    return ''
  arguments = ', '.join(f'{part}=...' for part in missing)
  return (
    f'the study has its {" and ".join(missing)} from outside, which only the script that began it '
    f'has, or its config file: go on with bsjax.Study(config, workdir, {arguments}), or with the '
    'config file whose parts(config) returns them. Its report needs none of them'
  )
