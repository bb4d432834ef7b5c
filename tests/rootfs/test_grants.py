"""Secrets and configs in memory: whose they are, how they change, and that nobody meets them."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from anchor_supervisor.errors import ImageError, KernelError
from anchor_supervisor.fleet.model import Grant, GrantKind
from anchor_supervisor.kernel import mount
from anchor_supervisor.kernel.descriptors import Descriptors
from anchor_supervisor.kernel.filesystem import file_system
from anchor_supervisor.kernel.namespaces import IdRange
from anchor_supervisor.rootfs.grants import GrantFiles, OpenGrant
from real_fleet import open_descriptors

pytestmark = pytest.mark.root

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/srv:/bin/sh\n"


def secret(name: str = "token", content: bytes = b"hush", **more: Any) -> Grant:
    """A secret at its usual place."""
    return Grant(GrantKind.SECRET, name, f"/run/secrets/{name}", content, **more)


@pytest.fixture
def root(data_dir: Path) -> Iterator[int]:
    """A root with two users."""
    top = data_dir / "root"
    (top / "etc").mkdir(parents=True)
    (top / "etc/passwd").write_text(PASSWD)
    (top / "etc/group").write_text("root:x:0:\nweb:x:1001:\nstaff:x:50:\n")
    handle = os.open(top, os.O_PATH | os.O_DIRECTORY)
    yield handle
    os.close(handle)


@contextmanager
def mounted(files: GrantFiles) -> Iterator[tuple[OpenGrant, ...]]:
    """The mounts that a container would get."""
    with ExitStack() as stack:
        stack.callback(files.close)
        yield files.mounts(stack.enter_context(Descriptors()))


def read(one: OpenGrant) -> bytes:
    return Path(f"/proc/self/fd/{one.fd}").read_bytes()


def test_each_file_is_as_it_was_asked_for(root: int, ids: IdRange) -> None:
    """Content, mode and owner; a name is looked up in the root, and no owner is the user's own."""
    asked = (
        secret(),
        secret("named", owner="web", mode=0o440),
        secret("both", owner="web:staff"),
        secret("numbers", owner="7:8"),
        Grant(GrantKind.CONFIG, "conf", "/conf", b"", 0o444),
    )
    expected = [(33, 34, 0o400), (1000, 1001, 0o440), (1000, 50, 0o400), (7, 8, 0o400)]
    with mounted(GrantFiles(asked, root, (33, 34), ids)) as found:
        seen = [os.fstat(one.fd) for one in found]
        assert [(s.st_uid - ids.first, s.st_gid - ids.first, s.st_mode & 0o7777) for s in seen] == [
            *expected,
            (33, 34, 0o444),
        ]
        assert [read(one) for one in found] == [b"hush"] * 4 + [b""]
        assert [one.grant for one in found] == list(asked)
    with mounted(GrantFiles(asked, root, (33, 34), None)) as found:
        assert os.fstat(found[0].fd).st_uid == 33


@pytest.mark.parametrize("owner", ["nobody-knows", "web:nobody-knows", "65536", "-1", "1:"])
def test_an_owner_that_is_none_is_named_with_the_secret(
    root: int, ids: IdRange, owner: str
) -> None:
    """The image's fault, with what to do; and nothing is left open."""
    before = open_descriptors()
    with pytest.raises(ImageError, match=r"^secret `token`: ") as caught:
        GrantFiles((secret(owner=owner),), root, (0, 0), ids)
    assert "hush" not in str(caught.value)
    assert open_descriptors() == before


def test_they_are_in_memory_and_in_no_mount_table(root: int, ids: IdRange) -> None:
    """No swap is ever given them, and nobody on the machine meets them by a path."""
    table = Path("/proc/self/mountinfo").read_text()
    with mounted(GrantFiles((secret(),), root, (0, 0), ids)) as found:
        assert file_system(found[0].fd) in {"tmpfs", "ramfs"}
        assert Path("/proc/self/mountinfo").read_text() == table


def test_a_container_cannot_change_or_execute_them(root: int, ids: IdRange) -> None:
    """The mounts are read-only, whatever the mode says."""
    with mounted(GrantFiles((secret(mode=0o777),), root, (0, 0), ids)) as found:
        path = f"/proc/self/fd/{found[0].fd}"
        with pytest.raises(OSError, match="Read-only"):
            os.open(path, os.O_WRONLY)
        with pytest.raises(PermissionError):
            os.execv(path, ["x"])


@pytest.fixture(params=["any kernel", "Linux before 6.15"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that a detached mount cannot be cloned."""
    if request.param == "any kernel":
        return
    real = mount.clone_tree
    main = threading.current_thread()

    def clone(place: mount.Place, **options: Any) -> int:
        if threading.current_thread() is main:
            raise KernelError(errno.EINVAL, "open_tree")
        return real(place, **options)

    monkeypatch.setattr(mount, "clone_tree", clone)


@pytest.mark.usefixtures("kernel")
def test_a_change_is_seen_through_the_mounts(root: int, ids: IdRange) -> None:
    """Longer, shorter and empty; inode, owner and mode stay, and other targets do nothing."""
    with ExitStack() as stack:
        files = GrantFiles((secret(), secret("other")), root, (1, 2), ids)
        stack.callback(files.close)
        [one, other] = files.mounts(stack.enter_context(Descriptors()))
        before = os.fstat(one.fd)
        for content in (b"x" * 10_000, b"short", b"", b"again"):
            files.rewrite((secret(content=content), secret("absent", b"y")))
            after = os.fstat(one.fd)
            assert read(one) == content
            assert (after.st_ino, after.st_uid, after.st_mode) == (
                before.st_ino,
                before.st_uid,
                before.st_mode,
            )
        assert read(other) == b"hush"


def test_a_reader_never_finds_the_file_empty(root: int, ids: IdRange) -> None:
    """As much as the shorter content is there at any moment."""
    old, new = b"a" * 3000, b"b" * 2000
    stop = threading.Event()
    with ExitStack() as stack:
        files = GrantFiles((secret(content=old),), root, (0, 0), ids)
        stack.callback(files.close)
        [one] = files.mounts(stack.enter_context(Descriptors()))

        def write() -> None:
            while not stop.is_set():
                files.rewrite((secret(content=new),))
                files.rewrite((secret(content=old),))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            lengths = {len(read(one)) for _ in range(3000)}
        finally:
            stop.set()
            writer.join()
    assert min(lengths) >= len(new)
    assert max(lengths) <= len(old)


def test_closed_files_are_left_alone(root: int, ids: IdRange) -> None:
    """A change that comes late finds nothing to write to, and no other descriptor."""
    files = GrantFiles((secret(),), root, (0, 0), ids)
    files.close()
    files.close()
    before = open_descriptors()
    files.rewrite((secret(content=b"late"),))
    assert open_descriptors() == before


FAILURES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "the memory": lambda m: m.setattr(os, "pwrite", _full),
    "the owner": lambda m: m.setattr(os, "fchown", _full),
    "the file": lambda m: m.setattr(os, "open", _full),
}


def _full(*_: object, **__: object) -> int:
    raise OSError(errno.ENOSPC, "full", "hush")


@pytest.mark.parametrize("what", FAILURES)
def test_whatever_cannot_be_written_nothing_is_held(
    root: int, ids: IdRange, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The error names the secret and not its content."""
    before = open_descriptors()
    with monkeypatch.context() as patched:
        FAILURES[what](patched)
        with pytest.raises(KernelError, match="write secret `token`: No space left") as caught:
            GrantFiles((secret(),), root, (0, 0), ids)
    assert "hush" not in str(caught.value)
    assert open_descriptors() == before


@pytest.mark.usefixtures("kernel")
def test_a_lease_on_a_secret_holds_nobody_up(root: int, ids: IdRange) -> None:
    """Its reader may ask to be warned before it is written: that would take 45 seconds."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    with ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGIO, before)
        files = GrantFiles((secret(),), root, (1, 2), ids)
        stack.callback(files.close)
        [one] = files.mounts(stack.enter_context(Descriptors()))
        holder = os.open(f"/proc/self/fd/{one.fd}", os.O_RDONLY)
        stack.callback(os.close, holder)
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        with pytest.raises(KernelError, match="write secret `token`") as caught:
            files.rewrite((secret(content=b"new"),))
        assert caught.value.errno == errno.EAGAIN
        assert read(one) == b"hush"
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        files.rewrite((secret(content=b"new"),))
        assert read(one) == b"new"
