"""The sentences of reasons that runs and measures of them give."""

from collections.abc import Callable

OF_RUNS: dict[str, str | Callable[..., str]] = {}
