"""A `notify` probe: what a container says of itself counts for its run, and can harm nobody."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from anchor_supervisor.fleet.model import Fleet, NotifyProbe
from anchor_supervisor.runtime import notify_socket
from anchor_supervisor.runtime.notify_socket import (
    MOST,
    Notice,
    NotifySocket,
    open_notify_socket,
    probe_notify,
    read_notice,
)
from anchor_supervisor.runtime.supervisor import ProbeAnswer
from machine import MACHINE_FACT
from real_fleet import WEB, Real, Workshop, open_descriptors
from waiting import DEADLINE, eventually

SENDER = """
import os, socket, sys, time
def tell(*words):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(os.environ["NOTIFY_SOCKET"])
        sender.sendall("\\n".join(words).encode())
"""
SLEEP = "\ntime.sleep(1000)"


@pytest.mark.parametrize(
    ("message", "notice"),
    [
        (b"READY=1", Notice(ready=True)),
        (b"READY=1\n", Notice(ready=True)),
        (b"STATUS=warming up\nREADY=1\nMAINPID=4", Notice(ready=True, status="warming up")),
        (b"READY=0", Notice()),
        (b"READY=11", Notice()),
        (b"READY", Notice()),
        (b" READY=1", Notice()),
        (b"XREADY=1", Notice()),
        (b"STATUS=a=b", Notice(status="a=b")),
        (b"STATUS=", Notice(status="")),
        (b"STATUS=one\nSTATUS=two", Notice(status="two")),
        (b"STATUS=\x1b[2J\xff", Notice(status="\\x1b[2J\ufffd")),
        (b"STOPPING=1", Notice()),
        (b"RELOADING=1\nMONOTONIC_USEC=5", Notice()),
        (b"FDSTORE=1", Notice()),
        (b"", Notice()),
        (b"READY=1\nSTATUS=" + b"x" * MOST, Notice()),
    ],
)
def test_what_a_message_says(message: bytes, notice: Notice) -> None:
    """READY=1 and STATUS=, by whole lines; the rest of sd_notify(3) is nothing to us."""
    assert read_notice(message) == notice


@given(st.binary(max_size=MOST + 10))
def test_any_message_can_be_read(message: bytes) -> None:
    """And what is kept of it is short, and can be printed."""
    status = read_notice(message).status
    assert status is None or (status.isprintable() and len(status) <= 10 * MOST)


def tell(path: Path, message: bytes, *files: int) -> None:
    """Send a message as a container does, with these files."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(path))
        socket.send_fds(sender, [message], list(files)) if files else sender.send(message)


async def until(good: Callable[[], bool], what: str) -> None:
    """Wait for what another thread does."""
    await trio.to_thread.run_sync(lambda: eventually(good, what=what))


async def test_messages_are_heard_until_it_is_closed(tmp_path: Path) -> None:
    """The status that came last, and READY=1 for good; then nothing is open any more."""
    before = open_descriptors()
    heard, path = open_notify_socket(tmp_path)
    tell(path, b"STATUS=early")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.listen)
        tell(path, b"STATUS=late\nREADY=1")
        with trio.fail_after(DEADLINE):
            await heard.ready.wait()
            await wait_all_tasks_blocked(2 * notify_socket.PAUSE)
        assert heard.status == "late"
        tell(path, b"READY=0\nSTATUS=later")
        await until(lambda: heard.status == "later", "the last status is heard")
        assert heard.ready.is_set()
        await heard.close()
    assert open_descriptors() == before
    with pytest.raises(ConnectionRefusedError):
        tell(path, b"READY=1")
    await heard.close()
    heard.abandon()


async def test_a_new_socket_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    """What was sent to an earlier run's is not there; everybody may write, through the mount."""
    earlier, path = open_notify_socket(tmp_path)
    tell(path, b"READY=1")
    heard, path = open_notify_socket(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.listen)
        await wait_all_tasks_blocked(2 * notify_socket.PAUSE)
        assert not heard.ready.is_set()
        await heard.close()
        await earlier.close()


def test_the_path_may_be_longer_than_a_socket_address(tmp_path: Path) -> None:
    """A long run directory and a long name: only the kernel's 107 bytes are short."""
    directory = tmp_path / ("x" * 100) / "y"
    directory.mkdir(parents=True)
    before = open_descriptors()
    heard, path = open_notify_socket(directory)
    assert path.is_socket()
    heard.abandon()
    assert open_descriptors() == before


async def test_files_in_messages_are_closed(tmp_path: Path) -> None:
    """At once where they are received: systemd-notify(1) waits for that (sd_notify_barrier(3))."""
    before = open_descriptors()
    heard, path = open_notify_socket(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.listen)
        for _ in range(100):
            reader, writer = os.pipe()
            await trio.to_thread.run_sync(tell, path, b"BARRIER=1", writer, *[writer] * 50)
            os.close(writer)
            with trio.fail_after(DEADLINE):
                await trio.lowlevel.wait_readable(reader)
            assert os.read(reader, 1) == b""
            os.close(reader)
        await heard.close()
    assert open_descriptors() == before


async def test_a_file_that_will_not_close_holds_up_nobody(tmp_path: Path) -> None:
    """A lingering socket whose peer does not read: only whoever takes the message waits for it."""
    heard, path = open_notify_socket(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        lingering = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
    lingering.setblocking(False)
    lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\x58\2\0\0")
    while True:
        try:
            lingering.send(b"x" * 65536)
        except BlockingIOError:
            break
    tell(path, b"READY=1", lingering.fileno())
    lingering.close()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.listen)
        turns = 0
        with trio.move_on_after(0.2):
            while True:
                await trio.sleep(0.01)
                turns += 1
        assert turns > 5
        assert not heard.ready.is_set()
        with trio.fail_after(DEADLINE):
            await heard.close()
    begun = trio.current_time()
    await trio.to_thread.run_sync(heard.abandon)
    assert trio.current_time() - begun < DEADLINE
    peer.close()  # resets the connection, and so ends the wait
    await until(lambda: heard._socket.fileno() < 0, "it is closed in the end")


async def test_a_flood_is_taken_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender waits for us and not we for it; READY=1 in the midst of it is heard."""
    batches = []
    receive = NotifySocket._receive

    def counted(heard: NotifySocket) -> list[bytes]:
        batches.append(receive(heard))
        return batches[-1]

    monkeypatch.setattr(NotifySocket, "_receive", counted)
    heard, path = open_notify_socket(tmp_path)
    over = threading.Event()

    def flood() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(path))
            number = 0
            while not over.is_set():
                number += 1
                sender.send(b"READY=1" if number == 100 else b"STATUS=%d" % number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.listen)
        nursery.start_soon(trio.to_thread.run_sync, flood)
        with trio.fail_after(DEADLINE):
            await heard.ready.wait()
        over.set()
        with trio.fail_after(DEADLINE):
            await wait_all_tasks_blocked(2 * notify_socket.PAUSE)
        await heard.close()
    assert all(len(batch) <= notify_socket.BATCH for batch in batches)
    assert len(batches) >= 100 / notify_socket.BATCH


async def test_the_answer_waits_and_says_what_is_missing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """At its time limit: no READY=1 yet, and the status; a run without a socket says so."""
    heard, _ = open_notify_socket(tmp_path)
    assert await probe_notify(heard, 5.0) == ProbeAnswer(ok=False, output="no READY=1 yet")
    heard.status = "50 %"
    found = await probe_notify(heard, 5.0)
    assert found == ProbeAnswer(ok=False, output="no READY=1 yet; its status: 50 %")
    heard.ready.set()
    found = await probe_notify(heard, 5.0)
    assert found == ProbeAnswer(ok=True, output="READY=1; its status: 50 %")
    assert "NOTIFY_SOCKET" in (await probe_notify(None, 5.0)).output
    assert trio.current_time() >= 15.0
    heard.abandon()


def python(workshop: Workshop, script: str, *lines: str) -> Fleet:
    """A container over the machine's own root whose command is this script after the sender."""
    command = ["/usr/bin/python3", "-IS", "-c", SENDER + script]
    return workshop.fleet(
        'image = "host"',
        f"command = {json.dumps(command).replace('$', '$$')}",
        "health = { notify = true }",
        *lines,
    )


async def ask(real: Real, within: float = DEADLINE) -> ProbeAnswer:
    """Probe the container."""
    return await real.machine.probe(WEB, NotifyProbe(), within)


@pytest.mark.root
@pytest.mark.usefixtures("host_image")
@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("read_only = true",),
        ('root = "bind"',),
        ('user = "nobody"',),
        ('user_namespace = "host"',),
        ('networks = "host"',),
        ('networks = ["default"]', 'user = "65534:65534"', "read_only = true", "init = false"),
        ('environment = { NOTIFY_SOCKET = "/run/systemd/notify" }',),
    ],
)
async def test_every_kind_of_container_can_send(workshop: Workshop, lines: tuple[str, ...]) -> None:
    """Whoever it is, whatever its root and its network; only it has the socket."""
    script = 'tell("STATUS=here", "READY=1"); print(os.environ["NOTIFY_SOCKET"], flush=True)'
    async with workshop.running(python(workshop, script + SLEEP, *lines)) as real:
        run = await real.start()
        assert await ask(real) == ProbeAnswer(ok=True, output="READY=1; its status: here")
        assert await real.until_said("\n") == f"{notify_socket.TARGET}\n"
        assert real.machine.notified(WEB) == "here"
        assert stat.S_IMODE(run.holdings.directory.stat().st_mode) == 0o700
        assert Path(notify_socket.TARGET).name not in os.listdir("/dev")
        real.machine.kill(WEB)
        await run.wait()
        assert real.machine.notified(WEB) is None


@pytest.mark.root
@pytest.mark.usefixtures("host_image")
async def test_systemd_notify_works(workshop: Workshop) -> None:
    """It forks, sends with a barrier, and has ended before it is heard."""
    if shutil.which("systemd-notify", path="/usr/bin") is None:
        pytest.skip(f"{MACHINE_FACT}it has no systemd-notify")
    fleet = workshop.fleet(
        'image = "host"',
        'command = ["sh", "-c", "systemd-notify --ready --status=up && echo sent; sleep 1000"]',
        "health = { notify = true }",
    )
    async with workshop.running(fleet) as real:
        await real.start()
        assert await ask(real) == ProbeAnswer(ok=True, output="READY=1; its status: up")
        await real.until_said("sent\n")


@pytest.mark.root
@pytest.mark.usefixtures("host_image")
async def test_an_earlier_runs_word_does_not_count(workshop: Workshop) -> None:
    """However late it was said, and read or not."""
    script = """
first = not os.path.exists("/var/tmp/anchor-began")
open("/var/tmp/anchor-began", "w").close()
if first:
    tell("READY=1")
    os._exit(0)
print("up", flush=True)
"""
    before = open_descriptors()
    async with workshop.running(python(workshop, script + SLEEP)) as real:
        assert (await real.complete()).success
        run = await real.start()
        await real.until_said("up\n")
        assert await ask(real, 0.1) == ProbeAnswer(ok=False, output="no READY=1 yet")
        real.machine.kill(WEB)
        await run.wait()
    assert open_descriptors() == before


@pytest.mark.root
async def test_who_does_not_ask_gets_no_socket(workshop: Workshop) -> None:
    """Neither the variable nor the file; a probe that comes later says what to do."""
    command = 'command = ["sh", "-c", "ls /dev; echo ${NOTIFY_SOCKET:-none}; sleep 1000"]'
    fleet = workshop.fleet(command.replace("$", "$$"), "health = { tcp = 80 }")
    async with workshop.running(fleet) as real:
        run = await real.start()
        said = (await real.until_said("none\n")).split()
        assert Path(notify_socket.TARGET).name not in said
        assert run.notify is None
        assert "restart" in (await ask(real, 0.01)).output
