"""From a crash to the next run's first instruction, under whoever restarts what has crashed.

`first` writes when it crashes and when it begins, and what it writes is found in the log that its
keeper stores. The policy is `always`, with the delays that a keeper has by default; ours has none.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from anchor_supervisor.errors import HostError
from measure import say
from peers.corner import Corner
from peers.daemons import Store
from peers.engines import LeftOutError, installed
from peers.party import Party
from peers.starts import FIRST, CommandError, ask, finish
from restart import away, crashes

ALIVE: Final = "50"
"""Milliseconds between a start and the crash."""

PATIENCE: Final = 60.0
_STAMP: Final = re.compile(r'(?<!\d)(\d{6,})(?=\\n"|$)', re.MULTILINE)

LOGS: Final = {"docker": "{{.LogPath}}", "podman": "{{.HostConfig.LogConfig.Path}}"}

SUCCESSIVE: Final = 5
"""Restarts of one container: an engine may wait longer each time."""


def tell(party: Party) -> None:
    """Ask everybody who restarts what has crashed."""
    count = party.options.count
    facts: dict[str, Any] = {"measured": "restart", "alive_ms": int(ALIVE), "policy": "always"}
    if party.wanted("anchor"):
        _tell(party, "anchor", lambda: _of_anchor(party), facts)
    for name, store in party.stores.items():
        if party.wanted(name):
            _tell_store(party, store, {**facts, "version": store.version})
    if party.wanted("supervisord"):
        try:
            facts["version"] = installed("supervisord")
        except LeftOutError as out:
            party.missing("supervisord", out)
            return
        few = min(count, 2 * SUCCESSIVE)  # it takes a second or two
        _tell(party, "supervisord", lambda: of_supervisord(party.image, party.place, few), facts)


def _tell(
    party: Party, name: str, restart: Callable[[], list[float]], facts: Mapping[str, Any]
) -> None:
    say(f"restart: {name}")
    try:
        party.results.samples(
            f"{name}: crash to the next first instruction", restart(), who=name, peer=name, **facts
        )
    except (CommandError, HostError) as failed:
        party.missing(f"{name}: restarts", failed)


def _tell_store(party: Party, store: Store, facts: Mapping[str, Any]) -> None:
    """The first restart of several containers, and how it goes on with one of them."""
    names = [f"{party.place.token}-crash-{number:05}" for number in range(party.options.count)]

    def first() -> list[float]:
        return [of_store(store, party.place, name, 1)[0] for name in names]

    _tell(party, f"{store.program}, first restart", first, facts)
    name = f"{party.place.token}-crashes"
    _tell(
        party,
        f"{store.program}, {SUCCESSIVE} in a row",
        lambda: of_store(store, party.place, name, SUCCESSIVE),
        facts,
    )


def _of_anchor(party: Party) -> list[float]:
    name = f"{party.place.token}-crash"
    return crashes(party.place.directory, name, party.options.count, int(ALIVE), network=True)


def gaps(text: str) -> list[float]:
    """Seconds between each crash and the next start, in a log of whatever form."""
    return away([int(found) for found in _STAMP.findall(text)])


def of_store(store: Store, place: Corner, name: str, count: int) -> list[float]:
    """Let one container crash `count` times. Raises CommandError."""
    logs = ["--log-driver=json-file"] if store.program == "docker" else []
    try:
        options = ("-d", "--restart=always", *logs, store.image, FIRST, "crash", ALIVE)
        ask(store.run(name, *options), place.run)
        asked = [store.program, "inspect", "--format", LOGS[store.program], name]
        _, _, log = ask(asked, place.run)
        return _await(Path(log.strip()), count)
    finally:
        with suppress(CommandError):
            for argv in store.remove([name]):
                ask(argv, place.run, shielded=True)


def _await(log: Path, count: int) -> list[float]:
    """Read a log until it tells of that many restarts; seldom, since reading costs time too."""
    deadline = time.monotonic() + PATIENCE
    while len(found := gaps(log.read_text() if log.exists() else "")) < count:
        if time.monotonic() > deadline:
            message = f"{len(found)} restarts of {count} within {PATIENCE:g} s"
            raise CommandError(message)
        time.sleep(0.02)
    return found[:count]


SUPERVISORD: Final = """
[supervisord]
nodaemon = true
logfile = {folder}/supervisord.log
pidfile = {folder}/supervisord.pid
[program:one]
command = {words}
autorestart = true
startsecs = 0
stdout_logfile = {folder}/one.log
"""


def of_supervisord(image: Path, place: Corner, count: int) -> list[float]:
    """Let a process without a container crash under supervisord. Raises CommandError."""
    folder = place.directory / "supervisord"
    folder.mkdir()
    settings = folder / "supervisord.conf"
    words: Sequence[str] = (str(image / FIRST[1:]), "crash", ALIVE)
    settings.write_text(SUPERVISORD.format(folder=folder, words=" ".join(words)))
    process = subprocess.Popen(
        ["supervisord", "-c", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        return _await(folder / "one.log", count)
    finally:
        process.terminate()
        finish(process)
