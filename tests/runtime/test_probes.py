"""Probes over the network: what counts as healthy, against real servers, good and bad."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from anchor_supervisor.fleet.model import HttpProbe, TcpProbe
from anchor_supervisor.runtime.probes import probe_http, probe_tcp
from real_fleet import WEB, Workshop
from waiting import DEADLINE

Serve = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server on a port of its own."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host=host)
        await nursery.start(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def answering(answer: bytes) -> Serve:
    """A server that reads a request's head, gives this answer and hangs up."""

    async def serve(stream: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some(100)
        await stream.send_all(answer)
        await stream.aclose()

    return serve


@pytest.mark.parametrize(
    ("answer", "ok", "output"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nhello", True, "http 200 OK"),
        (b"HTTP/1.1 204\r\n\r\n", True, "http 204"),
        (b"HTTP/1.0 302 Found\r\nLocation: /x\r\n\r\n", True, "http 302 Found"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", True, "http 200 OK"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", False, "http 404 Not Found"),
        (b"HTTP/1.1 503 Starting\r\n\r\n", False, "http 503 Starting"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", False, "illegal status line"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000, False, ""),
        (b"", False, ""),
    ],
)
async def test_an_answer_from_200_to_399_is_healthy(answer: bytes, ok: bool, output: str) -> None:
    """Anything else is not, and says what came instead."""
    async with server(answering(answer)) as port:
        with trio.fail_after(DEADLINE):
            found = await probe_http(HttpProbe(port, "/health"), None, None)
    assert found.ok is ok
    assert output in found.output
    assert found.output


async def test_the_request_is_what_the_file_asks() -> None:
    """GET of the path, once, on a connection that is closed afterwards."""
    heads: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        heads.append(await stream.receive_some(1000))
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        heads.append(await stream.receive_some(1000))

    async with server(serve) as port:
        assert (await probe_http(HttpProbe(port, "/a/b?c=d"), None, None)).ok
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert heads[0].startswith(b"GET /a/b?c=d HTTP/1.1\r\n")
    assert heads[1:] == [b""]


async def test_a_port_that_nobody_listens_on_is_not_healthy() -> None:
    """Refused on every address: the words of the kernel."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody else gets the port meanwhile
        port = taken.getsockname()[1]
        for answer in (
            await probe_tcp(TcpProbe(port), None, None),
            await probe_http(HttpProbe(port), None, "127.0.0.1"),
        ):
            assert not answer.ok
            assert "Connection refused" in answer.output


async def test_a_server_on_the_containers_own_address_is_found() -> None:
    """Where the loopback refuses, the other address is asked."""
    async with server(answering(b"HTTP/1.1 200 OK\r\n\r\n"), host="127.0.0.77") as port:
        assert not (await probe_tcp(TcpProbe(port), None, None)).ok
        assert (await probe_tcp(TcpProbe(port), None, "127.0.0.77")).ok
        assert (await probe_http(HttpProbe(port), None, "127.0.0.77")).ok


async def test_a_server_that_never_answers_can_be_given_up(autojump_clock: MockClock) -> None:
    """The time limit is the loop's; a probe that is cancelled lets go of its connection."""
    hung_up = trio.Event()

    async def silent(stream: trio.SocketStream) -> None:
        while await stream.receive_some(1000):
            pass
        hung_up.set()

    async with server(silent) as port:
        with trio.move_on_after(5.0) as limit:
            await probe_http(HttpProbe(port), None, None)
        assert limit.cancelled_caught
        await hung_up.wait()


@pytest.mark.root
async def test_probes_come_from_inside_the_containers_network(workshop: Workshop) -> None:
    """A server on the container's loopback, which nothing outside can reach, is seen."""
    serve = 'command = ["httpd", "-f", "-p", "127.0.0.1:80", "-h", "/srv"]'
    async with workshop.running(workshop.fleet(serve)) as real:
        await real.start()
        with trio.fail_after(DEADLINE):
            while not (await real.machine.probe(WEB, TcpProbe(80))).ok:
                await trio.lowlevel.checkpoint()
        found = await real.machine.probe(WEB, HttpProbe(80, "/index.html"))
        assert (found.ok, found.output) == (True, "http 200 OK")
        assert "404" in (await real.machine.probe(WEB, HttpProbe(80, "/nothing"))).output
        assert "refused" in (await real.machine.probe(WEB, TcpProbe(81))).output


@pytest.mark.root
async def test_a_server_on_the_address_of_the_fleets_network_is_seen(workshop: Workshop) -> None:
    """The second address asked is the container's own, in its own network namespace."""
    serve = 'command = ["sh", "-c", "exec httpd -f -p $$(hostname -i):80 -h /srv"]'
    async with workshop.running(workshop.fleet(serve, 'networks = ["default"]')) as real:
        run = await real.start()
        assert run.holdings.address is not None
        with trio.fail_after(DEADLINE):
            while not (await real.machine.probe(WEB, HttpProbe(80, "/index.html"))).ok:
                await trio.lowlevel.checkpoint()
