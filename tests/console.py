"""The two programs, driven as a person drives them: subprocesses, output, exit codes.

What is asked again and again, the rows of `ps` and the facts of `inspect`, is asked of the control
socket: a program takes a hundred times as long to start as the answer to come.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, final

from attrs import field, frozen

from anchor_supervisor.control.client import Client
from anchor_supervisor.control.fleets import name_in_files
from waiting import DEADLINE, SLOWNESS, eventually

TIMEOUT: Final = 30.0 * SLOWNESS

ANCHOR: Final = (sys.executable, "-m", "anchor_supervisor.cli.main")
SUPERVISE: Final = (sys.executable, "-m", "anchor_supervisor.cli.supervise")

Row = dict[str, Any]


@final
@frozen
class Said:
    """What a program that has ended said, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


@final
@frozen(eq=False)
class Foreground:
    """A program in the foreground. Everything it says, on either stream, goes to one file."""

    process: subprocess.Popen[bytes]
    output: Path

    def text(self) -> str:
        """What it has said so far."""
        return self.output.read_text(errors="replace")

    def wait_for(self, words: str) -> str:
        """Wait until it has said `words`; return everything so far."""

        def look() -> str:
            text = self.text()
            if words not in text and self.process.poll() is not None:
                message = f"ended with {self.process.returncode} without {words!r}:\n{self.text()}"
                raise AssertionError(message)
            return text

        return eventually(look, lambda text: words in text, what=f"it says {words!r}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor alone, as systemd does."""
        self.process.send_signal(number)

    def interrupt(self) -> None:
        """Send SIGINT to the foreground's process group, as the terminal does on Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ended(self) -> int:
        """Wait for the end; the exit code."""
        return self.process.wait(TIMEOUT)


@final
@frozen(eq=False)
class Console:
    """One place with a run directory and a data directory of its own."""

    directory: Path
    environment: dict[str, str]
    _started: list[Foreground] = field(factory=list, init=False)

    @property
    def run_dir(self) -> Path:
        """Where the sockets and locks are."""
        return Path(self.environment["ANCHOR_RUN_DIR"])

    @property
    def data_dir(self) -> Path:
        """Where the layers, volumes and logs are."""
        return Path(self.environment["ANCHOR_DATA_DIR"])

    def write(self, name: str, text: str) -> Path:
        """Write a file beside the others, such as `shop.toml`."""
        path = self.directory / name
        path.write_text(text)
        return path

    def anchor(self, *words: str | Path, wrapped: Sequence[str] = (), text: str = "") -> Said:
        """`anchor ...`, to its end; `text` is its standard input."""
        return self._to_the_end([*wrapped, *ANCHOR, *map(str, words)], text)

    def supervise(self, *words: str | Path, wrapped: Sequence[str] = ()) -> Said:
        """`anchor-supervise ...`, to its end."""
        return self._to_the_end([*wrapped, *SUPERVISE, *map(str, words)], "")

    def _to_the_end(self, command: list[str], text: str) -> Said:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def up(self, fleet: Path) -> None:
        """Bring a fleet up in the background; it must come up."""
        said = self.supervise("--detach", fleet)
        assert said.code == 0, said

    def down(self, fleet: Path) -> Said:
        """End a fleet; it must end well."""
        said = self.anchor("down", "-f", fleet)
        assert said.code == 0, said
        return said

    def start(self, *words: str | Path) -> Foreground:
        """`anchor-supervise ...` in the foreground of a terminal of its own, so to speak."""
        return self._start(SUPERVISE, words)

    def start_anchor(self, *words: str | Path) -> Foreground:
        """`anchor ...`, not waited for."""
        return self._start(ANCHOR, words)

    def _start(self, program: Sequence[str], words: Sequence[str | Path]) -> Foreground:
        output = self.directory / f"output-{len(self._started)}"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [*program, *map(str, words)],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                process_group=0,
            )
        self._started.append(Foreground(process, output))
        return self._started[-1]

    def ask(self, fleet: Path, path: str) -> Any:
        """GET this path of the fleet's supervisor."""
        name = name_in_files([str(fleet)])
        client = Client(name, self.run_dir / name / "control.sock")
        return client.send("GET", path, timeout=TIMEOUT).result()

    def rows(self, fleet: Path) -> dict[str, Row]:
        """What `anchor ps --json` prints, by name."""
        return {row["name"]: row for row in self.ask(fleet, "/v1/containers")}

    def row_when(self, fleet: Path, name: str, good: Callable[[Row], bool], *, what: str) -> Row:
        """Wait until the row of `name` is good; return it."""
        return eventually(lambda: self.rows(fleet)[name], good, what=what, deadline=2 * DEADLINE)

    def cgroup_of(self, fleet: Path, name: str) -> Path:
        """The directory of a running container's cgroup."""
        return Path(self.ask(fleet, f"/v1/containers/{name}")["host"]["cgroup"])

    def journal(self, fleet: str) -> list[Row]:
        """Every transition that the fleet's journal has, oldest first."""
        path = self.data_dir / "logs" / fleet / "events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def clean_up(self) -> None:
        """After a test that failed halfway: end what it started, and sweep what that left."""
        for foreground in self._started:
            if foreground.process.poll() is None:
                foreground.process.kill()
            foreground.process.wait()
        for folder in self.run_dir.iterdir():
            if (folder / "lock").exists() or (folder / "control.sock").exists():
                self.anchor("down", "-p", folder.name, "--volumes")
