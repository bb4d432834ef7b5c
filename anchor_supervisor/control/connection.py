"""One client of the control socket: its requests by h11, each of them a call on the `Handler`.

Nothing that a client sends or omits gets further than this. Loaded by the first client, or once
the fleet is up: until then nobody asks.
"""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Final, cast, final

import h11
import trio

from anchor_supervisor.control import routes
from anchor_supervisor.control.handler import Handler
from anchor_supervisor.control.listener import peer_uid
from anchor_supervisor.control.protocol import (
    JSON_TYPE,
    LINES_TYPE,
    MAX_HEAD,
    Malformed,
    Refused,
)
from anchor_supervisor.control.server import Bounds
from anchor_supervisor.errors import AnchorError, SupervisionBug
from anchor_supervisor.observability.log import log
from anchor_supervisor.values import define, field

CHUNK: Final = 65536

Lines = AsyncGenerator[Mapping[str, object], None]


async def welcome(
    connected: trio.socket.SocketType,
    handler: Handler,
    bounds: Bounds,
    places: trio.CapacityLimiter,
) -> None:
    """Serve one client, or turn it away. Whatever goes wrong ends here."""
    connection = Connection(trio.SocketStream(connected), handler, bounds)
    try:
        async with connection.stream:
            try:
                places.acquire_nowait()
            except trio.WouldBlock:
                message = "too many control connections"
                await connection.turn_away(503, Refused(message, hint="try again later"))
                return
            try:
                if peer_uid(connected) not in {0, os.geteuid()}:
                    message = "permission denied"
                    hint = "only root and the user of the supervisor may speak to it"
                    await connection.turn_away(403, Refused(message, hint=hint))
                else:
                    await connection.run()
            finally:
                places.release()
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
        pass  # the client has gone, or does not listen: nobody is left to tell
    except h11.LocalProtocolError as bug:
        log.error("control connection broken off", reason=str(bug))
    except Exception:
        log.exception("bug")


@final
@define(eq=False)
class Connection:
    """One client, request after request."""

    stream: trio.SocketStream
    handler: Handler
    bounds: Bounds
    http: h11.Connection = field(
        factory=lambda: h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    )
    without_body: bool = False

    async def run(self) -> None:
        """Answer until the client closes, misbehaves or falls silent."""
        while True:
            try:
                request = await self._next_request()
            except h11.RemoteProtocolError as error:
                await self.turn_away(error.error_status_hint, Malformed(str(error)))
                return
            if request is None:
                return
            await self._answer(*request)
            if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
                return
            self.http.start_next_cycle()

    async def turn_away(self, status: int, error: AnchorError) -> None:
        """Say what is wrong and be done with this client."""
        _, body = routes.error_answer(error)
        if self.http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self._send_whole(status, body, ("Connection", "close"))

    async def _next_request(self) -> tuple[h11.Request, bytes] | None:
        """Read one request whole. None: there is none to come."""
        with trio.move_on_after(self.bounds.idle_time):
            event = await self._next_event()
            if not isinstance(event, h11.Request):
                return None
            self.without_body = event.method == b"HEAD"
            with trio.fail_after(self.bounds.request_time):
                most = routes.largest_body(event.target.decode())
                return event, await self._read_body(most)
        return None

    async def _read_body(self, most: int) -> bytes:
        body = bytearray()
        if self.http.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            await self._send(go_on)
        while isinstance(event := await self._next_event(), h11.Data):
            body += event.data
            if len(body) > most:
                message = f"the body is larger than {most} bytes"
                raise h11.RemoteProtocolError(message, error_status_hint=413)
        return bytes(body)

    async def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.stream.receive_some(CHUNK))
        return event

    async def _answer(self, request: h11.Request, body: bytes) -> None:
        try:
            call = routes.parse_call(request.method.decode(), request.target.decode(), body)
            if isinstance(call, routes.Stream):
                lines = stream(self.handler, call)
                await self._while_listening(lambda: self._send_stream(lines))
            else:
                await self._while_listening(lambda: self._perform(call))
        except AnchorError as error:
            await self._send_error(error)
        except (trio.BrokenResourceError, trio.TooSlowError, h11.ProtocolError):
            raise
        except Exception:
            log.exception("bug", request=f"{request.method!r} {request.target!r}")
            await self._send_error(SupervisionBug("internal error; the supervisor's log has it"))

    async def _perform(self, call: routes.Simple) -> None:
        value = await perform(self.handler, call)
        # What was done is told even if the supervisor ends this very moment.
        with trio.move_on_after(self.bounds.farewell_time, shield=True):
            await self._send_whole(200, value)

    async def _send_stream(self, values: Lines) -> None:
        async with aclosing(values) as lines:
            first = await anext(
                lines, None
            )  # an unknown name is an error answer, not half a stream
            headers = [("Content-Type", LINES_TYPE), ("Cache-Control", "no-store")]
            await self._send(h11.Response(status_code=200, headers=headers))
            if first is not None:
                await self._send_lines(first, lines)
            await self._send(h11.EndOfMessage())

    async def _send_lines(self, first: Mapping[str, object], lines: Lines) -> None:
        await self._send(h11.Data(data=_line(first)))
        async for line in lines:
            await self._send(h11.Data(data=_line(line)))

    async def _send_error(self, error: AnchorError) -> None:
        if self.http.our_state is not h11.SEND_RESPONSE:
            return  # half an answer is out: only a broken connection can still say so
        status, body = routes.error_answer(error)
        if isinstance(error, routes.MethodNotAllowed):
            await self._send_whole(status, body, ("Allow", error.allowed))
        else:
            await self._send_whole(status, body)

    async def _send_whole(self, status: int, value: object, *more: tuple[str, str]) -> None:
        content = _line(value)
        headers = [("Content-Type", JSON_TYPE), ("Content-Length", str(len(content))), *more]
        body = () if self.without_body else (h11.Data(data=content),)
        await self._send(
            h11.Response(status_code=status, headers=headers), *body, h11.EndOfMessage()
        )

    async def _send(self, *events: h11.Event) -> None:
        data = b"".join(self.http.send(event) or b"" for event in events)
        with trio.fail_after(self.bounds.send_time):
            await self.stream.send_all(data)

    async def _while_listening(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work, but give it up when the client hangs up."""
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_for_hangup, nursery.cancel_scope)
            try:
                await work()
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _watch_for_hangup(self, scope: trio.CancelScope) -> None:
        connected = self.stream.socket
        await trio.lowlevel.wait_readable(connected)
        try:
            if await connected.recv(1, socket.MSG_PEEK):
                return  # the next request, early
        except OSError:
            scope.cancel()
            return
        # An end of file may be a client that has only finished speaking (shutdown(2), SHUT_WR).
        poll = select.poll()
        poll.register(connected.fileno(), 0)
        if any(found & (select.POLLHUP | select.POLLERR) for _, found in poll.poll(0)):
            scope.cancel()


def _line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def stream(handler: Handler, call: routes.Stream) -> Lines:
    """Begin one of the calls that answer with lines."""
    lines: object
    match call:
        case routes.ReadLogs(query=query):
            lines = handler.follow_logs(query)
        case routes.ReadEvents(query=events):
            lines = handler.follow_events(events)
        case routes.Hold(name=name):
            lines = handler.hold(name)
        case routes.Apply(wanted=wanted):
            lines = handler.apply(wanted)
        case routes.Scale(replicas=replicas):
            lines = handler.scale(replicas)
    return cast("Lines", lines)


async def perform(handler: Handler, call: routes.Simple) -> object:
    """Do one of the calls that answer with one value."""
    match call:
        case routes.GetFleet():
            return await handler.fleet()
        case routes.ListContainers():
            return await handler.containers()
        case routes.Inspect(name=name):
            return await handler.inspect(name)
        case routes.TellWhy(name=name):
            return await handler.why(name)
        case routes.GetExecContext(name=name):
            return await handler.exec_context(name)
        case routes.GetRootContext(name=name):
            return await handler.root_context(name)
        case routes.Act(name=name, verb=verb, options=options):
            return await handler.act(name, verb, options)
        case routes.TellPlan(wanted=wanted):
            return await handler.plan(wanted)
        case routes.Down(volumes=volumes):
            return await handler.down(volumes=volumes)
