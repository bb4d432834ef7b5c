"""The programs that benchmarks start: compiled on the spot, and images made of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from anchor_supervisor.observability import places

NATIVE: Final = Path(__file__).resolve().parent / "native"
CLI: Final = "anchor_supervisor.cli"


def compile_native(name: str, directory: Path) -> Path:
    """Compile `native/NAME.c` into the directory, without a loader. Raises CalledProcessError."""
    program = directory / name
    source = NATIVE / f"{name}.c"
    subprocess.run(
        ["cc", "-O2", "-static", "-Wall", "-Wextra", "-o", str(program), str(source)],
        check=True,
    )
    return program


def first_image(directory: Path) -> Path:
    """Make an image, a directory, that holds nothing but `first` and what a root must have."""
    image = directory / "image"
    if not image.exists():
        for name in ("dev", "etc", "proc", "sys", "tmp"):
            (image / name).mkdir(parents=True)
        shutil.copy(compile_native("first", directory), image / "first")
        image.chmod(0o755)
    return image


def command(program: str, *arguments: str) -> list[str]:
    """Return the command line of `anchor` (`main`) or `anchor-supervise` (`supervise`)."""
    return [sys.executable, "-m", f"{CLI}.{program}", *arguments]


def run(program: str, *arguments: str) -> None:
    """Run one of our programs to its end. Raises CalledProcessError."""
    subprocess.run(command(program, *arguments), check=True, capture_output=True)


def said(fleet: str, instance: str) -> list[str]:
    """Return the lines that an instance has written to its standard output so far."""
    folder = places.fleet_log_dir(fleet) / instance
    files = sorted(folder.glob("*.log"), key=lambda file: -int(file.stem))
    records = (line for file in files for line in file.read_text().splitlines())
    return [text for _, stream, _, text in (one.split(" ", 3) for one in records) if stream]
