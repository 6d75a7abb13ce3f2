"""The audit: which conclusions of anybody's curves stand. `bsjax.audit(dataframe, ...)` asks it."""

import sys
import types
from typing import Any


def audit(table: Any, columns: Any = '', **said: Any) -> Any:
  """Returns the `Audit` of a DataFrame, or of the path of a file or several.

  `columns` names them as --columns does, as text or a mapping; `said` are the other fields of
  `judgement.Options`. Raises Problem, with row, column and remedy, where a table cannot be read.
  """
  from bsjax.audit import columns as columns_
  from bsjax.audit.judgement import Options, judge_files, judge_frame
  from bsjax.audit.output import Audit

  named = columns_.parse(columns) if isinstance(columns, str) else dict(columns)
  options = Options(named, **said)
  if hasattr(table, 'columns'):
    return Audit(judge_frame(table, options))
  paths = table if isinstance(table, list | tuple) else [table]
  return Audit(judge_files(paths, options))


class _Callable(types.ModuleType):
  """The room is called by its name: bsjax.audit(dataframe)."""

  def __call__(self, *arguments: Any, **said: Any) -> Any:
    return audit(*arguments, **said)


sys.modules[__name__].__class__ = _Callable
