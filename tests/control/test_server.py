"""The control server, spoken to over a real socket: by our client, by curl, and by fools."""

from __future__ import annotations

import json
import socket
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchor_supervisor.control.client import Client
from anchor_supervisor.control.handler import ActOptions, LogQuery
from anchor_supervisor.control.protocol import Malformed, NotFound, Refused, log_line
from anchor_supervisor.control.server import Bounds, serve
from anchor_supervisor.errors import ControlError, HostError, SupervisionBug
from fake_fleet import FakeFleet
from log_lines import captured_logs

TIME = "2026-01-02T03:04:05.000000001Z"

in_thread = trio.to_thread.run_sync


async def exchange(path: Path, request: bytes) -> bytes:
    """Send bytes, finish speaking, and read to the end."""
    stream = await trio.open_unix_socket(str(path))
    async with stream:
        answer = b""
        with trio.fail_after(10):
            try:
                await stream.send_all(request)
                await stream.send_eof()
            except trio.BrokenResourceError:
                pass  # turned away in the middle; the answer still comes
            try:
                while chunk := await stream.receive_some():
                    answer += chunk
            except trio.BrokenResourceError:
                pass
        return answer


def curl(path: Path, *arguments: str) -> str:
    """Ask with curl, as an operator without our client would."""
    command = ["curl", "--silent", "--max-time", "10", "--unix-socket", str(path), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


async def test_every_page_answers(client: Client, fleet: FakeFleet) -> None:
    """Each GET route gives exactly what the handler gave."""

    def ask() -> dict[str, Any]:
        base = "/v1/containers"
        about = (f"{base}/db.1", f"{base}/web/why", f"{base}/db/exec-context", f"{base}/db/root")
        return {page: client.get(page) for page in ("/v1/fleet", base, *about)}

    answers = await in_thread(ask)
    assert answers["/v1/fleet"] == await fleet.fleet()
    assert answers["/v1/containers"] == fleet.rows
    assert answers["/v1/containers/db.1"] == fleet.rows[0]
    assert answers["/v1/containers/web/why"] == await fleet.why("web")
    assert answers["/v1/containers/db/exec-context"] == await fleet.exec_context("db")
    assert answers["/v1/containers/db/root"] == await fleet.root_context("db")


async def test_a_hold_ends_with_its_client(client: Client, fleet: FakeFleet) -> None:
    """The one line says that it is held; a client that hangs up, or is killed, ends the hold."""
    held = client.stream("/v1/containers/web/hold")
    assert await in_thread(next, held) == {"name": "web.1", "held": True}
    assert fleet.followers == 1
    held.close()
    with trio.fail_after(5):
        await fleet.follower_left.wait()
    assert fleet.followers == 0


async def test_actions_reach_the_handler(client: Client, fleet: FakeFleet) -> None:
    """A POST carries its options to the handler and brings the rows back."""
    body = {"wait": True, "signal": "HUP"}
    rows = await in_thread(client.post, "/v1/containers/web/kill", body)
    assert [each["name"] for each in rows] == ["web.1", "web.2"]
    assert fleet.asked == [("kill", "web", ActOptions(signal="HUP", wait=True))]


async def test_curl_is_a_client(socket_path: Path) -> None:
    """HTTP/1.1 from another program: a page, an action, and an error with its status."""
    listed = await in_thread(curl, socket_path, "http://anchor/v1/containers")
    assert [each["name"] for each in json.loads(listed)] == ["db.1", "web.1", "web.2", "migrate.1"]
    stopped = await in_thread(
        curl, socket_path, "--data", '{"wait":true}', "http://a/v1/containers/db/stop"
    )
    assert json.loads(stopped)[0]["state"] == "stopped"
    missing = await in_thread(
        curl, socket_path, "--write-out", "%{http_code}", "http://a/v1/containers/nobody"
    )
    assert missing.endswith("404")
    assert json.loads(missing[:-3])["error"] == {
        "message": "there is no container `nobody`",
        "hint": "`anchor ps` lists them",
        "kind": "NotFound",
    }


async def test_curl_keeps_the_connection(socket_path: Path) -> None:
    """Two requests of one HTTP/1.1 client share a connection."""
    page = "http://a/v1/fleet"
    told = await in_thread(curl, socket_path, "-w", "%{num_connects}", page, page)
    assert told.count('"name":"shop"') == 2
    assert told.endswith("0")


async def test_head_has_no_body(socket_path: Path) -> None:
    """HEAD is refused, without the body that it must not have."""
    answer = await exchange(socket_path, b"HEAD /v1/fleet HTTP/1.1\r\nHost: a\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"allow: get" in head.lower()
    assert body == b""


@pytest.mark.parametrize(
    ("method", "page", "body", "kind"),
    [
        ("GET", "/", None, NotFound),
        ("GET", "/v2/fleet", None, NotFound),
        ("POST", "/v1/containers/web/dance", {}, NotFound),
        ("POST", "/v1/fleet", {}, ControlError),
        ("POST", "/v1/containers/web/stop", {"wiat": True}, Malformed),
        ("POST", "/v1/containers/web/stop", {"wait": "yes"}, Malformed),
        ("POST", "/v1/containers/web/stop", {"signal": "HUP"}, Malformed),
        ("POST", "/v1/containers/web/kill", {"signal": "x" * 99}, Malformed),
        ("POST", "/v1/down", [], Malformed),
        ("GET", "/v1/containers/%2e%2e%2fetc", None, Malformed),
        ("GET", "/v1/logs?tail=-1", None, Malformed),
        ("GET", "/v1/logs?since=yesterday", None, Malformed),
        ("GET", "/v1/logs?follow=true", None, Malformed),
        ("GET", "/v1/logs?colour=1", None, Malformed),
        ("GET", "/v1/logs?name=nobody", None, NotFound),
        ("GET", "/v1/events?previous=1", None, Malformed),
        ("GET", "/v1/events?name=nobody", None, NotFound),
        ("GET", "/v1/plan", None, ControlError),
        ("POST", "/v1/plan", {}, Malformed),
        ("POST", "/v1/plan", {"files": ["relative.toml"]}, Malformed),
        ("POST", "/v1/plan", {"files": ["/a\0b"]}, Malformed),
        ("POST", "/v1/plan", {"files": ["/a"], "profiles": "debug"}, Malformed),
        ("POST", "/v1/plan", {"files": ["/a"], "environment": {"A": 1}}, Malformed),
        ("POST", "/v1/plan", {"files": ["/a"], "build": True}, Malformed),
        ("POST", "/v1/apply", {"files": []}, Malformed),
        ("POST", "/v1/scale", {}, Malformed),
        ("POST", "/v1/scale", {"web": 0}, Malformed),
        ("POST", "/v1/scale", {"web": True}, Malformed),
        ("POST", "/v1/scale", {"web": "5"}, Malformed),
        ("POST", "/v1/scale", {"../web": 5}, Malformed),
        ("POST", "/v1/scale", {"nobody": 5}, NotFound),
        ("POST", "/v1/containers/migrate/start", {}, HostError),
    ],
)
async def test_errors_arrive_as_themselves(
    client: Client, method: str, page: str, body: object, kind: type[Exception]
) -> None:
    """What the server or the handler raises is raised again at the client, hint and all."""

    def ask() -> None:
        pending = client.send(method, page, body)
        streams = page.startswith(("/v1/logs", "/v1/events", "/v1/apply", "/v1/scale"))
        list(pending.lines()) if streams else pending.result()

    with pytest.raises(kind) as caught:
        await in_thread(ask)
    assert type(caught.value) is kind
    assert str(caught.value)


async def test_a_bug_stays_inside(client: Client) -> None:
    """An unexpected exception is told as a bug without its words, logged, and survived."""
    with captured_logs() as logged, pytest.raises(SupervisionBug) as caught:
        await in_thread(client.get, "/v1/containers/bug")
    assert "secret" not in str(caught.value)
    assert [entry["event"] for entry in logged] == ["bug"]
    assert (await in_thread(client.get, "/v1/fleet"))["name"] == "shop"


async def test_logs_arrive_as_they_are(client: Client, fleet: FakeFleet) -> None:
    """A log stream gives every record, and its query as the handler understands it."""
    fleet.lines = [log_line("web.1", TIME, "stdout", bytes([n]), partial=False) for n in range(256)]
    page = f"/v1/logs?name=web&name=db&tail=5&since={TIME}&previous=1"
    assert await in_thread(lambda: list(client.stream(page))) == fleet.lines
    expected = LogQuery(names=("web", "db"), tail=5, since=TIME, previous=True)
    assert fleet.asked == [("logs", expected)]


async def test_a_reader_that_leaves_ends_its_stream(client: Client, fleet: FakeFleet) -> None:
    """Hanging up on a silent log ends the handler's generator at once."""
    fleet.lines = [log_line("web.1", TIME, "stdout", b"one", partial=False)]
    lines = await in_thread(client.stream, "/v1/logs?follow=1")
    assert (await in_thread(partial(next, lines)))["text"] == "one"
    assert fleet.followers == 1
    lines.close()
    with trio.fail_after(5):
        await fleet.follower_left.wait()
    assert fleet.followers == 0


async def test_too_many_are_turned_away(socket_path: Path, client: Client) -> None:
    """One connection more than the bound is told so, and a place that is left is free again."""
    held = [await trio.open_unix_socket(str(socket_path)) for _ in range(8)]
    await trio.testing.wait_all_tasks_blocked(0.05)
    with pytest.raises(Refused, match="too many"):
        await in_thread(client.get, "/v1/fleet")
    for stream in held:
        await stream.aclose()
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert (await in_thread(client.get, "/v1/fleet"))["name"] == "shop"


@pytest.mark.parametrize(
    "said", [b"", b"GET /v1/fl", b"POST /v1/down HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{"]
)
async def test_silence_is_not_waited_for(socket_path: Path, said: bytes) -> None:
    """A client that stops speaking is let go after the bound."""
    stream = await trio.open_unix_socket(str(socket_path))
    async with stream:
        if said:
            await stream.send_all(said)
        with trio.fail_after(10):
            assert await stream.receive_some() == b""


async def test_a_client_that_does_not_read_is_dropped(socket_path: Path, fleet: FakeFleet) -> None:
    """A log reader that lets its buffer fill is given up after the bound."""
    line = log_line("web.1", TIME, "stdout", b"x" * 60_000, partial=False)
    fleet.lines = [line] * 100
    stream = await trio.open_unix_socket(str(socket_path))
    async with stream:
        await stream.send_all(b"GET /v1/logs?follow=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        with trio.fail_after(10):
            await fleet.follower_left.wait()


async def test_a_large_body_is_refused(socket_path: Path) -> None:
    """More than 64 KiB of body is told off while it is sent."""
    head = b"POST /v1/down HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    answer = await exchange(socket_path, head + b"x" * 1_000_000)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_large_head_is_refused(socket_path: Path) -> None:
    """More than 16 KiB of head is told off."""
    answer = await exchange(socket_path, b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_who_has_finished_speaking_is_answered(socket_path: Path) -> None:
    """A client that shuts its sending side down (as `nc -N`) still gets the answer."""
    answer = await exchange(socket_path, b"GET /v1/fleet HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_others_are_not_spoken_to(
    socket_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that is neither root nor the supervisor's user is refused."""
    monkeypatch.setattr("anchor_supervisor.control.connection.peer_uid", lambda connected: 65534)
    with pytest.raises(ControlError, match="permission denied"):
        await in_thread(client.get, "/v1/fleet")


async def test_the_answer_to_down_is_sent_though_the_supervisor_ends(
    run_dir: Path, fleet: FakeFleet
) -> None:
    """The server is cancelled the moment `down` is done; the operator still hears of it."""
    path = run_dir / "s"
    answers: list[object] = []

    async def ask() -> None:
        answers.append(await in_thread(Client("shop", path).post, "/v1/down", {"volumes": True}))

    async with trio.open_nursery() as asking, trio.open_nursery() as serving:
        await serving.start(serve, path, fleet)
        asking.start_soon(ask)
        await fleet.gone.wait()
        serving.cancel_scope.cancel()
    assert answers == [{"removed": ["network default"]}]
    assert fleet.asked == [("down", True)]


REQUEST = (
    b'POST /v1/containers/web/stop HTTP/1.1\r\nHost: a\r\nContent-Length: 14\r\n\r\n{"wait": true}'
)


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """Something like a request: cut, spliced, or not one at all."""
    noise = draw(st.binary(max_size=40))
    start = draw(st.integers(0, len(REQUEST)))
    end = draw(st.integers(start, len(REQUEST)))
    return draw(
        st.sampled_from(
            [
                noise,
                REQUEST[:start] + noise + REQUEST[end:],
                REQUEST[:start] + noise,
                REQUEST + noise + REQUEST[start:],
                b"GET " + noise + b" HTTP/1.1\r\nHost: a\r\n\r\n",
                b"GET /v1/logs?" + noise.replace(b" ", b"") + b" HTTP/1.1\r\nHost: a\r\n\r\n",
                b"POST /v1/down HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + noise,
            ]
        )
    )


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(mangled(), min_size=1, max_size=4))
def test_no_request_hurts_the_server(run_dir: Path, requests: list[bytes]) -> None:
    """Whatever bytes come, the server answers HTTP or nothing, and is there for the next client."""

    async def attack() -> None:
        path = run_dir / "s"
        bounds = Bounds(idle_time=0.2, request_time=0.1)
        async with trio.open_nursery() as nursery:

            async def task(task_status: trio.TaskStatus[None]) -> None:
                await serve(path, FakeFleet(), bounds=bounds, task_status=task_status)

            await nursery.start(task)
            for request in requests:
                answer = await exchange(path, request)
                assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
            answer = await exchange(path, b"GET /v1/fleet HTTP/1.0\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 ")
            nursery.cancel_scope.cancel()

    with captured_logs() as logged:
        trio.run(attack)
    assert [entry for entry in logged if entry["event"] == "bug"] == []


async def test_a_listening_socket_may_be_given(run_dir: Path, fleet: FakeFleet) -> None:
    """`serve` takes a socket that listens already, and leaves it open."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(run_dir / "s"))
        listener.listen()
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, listener, fleet)
            client = Client("shop", run_dir / "s")
            assert (await in_thread(client.get, "/v1/fleet"))["name"] == "shop"
            nursery.cancel_scope.cancel()
        assert listener.fileno() >= 0
