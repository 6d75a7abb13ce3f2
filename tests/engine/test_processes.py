"""What processes tell one another, here as threads: values, results, errors, and signs of life."""

import contextlib
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from bsjax.config.errors import ConfigError
from bsjax.engine import processes


class Threads:
  """So many threads, each of which is one of the processes of a study."""

  def __init__(self, count, monkeypatch):
    self.own, self.barrier, self.rows = threading.local(), threading.Barrier(count, timeout=30), {}
    self.number = count
    monkeypatch.setattr(processes, 'count', lambda: count)
    monkeypatch.setattr(processes, 'index', lambda: self.own.index)
    monkeypatch.setattr(processes, 'gather', self.gather)
    monkeypatch.setattr(processes, '_apart', self)

  def gather(self, array):
    self.rows[self.own.index] = array
    self.barrier.wait()
    every = np.concatenate([self.rows[index] for index in range(self.number)])
    self.barrier.wait()
    return every

  def is_set(self):
    return getattr(self.own, 'apart', False)

  def set(self):
    self.own.apart = True

  def clear(self):
    self.own.apart = False

  def run(self, function):
    """What a function returns or raises in each."""
    found = {}

    def one(index):
      self.own.index = index
      try:
        found[index] = function()
      except Exception as error:
        found[index] = error
        if isinstance(error, threading.BrokenBarrierError):
          raise

    threads = [threading.Thread(target=one, args=(index,)) for index in range(self.number)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    return [found[index] for index in range(self.number)]


@pytest.fixture
def three(monkeypatch):
  return Threads(3, monkeypatch)


def test_all_know_the_values_of_all(three):
  values = ['a', {'longer': list(range(300))}, None]
  assert three.run(lambda: processes.exchange(values[processes.index()])) == [values] * 3


def test_the_first_does_it_for_all(three):
  calls = []

  def write():
    calls.append(processes.index())
    # What it does without the others asks none of them.
    return processes.exchange('alone'), processes.first(lambda: 'within')

  assert three.run(lambda: processes.first(write)) == [(['alone'], 'within')] * 3
  assert calls == [0]


def test_together_each_has_a_result_of_its_own(three):
  assert three.run(lambda: processes.together(lambda: 10 * processes.index())) == [0, 10, 20]


@pytest.mark.parametrize('how', ['first', 'together'])
def test_an_error_in_one_is_raised_in_all(three, how):
  def fail():
    if processes.index() == (0 if how == 'first' else 2):
      raise ConfigError('no room')

  found = three.run(lambda: getattr(processes, how)(fail))
  assert [str(error) for error in found] == ['no room'] * 3
  assert not three.run(three.is_set)[0]  # and the next call is of all again
  assert three.run(lambda: processes.exchange(processes.index())) == [[0, 1, 2]] * 3


def test_a_process_alone_tells_itself():
  assert processes.exchange('x') == ['x']
  assert processes.first(lambda: 1) == processes.together(lambda: 1) == 1
  array = np.arange(3)
  assert processes.gather(array) is array
  assert (processes.count(), processes.index(), processes.is_first()) == (1, 0, True)


class Client:
  """What others have said so far, and when."""

  def __init__(self, clock):
    self.clock, self.kept = clock, {}

  def key_value_increment(self, name, by):
    self.kept[name] = self.kept.get(name, 0) + by

  def key_value_set(self, name, value):
    self.kept[name] = value

  def key_value_dir_get(self, name):
    return [(key, value) for key, value in self.kept.items() if key.startswith(name)]


class Ended(BaseException):
  """In place of the end of the process."""


@pytest.fixture
def watching(monkeypatch):
  """Has process 0 watch until its clock is at an end; `beats(clock)` says who lives."""

  def watch(until, beats, index=0, stopped=None):
    clock, said = [0.0], []
    client = Client(clock)
    client.kept |= stopped or {}

    def wait(seconds):
      clock[0] += seconds
      client.kept |= {f'bsjax/alive/{i}': beat for i, beat in beats(clock[0]).items()}
      return clock[0] > until

    def end(sentence, code):
      said.append((clock[0], sentence, code))
      raise Ended

    monkeypatch.setattr(processes, '_ended', SimpleNamespace(wait=wait, is_set=lambda: False))
    monkeypatch.setattr(processes, '_client', lambda: client)
    monkeypatch.setattr(processes, '_end', end)
    monkeypatch.setattr(processes, 'say_stopped', lambda how: said.append(how))
    monkeypatch.setattr(processes.jax, 'process_index', lambda: index)
    monkeypatch.setattr(processes.time, 'monotonic', lambda: clock[0])
    with contextlib.suppress(Ended):
      processes._watch()
    return said, client

  return watch


def test_a_process_counts_as_lost_after_thirty_seconds_of_silence(watching):
  said, client = watching(200, lambda now: {1: now, 2: min(now, 50.0)})
  ((when, sentence, code),) = said
  assert 80 < when <= 84 and 'process 2 of this study has died' in sentence and code == 1
  assert client.kept['bsjax/alive/0'] == when / processes.BEAT


def test_nobody_is_lost_who_gives_signs_of_life_now_and_then(watching):
  assert watching(200, lambda now: {1: now // 28})[0] == []


def test_what_one_was_asked_to_do_the_others_do_and_not_itself(watching):
  stopped = {f'{processes.STOPPED}1': 'SIGTERM'}
  said, _ = watching(10, lambda now: {}, index=0, stopped=stopped)
  how, (_, sentence, code) = said
  assert how == 'SIGTERM' and 'process 1 was stopped by SIGTERM' in sentence
  assert code == 75
  assert watching(10, lambda now: {}, index=1, stopped=stopped)[0] == []


@pytest.mark.parametrize(('devices', 'refused'), [([2, 2, 2], False), ([2, 2, 1], True)])
def test_processes_have_equally_many_devices(devices, refused, monkeypatch):
  monkeypatch.setattr(processes.jax.distributed, 'initialize', lambda *_, **__: None)
  monkeypatch.setattr(processes, '_hear_again', lambda: None)
  monkeypatch.setattr(processes.threading, 'Thread', lambda **_: SimpleNamespace(start=int))
  monkeypatch.setattr(processes, 'exchange', lambda mine: devices)
  words = r'equally many devices each, not \[2, 2, 1\]'
  with pytest.raises(ConfigError, match=words) if refused else contextlib.nullcontext():
    processes.join('here:1', 3, 0)


def test_processes_that_do_not_come_together_say_what_to_give(monkeypatch):
  def fail(*_, **__):
    raise RuntimeError('no answer\nand much more')

  monkeypatch.setattr(processes.jax.distributed, 'initialize', fail)
  with pytest.raises(ConfigError, match=r'did not come together \(no answer\); give each'):
    processes.join()
