"""Writers: objects that are told of every row once it is in records.jsonl."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from absl import logging
from ml_collections import ConfigDict

from bsjax.storage.records import Row


@runtime_checkable
class Writer(Protocol):
  """Takes what a training tells, in this order; each training of a study begins and closes it.

  A study of arms, or with pretraining, has several trainings, and a continued one begins again.
  Rows between the last checkpoint and an interruption come twice; the later ones count.
  """

  def begin(self, config: ConfigDict, plan: Sequence[Row]) -> None:
    """Told before the first row: the config, and the rows of plan.csv, one per lane."""

  def rows(self, rows: Sequence[Row]) -> None:
    """Told at every evaluation: rows of records.jsonl, one per lane."""

  def summary(self, summary: Mapping[str, Any]) -> None:
    """Told when training is done: the content of summary.json."""

  def close(self) -> None:
    """Told last, also where training was stopped or failed."""


class Mirrors:
  """Passes everything on to writers; one that fails is warned about once, and told no more."""

  def __init__(self, writers: Sequence[Writer]):
    self._writers = list(writers)

  def begin(self, config: ConfigDict, plan: Sequence[Row]) -> None:
    self._tell(lambda writer: writer.begin(config, plan))

  def rows(self, rows: Sequence[Row]) -> None:
    self._tell(lambda writer: writer.rows(rows))

  def summary(self, summary: Mapping[str, Any]) -> None:
    self._tell(lambda writer: writer.summary(summary))

  def close(self) -> None:
    self._tell(lambda writer: writer.close())

  def _tell(self, tell: Callable[[Writer], None]) -> None:
    for writer in list(self._writers):
      try:
        tell(writer)
      except Exception as error:  # whatever a writer does, training goes on
        self._writers.remove(writer)
        logging.warning(
          'the writer %s failed (%s: %s) and is told no more; records.jsonl has all rows',
          type(writer).__name__,
          type(error).__name__,
          error,
        )
