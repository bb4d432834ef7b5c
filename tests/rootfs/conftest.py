"""What the tests of this room share: a container's ids, and a small image on a real file system."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.namespaces import IdRange, Sandbox, create_sandbox
from anchor_supervisor.rootfs.mapped import clone_mapped

IDS = IdRange(700_000)


@pytest.fixture
def ids() -> IdRange:
    """The range of ids of a container under test."""
    return IDS


@pytest.fixture
def sandbox(ids: IdRange) -> Iterator[Sandbox]:
    """A container's namespaces, its network among them."""
    sandbox = create_sandbox(ids, network=True)
    yield sandbox
    sandbox.close()


@pytest.fixture
def image(data_dir: Path, sandbox: Sandbox) -> Path:
    """A directory image whose file system can be idmapped."""
    top = data_dir / "image"
    (top / "etc").mkdir(parents=True)
    (top / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (top / "program").write_text("#!/bin/sh\n")
    (top / "program").chmod(0o4755)
    (top / "owned").write_text("x")
    os.chown(top / "owned", 33, 34)
    top.chmod(0o755)
    try:
        os.close(clone_mapped(top, sandbox.user))
    except HostError as error:
        pytest.skip(f"machine: {error}")
    return top


@contextmanager
def _acting_as(user: int) -> Iterator[None]:
    os.setresgid(-1, user, -1)
    os.setresuid(-1, user, -1)
    try:
        yield
    finally:
        os.setresuid(-1, 0, -1)
        os.setresgid(-1, 0, -1)


@pytest.fixture
def acting_as() -> Callable[[int], AbstractContextManager[None]]:
    """Do something with this user and group of the machine, as a container's process does."""
    return _acting_as


@pytest.fixture
def disk(request: pytest.FixtureRequest, _place: Path) -> Iterator[Path]:
    """A mounted disk in a file, of the file system that the test's parameter names.

    The loop device is freed by its last user, so a test that is killed leaves a mount at most.
    """
    kind = request.param
    search = f"/usr/sbin:/sbin:{os.environ['PATH']}"
    make = shutil.which(f"mkfs.{kind}", path=search)
    if make is None:
        pytest.skip(f"machine: no mkfs.{kind}")
    file, place = _place / "disk.img", _place / "disk"
    with file.open("wb") as image:
        image.truncate(320 << 20)
    subprocess.run([make, "-q", str(file)], check=True, capture_output=True)
    place.mkdir()
    command = ["mount", "-o", "loop", str(file), str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"machine: cannot mount {kind} from a file: {mounted.stderr.strip()}")
    yield place
    mount.unmount(place)
