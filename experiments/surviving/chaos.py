"""What small studies hold after they were killed at random moments, also on other devices.

  python experiments/surviving/chaos.py --kills=40

Studies of stages with branches, of arms, with evaluations on a subset, with every checkpoint kept,
and with learning rates that are dropped or diverge run undisturbed on two devices first. Then each
is begun anew, killed (SIGKILL) at a random moment, and continued on two or three devices, until it
has ended: one time in six between the start of the command and its first row of records, else
within half of the time from a new row to the end. What it holds then is held against the
undisturbed one, byte by byte. It goes on where chaos.json ends. Processes are forks of one that has
imported everything, so that moments are those of the study, and figures are left blank.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]

import jax  # noqa: E402
from helpers.small import small_config  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from bsjax import arms, cli, stages  # noqa: E402
from bsjax.report.figures import drawing  # noqa: E402
from bsjax.storage import checkpoint, records  # noqa: E402
from bsjax.train.study_run import run_study  # noqa: E402

FEW = {
  'batch_sizes': (8, 16),
  'learning_rates': (0.1,),
  'trials': 2,
  'evaluations': 4,
  'checkpoint__seconds': 0.0,
  'micro_batch': 8,
}
DEVICES = 2, 2, 3  # each has two of the four lanes; one with all four rounds otherwise
MOST_KILLS = 6  # of a study, before it may end
FILES = 'records.jsonl', 'subset_records.jsonl', 'plan.csv'
OF_A_START = 'provenance', 'hardware'  # of summary.json: on which machine and devices it began


def staged(epochs=2.0, **changes):
  config = small_config(**FEW | {'epochs': epochs} | changes)
  stages.add(config, 'first', epochs=epochs)
  stages.add(config, 'last', epochs=epochs, batch_size=('keep', 'multiply:2'))
  return config


def armed(**changes):
  config = small_config(**FEW | changes)
  arms.add(config, 'narrow', {})
  arms.add(config, 'wide', {'model': {'width': 16}})
  return config


def dropped():
  """Learning rates that are dropped on the way, and one at which all lanes diverge."""
  rates = {'learning_rates': (0.001, 0.01, 0.05, 0.1, 0.2, 1e20), 'evaluations': 8}
  return small_config(**FEW | rates, epochs=4.0, halving__rungs=(0.25, 0.5))


KINDS = {
  'stages': staged,
  'arms': armed,
  'subset': lambda: small_config(**FEW, epochs=4.0, evaluation__subset=12),
  'keep_all': lambda: small_config(**FEW, epochs=4.0, checkpoint__keep_all=True),
  'dropped': dropped,
}


def forked(log, devices, call):
  """A fork that calls what returns whether nothing is left to do; returns its process id."""
  if process := os.fork():
    return process
  try:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1), os.dup2(file, 2)
    cli.set_up_machine()
    jax.config.update('jax_num_cpu_devices', devices)
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
    drawing.draw = lambda *_: Figure((1, 1))
    os._exit(0 if call() else 75)
  except BaseException:
    traceback.print_exc()
    os._exit(1)


def child(kind, workdir, devices):
  """A fork that runs the command of a study; returns its process id."""
  return forked(workdir.with_suffix('.log'), devices, lambda: run_study(KINDS[kind](), workdir))


def ended(process):
  """The exit code of a child once it has ended; minus the signal that ended it."""
  return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def holds(workdir):
  """What `_holds` says, by a fork: reading checkpoints starts the devices of a process."""
  answer = workdir.with_suffix('.json')
  answer.unlink(missing_ok=True)  # that of the study before
  if not (process := os.fork()):
    try:
      answer.write_text(json.dumps(_holds(workdir)))
    except BaseException:
      traceback.print_exc()
    finally:
      os._exit(0)
  ended(process)
  if not answer.exists():
    kept = shutil.copytree(workdir, tempfile.mkdtemp(prefix='chaos-'), dirs_exist_ok=True)
    raise SystemExit(f'what {workdir} holds could not be read; it is kept in {kept}')
  return json.loads(answer.read_text())


def _holds(workdir):
  """Everything that a finished study of one training holds, or of arms by their folders."""
  found = {}
  for path in sorted(workdir.rglob('*')):
    name = str(path.relative_to(workdir))
    if path.name in FILES:
      found[name] = path.read_text()
    elif path.name == 'summary.json':
      found[name] = json.dumps(_without(records.read_json(path), OF_A_START), sort_keys=True)
    elif path.name == 'checkpoints':
      with checkpoint.open_to_read(path.parent) as manager:
        for examples, step in checkpoint.steps(manager).items():
          weights, where = checkpoint.restore_weights(manager, step)
          found[f'{name} at {examples}'] = checkpoint.checksum(weights), str(where)
  return found


def _without(content, names):
  if isinstance(content, dict):
    return {key: _without(value, names) for key, value in content.items() if key not in names}
  return [_without(item, names) for item in content] if isinstance(content, list) else content


def different(found, expected, kind):
  """What differs; of checkpoints that are not all kept only the last is asked for."""
  names = set(expected) | set(found)
  if kind != 'keep_all':
    places = {name.rpartition(' at ')[0] for name in names if ' at ' in name}
    last = {max((n for n in expected if n.startswith(f'{place} at ')), key=_examples)
            for place in places}  # fmt: skip
    names = {name for name in names if ' at ' not in name} | last
  return sorted(name for name in names if found.get(name) != expected.get(name))


def _examples(name):
  return int(name.rpartition(' ')[2])


def rows(workdir):
  """How many rows of records there are, of each training."""
  return {p.parent.name: p.read_text().count('\n') for p in workdir.rglob('records.jsonl')}


def watched(process, until):
  """Waits until the process has ended, or `until` says so; returns whether it has ended."""
  while not (over := os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
    if until():
      return False
    time.sleep(0.005)
  return bool(over)


def undisturbed(kind, folder):
  """What it holds, the seconds to its first row of records, and those from there to its end."""
  workdir, start = folder / kind, time.monotonic()
  process = child(kind, workdir, 2)
  watched(process, lambda: any(rows(workdir).values()))
  first = time.monotonic() - start
  assert ended(process) == 0, workdir.with_suffix('.log').read_text()
  seconds = time.monotonic() - start - first
  found = holds(workdir)
  assert any('checkpoints' in name for name in found), found.keys()
  return found, first, seconds


def killed(process, workdir, chance, first, seconds):
  """Kills a child at a random moment, unless it has ended; returns its exit code."""
  before, early = rows(workdir), chance.random() < 1 / 6
  after = chance.uniform(0.0, first if early else seconds / 2)  # most are killed, few end before
  if early or not watched(process, lambda: rows(workdir) != before):
    deadline = time.monotonic() + after
    if not watched(process, lambda: time.monotonic() >= deadline):
      os.kill(process, signal.SIGKILL)
  return ended(process)


def disturbed(kind, folder, chance, expected, *times):
  """{'kind', 'kills': [{'devices', 'rows', 'ending'}], 'different'} of one study."""
  workdir, kills = folder / 'study', []
  for path in (workdir, workdir.with_suffix('.log')):
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
  for attempt in itertools.count():
    devices = chance.choice(DEVICES)
    process = child(kind, workdir, devices)
    code = killed(process, workdir, chance, *times) if attempt < MOST_KILLS else ended(process)
    if code != -signal.SIGKILL:
      break
    ending = any(workdir.rglob('summary.json'))
    kills.append({'devices': devices, 'rows': rows(workdir), 'ending': ending})
  wrong = different(holds(workdir), expected, kind) if code == 0 else [f'exit code {code}']
  return {'kind': kind, 'kills': kills, 'different': wrong, 'last_devices': devices}


def asked(about, kills, out):
  """The flags of the command line, by default so many kills, and the studies that are there."""
  parser = argparse.ArgumentParser(description=about.splitlines()[0])
  parser.add_argument('--kills', type=int, default=kills)
  parser.add_argument('--minutes', type=float, default=7.0)
  parser.add_argument('--out', type=Path, default=out)
  flags = parser.parse_args()
  return flags, json.loads(flags.out.read_text())['studies'] if flags.out.exists() else []


def main():
  flags, studies = asked(__doc__, 40, HERE / 'chaos.json')
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    os.environ.setdefault('XDG_CACHE_HOME', name)
    known = {kind: undisturbed(kind, folder) for kind in KINDS}
    end = time.monotonic() + 60 * flags.minutes
    while sum(len(study['kills']) for study in studies) < flags.kills and time.monotonic() < end:
      kind = list(KINDS)[len(studies) % len(KINDS)]
      study = disturbed(kind, folder, random.Random(len(studies)), *known[kind])
      studies.append(study)
      print(study, flush=True)
      if study['different']:
        print((folder / 'study.log').read_text()[-3000:], flush=True)
      flags.out.write_text(json.dumps(summed(studies), indent=1) + '\n')


def summed(studies):
  """The file: counts by kind, and every study."""
  by_kind = {
    kind: {
      'studies': len(own),
      'kills': sum(len(study['kills']) for study in own),
      'before_any_row': sum(not any(k['rows'].values()) for study in own for k in study['kills']),
      'while_ending': sum(kill['ending'] for study in own for kill in study['kills']),
      'different': sum(bool(study['different']) for study in own),
    }
    for kind in KINDS
    if (own := [study for study in studies if study['kind'] == kind])
  }
  return {'kinds': by_kind, 'studies': studies}


if __name__ == '__main__':
  main()
