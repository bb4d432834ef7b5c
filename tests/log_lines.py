"""What our own log is told, as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from anchor_supervisor.observability.log import Log

Entry = dict[str, Any]


@contextmanager
def captured_logs() -> Iterator[list[Entry]]:
    """Collect what is logged in the block instead of writing it: level, event, facts."""
    told: list[Entry] = []

    def take(
        _log: Log, level: str, event: str, facts: Mapping[str, object], *, trace: bool = False
    ) -> None:
        told.append({"log_level": level, "event": event, **facts})

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Log, "_write", take)
        yield told
