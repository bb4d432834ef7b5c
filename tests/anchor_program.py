"""The `anchor` program in a process of its own, and a supervisor that only pretends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

from attrs import frozen

ROOT: Final = Path(__file__).parent.parent

Result = subprocess.CompletedProcess[str]


@final
@frozen
class Anchor:
    """Runs `anchor ARGUMENTS...` from the sources, in `place`, with `environment` alone."""

    place: Path
    environment: Mapping[str, str]

    def __call__(self, *arguments: str, **more: str) -> Result:
        """Run it; `more` is added to the environment."""
        return self._run(self.command(*arguments), more)

    def command(self, *arguments: str) -> list[str]:
        """Give the command that would be run."""
        return [sys.executable, "-m", "anchor_supervisor.cli.main", *arguments]

    def python(self, script: str) -> Result:
        """Run a Python script that sees the sources."""
        return self._run([sys.executable, "-c", script], {})

    def shell(self, script: str) -> Result:
        """Run a bash script in which `{anchor}` stands for the program."""
        anchor = f"{sys.executable} -m anchor_supervisor.cli.main"
        return self._run(["bash", "-c", script.format(anchor=anchor)], {})

    def _run(self, command: list[str], more: Mapping[str, str]) -> Result:
        return subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=self.place,
            env={**self.environment, **more},
            timeout=60,
        )


@contextmanager
def pretending(fleet: str, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Give a process that pretends to be the supervisor of this fleet."""
    command = [sys.executable, str(ROOT / "tests" / "fake_fleet.py"), fleet]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            yield process
        finally:
            process.kill()
