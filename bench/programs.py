"""The programs that benchmarks start: compiled on the spot, and images made of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from anchor_supervisor.errors import HostError
from anchor_supervisor.observability import places

NATIVE: Final = Path(__file__).resolve().parent / "native"
COMPILER: Final = "cc"
LARGE_FILE: Final = "large-file"
MIB: Final = 1 << 20

INSTALLED: Final = {"main": "anchor", "supervise": "anchor-supervise"}
"""What a person types, by the module that it leads to."""


def require_programs() -> None:
    """Raise HostError where what every question needs is not installed."""
    if shutil.which(COMPILER) is None:
        message = f"there is no C compiler: `{COMPILER}` is not on the PATH"
        raise HostError(message, hint="apt install gcc libc6-dev")
    for module in INSTALLED:
        program(module)


def program(module: str) -> Path:
    """Where one of our programs is installed: beside this interpreter. Raises HostError."""
    path = Path(sysconfig.get_path("scripts"), INSTALLED[module])
    if not path.exists():
        message = f"`{path}` is not there, and commands are measured as a person types them"
        raise HostError(message, hint="`make setup` installs it")
    return path


def command(module: str, *arguments: str) -> list[str]:
    """Return the command line of `anchor` (`main`) or `anchor-supervise` (`supervise`)."""
    return [str(program(module)), *arguments]


def compile_native(name: str, directory: Path) -> Path:
    """Compile `native/NAME.c` into the directory, without a loader. Raises HostError."""
    path = directory / name
    if not path.exists():
        source = NATIVE / f"{name}.c"
        done = subprocess.run(
            [COMPILER, "-O2", "-static", "-o", str(path), str(source)],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            message = f"`{source}` cannot be compiled: {''.join(done.stderr.splitlines()[-1:])}"
            raise HostError(message, hint="apt install gcc libc6-dev")
    return path


def first_image(directory: Path, size: int = 0) -> Path:
    """Make an image, a directory: `first`, what a root must have, and `size` MiB of other files.

    Those are as many as a distribution has of them, about 18 KiB each; and there is one of 64 MiB
    where `size` allows, for a first write to it.
    """
    image = directory / f"image-{size}"
    if image.exists():
        return image
    image.mkdir()
    image.chmod(0o755)
    furnish(image)
    shutil.copy(compile_native("first", directory), image / "first")
    left = size * MIB
    if left >= 100 * MIB:
        (image / LARGE_FILE).write_bytes(os.urandom(64 * MIB))
        left -= 64 * MIB
    number = 0
    while left > 0:
        folder = image / f"usr/share/d{number // 50}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{number}").write_bytes(os.urandom(18 * 1024))
        left -= 18 * 1024
        number += 1
    return image


def furnish(image: Path) -> None:
    """Make what a root that cannot be written to must have: places to mount on."""
    for name in ("dev", "etc", "proc", "sys", "tmp"):
        (image / name).mkdir(exist_ok=True)
    for name in ("hostname", "hosts", "resolv.conf"):
        path = image / "etc" / name
        if not path.is_symlink():
            path.touch()


def stored_image(image: Path) -> str:
    """Import a root into the store; return its name. Raises HostError."""
    name = f"bench/{image.name.lower()}"
    timed(*command("main", "import", "--quiet", str(image), name))
    return name


def disk_usage(tree: Path) -> int:
    """Bytes on disk of everything beneath a directory."""
    return sum(
        os.lstat(Path(folder, name)).st_blocks * 512
        for folder, folders, names in os.walk(tree)
        for name in (*folders, *names)
    )


def timed(*argv: str) -> float:
    """Seconds that a whole command takes. Raises CalledProcessError where it fails."""
    begun = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True)
    return time.perf_counter() - begun


def run(module: str, *arguments: str) -> float:
    """Run one of our programs to its end; return the seconds. Raises CalledProcessError."""
    return timed(*command(module, *arguments))


def said(fleet: str, instance: str) -> list[str]:
    """Return the lines that an instance has written to its standard output so far."""
    folder = places.fleet_log_dir(fleet) / instance
    files = sorted(folder.glob("*.log"), key=lambda file: -int(file.stem))
    return [line.split(" ", 3)[3] for line in _lines(files)]


def _lines(files: list[Path]) -> Iterator[str]:
    for file in files:
        yield from file.read_text().splitlines()
