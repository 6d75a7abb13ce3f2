"""`python -m bsjax.main --config=FILE --workdir=DIR` trains a study, or continues it.

A study that comes with bsjax; the plan and cost of a smaller one; three more trials of the first:

  python -m bsjax.main --config=digits --workdir=runs/digits
  python -m bsjax.main --config=digits --workdir=runs/two --config.batch_sizes=64,256 --dry_run
  python -m bsjax.main --config=digits --workdir=runs/digits --config.trials=8 --extend

Exit codes: 0, nothing is left to do; 75, stopped by a signal, run the same command again; 1,
something is wrong, which stands on stderr.
"""

import sys

from bsjax.train import stopping

if __name__ == '__main__':
  stopping.leave_on_signal()  # what is imported next takes its time

from absl import app, flags, logging

from bsjax import cli


def main(_: list[str]) -> None:
  cli.set_up_machine()
  # After the set-up, which must precede any use of JAX.
  from bsjax.config.errors import ConfigError
  from bsjax.data import DataError
  from bsjax.engine import processes
  from bsjax.storage.records import Damaged
  from bsjax.study import Study
  from bsjax.train.transfer import TransferError

  given = flags.FLAGS
  try:
    if given.coordinator or given.distributed or processes.wanted():
      stopping.leave_on_signal(processes.say_stopped)
      processes.join(given.coordinator, given.processes, given.process)
    parts = cli.parts(given.config, cli.config_file())
    study = Study(given.config, given.workdir, shard=given.shard, **parts)
    if given.extend and given.target:
      raise ConfigError(f'--target={given.target} is for a whole study; leave --extend out')
    if given.extend:
      done = study.extend(dry_run=given.dry_run)
    else:
      done = study.run(given.dry_run, given.target)
  except (ConfigError, DataError, TransferError, Damaged, OSError) as error:
    logging.debug('', exc_info=error)
    processes.leave()
    sys.exit(f'bsjax: {cli.mistake(error)}')
  except Exception as error:
    if processes.count() == 1:
      raise
    logging.debug('', exc_info=error)
    processes.die(str(error) or type(error).__name__)  # the others must not wait for this one
  processes.leave()
  if not done:
    sys.exit(stopping.UNFINISHED)


if __name__ == '__main__':
  __doc__ = cli.help_text(__doc__)
  cli.define_study_flags()
  cli.define_process_flags()
  flags.DEFINE_string('shard', '', 'i/n: train this share of the lanes, for one of n tasks.')
  flags.DEFINE_bool('dry_run', False, 'Print the plan, with its cost, and stop.')
  flags.DEFINE_bool(
    'extend',
    False,
    'Add to the study in --workdir what it lacks, such as --config.trials=8: only that is trained. '
    'With more epochs or evaluations all lanes go on, or are trained again.',
  )
  flags.DEFINE_string('target', '', 'With --dry_run: an accelerator to foresee, such as H100.')
  app.run(main, flags_parser=cli.parse_flags)
