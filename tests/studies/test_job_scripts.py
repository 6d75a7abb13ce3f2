"""Job scripts of schedulers, run against stand-ins for their commands and environment variables."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from bsjax.storage import records

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / 'scripts'
# Starts its tasks with the variables of Slurm, hands signals on, and ends with the largest code.
SRUN = """
tasks=${SLURM_NTASKS:-1}
pids=()
for ((i = 0; i < tasks; i++)); do
  SLURM_PROCID=$i SLURM_LOCALID=$i SLURM_STEP_NUM_TASKS=$tasks SLURM_STEP_NODELIST=127.0.0.1 "$@" &
  pids+=($!)
  echo $! >> "${PIDS:-/dev/null}"
done
trap 'kill -USR1 "${pids[@]}"' USR1
code=0
for pid in "${pids[@]}"; do
  wait "$pid"; one=$?
  while kill -0 "$pid" 2>/dev/null; do wait "$pid"; one=$?; done
  [ "$one" -gt "$code" ] && code=$one
done
exit "$code"
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
  """A folder of commands that stand in for a cluster's; `log` is what they were called with."""
  commands = tmp_path / 'commands'
  commands.mkdir()
  monkeypatch.setenv('PATH', f'{commands}:{os.environ["PATH"]}')
  monkeypatch.setenv('LOG', str(tmp_path / 'log'))
  monkeypatch.setenv('SLURM_JOB_ID', str(os.getpid()))
  monkeypatch.setenv('SLURM_SUBMIT_DIR', str(ROOT))

  def stand_in(name, text):
    path = commands / name
    path.write_text(f'#!/usr/bin/env bash\n{text}\n')
    path.chmod(0o755)

  stand_in('srun', SRUN)
  stand_in('scontrol', 'echo "scontrol $*" >> "$LOG"')
  return stand_in


def log(tmp_path):
  path = tmp_path / 'log'
  return path.read_text() if path.exists() else ''


FLAGS = ['--config=a.py', '--workdir=/runs/a b', '--config.batch_sizes=(8, 16)']


@pytest.mark.parametrize('code', [0, 1, 75])
def test_a_slurm_job_is_queued_again_when_it_is_unfinished(code, cluster, tmp_path, monkeypatch):
  cluster('python', f'printf "%s|" "$@" >> "$LOG"; exit {code}')
  monkeypatch.setenv('PYTHON', 'python')
  done = subprocess.run([SCRIPTS / 'slurm.sbatch', *FLAGS], check=False)
  assert done.returncode == code
  assert log(tmp_path).startswith('|'.join(['-m', 'bsjax.main', *FLAGS]) + '|')
  assert ('scontrol requeue' in log(tmp_path)) == (code == 75)


@pytest.mark.parametrize('code, copied, ends', [(0, 0, 0), (0, 1, 1), (75, 1, 75), (1, 0, 1)])
def test_a_slurm_job_copies_what_is_whole_to_a_bucket(
  code, copied, ends, cluster, tmp_path, monkeypatch
):
  cluster('python', f'exit {code}')
  cluster('gsutil', f'printf "%s|" "$@" >> "$LOG"; exit {copied}')
  environment = os.environ | {'PYTHON': 'python', 'BSJAX_COPY': 'gs://b/runs'}
  assert subprocess.call([SCRIPTS / 'slurm.sbatch', *FLAGS], env=environment) == ends
  assert ('-m|rsync|-r|/runs/a b|gs://b/runs|' in log(tmp_path)) == (code != 1)
  assert ('scontrol requeue' in log(tmp_path)) == (code == 75)


@pytest.mark.parametrize(
  'given, shard',
  [
    ({'SLURM_ARRAY_TASK_COUNT': '8'}, '3/8'),
    ({'SLURM_ARRAY_TASK_COUNT': '1', 'BSJAX_SHARDS': '8'}, '3/8'),
  ],
)
def test_a_task_of_a_slurm_array_is_a_shard(given, shard, cluster, tmp_path, monkeypatch):
  cluster('python', 'printf "%s|" "$@" >> "$LOG"; exit 75')
  environment = os.environ | given | {'PYTHON': 'python', 'SLURM_ARRAY_TASK_ID': '3'}
  assert subprocess.call([SCRIPTS / 'slurm.sbatch', *FLAGS], env=environment) == 75
  assert f'|{FLAGS[-1]}|--shard={shard}|' in log(tmp_path)
  assert log(tmp_path).rstrip().endswith(f'scontrol requeue {os.getpid()}')  # this task alone


def test_a_slurm_job_hands_the_warning_on_and_waits_for_the_end(cluster, tmp_path, monkeypatch):
  cluster(
    'python',
    'trap \'sleep 0.5; echo saved >> "$LOG"; exit 75\' USR1; echo begun >> "$LOG"; '
    'while true; do sleep 0.05; done',
  )
  monkeypatch.setenv('PYTHON', 'python')
  job = subprocess.Popen([SCRIPTS / 'slurm.sbatch', *FLAGS], env=os.environ | {'SLURM_NTASKS': '2'})
  while log(tmp_path).count('begun') < 2:
    assert job.poll() is None
    time.sleep(0.02)
  job.send_signal(signal.SIGUSR1)
  assert job.wait(30) == 75
  assert log(tmp_path).count('saved') == 2
  assert log(tmp_path).rstrip().endswith(f'scontrol requeue {os.getpid()}')


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGUSR1, signal.SIGTERM])
def test_two_tasks_of_slurm_train_one_study_and_go_on_when_queued_again(
  number, cluster, tmp_path, monkeypatch
):
  """Before its end the script alone is told, and of preemption its processes are, too."""
  monkeypatch.setenv('PYTHON', sys.executable)
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  study = [
    *('--config=configs/digits.py', '--config.model.width=8', '--config.batch_sizes=16,64'),
    *('--config.learning_rates=0.1', '--config.trials=2', '--config.epochs=60'),
    *('--config.evaluations=6', '--config.data.train_examples=300', '--config.execution.devices=1'),
    *('--config.execution.strategy=map-canonical', '--config.noise_scale.exact_examples=0'),
    *('--config.checkpoint.seconds=0', f'--workdir={tmp_path / "study"}'),
  ]
  environment = os.environ | {'SLURM_NTASKS': '2', 'PIDS': str(tmp_path / 'pids')}
  job = subprocess.Popen([SCRIPTS / 'slurm.sbatch', *study], env=environment)
  rows = tmp_path / 'study' / 'records.jsonl'
  deadline = time.monotonic() + 120
  while not rows.exists() or not rows.read_text():
    assert job.poll() is None and time.monotonic() < deadline
    time.sleep(0.02)
  for pid in (tmp_path / 'pids').read_text().split() if number == signal.SIGTERM else ():
    os.kill(int(pid), number)
  job.send_signal(number)
  assert job.wait(120) == 75
  assert 'scontrol requeue' in log(tmp_path) and list((tmp_path / 'study/checkpoints').iterdir())
  assert subprocess.call([SCRIPTS / 'slurm.sbatch', *study], env=environment) == 0
  assert len({row['examples'] for row in records.read(rows)}) == 7
  assert (tmp_path / 'study' / 'summary.json').exists()


def test_a_pod_of_kubernetes_is_one_process_of_the_study():
  service, job = yaml.safe_load_all((SCRIPTS / 'k8s.yaml').read_text())
  spec, pod = job['spec'], job['spec']['template']['spec']
  (container,) = pod['containers']
  variables = {one['name']: one for one in container['env']}
  count = spec['completions']
  assert spec['completionMode'] == 'Indexed' and spec['parallelism'] == count
  assert int(variables['BSJAX_PROCESSES']['value']) == count
  path = variables['BSJAX_PROCESS']['valueFrom']['fieldRef']['fieldPath']
  assert path == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
  host, _, port = variables['BSJAX_COORDINATOR']['value'].partition(':')
  assert host == f'{job["metadata"]["name"]}-0.{service["metadata"]["name"]}' and int(port) > 1024
  assert pod['subdomain'] == service['metadata']['name'] and service['spec']['clusterIP'] == 'None'
  assert service['spec']['selector'] == {'job-name': job['metadata']['name']}
  again = [
    rule['onExitCodes'] for rule in spec['podFailurePolicy']['rules'] if 'onExitCodes' in rule
  ]
  assert again == [{'operator': 'In', 'values': [75]}] and pod['restartPolicy'] == 'Never'
  # What a pod runs reads these variables, as a process with this index.
  environment = {one: variables[one].get('value', '1') for one in variables}
  program = (
    'import sys; from absl import flags; from bsjax import cli; cli.define_process_flags(); '
    'given = flags.FLAGS; given(sys.argv[:1]); '
    'print(given.coordinator, given.processes, given.process)'
  )
  told = subprocess.run(
    [sys.executable, '-c', program],
    env=os.environ | environment,
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert told.stdout.split() == [f'{host}:{port}', str(count), '1']
  assert container['command'] == ['python', '-m', 'bsjax.main']


def test_a_pod_of_an_indexed_job_is_a_shard(cluster, tmp_path):
  cluster('python', 'printf "%s|" "$@" >> "$LOG"; exit 75')
  job = yaml.safe_load((SCRIPTS / 'k8s_shards.yaml').read_text())
  spec, pod = job['spec'], job['spec']['template']['spec']
  (container,) = pod['containers']
  environment = os.environ | {'JOB_COMPLETION_INDEX': str(spec['completions'] - 1)}
  assert subprocess.call([*container['command'], *FLAGS], env=environment) == 75
  last = spec['completions']
  assert log(tmp_path) == '|'.join(['-m', 'bsjax.main', f'--shard={last}/{last}', *FLAGS]) + '|'
  assert spec['completionMode'] == 'Indexed' and pod['restartPolicy'] == 'Never'
  again = spec['podFailurePolicy']['rules'][0]
  assert again == {'action': 'Ignore', 'onExitCodes': {'operator': 'In', 'values': [75]}}


def test_a_tpu_pod_runs_the_command_on_all_hosts_until_it_is_done(cluster, tmp_path):
  """Its first end is 75, its second 0."""
  cluster(
    'gcloud', 'printf "%s|" "$@" >> "$LOG"; [ "$(grep -o tpu-vm "$LOG" | wc -l)" -gt 1 ] || exit 75'
  )
  done = subprocess.run([SCRIPTS / 'tpu_pod.sh', 'pod', 'zone-a', *FLAGS], check=False)
  assert done.returncode == 0
  first, second = log(tmp_path).split('compute|')[1:]
  assert first == second
  assert '|ssh|pod|--zone=zone-a|--worker=all|--command=' in first
  command = first.partition('--command=')[2].rstrip('|')
  words = subprocess.run(
    ['bash', '-c', command.partition('activate && ')[2].replace('python -m', 'printf "%s|"')],
    capture_output=True,
    text=True,
    check=True,
  )
  assert words.stdout == '|'.join(['bsjax.main', '--distributed', *FLAGS]) + '|'
  assert subprocess.run([SCRIPTS / 'tpu_pod.sh', 'pod'], check=False).returncode == 1
