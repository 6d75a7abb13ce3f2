"""What a study that gets more epochs or evaluations does with the lanes that are there."""

from __future__ import annotations

from pathlib import Path

AGAIN = {
  'settings': 'there are other settings besides',
  'subset': 'rows of evaluation.subset are not taken over',
  'positions': 'they are evaluated, or stages end, at other positions up to where they are',
  'schedule': 'the learning rate goes by the length of training',
  'weights': 'no more than weights is saved of the lanes there, or nothing yet',
  'diverged': 'all lanes there have diverged',
}


def longer(lanes: int, again: str, there: Path) -> str:
  """Says how many lanes begin anew, and why, or go on (`again` is '')."""
  if not again:
    return f'{lanes} lanes go on from where those in {there} are.'
  return (
    f'{lanes} lanes are trained again from their beginning, because {AGAIN[again]}; what is in '
    f'{there} is kept, at last in extensions.'
  )
