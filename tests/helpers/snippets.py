"""The snippets of a page, run in one process: Python as it stands, commands in small."""

import gc
import importlib.util
import re
import runpy
import shlex
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

from absl import app, flags

from bsjax import __main__ as commands

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r'^( *)```([\w{}]*)\n(.*?)^\1```', re.MULTILINE | re.DOTALL)
SHOWN = {'{toctree}'}  # blocks that nobody runs
# Commands that are not of bsjax, or start what other tests start: where those are.
ELSEWHERE = {
  'scripts/quickstart': 'scripts/quickstart',
  'scripts/test': 'scripts/test',
  'scripts/docs': 'scripts/docs',
  'scripts/benchmark': 'tests/experiments/test_scripts.py',
  'sbatch': 'tests/studies/test_job_scripts.py',
  'srun': 'tests/studies/test_job_scripts.py',
  'tensorboard': 'tests/writers/test_tensorboard.py',
  'pip': 'tests/studies/test_wheel.py',
}
MODULES = {module: name for name, (module, _) in commands.COMMANDS.items()}
# What a command does not say itself: a study of seconds.
SMALL = {
  'batch_sizes': '16,32',
  'learning_rates': '0.03,0.1',
  'trials': '2',
  'epochs': '1',
  'evaluations': '2',
  'micro_batch': '16',
  'noise_scale.exact_examples': '0',
  'execution.strategy': 'map-canonical',
  'native_cost.batch_sizes': '16',
}
FEW = {'data.train_examples': '200'}
# In the place of data that must be fetched first, and of models that take minutes to compile.
STAND_IN = {
  'data.source': 'digits',
  'data.validation': 'split',
  'model.name': 'mlp',
  'data.name': '',
}
STAND_IN |= {'schedule.warmup_epochs': '0', 'model.normalization': 'none', 'model.width': '16'}

app.define_help_flags()  # once for all commands, as flags of one go when it ends


class Snippet(NamedTuple):
  """A block of a page: its language, its text, and the line it begins at."""

  language: str
  text: str
  line: int


def snippets(page: str) -> list[Snippet]:
  """All blocks between fences, but for those that only place something on the page."""
  blocks = []
  for block in FENCE.finditer(page):
    line = page[: block.start()].count('\n') + 2
    blocks.append(Snippet(block[2], textwrap.dedent(block[3]), line))
  return [block for block in blocks if block.language not in SHOWN]


def command_lines(text: str) -> list[list[str]]:
  """The words of each command, lines that go on joined, comments left out."""
  lines = text.replace('\\\n', ' ').splitlines()
  words = [shlex.split(line, comments=True) for line in lines]
  return [line for line in words if line]


class Page:
  """Runs the snippets of one page in the current directory, one after the other."""

  def __init__(self, name: str):
    self.name = name
    self.names = {'__name__': name.replace('.', '_')}

  def run(self, snippet: Snippet) -> None:
    """Runs a snippet; whatever goes wrong raises."""
    if snippet.language == 'python':
      self.run_python(snippet)
    elif snippet.language == 'sh':
      for words in command_lines(snippet.text):
        run_command(words)
    else:
      raise ValueError(f'{self.name}, line {snippet.line}: nothing runs {snippet.language!r}')

  def run_python(self, snippet: Snippet) -> None:
    """Executes it in the names of those before it, or writes the file that its first line names."""
    if file := re.match(r'# ([\w/]+\.py)\n', snippet.text):
      Path(file[1]).write_text(snippet.text)
      return
    where = f'{self.name}:{snippet.line}'
    exec(compile('\n' * (snippet.line - 1) + snippet.text, where, 'exec'), self.names)


def run_command(words: list[str]) -> None:
  """Runs a command of bsjax or an example here; of others only that something tests them.

  Raises:
    SystemExit: it ended with an error.
    LookupError: nothing is known of such a command.
  """
  if words[0] in ELSEWHERE:
    assert (ROOT / ELSEWHERE[words[0]]).exists()
  elif words[0] == 'bsjax':
    run_bsjax(words[1], words[2:])
  elif words[:2] == ['python', '-m'] and words[2] in MODULES:
    run_bsjax(MODULES[words[2]], words[3:])
  elif words[0] == 'python' and (ROOT / words[1]).is_file():
    if importlib.util.find_spec('torch') or 'pytorch' not in words[1]:
      runpy.run_path(str(ROOT / words[1]), run_name='__main__')
  else:
    raise LookupError(f'no test runs {shlex.join(words)}')


def run_bsjax(command: str, arguments: list[str]) -> None:
  """Runs a command in this process, as its own would, with a small study where it has a config."""
  kept = set(flags.FLAGS)
  study = [word for word in arguments if word.startswith('--config=')]
  arguments = [*study, *(word for word in arguments if word not in study), *small(arguments)]
  arguments += ['--share=1'] * (command == 'recommend')  # a tenth of it would be no batch
  argv, sys.argv = sys.argv, ['bsjax', command, *arguments]
  try:
    commands.main()
  except SystemExit as end:
    if end.code:
      raise
  finally:
    gc.enable()  # which a command may have turned off
    sys.argv = argv
    for name in set(flags.FLAGS) - kept:
      delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()


def small(arguments: list[str]) -> list[str]:
  """Flags that make the study of a command small, but for what the command says itself.

  Studies with data of their own, which cannot be made few, are planned only.
  """
  study = [word.partition('=')[2] for word in arguments if word.startswith('--config=')]
  if not study:
    return []
  given = {word[9:].partition('=')[0] for word in arguments if word.startswith('--config.')}
  path = ROOT / 'configs' / f'{Path(study[0]).stem}.py'
  names = runpy.run_path(str(path if path.is_file() else study[0]))
  if 'parts' in names:
    return ['--dry_run', '--config.execution.strategy=map-canonical']  # nothing is timed
  keys = SMALL if 'batch_sizes' in given else SMALL | FEW  # they may be large
  keys = keys if names['get_config']().data.source == 'digits' else keys | STAND_IN
  return [f'--config.{key}={value}' for key, value in keys.items() if key not in given]
