"""Serves a fleet's control socket: HTTP/1.1, on the supervisor's own trio loop.

Whoever connects is checked by the kernel's word (SO_PEERCRED). A connection has bounds on
everything it can take from the supervisor: the number of connections, sizes, time to speak, time
to listen. Nothing that a client sends or omits ends `serve`.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import final

import trio

from anchor_supervisor.control.handler import Handler
from anchor_supervisor.control.listener import listening
from anchor_supervisor.observability.log import log
from anchor_supervisor.values import frozen


@final
@frozen
class Bounds:
    """What one client, or all of them together, may take. Times in seconds."""

    connections: int = 64
    request_time: float = 10.0
    idle_time: float = 30.0
    send_time: float = 20.0
    farewell_time: float = 2.0


async def serve(
    where: Path | socket.socket,
    handler: Handler,
    *,
    bounds: Bounds | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. `where`: the socket's path, or a socket that listens already.

    Started once connections are taken. Raises HostError or OSError where it cannot listen.
    """
    bounds = bounds or Bounds()
    if isinstance(where, Path):
        with listening(where) as listener:
            await _accept_for_ever(listener, handler, bounds, task_status)
    else:
        await _accept_for_ever(where, handler, bounds, task_status)


async def _accept_for_ever(
    listener: socket.socket,
    handler: Handler,
    bounds: Bounds,
    task_status: trio.TaskStatus[None],
) -> None:
    listener.setblocking(False)
    # dup: the trio socket is ours to close, the listener is not.
    with trio.socket.from_stdlib_socket(listener.dup()) as accepting:
        places = trio.CapacityLimiter(bounds.connections)
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                try:
                    connected, _ = await accepting.accept()
                except OSError as error:
                    # Out of descriptors (EMFILE), or the client has gone already (ECONNABORTED).
                    log.warning("control socket cannot accept", reason=str(error))
                    await trio.sleep(0.1)
                    continue
                nursery.start_soon(_welcome, connected, handler, bounds, places)


async def _welcome(
    connected: trio.socket.SocketType,
    handler: Handler,
    bounds: Bounds,
    places: trio.CapacityLimiter,
) -> None:
    from anchor_supervisor.control.connection import welcome  # h11, for a first client

    await welcome(connected, handler, bounds, places)
