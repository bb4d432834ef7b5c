"""The programs that benchmarks start: compiled on the spot, and images made of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from anchor_supervisor.observability import places

NATIVE: Final = Path(__file__).resolve().parent / "native"
CLI: Final = "anchor_supervisor.cli"
LARGE_FILE: Final = "large-file"
MIB: Final = 1 << 20


def compile_native(name: str, directory: Path) -> Path:
    """Compile `native/NAME.c` into the directory, without a loader. Raises CalledProcessError."""
    program = directory / name
    if not program.exists():
        source = NATIVE / f"{name}.c"
        subprocess.run(["cc", "-O2", "-static", "-o", str(program), str(source)], check=True)
    return program


def first_image(directory: Path, size: int = 0) -> Path:
    """Make an image, a directory: `first`, what a root must have, and `size` MiB of other files.

    Those are as many as a distribution has of them, about 18 KiB each; and there is one of 64 MiB
    where `size` allows, for a first write to it.
    """
    image = directory / f"image-{size}"
    if image.exists():
        return image
    for name in ("dev", "etc", "proc", "sys", "tmp"):
        (image / name).mkdir(parents=True)
    image.chmod(0o755)
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


def with_first(image: Path, directory: Path) -> Path:
    """Return a copy of an image of the user's, with `first` in it; what it is stays as it was."""
    copy = directory / f"copy-of-{image.name}"
    if not copy.exists():
        shutil.copytree(image, copy, symlinks=True, ignore_dangling_symlinks=True)
        shutil.copy(compile_native("first", directory), copy / "first")
    return copy


def forget_pages(image: Path) -> None:
    """Let the kernel drop this image's files from its cache (posix_fadvise(2)), no others."""
    for folder, _, names in os.walk(image):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(descriptor)


def disk_usage(tree: Path) -> int:
    """Bytes on disk of everything beneath a directory."""
    return sum(
        os.lstat(Path(folder, name)).st_blocks * 512
        for folder, folders, names in os.walk(tree)
        for name in (*folders, *names)
    )


def command(program: str, *arguments: str) -> list[str]:
    """Return the command line of `anchor` (`main`) or `anchor-supervise` (`supervise`)."""
    return [sys.executable, "-m", f"{CLI}.{program}", *arguments]


def timed(*argv: str) -> float:
    """Seconds that a whole command takes. Raises CalledProcessError where it fails."""
    begun = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True)
    return time.perf_counter() - begun


def run(program: str, *arguments: str) -> float:
    """Run one of our programs to its end; return the seconds. Raises CalledProcessError."""
    return timed(*command(program, *arguments))


def said(fleet: str, instance: str) -> list[str]:
    """Return the lines that an instance has written to its standard output so far."""
    folder = places.fleet_log_dir(fleet) / instance
    files = sorted(folder.glob("*.log"), key=lambda file: -int(file.stem))
    return [line.split(" ", 3)[3] for line in _lines(files)]


def _lines(files: list[Path]) -> Iterator[str]:
    for file in files:
        yield from file.read_text().splitlines()
