"""The command `bsjax`, or `python -m bsjax`: `bsjax run` is `python -m bsjax.main`, and so on."""

import runpy
import sys

import bsjax

# Command -> the module that it runs, and what it does.
COMMANDS = {
  'run': ('bsjax.main', 'Trains a study, or continues one.'),
  'report': ('bsjax.report', 'Writes the report of a study, also of one that still runs.'),
  'audit': ('bsjax.audit', "Says which conclusions of anybody's curves stand."),
  'compare': ('bsjax.report.compare', 'Puts several studies or audits on one page.'),
  'recommend': ('bsjax.recommend', 'Gives a range of batch sizes for this device, by a short run.'),
  'sharpness': ('bsjax.sharpness', 'Measures how sharp the minima of the lanes of a study are.'),
  'cost': ('bsjax.native_cost', 'Measures what batch sizes cost run alone.'),
}


def main() -> None:
  """Runs the command that the first argument names; its own flags come after it."""
  name = sys.argv[1] if sys.argv[1:] else '--help'
  if name == '--version':
    print(f'bsjax {bsjax.__version__}')
  elif name in ('--help', '-h', 'help'):
    print(_usage())
  elif name in COMMANDS:
    del sys.argv[1]
    runpy.run_module(COMMANDS[name][0], run_name='__main__', alter_sys=True)
  else:
    sys.exit(f'bsjax: {name!r} is no command\n{_usage()}')


def _usage() -> str:
  lines = [f'  bsjax {name:10} {does}' for name, (_, does) in COMMANDS.items()]
  return '\n'.join(['usage: bsjax COMMAND --FLAG=VALUE ... (flags: bsjax COMMAND --help)', *lines])


if __name__ == '__main__':
  main()
