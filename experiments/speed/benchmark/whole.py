"""A study as lanes in a process of its own, from its start to its last update: `NAME OPTIONS`."""

import json
import sys


def main(arguments: list[str]) -> None:
  name, options = arguments
  from bsjax.cli import set_up_machine

  set_up_machine()
  from benchmark import lanes_side, works

  work = works.make(name, works.Options(**json.loads(options)))
  sample = lanes_side.lanes(work, lanes_side.chosen(work))(work.examples, None)
  print(json.dumps(sample.losses), file=sys.stderr)


if __name__ == '__main__':
  main(sys.argv[1:])
