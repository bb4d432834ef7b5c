"""The journal of a running fleet: written here, and followed without polling."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final, cast, final

import trio

from anchor_supervisor.control.handler import EventQuery
from anchor_supervisor.control.shapes import JournalEntry
from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.observability.journal import (
    Entry,
    Journal,
    JournalCursor,
    entry_at,
    last_entries,
)
from anchor_supervisor.observability.places import fleet_log_dir
from anchor_supervisor.values import define, field

ENTRIES_IN_WHY: Final = 5
ORDINARY: Final = frozenset({"transition"})
"""What `why` knows already, from the history."""


@final
@define(eq=False)
class EventLog:
    """Appends to the journal, and tells who waits that there is more. Times are the wall's."""

    journal: Journal
    _added: trio.Event = field(factory=trio.Event, init=False)

    def add(self, event: str, **facts: object) -> None:
        """Write down that this happened now; the facts are what `json` can write."""
        self.add_all([entry_at(time.time_ns(), event, **facts)])

    def add_all(self, entries: Iterable[Entry]) -> None:
        """Write these down, each of which says when it was."""
        self.journal.append_all(entries)
        self._added.set()
        self._added = trio.Event()

    async def more(self) -> None:
        """Return when something has been added since this was called."""
        await self._added.wait()

    def close(self) -> None:
        """Close the file; a later entry opens it again."""
        self.journal.close()


def last_incidents(fleet: str, instance: InstanceId) -> list[JournalEntry]:
    """The last entries about one instance that are no transitions: memory, updates, changes.

    Reads the whole journal: for a worker thread.
    """
    about = {str(instance), instance.container}
    found = last_entries(
        fleet_log_dir(fleet),
        ENTRIES_IN_WHY,
        names=(instance.container,),
        wanted=lambda entry: entry["event"] not in ORDINARY and entry.get("container") in about,
    )
    return list(_shaped(found))


async def follow(
    directory: Path, query: EventQuery, more: Callable[[], Awaitable[None]]
) -> AsyncGenerator[JournalEntry, None]:
    """Yield the entries that are there, then on as they come.

    `more` returns when something may have been written since it was called.
    """
    at_end = query.tail == 0
    with JournalCursor(directory, since=query.since, names=query.names, at_end=at_end) as cursor:
        if query.tail:
            kept: deque[Entry] = deque(maxlen=query.tail)
            while (entries := cursor.read_some()) is not None:
                kept.extend(entries)
                await trio.lowlevel.checkpoint()  # a long journal is read a block at a time
            for entry in _shaped(kept):
                yield entry  # noqa: ASYNC119 - the server closes it (control.handler.Handler)
        while True:
            told = False
            while (entries := cursor.read_some()) is not None:
                for entry in _shaped(entries):
                    told = True
                    yield entry  # noqa: ASYNC119 - as above
                await trio.lowlevel.checkpoint()
            if not query.follow:
                return
            if not told:  # else more may have been written while the reader took these
                await more()


def _shaped(entries: Iterable[Entry]) -> Iterable[JournalEntry]:
    return cast("Iterable[JournalEntry]", entries)
