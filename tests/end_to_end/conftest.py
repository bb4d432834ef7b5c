"""A console with places of its own, and a root file system to run in: busybox and nothing else."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from console import Console

BUSYBOX: Final = Path("/bin/busybox")
APPLETS: Final = (
    *("sh", "cat", "ls", "echo", "sleep", "true", "false", "id", "hostname", "env", "pwd", "kill"),
    *("ping", "nslookup", "wget", "nc", "httpd", "touch", "mkdir", "rm", "mount", "grep", "head"),
    *("tail", "dd", "ps", "test", "printf", "seq", "ip", "stat", "readlink", "date", "wc", "tr"),
)
PASSWD: Final = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/srv:/bin/sh\n"


@pytest.fixture
def console(
    run_dir: Path, data_dir: Path, programs: dict[str, str], nothing_left: None
) -> Iterator[Console]:
    """A console; what a failed test leaves running is ended before anyone counts what is left."""
    work = run_dir.parent / "work"
    work.mkdir()
    made = Console(work, programs)
    yield made
    made.clean_up()


@pytest.fixture(scope="session")
def rootfs() -> Iterator[Path]:
    """A directory image. On a file system that can be idmapped, and readable by everyone."""
    place = Path(tempfile.mkdtemp(prefix="anchor-", dir=os.environ.get("ANCHOR_TEST_DIR", "/tmp")))
    place.chmod(0o755)
    root = place / "rootfs"
    for folder in ("bin", "etc", "root", "srv", "tmp", "usr/local", "var"):
        (root / folder).mkdir(parents=True)
    shutil.copy2(BUSYBOX, root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text(PASSWD)
    (root / "etc/group").write_text("root:x:0:\nweb:x:1000:\n")
    (root / "srv/index.html").write_text("it runs\n")
    (root / "etc/not-executable").write_text("#!/bin/sh\n")
    yield root
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def rootfs_tar(rootfs: Path) -> Path:
    """The same as an archive."""
    path = rootfs.parent / "rootfs.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(rootfs, arcname=".")
    return path
