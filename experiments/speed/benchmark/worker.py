"""A process that trains what it is told to: a JSON command a line, a JSON answer a line."""

import dataclasses
import json
import os
import sys


def main(arguments: list[str]) -> None:
  """`NAME OPTIONS CORE`: the work, its options as JSON, and the core to stay on (-1: any)."""
  name, options, core = arguments
  if int(core) >= 0:  # before JAX starts its threads
    os.sched_setaffinity(0, {int(core)})
  from benchmark import jax_loop, works

  run = jax_loop.step_loop(works.make(name, works.Options(**json.loads(options))))
  for line in sys.stdin:
    sample = run(*json.loads(line))
    print(json.dumps(dataclasses.asdict(sample)), flush=True)


if __name__ == '__main__':
  main(sys.argv[1:])
