"""What small studies hold whose workdir is in a bucket, killed and continued on other machines.

  python experiments/surviving/in_s3.py --kills=20

The bucket is that of moto, a server of this machine that speaks S3 (pip install 'moto[server]'
s3fs). Studies run undisturbed in a folder first. Then each runs in the bucket, is killed (SIGKILL)
within a fifth of its time after the first, second or third change of the bucket since its start,
each time to go on with an empty folder, as a machine that has never seen it. What a folder holds
that is fetched at the end is held against the undisturbed one, byte by byte, as `chaos.py` does. A
killed process counts as dead at once here, and after two minutes otherwise. It goes on where
in_s3.json ends.
"""

import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import chaos
from helpers.small import small_config

from bsjax.storage import bucket, buckets
from bsjax.storage.workdirs import local
from bsjax.train.study_run import run_study

HERE = Path(__file__).parent
LONG = {'epochs': 40.0, 'evaluations': 12}


KINDS = {
  'plain': lambda: small_config(**chaos.FEW | LONG),
  'stages': lambda: chaos.staged(**LONG | {'epochs': 20.0}),
  'arms': lambda: chaos.armed(**LONG),
}
MOST_KILLS = 4  # of a study, before it may end
PORT = 5099
SIGNED = {'Authorization': 'AWS4-HMAC-SHA256 Credential=any/x/us-east-1/s3/aws4_request'}
ACCOUNT = {
  'AWS_ACCESS_KEY_ID': 'any',
  'AWS_SECRET_ACCESS_KEY': 'any',
  'AWS_DEFAULT_REGION': 'us-east-1',
  'AWS_ENDPOINT_URL': f'http://127.0.0.1:{PORT}',
}


def child(folder, call):
  """A fork that calls something, with an empty folder for buckets; returns its process id."""

  def in_bucket():
    os.environ |= ACCOUNT | {'BSJAX_STAGING': tempfile.mkdtemp(dir=folder)}
    bucket.SILENCE = 0.0
    return call()

  return chaos.forked(folder / 'log', 2, in_bucket)


def server():
  """Starts the server, with one bucket, and waits until it answers."""
  command = [sys.executable, '-m', 'moto.server', '-p', str(PORT)]
  quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
  running = subprocess.Popen(command, **quiet)
  for _ in range(100):
    try:
      address = f'http://127.0.0.1:{PORT}/studies'
      make = urllib.request.Request(address, method='PUT', headers=SIGNED)
      urllib.request.urlopen(make, timeout=5)
      return running
    except OSError:
      time.sleep(0.3)
  running.kill()
  raise SystemExit("moto does not start: pip install 'moto[server]' s3fs")


def newest(url):
  """The number of the newest head of a study in the bucket; 0: there is none."""
  prefix = f'{url.rpartition("/")[2]}/.bsjax/head-'
  address = f'http://127.0.0.1:{PORT}/studies?list-type=2&prefix={prefix}'
  request = urllib.request.Request(address, headers=SIGNED)
  text = urllib.request.urlopen(request, timeout=60).read().decode()
  time.sleep(0.05)
  return max(map(int, re.findall(r'head-(\d+)\.json', text)), default=0)


def fetched(url, folder):
  """What the bucket holds of a study, as a machine sees it that has never seen it."""
  into = folder / 'fetched'
  shutil.rmtree(into, ignore_errors=True)

  def fetch():
    shutil.copytree(buckets.fetch(local(url)), into)
    return True

  code = chaos.ended(child(folder, fetch))
  return chaos.holds(into) if code == 0 else {}


def kill(process, url, number, after):
  """Kills a process so many seconds after the bucket has a head of this number, unless it ends."""
  if chaos.watched(process, lambda: newest(url) >= number):
    return
  deadline = time.monotonic() + after
  if not chaos.watched(process, lambda: time.monotonic() >= deadline):
    os.kill(process, signal.SIGKILL)


def disturbed(kind, url, folder, chance, expected, seconds):
  """{'kind', 'kills': [what was in the bucket then], 'different'} of one study."""
  kills = []
  for attempt in itertools.count():
    before = newest(url)
    process = child(folder, lambda: run_study(KINDS[kind](), url))
    if attempt < MOST_KILLS:
      kill(process, url, before + chance.randint(1, 3), chance.uniform(0.0, 0.2) * seconds)
    code = chaos.ended(process)
    if code != -signal.SIGKILL:
      break
    pushed = fetched(url, folder)
    rows = {name: text.count('\n') for name, text in pushed.items() if name.endswith('.jsonl')}
    kills.append({'rows': rows, 'ending': any(n.endswith('summary.json') for n in pushed)})
  found = fetched(url, folder)
  wrong = chaos.different(found, expected, kind) if code == 0 else [f'exit code {code}']
  return {'kind': kind, 'kills': kills, 'different': wrong}


def main():
  flags, studies = chaos.asked(__doc__, 20, HERE / 'in_s3.json')
  running = server()
  try:
    with tempfile.TemporaryDirectory() as name:
      folder = Path(name)
      os.environ.setdefault('XDG_CACHE_HOME', name)
      known, end = {}, time.monotonic() + 60 * flags.minutes
      while sum(len(s['kills']) for s in studies) < flags.kills and time.monotonic() < end:
        seed = len(studies)
        kind = list(KINDS)[seed % len(KINDS)]
        if kind not in known:
          known[kind] = undisturbed(kind, folder)
        url = f's3://studies/{seed}'
        studies.append(disturbed(kind, url, folder, random.Random(seed), *known[kind]))
        print(studies[-1], flush=True)
        if studies[-1]['different']:
          print((folder / 'log').read_text()[-3000:], flush=True)
        flags.out.write_text(json.dumps({'studies': studies}, indent=1) + '\n')
  finally:
    running.kill()


def undisturbed(kind, folder):
  """What a study holds in a folder, and the seconds that it takes in the bucket."""
  workdir = folder / kind
  assert chaos.ended(child(folder, lambda: run_study(KINDS[kind](), workdir))) == 0
  start, url = time.monotonic(), f's3://studies/undisturbed-{kind}'
  assert chaos.ended(child(folder, lambda: run_study(KINDS[kind](), url))) == 0
  seconds, expected = time.monotonic() - start, chaos.holds(workdir)
  assert not chaos.different(fetched(url, folder), expected, kind)
  return expected, seconds


if __name__ == '__main__':
  main()
