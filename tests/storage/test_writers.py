"""Writers beside records.jsonl: told everything in order, and never in the way of training."""

from absl import logging

from bsjax.config.keys import base_config
from bsjax.storage.writers import Mirrors, Writer

CONFIG = base_config()


class Noting:
  """A writer that notes what it is told, and may fail at one of its methods."""

  def __init__(self, fails_at=''):
    self.told, self.fails_at = [], fails_at

  def _note(self, name, value=None):
    self.told.append((name, value))
    if name == self.fails_at:
      raise OSError('the disk is full')

  def begin(self, config, plan):
    self._note('begin', (config, plan))

  def rows(self, rows):
    self._note('rows', rows)

  def summary(self, summary):
    self._note('summary', summary)

  def close(self):
    self._note('close')


def tell_everything(mirrors):
  mirrors.begin(CONFIG, [{'lane': 0}])
  mirrors.rows([{'lane': 0, 'examples': 0}])
  mirrors.rows([{'lane': 0, 'examples': 8}])
  mirrors.summary({'answer': 1})
  mirrors.close()


def test_writers_are_told_everything_in_order():
  writers = Noting(), Noting()
  assert all(isinstance(writer, Writer) for writer in writers)
  tell_everything(Mirrors(writers))
  for writer in writers:
    assert writer.told == [
      ('begin', (CONFIG, [{'lane': 0}])),
      ('rows', [{'lane': 0, 'examples': 0}]),
      ('rows', [{'lane': 0, 'examples': 8}]),
      ('summary', {'answer': 1}),
      ('close', None),
    ]


def test_a_writer_that_fails_is_warned_about_once_and_told_no_more(monkeypatch):
  warnings = []
  monkeypatch.setattr(logging, 'warning', lambda text, *values: warnings.append(text % values))
  for name in ('begin', 'rows', 'summary', 'close'):
    failing, other = Noting(fails_at=name), Noting()
    warnings.clear()
    tell_everything(Mirrors([failing, other]))
    assert [method for method, _ in failing.told][-1] == name
    assert [method for method, _ in failing.told].count(name) == 1
    assert [method for method, _ in other.told] == ['begin', 'rows', 'rows', 'summary', 'close']
    assert len(warnings) == 1
    assert all(word in warnings[0] for word in ('Noting', 'OSError', 'the disk is full'))
