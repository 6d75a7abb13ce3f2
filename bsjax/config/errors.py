"""What is wrong with a configuration, as a sentence that knows its keys, and what that raises."""

import difflib
import re
from collections.abc import Collection, Sequence

LONGEST_NAME = 64


class Problem(str):
  """A sentence on a configuration, and the keys whose values it is about, the foremost first.

  A key of an arm or of the lending study has that before it, as in 'arms.wide.model.width'; a
  section stands for all that is in it.
  """

  keys: tuple[str, ...]

  def __new__(cls, sentence: str, *keys: str) -> 'Problem':
    problem = super().__new__(cls, sentence)
    problem.keys = keys
    return problem

  def within(self, words: str, where: str = '') -> 'Problem':
    """Returns the sentence behind `words`, and the keys below `where`, such as 'arms.wide'."""
    keys = [f'{where}.{key}' if where else key for key in self.keys]
    return Problem(words + self, *keys)


def unknown(key: str, value: object, known: Collection[str]) -> Problem:
  """Returns "KEY='VALUE' is unknown; ..." with the nearest known name and the whole list."""
  close = difflib.get_close_matches(str(value), known, n=1)
  hint = f'did you mean {close[0]!r}? ' if close else ''
  return Problem(f'{key}={value!r} is unknown; {hint}known: {", ".join(sorted(known))}', key)


def misnamed(key: str, names: Sequence[str]) -> list[Problem]:
  """Returns a sentence for each name that could not be a folder, or a word of a longer name."""
  return [
    Problem(
      f'{key}: {name!r} is no name; use up to {LONGEST_NAME} letters, digits, "_" and "-", '
      'beginning with a letter or digit',
      key,
      f'{key.rpartition(".")[0]}.{name}',
    )
    for name in names
    if not re.fullmatch(rf'[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST_NAME - 1}}}', str(name))
  ]


class Refused(ValueError):
  """What is asked for cannot be had; the message says why, and what to do about it.

  `problems` are its sentences one by one; of a single one `keys` are those that it is about.
  """

  def __init__(self, message: str, *keys: str):
    super().__init__(message)
    problem = message if isinstance(message, Problem) else Problem(message, *keys)
    self.problems: tuple[Problem, ...] = (problem,)


class ConfigError(Refused):
  """A study that cannot run as configured; the message lists every problem found."""

  @classmethod
  def of(cls, problems: Sequence[Problem], heading: str = '') -> 'ConfigError':
    """Returns the error of several problems, below a heading as a list if there is one."""
    listed = [f'  - {problem}' for problem in problems] if heading else problems
    error = cls('\n'.join(filter(None, [heading, *listed])))
    error.problems = tuple(problems)
    return error


def of_config(error: BaseException) -> str:
  """What an error of ml_collections says, in one line and without the whole config.

  Of an unknown key it lists all others with their values, before the nearest name.
  """
  while error.args and isinstance(error.args[0], BaseException):
    error = error.args[0]
  text = ' '.join(str(error.args[0] if error.args else error).split())
  return re.sub(r' Other fields present: ".*"(?= Did you mean|$)', '', text)
