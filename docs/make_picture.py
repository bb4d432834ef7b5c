"""Draw `docs/demo.svg` from a real run of `configs/demo.toml`: what a person sees, colours and all.

Run as root, from the repository: ``.venv/bin/python docs/make_picture.py``
"""

from __future__ import annotations

import io
import os
import pty
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 118
PROGRAMS = {
    "anchor": "anchor_supervisor.cli.main",
    "anchor-supervise": "anchor_supervisor.cli.supervise",
}


def typed(command: str) -> str:
    """Run a command on a terminal of its own; return what it showed."""
    program, *arguments = command.split()
    shown = bytearray()

    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["COLUMNS"] = str(WIDTH)
        argv = [sys.executable, "-m", PROGRAMS[program], *arguments]
        os.execv(sys.executable, argv)  # noqa: S606 - the picture is of the command
    while True:
        try:
            shown.extend(os.read(terminal, 65536))
        except OSError:  # EIO: the last writer has closed the terminal (pty(7))
            break
    os.waitpid(pid, 0)
    return shown.decode().replace("\r\n", "\n")


def main() -> None:
    """Bring the demo up, look at it, end it, and draw what was seen."""
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory(prefix="anchor-picture-") as directory:
        os.environ["ANCHOR_RUN_DIR"] = f"{directory}/run"
        os.environ["ANCHOR_DATA_DIR"] = f"{directory}/data"
        story = []
        for command, pause in (
            ("anchor-supervise --detach configs/demo.toml", 3.4),
            ("anchor ps", 0.0),
            ("anchor why worker", 0.0),
            ("anchor down", 0.0),
        ):
            story.append(f"\x1b[1m$ {command}\x1b[0m\n{typed(command)}")
            time.sleep(pause)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi("\n".join(story).strip("\n")))
    console.save_svg(str(ROOT / "docs" / "demo.svg"), title="anchor-supervise")


if __name__ == "__main__":
    main()
