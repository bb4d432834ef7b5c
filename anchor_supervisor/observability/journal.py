"""What happened to a fleet, on disk: `events.jsonl`, a JSON object a line, bounded by rotation.

``transition`` is a change of an instance's state or health; ``update`` the end of a container's
update; ``oom``, ``memory-high``, ``throttled`` and ``pressure`` what the kernel says of its memory
and processor; ``refresh`` a change taken over while it runs; ``deaf`` that its stop signal does
nothing; ``clock`` that the wall clock was set.
Entries outlive the supervisor that wrote them, and the fleet.

Standard library only, no clock: the caller gives the time. The disk's troubles are never raised.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from anchor_supervisor.observability.log_store import format_time
from anchor_supervisor.observability.rotation import GenerationReader, RotatingFile

MAX_BYTES = 4 * 1024 * 1024
MAX_FILES = 3

Entry = Mapping[str, Any]

_encode = json.JSONEncoder(separators=(",", ":")).encode  # `dumps` makes one at every call


def journal_file_name(generation: int) -> str:
    """`events.jsonl` is being written; `events.1.jsonl` and so on are older."""
    return f"events.{generation}.jsonl" if generation else "events.jsonl"


def entry_at(wall_time_ns: int, event: str, **facts: object) -> Entry:
    """`{"time": ..., "event": event, **facts}`; the facts are what `json` can write."""
    return {"time": format_time(wall_time_ns), "event": event, **facts}


@final
class Journal:
    """Appends entries to the journal in `directory`, the fleet's log directory."""

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
        self.append_all([entry_at(wall_time_ns, event, **facts)])

    def append_all(self, entries: Iterable[Entry]) -> None:
        """Add these, each as `entry_at` gives it, in one go."""
        self._file.append("".join([_encode(entry) + "\n" for entry in entries]).encode())

    def close(self) -> None:
        """Close the file; a later entry opens it again."""
        self._file.close()


@final
class JournalCursor:
    """A place in the journal that only moves forward, across rotations.

    `since`: a time as `format_time` writes it; nothing older. `names`: containers (`web`) or
    instances (`web.1`); none: all. `at_end`: only what is written from now on.
    """

    def __init__(
        self,
        directory: Path,
        *,
        since: str | None = None,
        names: Collection[str] = (),
        at_end: bool = False,
    ) -> None:
        """Open the files that are there."""
        self._since = since or ""
        self._names = frozenset(names)
        self._words = [json.dumps(name)[1:-1].encode() for name in names]
        self._reader = GenerationReader(
            directory, journal_file_name, lambda written: format_time(written) < self._since
        )
        if at_end:
            self._reader.skip_to_end()

    def __enter__(self) -> Self:
        """Own the open files until the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self._reader.close()

    def read_some(self) -> list[Entry] | None:
        """Give the next entries; perhaps none of a block were wanted. None: no more for now.

        Passes over what is not an entry.
        """
        lines = self._reader.read_lines()
        if lines is None:
            return None
        found = (_parse(line) for line in lines if self._may_concern(line))
        return [entry for entry in found if entry is not None and self._wants(entry)]

    def _may_concern(self, line: bytes) -> bool:
        return not self._words or any(word in line for word in self._words)

    def _wants(self, entry: Entry) -> bool:
        return entry["time"] >= self._since and (not self._names or concerns(entry, self._names))


def _parse(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = (
        isinstance(entry, dict)
        and isinstance(entry.get("time"), str)
        and isinstance(entry.get("event"), str)
    )
    return entry if whole else None


def concerns(entry: Entry, names: Collection[str]) -> bool:
    """Whether an entry is about one of these containers (`web`) or instances (`web.1`)."""
    about = entry.get("container")
    if not isinstance(about, str):
        return False
    container, _, replica = about.rpartition(".")
    return about in names or (replica.isdecimal() and container in names)


def read_entries(
    directory: Path, *, since: str | None = None, names: Collection[str] = ()
) -> Iterator[Entry]:
    """Yield every entry that is still there, oldest first. The arguments are the cursor's."""
    with JournalCursor(directory, since=since, names=names) as cursor:
        while (entries := cursor.read_some()) is not None:
            yield from entries


def last_entries(
    directory: Path,
    count: int,
    *,
    since: str | None = None,
    names: Collection[str] = (),
    wanted: Callable[[Entry], bool] = lambda entry: True,
) -> list[Entry]:
    """Give the last `count` of the wanted entries, oldest first."""
    found = read_entries(directory, since=since, names=names)
    return list(deque(filter(wanted, found), maxlen=count))
