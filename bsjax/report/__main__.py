"""`python -m bsjax.report --workdir=DIR`: writes the page of a study, or of a study of arms."""

import sys
from pathlib import Path

from absl import app, flags

from bsjax import cli
from bsjax.console import printable
from bsjax.plan.arms import FOLDER
from bsjax.report import arms_page, overview, study_page
from bsjax.storage.records import Damaged


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'Unknown arguments: {" ".join(argv[1:])}')
  workdir = Path(flags.FLAGS.workdir).expanduser()
  try:
    page = (arms_page if (workdir / FOLDER).is_dir() else study_page).write(workdir)
    print(printable(str(page), sys.stdout.encoding))
    if flags.FLAGS.overview:
      overview.save(workdir, Path(flags.FLAGS.overview))
  except (FileNotFoundError, Damaged) as error:
    raise SystemExit(f'Error: {error}') from error


if __name__ == '__main__':
  flags.DEFINE_string('workdir', None, 'Directory of a study, finished or not.', required=True)
  flags.DEFINE_string('overview', None, 'Also draw its main figures into this image file.')
  app.run(main, flags_parser=cli.parse_flags)
