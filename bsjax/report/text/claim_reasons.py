"""The sentences of reasons that claims give."""

from collections.abc import Callable

OF_CLAIMS: dict[str, str | Callable[..., str]] = {}
