"""Nothing has its place before it is whole; locks are held by the living and nobody else."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.images.store_layout import (
    Layout,
    add_file,
    claim_directory,
    claim_file,
    lock_unused,
    names_in,
    new_file,
    release,
    remove_tree,
    sweep,
    told,
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty layout."""
    made = Layout(tmp_path / "store")
    made.make()
    return made


def test_a_file_has_its_place_when_it_is_written(layout: Layout) -> None:
    """Replaced in one piece; one that fails before leaves the old and no litter."""
    final = layout.names / "a"
    add_file(layout, final, b"one")
    add_file(layout, final, b"two")
    assert final.read_bytes() == b"two"
    with pytest.raises(HostError):
        add_file(layout, layout.top / "nowhere/a", b"x")
    assert names_in(layout.ingest) == []
    with new_file(layout) as (file, path):
        os.write(file, b"x")
        assert path.exists()
    assert names_in(layout.ingest) == []


@pytest.mark.parametrize("claim", [claim_file, claim_directory])
def test_what_is_claimed_is_held_alone(
    layout: Layout, claim: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep passes it by while it is held; one swept before it was locked is made again."""
    assert callable(claim)
    path = layout.ingest / "x.new"
    held = claim(path)
    sweep(layout)
    assert lock_unused(path) is None
    assert path.exists()
    release(held)
    sweep(layout)
    assert not path.exists()

    real, taken = fcntl.flock, list[Path]()

    def late(opened: int, how: int) -> None:
        if not taken:
            taken.append(path)
            remove_tree(path)
        real(opened, how)

    monkeypatch.setattr(fcntl, "flock", late)
    held = claim(path)
    monkeypatch.undo()
    assert path.exists()
    assert lock_unused(path) is None
    release(held)


def test_a_lock_goes_even_where_a_child_has_a_copy(layout: Layout) -> None:
    """Unlocked, and not only closed: a copy between clone and exec must not keep it."""
    path = layout.ingest / "x.new"
    held = claim_file(path)
    copy = os.dup(held)
    release(held)
    again = lock_unused(path)
    assert again is not None
    release(again)
    os.close(copy)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_with_a_remedy(number: int) -> None:
    """Whether the kernel says it to Python or to us."""
    for error in (OSError(number, "full"), KernelError(number, "syncfs")):
        with (
            pytest.raises(HostError, match="no space left on the device to write `x`") as said,
            told("write", "x"),
        ):
            raise error
        assert "ANCHOR_DATA_DIR" in (said.value.hint or "")
        assert not isinstance(said.value, KernelError)


def test_any_other_failure_names_its_call_and_object() -> None:
    """With the errno kept; what is in words already stays as it is."""
    with pytest.raises(KernelError, match="write `x`: Input/output error"), told("write", "x"):
        raise OSError(errno.EIO, "broken")
    with pytest.raises(KernelError, match="syncfs `y`"), told("write", "x"):
        raise KernelError(errno.EIO, "syncfs", "y")
