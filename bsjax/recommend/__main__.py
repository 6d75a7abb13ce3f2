"""`python -m bsjax.recommend --config=FILE --workdir=DIR`: batch sizes for the device at hand.

It runs a short study of the config in DIR, times steps of many batch sizes alone, and writes and
prints what both speak for, recommend.json. The same command goes on where it was stopped.
"""

import sys
from typing import Any

from bsjax.train import stopping

if __name__ == '__main__':
  stopping.leave_on_signal()  # what is imported next takes its time

from absl import app, flags, logging

from bsjax import cli


def main(_: list[str]) -> None:
  """Runs, advises, writes and prints; a mistake is a sentence and not a traceback."""
  cli.set_up_machine()
  # After the set-up, which must precede any use of JAX.
  from bsjax import data
  from bsjax.analysis.runs.histories import settings
  from bsjax.analysis.runs.selection import select
  from bsjax.config.errors import ConfigError
  from bsjax.console import make_console
  from bsjax.engine.validate import validate
  from bsjax.recommend import advice, short_run
  from bsjax.report import stored_study
  from bsjax.report.text import advice as text
  from bsjax.storage import records, workdirs
  from bsjax.storage.records import Damaged
  from bsjax.study import Study
  from bsjax.train import in_bucket

  config = flags.FLAGS.config
  try:
    validate(config)
    workdir = workdirs.local(flags.FLAGS.workdir)
    with in_bucket.held(workdir):
      examples = len(data.load(config.data, config.seed).train.labels)
      study = Study(short_run.short_config(config, examples, flags.FLAGS.share), workdir)
      done = study.run()
      if done:
        cost = records.read_json(workdir / 'native_cost.json')
        tuned = list(select(settings(*stored_study.load(workdir).first)).chosen.values())
        advised: dict[str, Any] = {'undefined': 'no_rate_ended_well'}
        if tuned:
          advised = advice.advise(tuned[0], cost)
        records.write_json(workdir / 'recommend.json', advised)
  except (ConfigError, data.DataError, Damaged, OSError) as error:
    logging.debug('', exc_info=error)
    sys.exit(f'bsjax.recommend: {cli.mistake(error)}')
  if not done:
    sys.exit(stopping.UNFINISHED)
  console = make_console()
  if 'rows' in advised:
    console.print(text.table(advised))
  for sentence in text.sentences(advised, cost):
    console.print(sentence)
  if 'fastest' in advised:
    for trainer, given in text.trainers(advised['fastest'], cost):
      console.print(f'  {trainer}: {given}', soft_wrap=True, markup=False)
  console.print(f'Written: {workdir / "recommend.json"}', soft_wrap=True)


if __name__ == '__main__':
  cli.define_study_flags()
  flags.DEFINE_float('share', 0.1, 'Of training, that is run.')
  app.run(main, flags_parser=cli.parse_flags)
