"""`python -m bsjax.report --workdir=DIR`: writes the page of a study, or of a study of arms.

`python -m bsjax.report --compare A B C --out=DIR` writes one page of several studies or audits.
"""

import gc
import sys
from pathlib import Path

if __name__ == '__main__':
  gc.disable()  # a report leaves few circles, and looking for them takes a tenth of its time

from absl import app, flags

from bsjax import cli
from bsjax.config.errors import ConfigError
from bsjax.console import printable
from bsjax.plan.arms import FOLDER
from bsjax.report import arms_page, compare, overview, study_page
from bsjax.storage import buckets, workdirs
from bsjax.storage.records import Damaged


def main(argv: list[str]) -> None:
  if flags.FLAGS.compare:
    compare.main(argv)
    return
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {" ".join(argv[1:])}')
  if not flags.FLAGS.workdir:
    raise app.UsageError('Say which study: --workdir=DIR, or several: --compare A B C --out=DIR')
  try:
    with buckets.held_if_free(workdirs.local(flags.FLAGS.workdir)) as workdir:
      page = (arms_page if (workdir / FOLDER).is_dir() else study_page).write(workdir)
    print(printable(str(page), sys.stdout.encoding))
    if flags.FLAGS.overview:
      overview.save(workdir, Path(flags.FLAGS.overview))
  except (ConfigError, Damaged, OSError) as error:
    raise SystemExit(f'Error: {error}') from error


if __name__ == '__main__':
  flags.DEFINE_string('workdir', None, 'Directory of a study, finished or not.')
  flags.DEFINE_string('overview', None, 'Also draw its main figures into this image file.')
  flags.DEFINE_bool(
    'compare', False, 'Put several studies or audits, named as arguments, on a page.'
  )
  compare.define_flags()
  app.run(main, flags_parser=cli.parse_flags)
