"""The fleet's transitions on disk: `events.jsonl`, a JSON object a line, kept bounded by rotation.

Standard library only, no clock: the caller gives the time. The disk's troubles are never raised.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, final

from anchor_supervisor.observability.log_store import format_time
from anchor_supervisor.observability.rotation import RotatingFile, open_generations

MAX_BYTES = 4 * 1024 * 1024
MAX_FILES = 3

Entry = Mapping[str, Any]


def journal_file_name(generation: int) -> str:
    """`events.jsonl` is being written; `events.1.jsonl` and so on are older."""
    return f"events.{generation}.jsonl" if generation else "events.jsonl"


@final
class Journal:
    """Appends transitions to the journal in `directory`, the fleet's log directory."""

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int = MAX_BYTES,
        max_files: int = MAX_FILES,
        complain: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """Remember; the directory is made by the first entry."""
        self._file = RotatingFile(
            directory,
            journal_file_name,
            max_bytes=max_bytes,
            max_files=max_files,
            complain=complain,
        )

    def append(self, wall_time_ns: int, event: str, **facts: object) -> None:
        """Add `{"time": ..., "event": event, **facts}`; the facts are what `json` can write."""
        entry = {"time": format_time(wall_time_ns), "event": event, **facts}
        self._file.append(json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file; a later entry opens it again."""
        self._file.close()


def read_entries(directory: Path) -> Iterator[Entry]:
    """Yield every entry that is still there, oldest first; passes over what is not one."""
    for fd in open_generations(directory, journal_file_name):
        with os.fdopen(fd, "rb") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict):
                    yield entry


def last_entries(directory: Path, count: int, *, container: str | None = None) -> list[Entry]:
    """Give the last `count` entries, oldest first; of one instance (`web.1`) where it is named."""
    wanted = (
        entry
        for entry in read_entries(directory)
        if container is None or entry.get("container") == container
    )
    return list(deque(wanted, maxlen=count))
