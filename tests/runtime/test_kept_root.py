"""A root that waits for the next run: a clone for each, one original, let go when it must."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import mount
from anchor_supervisor.runtime.kept_root import KeptRoot

pytestmark = pytest.mark.root


def assembler(made: list[int]) -> Callable[[], int]:
    """Make a new tmpfs, and remember its device number: what a clone shares with it."""

    def assemble() -> int:
        fd = mount.new_filesystem("tmpfs")
        made.append(os.fstat(fd).st_dev)
        return fd

    return assemble


def take(kept: KeptRoot, made_of: str, assemble: Callable[[], int]) -> int:
    """The device number of a clone, which is closed again as a run's end does."""
    clone = kept.clone(made_of, assemble)
    try:
        return os.fstat(clone).st_dev
    finally:
        os.close(clone)


def clones_detached_mounts() -> bool:
    """Whether this kernel does (Linux 6.15)."""
    original = mount.new_filesystem("tmpfs")
    try:
        os.close(mount.clone_tree(original))
    except KernelError:
        return False
    finally:
        os.close(original)
    return True


def test_a_second_run_gets_the_same_root() -> None:
    """It is assembled once while it is of the same make; where that cannot be, each time."""
    kept, made = KeptRoot(), list[int]()
    assemble = assembler(made)
    seen = [take(kept, "one", assemble) for _ in range(3)]
    assert seen[0] == made[0]
    assert len(made) == (1 if clones_detached_mounts() else 3)
    take(kept, "another", assemble)
    assert len(made) == (2 if clones_detached_mounts() else 4)
    kept.let_go()


def test_what_was_let_go_is_assembled_anew_and_nothing_stays_open() -> None:
    """Letting go twice is allowed, and no descriptor is left."""
    before = len(os.listdir("/proc/self/fd"))
    kept, made = KeptRoot(), list[int]()
    take(kept, "one", assembler(made))
    kept.let_go()
    kept.let_go()
    take(kept, "one", assembler(made))
    kept.let_go()
    assert len(made) == 2
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_older_kernel_assembles_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a detached mount cannot be cloned the one that was assembled is handed out."""

    def refuse(_place: object) -> int:
        raise KernelError(errno.EINVAL, "open_tree")

    monkeypatch.setattr(mount, "clone_tree", refuse)
    kept, made = KeptRoot(), list[int]()
    assemble = assembler(made)
    assert [take(kept, "one", assemble) for _ in range(2)] == made
    assert len(made) == 2


def test_what_cannot_be_cloned_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another failure is told, and takes the new mount with it."""
    before = len(os.listdir("/proc/self/fd"))

    def refuse(_place: object) -> int:
        raise KernelError(errno.EMFILE, "open_tree")

    monkeypatch.setattr(mount, "clone_tree", refuse)
    with pytest.raises(KernelError):
        KeptRoot().clone("one", assembler([]))
    assert len(os.listdir("/proc/self/fd")) == before
