#!/usr/bin/env bash
# A study on all hosts of a Cloud TPU pod, where bsjax is installed in the folder `bsjax` of each:
#
#   scripts/tpu_pod.sh NAME ZONE --config=configs/cifar.py --workdir=/mnt/runs/cifar [--config.KEY=VALUE ...]
#
# The workdir lies on a disk that all hosts see. While the study ends with 75 (unfinished, and saved)
# it is started again.
set -uo pipefail
if [ $# -lt 3 ]; then
  echo "usage: $0 NAME ZONE FLAGS_OF_BSJAX ..." >&2
  exit 1
fi
name=$1 zone=$2
shift 2
command="cd bsjax && . .venv/bin/activate && python -m bsjax.main --distributed$(printf ' %q' "$@")"
code=75
while [ "$code" -eq 75 ]; do
  gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$command"
  code=$?
done
exit "$code"
