"""Health probes made by the supervisor, from inside a container's network namespace.

No program of the image is needed for http and tcp. A probe first asks the loopback address, then
the container's own, because servers listen on either.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

import h11
import trio

from anchor_supervisor.fleet.model import HttpProbe, TcpProbe
from anchor_supervisor.kernel.namespaces import socket_in_namespace
from anchor_supervisor.runtime.supervisor import ProbeAnswer

LOOPBACK: Final = "127.0.0.1"
MAX_BODY_SHOWN: Final = 512


async def probe_port(
    probe: HttpProbe | TcpProbe, net: int | None, address: str | None
) -> ProbeAnswer:
    """Ask from inside the network namespace `net`; None is the machine's own."""
    match probe:
        case HttpProbe():
            return await probe_http(probe, net, address)
        case TcpProbe():
            return await probe_tcp(probe, net, address)


async def probe_tcp(probe: TcpProbe, net: int | None, address: str | None) -> ProbeAnswer:
    """Healthy when something accepts a connection on the port."""
    try:
        connection = await _connect(probe.port, net, address)
    except OSError as error:
        return ProbeAnswer(ok=False, output=f"tcp port {probe.port}: {error.strerror or error}")
    connection.close()
    return ProbeAnswer(ok=True, output=f"tcp port {probe.port} accepts")


async def probe_http(probe: HttpProbe, net: int | None, address: str | None) -> ProbeAnswer:
    """Healthy when GET answers with a status of 200 to 399."""
    try:
        connection = await _connect(probe.port, net, address)
    except OSError as error:
        return ProbeAnswer(ok=False, output=f"http port {probe.port}: {error.strerror or error}")
    with connection:
        try:
            return await _get(probe, connection)
        except (OSError, h11.RemoteProtocolError) as error:
            return ProbeAnswer(ok=False, output=f"http port {probe.port}: {error}")


async def _connect(port: int, net: int | None, address: str | None) -> trio.socket.SocketType:
    """Connect to the loopback address, or where that is refused to the container's own."""
    addresses = [LOOPBACK] if address is None else [LOOPBACK, address]
    for candidate in addresses:
        connection = await _socket(net)
        try:
            await connection.connect((candidate, port))
        except ConnectionRefusedError:
            connection.close()
            continue
        except BaseException:
            connection.close()
            raise
        return connection
    raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


async def _socket(net: int | None) -> trio.socket.SocketType:
    if net is None:
        return trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # A thread of its own: the namespace of the loop's thread is never touched.
    raw = await trio.to_thread.run_sync(
        socket_in_namespace, net, socket.AF_INET, socket.SOCK_STREAM, 0
    )
    raw.setblocking(False)
    return trio.socket.from_stdlib_socket(raw)


async def _get(probe: HttpProbe, connection: trio.socket.SocketType) -> ProbeAnswer:
    client = h11.Connection(h11.CLIENT)
    request = h11.Request(
        method="GET",
        target=probe.path,
        headers=[("Host", "localhost"), ("User-Agent", "anchor-probe"), ("Connection", "close")],
    )
    await _send_all(connection, client.send(request) or b"")
    await _send_all(connection, client.send(h11.EndOfMessage()) or b"")
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA:
            client.receive_data(await connection.recv(4096))
        elif isinstance(event, h11.Response):
            reason = event.reason.decode(errors="replace")[:MAX_BODY_SHOWN]
            ok = 200 <= event.status_code < 400
            return ProbeAnswer(ok=ok, output=f"http {event.status_code} {reason}".rstrip())
        elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
            return ProbeAnswer(ok=False, output="http: closed without an answer")


async def _send_all(connection: trio.socket.SocketType, data: bytes) -> None:
    while data:
        sent = await connection.send(data)
        data = data[sent:]
