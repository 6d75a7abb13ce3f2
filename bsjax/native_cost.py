"""`python -m bsjax.native_cost --workdir=DIR`: what batch sizes cost run alone, native_cost.json.

Those of the study in DIR, or with `--config=FILE` of one that has not begun; `--config.KEY=VALUE`
changes a key, such as native_cost.batch_sizes.
"""

import sys
from pathlib import Path

from absl import app, flags, logging

from bsjax import cli

STORED = Path(__file__).parent / 'cost' / 'stored.py'


def main(_: list[str]) -> None:
  """Measures, writes and prints; a mistake is a sentence and not a traceback."""
  cli.set_up_machine()
  # After the set-up, which must precede any use of JAX.
  from bsjax import data
  from bsjax.config.errors import ConfigError
  from bsjax.console import make_console
  from bsjax.cost import run
  from bsjax.engine.validate import validate
  from bsjax.plan import arms, plan
  from bsjax.report.text import cost
  from bsjax.storage import buckets, workdirs

  wanted, console = flags.FLAGS.config, make_console()
  try:
    validate(wanted)
    with buckets.held_if_free(workdirs.local(flags.FLAGS.workdir)) as workdir:
      if wanted.arms.order:
        raise ConfigError(
          f'this is a study of arms ({", ".join(wanted.arms.order)}); measure one arm at a time: '
          f'--workdir={arms.workdir(workdir, wanted.arms.order[0])}'
        )
      workdirs.refuse_another(workdir, wanted)
      dataset = data.load(wanted.data, wanted.seed)
      study_plan = plan.make_plan(wanted, len(dataset.train))
      measured = run.measure_study(wanted, dataset, study_plan, say=console.print)
      workdir.mkdir(parents=True, exist_ok=True)
      path = run.write(workdir, measured)
  except (ConfigError, data.DataError, OSError) as error:
    logging.debug('', exc_info=error)
    stored = Path(cli.config_file()) == STORED  # its values were set elsewhere
    sys.exit(f'bsjax.native_cost: {error if stored else cli.mistake(error)}')
  console.print(cost.table(measured))
  console.print(f'Written: {path}', soft_wrap=True)


def parse_flags(arguments: list[str]) -> list[str]:
  """Parses the command line, in which a workdir that holds a study stands for its config."""
  named = [word.split('=', 1)[0].lstrip('-') for word in arguments]
  folder = next((word.split('=', 1)[1] for word in arguments if word.startswith('--workdir=')), '')
  if 'config' not in named and folder:
    from bsjax.config.errors import ConfigError
    from bsjax.storage import buckets, workdirs
    from bsjax.storage.records import Damaged

    try:
      path = buckets.fetch(workdirs.local(folder))
    except (ConfigError, Damaged, OSError) as error:
      sys.exit(f'bsjax.native_cost: {error}')
    if not (path / 'config.json').is_file():
      sys.exit(f'bsjax.native_cost: {folder} holds no study; give --config as well')
    arguments = [*arguments[:1], f'--config={STORED}:{path}', *arguments[1:]]
  return cli.parse_flags(arguments)


if __name__ == '__main__':
  cli.define_study_flags()
  app.run(main, flags_parser=parse_flags)
