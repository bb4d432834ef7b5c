"""A lease holds for as long as its process lives, and not a moment longer."""

from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, ImageError
from anchor_supervisor.images import leases
from anchor_supervisor.images.store import Store
from image_store import digest_of, ended, hexes, in_child

DIGEST = digest_of(b"something")
OTHER = digest_of(b"something else")


@pytest.fixture
def store(data_dir: Path) -> Store:
    """An empty store."""
    return Store(data_dir)


def test_a_lease_shows_who_holds_what(store: Store) -> None:
    """Its holder is named for what it holds, in its own words, until the block ends."""
    assert store.holders(DIGEST) == ()
    with store.lease("fleet `shop`") as lease, store.lease("pull\nof two lines") as second:
        lease.hold(DIGEST)
        second.hold(DIGEST, OTHER)
        assert store.holders(DIGEST) == ("fleet `shop`", "pull\nof two lines")
        assert store.holders(OTHER) == ("pull\nof two lines",)
    assert store.holders(DIGEST) == ()
    assert hexes(store, "leases") == set()


def test_only_digests_can_be_held(store: Store) -> None:
    """Anything else is refused, and nothing of the call is written."""
    with store.lease("test") as lease:
        with pytest.raises(ImageError, match="is not a sha256 digest"):
            lease.hold(DIGEST, "sha256:../../x")
        assert store.holders(DIGEST) == ()


def test_a_lease_ends_with_its_process(store: Store) -> None:
    """A killed holder holds nothing, and its file is gone after the next use of the store."""
    reader, writer = os.pipe()

    def hold() -> None:
        with store.lease("doomed") as lease:
            lease.hold(DIGEST)
            os.write(writer, b"x")
            signal.pause()

    child = in_child(hold)
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    os.close(writer)
    assert store.holders(DIGEST) == ("doomed",)
    os.kill(child, signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL
    assert store.holders(DIGEST) == ()
    assert len(hexes(store, "leases")) == 1
    with store.lease("next"):
        assert len(hexes(store, "leases")) == 1
    assert hexes(store, "leases") == set()


def test_a_fork_keeps_it_and_an_execution_does_not(store: Store) -> None:
    """The lock is on what both processes have open: it lasts until the last of them is gone."""
    with store.lease("test") as lease:
        lease.hold(DIGEST)
        assert isinstance(lease, leases._Lease)
        assert not os.get_inheritable(lease._file)
        reader, writer = os.pipe()

        def wait() -> None:
            os.close(writer)
            os.read(reader, 1)

        child = in_child(wait)
        os.close(reader)
        # As if the parent had been killed before it could remove the file.
        os.link(lease._path, kept := store.data / "kept")
    kept.rename(lease._path)
    assert store.holders(DIGEST) == ("test",)
    os.close(writer)
    assert ended(child) == 0
    assert store.holders(DIGEST) == ()


def test_threads_share_a_lease(store: Store) -> None:
    """What many threads hold at once is all there, each digest on a line of its own."""
    digests = [digest_of(bytes([number])) for number in range(200)]
    with store.lease("test") as lease:
        threads = [
            threading.Thread(target=lease.hold, args=tuple(digests[number::4]))
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        held, dead = leases.living(store.layout)
        assert dead == ()
        assert held[0].digests == frozenset(digests)


def test_a_full_disk_leaves_no_half_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is not held, and does not spoil what is held later."""
    real = os.write

    def half(file: int, content: bytes) -> int:
        real(file, content[:20])
        raise OSError(errno.ENOSPC, "full")

    with store.lease("test") as lease:
        with monkeypatch.context() as full:
            full.setattr(os, "write", half)
            with pytest.raises(HostError, match="no space left on the device"):
                lease.hold(DIGEST)
        lease.hold(OTHER)
        assert store.holders(OTHER) == ("test",)
        assert store.holders(DIGEST) == ()
        lease.hold(DIGEST)
        assert store.holders(DIGEST) == ("test",)


def test_a_lease_of_rubbish_is_somebodys(store: Store) -> None:
    """A living lease that cannot be read holds what can be read of it, for somebody unknown."""
    with store.lease("test") as lease:
        assert isinstance(lease, leases._Lease)
        lease._path.write_bytes(b"\xff\xfe not JSON\n" + DIGEST.encode() + b"\nsha256:12")
        assert store.holders(DIGEST) == ("unknown",)


def test_taking_a_lease_sweeps_what_the_dead_left(store: Store) -> None:
    """Unlocked things on their way go, whatever they are; a part stays, to be resumed."""
    with store.lease("test"):
        pass
    ingest = store.layout.ingest
    (ingest / "abc.new").write_text("x")
    (ingest / "layer-123" / "root" / "deep").mkdir(parents=True)
    (ingest / "trash-1" / "0").mkdir(parents=True)
    (ingest / f"{DIGEST[7:]}.part").write_text("x")
    with store.lease("test"):
        assert hexes(store, "ingest") == {f"{DIGEST[7:]}.part"}


def test_what_a_killed_holder_left_behind_keeps_its_lease(store: Store, tmp_path: Path) -> None:
    """Containers go on without their supervisor: what they stand on stays until they are gone."""
    left = tmp_path / "cgroup"
    left.mkdir()

    def hold() -> None:
        with store.lease("fleet x", outlived_by=left) as lease:
            lease.hold(DIGEST)
            os.kill(os.getpid(), signal.SIGKILL)

    assert ended(in_child(hold)) == -signal.SIGKILL
    assert store.holders(DIGEST) == ("fleet x",)
    with store.lease("other"):
        store.prune()
    assert store.holders(DIGEST) == ("fleet x",)
    left.rmdir()
    assert store.holders(DIGEST) == ()
    with store.lease("other"):
        assert len(hexes(store, "leases")) == 1


def test_a_block_that_ends_ends_its_lease_at_once(store: Store, tmp_path: Path) -> None:
    """What is there afterwards has nothing to do with it: only a kill leaves anything behind."""
    with store.lease("fleet x", outlived_by=tmp_path) as lease:
        lease.hold(DIGEST)
    assert store.holders(DIGEST) == ()
    assert hexes(store, "leases") == set()
