"""`anchor run` in the foreground, from outside: signals are passed on to its command."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from anchor_program import Anchor


@pytest.mark.root
@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2"])
def test_the_command_gets_the_signal_and_decides(
    anchor: Anchor, environment: dict[str, str], data_dir: Path, name: str
) -> None:
    """No signal that a terminal or a script sends ends the supervisor and leaves the command."""
    script = f"trap 'exit 9' {name}; echo up; sleep 1000 & wait"
    command = anchor.command("run", "--net", "none", "sh", "-c", script)
    with subprocess.Popen(
        command, cwd=data_dir, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "up\n"
            process.send_signal(signal.Signals[f"SIG{name}"])
            assert process.wait(timeout=60) == 9
        finally:
            process.kill()
