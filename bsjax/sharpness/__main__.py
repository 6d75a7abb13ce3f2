"""`python -m bsjax.sharpness --workdir=DIR`: measures a study's lanes, writes sharpness.json."""

import argparse
import dataclasses
import sys

import bsjax
from bsjax.cli import set_up_machine


def parse(arguments: list[str]) -> argparse.Namespace:
  """Reads the command line; the fields of `lane.Options` are flags too."""
  from bsjax.sharpness.lane import Options

  parser = argparse.ArgumentParser('python -m bsjax.sharpness', description=__doc__)
  parser.add_argument('--workdir', required=True, help='Of a study that has started.')
  parser.add_argument('--lanes', default='all', help='all, or numbers such as 0,5,7.')
  parser.add_argument('--checkpoint', default='latest', help='latest, all, or examples seen.')
  parser.add_argument('--interpolate', default='', help='Two lanes, such as 3,17.')
  parser.add_argument('--slices', action='store_true', help='Random slices, of one and two axes.')
  parser.add_argument('--devices', default=0, type=int, help='How many; 0: all there are.')
  parser.add_argument('--version', action='version', version=f'bsjax {bsjax.__version__}')
  for field in dataclasses.fields(Options):
    if field.name != 'epsilons':
      parser.add_argument(f'--{field.name}', default=field.default, type=type(field.default))
  return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
  """Measures, writes and prints; a mistake is a sentence and not a traceback."""
  # After the set-up, which must precede any use of JAX.
  from bsjax import data
  from bsjax.config.errors import ConfigError
  from bsjax.console import make_console
  from bsjax.sharpness import rows, run
  from bsjax.sharpness.lane import Options
  from bsjax.storage import buckets, workdirs
  from bsjax.storage.records import Damaged

  flags = vars(parse(arguments))
  names = {field.name for field in dataclasses.fields(Options)}
  options = Options(**{name: value for name, value in flags.items() if name in names})
  try:
    with buckets.held_if_free(workdirs.local(flags['workdir'])) as workdir:
      measured = run.measure_study(
        workdir,
        options,
        lanes=flags['lanes'],
        at=flags['checkpoint'],
        interpolate=flags['interpolate'],
        with_slices=flags['slices'],
        devices=flags['devices'],
      )
  except (ConfigError, data.DataError, Damaged, OSError) as error:
    sys.exit(f'bsjax.sharpness: {error}')
  console = make_console()
  console.print(rows.table(measured['rows']))
  console.print(f'Written: {workdir / "sharpness.json"}', soft_wrap=True)


if __name__ == '__main__':
  set_up_machine()
  main(sys.argv[1:])
