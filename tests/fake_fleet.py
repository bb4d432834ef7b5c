"""A fleet that only pretends: a control Handler with canned answers, in this process or its own.

As a program (`python fake_fleet.py NAME`) it listens where the fleet of that name would, says so
with a line on standard output, and ends when it is asked to go down.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import trio
from attrs import define, evolve, field

from anchor_supervisor.control.handler import ActOptions, EventQuery, LogQuery, Wanted
from anchor_supervisor.control.protocol import NotFound, log_line
from anchor_supervisor.control.server import serve
from anchor_supervisor.control.shapes import (
    ApplyLine,
    ContainerRow,
    DownResult,
    ExecContext,
    FleetInfo,
    Held,
    JournalEntry,
    LogLine,
    Plan,
    RootContext,
    Why,
)
from anchor_supervisor.errors import FleetError, HostError, Problem
from anchor_supervisor.observability import places
from canned import EMPTY_PLAN, entry, web_plan, web_updated

LONG_AGO = "2026-01-02T03:04:05.678Z"
FAR_AHEAD = "2096-01-02T03:04:05.678Z"


def row(container: str, replica: int = 1, **facts: Any) -> ContainerRow:
    """A row of `ps`; `facts` replace the usual ones."""
    usual: dict[str, Any] = {
        "fleet": "shop",
        "container": container,
        "replica": replica,
        "name": f"{container}.{replica}",
        "kind": "service",
        "image": "host",
        "state": "running",
        "health": "none",
        "reason": "",
        "since": LONG_AGO,
        "next": None,
        "next_at": None,
        "pid": 4711,
        "address": "10.88.0.2",
        "ports": [],
        "restarts": 0,
        "attempts": 0,
        "attempts_most": None,
        "attempts_window": 600.0,
        "update": None,
        "warning": None,
        "exit_code": None,
        "signal": None,
        "oom": None,
        "started_at": LONG_AGO,
        "finished_at": None,
        "limits": None,
    }
    return {**usual, **facts}  # type: ignore[typeddict-item]


def shop() -> list[ContainerRow]:
    """A fleet with something of everything."""
    port = {
        "host_address": "127.0.0.1",
        "host_port": 8080,
        "container_port": 80,
        "protocol": "tcp",
    }
    return [
        row("db", health="healthy", limits={"memory": 64 << 20, "cpus": 0.5, "pids": 4096}),
        row("web", 1, ports=[port], health="unhealthy", reason="3 probes failed\x1b[2J"),
        row(
            "web",
            2,
            state="backoff",
            pid=None,
            reason="exited (1)",
            exit_code=1,
            restarts=3,
            attempts=2,
            attempts_most=5,
            update="1 of 2 replaced, paused: `web.2` exited (1)",
            next="starts again (4th restart, at most 5 within 10m)",
            next_at=FAR_AHEAD,
        ),
        row("migrate", kind="job", state="waiting", pid=None, reason="db.1 is not healthy"),
    ]


def story(about: ContainerRow) -> Why:
    """A long story about one row."""
    return {
        "container": about,
        "dependencies": [
            {
                "name": "db.1",
                "condition": "healthy",
                "met": False,
                "state": "running",
                "health": "starting",
                "reason": "no probe has answered yet",
                "dependencies": [],
            }
        ],
        "last_exit": {
            "code": None,
            "signal": 9,
            "oom": "oom (limit 64M, peak 64M)",
            "at": LONG_AGO,
            "ran": 2.5,
        },
        "probe": {
            "probe": "http :80/health",
            "startup": True,
            "failures": 2,
            "retries": 3,
            "results": [
                {"at": LONG_AGO, "ok": False, "duration": 0.004, "output": "status 503\nsorry"}
            ],
        },
        "schedule": {
            "when": "every 1h",
            "next_at": FAR_AHEAD,
            "queued": False,
            "skipped": 2,
            "suspended": False,
        },
        "stop": {
            "how": "runs `pg_ctl stop`, then SIGTERM, killed after 10s",
            "command_at": LONG_AGO,
            "command_ok": False,
            "command_output": "no such\nserver",
        },
        "update": {
            "container": about["container"],
            "active": False,
            "result": "paused",
            "reason": "`web.2` exited (1)",
            "replaced": 1,
            "total": 2,
        },
        "told": "loading \x1b[2J37%",
        "until": FAR_AHEAD,
        "incidents": [entry("oom", container=about["name"], limit=64 << 20, peak=64 << 20)],
        "restarts": {"when": "on-failure", "in_window": 3, "max": 5, "window": 600.0, "delay": 0.4},
        "log": [log_line(about["name"], LONG_AGO, "stderr", b"last \xff words", partial=False)],
        "history": [
            {"time": LONG_AGO, "state": "starting", "health": "none", "reason": ""},
            {"time": LONG_AGO, "state": "backoff", "health": "none", "reason": "oom"},
        ],
    }


@define
class FakeFleet:
    """Answers from `rows`; keeps what it was asked in `asked`. `gone` is set by `down`."""

    rows: list[ContainerRow] = field(factory=shop)
    lines: list[LogLine] = field(factory=list)
    asked: list[tuple[Any, ...]] = field(factory=list)
    gone: trio.Event = field(factory=trio.Event)
    followers: int = 0
    follower_left: trio.Event = field(factory=trio.Event)

    async def fleet(self) -> FleetInfo:
        """Say what this pretends to be."""
        return {
            "name": "shop",
            "pid": os.getpid(),
            "file": None,
            "files": ["/srv/shop.toml"],
            "profiles": ["same"],
            "since": LONG_AGO,
            "containers": len(self.rows),
            "ready": True,
        }

    async def containers(self) -> list[ContainerRow]:
        """All rows."""
        return self.rows

    def meant(self, name: str) -> list[ContainerRow]:
        """The rows that a name means."""
        found = [each for each in self.rows if name in {each["name"], each["container"]}]
        if not found:
            message = f"there is no container `{name}`"
            raise NotFound(message, hint="`anchor ps` lists them")
        return found

    async def inspect(self, name: str) -> Mapping[str, object]:
        """The row, or a bug for the name `bug`."""
        if name == "bug":
            message = "a secret of the inside"
            raise ValueError(message)
        return self.meant(name)[0]

    async def why(self, name: str) -> list[Why]:
        """A story for each."""
        return [story(each) for each in self.meant(name)]

    async def act(self, name: str, verb: str, options: ActOptions) -> list[ContainerRow]:
        """Only remember; `start migrate` fails as a machine would."""
        self.asked.append((verb, name, options))
        if (name, verb) == ("migrate", "start"):
            message = "out of pids"
            raise HostError(message, hint="raise kernel.pid_max")
        for each in self.meant(name):
            each["state"] = "stopped" if verb == "stop" else "running"
        return self.meant(name)

    async def plan(self, wanted: Wanted) -> Plan:
        """As the variable PRETEND says: `same` changes nothing, `wrong` is a wrong file."""
        self.asked.append(("plan", wanted))
        if wanted.environment.get("PRETEND") == "wrong":
            raise FleetError([Problem("must be a list", "a.toml", 3, "containers.web", "brackets")])
        return EMPTY_PLAN if wanted.environment.get("PRETEND") == "same" else web_plan()

    async def apply(self, wanted: Wanted) -> AsyncGenerator[ApplyLine, None]:
        """Likewise: `slow` goes on for ever, `cut` stops half-way, `broken` and `undone` fail."""
        plan, pretend = await self.plan(wanted), wanted.environment.get("PRETEND")
        lines = web_updated("done", "all replicas are new")
        if not plan["containers"]:
            lines = [
                {"plan": plan},
                {"result": {"plan": plan, "updates": [], "failed": [], "ok": True}},
            ]
        elif pretend == "broken":
            lines = web_updated("paused", "`web.1` exited (1)")
        elif pretend == "undone":
            lines = web_updated("rolled back", "`web.3` exited (1)")
        elif pretend in {"cut", "slow"}:
            lines = lines[:1]
        self.followers += 1
        try:
            for line in lines:
                yield line
            if pretend == "slow":
                await self.gone.wait()
        finally:
            self.followers -= 1
            self.follower_left.set()

    async def scale(self, replicas: Mapping[str, int]) -> AsyncGenerator[ApplyLine, None]:
        """As an apply."""
        self.asked.append(("scale", dict(replicas)))
        for name in replicas:
            self.meant(name)
        for line in web_updated("done", ""):
            yield line

    async def follow_events(self, query: EventQuery) -> AsyncGenerator[JournalEntry, None]:
        """Two entries, and then silence until the reader leaves."""
        self.asked.append(("events", query))
        for name in query.names:
            self.meant(name)
        self.followers += 1
        try:
            yield entry("transition", container="web.1", state="running", health="none", reason="")
            yield entry("update", container="web", result="done", reason="all replicas are new")
            if query.follow:
                await self.gone.wait()
        finally:
            self.followers -= 1
            self.follower_left.set()

    async def down(self, *, volumes: bool) -> DownResult:
        """End; the program above ends at once after that."""
        self.asked.append(("down", volumes))
        self.gone.set()
        return {"removed": ["network default"]}

    async def exec_context(self, name: str) -> ExecContext:
        """What a new process would need."""
        return {
            "name": self.meant(name)[0]["name"],
            "pid": 4711,
            "cgroup": "/sys/fs/cgroup/x",
            "environment": ["A=b"],
            "uid": 0,
            "gid": 0,
            "groups": [],
            "capabilities": 0,
            "working_dir": "/",
            "no_new_privileges": True,
        }

    async def root_context(self, name: str) -> RootContext:
        """A root that is nowhere."""
        each = self.meant(name)[0]
        return {
            "fleet": "shop",
            "name": each["name"],
            "state": each["state"],
            "pid": each["pid"],
            "start_time": 1,
            "hold": None,
            "image": "host",
            "image_kind": "host",
            "digest": "host",
            "layers": ["/"],
            "host": True,
            "strategy": "overlay",
            "read_only": False,
            "volatile": False,
            "writable": "/nowhere",
            "first_id": 1 << 16,
            "ids": 1 << 16,
            "mount_points": ["/proc"],
            "volumes": [],
            "process": {
                "entrypoint": None,
                "command": ["true"],
                "environment": {},
                "user": None,
                "working_dir": None,
                "stop_signal": "TERM",
                "labels": {},
                "ports": [],
            },
        }

    async def hold(self, name: str) -> AsyncGenerator[Held, None]:
        """Held until the one who asked has gone."""
        found = self.meant(name)[0]["name"]
        self.followers += 1
        try:
            yield {"name": found, "held": True}
            await self.gone.wait()
        finally:
            self.followers -= 1
            self.follower_left.set()

    async def follow_logs(self, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        """The lines, and then silence until the reader leaves."""
        self.asked.append(("logs", evolve(query)))
        for name in query.names:
            self.meant(name)
        self.followers += 1
        try:
            for line in self.lines:
                yield line
            if query.follow:
                await self.gone.wait()
        finally:
            self.followers -= 1
            self.follower_left.set()


async def _pretend(fleet: str) -> None:
    handler = FakeFleet()
    handler.lines.append(
        log_line("web.1", "2026-01-02T03:04:05.000000001Z", "stdout", b"live", partial=False)
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, places.control_socket(fleet), handler)
        print("listening", flush=True)
        await handler.gone.wait()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_pretend, sys.argv[1])
