"""What the tests of this room share: a quiet log, a root to run in, and real fleets."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from anchor_supervisor.observability.log import LogFormat, log
from real_fleet import Workshop

BUSYBOX: Final = Path("/bin/busybox")
PASSWD: Final = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/srv:/bin/sh\n"


@pytest.fixture(scope="session", autouse=True)
def quiet_log() -> None:
    """Our own lines go nowhere."""
    log.configure(LogFormat.JSON, color=False, stream=io.StringIO())


@pytest.fixture(scope="session")
def rootfs() -> Iterator[Path]:
    """A directory image: busybox and two users, on a file system that can be idmapped."""
    if not BUSYBOX.exists():
        pytest.skip("needs busybox: apt-get install busybox-static")
    place = Path(tempfile.mkdtemp(prefix="anchor-", dir=os.environ.get("ANCHOR_TEST_DIR", "/tmp")))
    place.chmod(0o755)
    root = place / "rootfs"
    for folder in ("bin", "etc", "srv", "tmp", "usr/local", "var"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy2(BUSYBOX, root / "bin/busybox")
    for applet in (
        *("sh", "cat", "ls", "echo", "sleep", "true", "false", "id", "hostname", "kill", "httpd"),
        *("readlink", "grep", "ps", "dd", "nc", "touch", "test", "yes", "head", "ip", "awk"),
    ):
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text(PASSWD)
    (root / "etc/group").write_text("root:x:0:\nweb:x:1000:\n")
    (root / "etc/not-executable").write_text("#!/bin/sh\n")
    (root / "srv/index.html").write_text("it runs\n")
    yield root
    shutil.rmtree(place)


@pytest.fixture
def workshop(
    rootfs: Path,
    run_dir: Path,
    data_dir: Path,
    nothing_left: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Workshop:
    """Places of the test's own, in which real fleets are opened."""
    monkeypatch.setenv("ANCHOR_RUN_DIR", str(run_dir))
    monkeypatch.setenv("ANCHOR_DATA_DIR", str(data_dir))
    return Workshop(rootfs, run_dir, data_dir)
