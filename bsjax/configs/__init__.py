"""The studies that come with bsjax, by name: `--config=digits`, `from bsjax.configs import digits`.

In a clone they lie in configs/, beside the package; a wheel holds copies of them in this folder.
"""

from pathlib import Path

from bsjax.config.errors import ConfigError, unknown

_HERE = Path(__file__).parent
FOLDER = _HERE if (_HERE / 'digits.py').is_file() else _HERE.parents[1] / 'configs'
__path__ = [str(FOLDER)]  # where `import bsjax.configs.digits` looks


def names() -> list[str]:
  """Returns the names of the studies, such as 'digits'."""
  return sorted(path.stem for path in FOLDER.glob('*.py') if path.stem != '__init__')


def resolve(config: str) -> str:
  """Returns the file of a study that --config names, as 'digits' or 'NAME:ARGUMENT'.

  What is no name, or is a file itself, is returned as it is. Raises ConfigError for an unknown one.
  """
  name, colon, argument = config.partition(':')
  if not name.isidentifier() or Path(name).is_file():
    return config
  if name not in names():
    raise ConfigError(unknown('--config', name, names()) + '; or give the path of a file')
  return f'{FOLDER / name}.py{colon}{argument}'
