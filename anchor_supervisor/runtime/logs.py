"""Reading the containers' logs while they are written, for `logs -f` and `why`."""

from __future__ import annotations

import heapq
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Final

import trio

from anchor_supervisor.control.handler import LogQuery
from anchor_supervisor.control.protocol import log_line
from anchor_supervisor.control.shapes import LogLine
from anchor_supervisor.fleet.model import InstanceId
from anchor_supervisor.observability.log_reader import LogCursor, read_records
from anchor_supervisor.observability.places import log_dir

LINES_IN_WHY: Final = 10


def last_lines(fleet: str, instance: InstanceId) -> list[LogLine]:
    """The last lines of one instance."""
    return [
        log_line(str(instance), record.time, record.stream, record.text, partial=record.partial)
        for record in read_records(log_dir(fleet, instance), tail=LINES_IN_WHY)
    ]


async def follow(
    fleet: str,
    instances: Sequence[InstanceId],
    query: LogQuery,
    more: Callable[[], Awaitable[None]],
) -> AsyncGenerator[LogLine, None]:
    """Yield the records of several instances in the order of their times, then on as they come.

    `more` returns when something may have been written since it was called.
    """
    with ExitStack() as opened:
        cursors = {
            str(instance): opened.enter_context(
                LogCursor(
                    log_dir(fleet, instance),
                    tail=query.tail,
                    since=query.since,
                    previous=query.previous,
                )
            )
            for instance in instances
        }
        while True:
            streams = [_lines(name, cursor) for name, cursor in cursors.items()]
            told = False
            for line in heapq.merge(*streams, key=lambda line: line["time"]):
                told = True
                yield line  # noqa: ASYNC119 - the server closes it (control.handler.Handler)
                await trio.lowlevel.checkpoint()
            if not query.follow:
                return
            if not told:  # else more may have been written while the reader took these
                await more()


def _lines(name: str, cursor: LogCursor) -> Iterator[LogLine]:
    """What one instance has said by now, read a block at a time as it is asked for."""
    while (records := cursor.read_some()) is not None:
        for record in records:
            yield log_line(name, record.time, record.stream, record.text, partial=record.partial)
