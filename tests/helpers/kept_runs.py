"""All cases that `tests/studies/test_kept_runs.py` keeps: what computes with JAX, or is on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from helpers.kept import Kept, Tolerance
from helpers.kept_disk import DISK
from helpers.kept_learning import LEARNING
from helpers.kept_machines import MACHINES
from helpers.kept_noise import NOISE
from helpers.kept_sharpness import SHARPNESS
from helpers.kept_streams import STREAMS
from helpers.kept_trainings import TRAININGS
from helpers.kept_writers import TOLD

FOLDER = Path(__file__).parents[1] / 'studies' / 'kept'
# Other processors add up in another order, and numbers of a list come from one array.
LOOSE = Tolerance(relative=2e-4, absolute=1e-6, of_lists=True)
CALLS = {**LEARNING, **NOISE, **STREAMS, **MACHINES, **DISK, **TOLD, **SHARPNESS}
CASES: dict[str, Callable[[], Kept]] = {**CALLS, **TRAININGS}
