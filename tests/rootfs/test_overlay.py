"""The older kernels' way to an overlay, tried on whatever kernel runs the test."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, ImageError, KernelError
from anchor_supervisor.kernel.namespaces import IdRange, Sandbox
from anchor_supervisor.rootfs import overlay
from anchor_supervisor.rootfs.overlay import MOST_LAYERS, assemble_overlay, merge_layers
from anchor_supervisor.rootfs.removal import remove_writable

pytestmark = pytest.mark.root


def refuse(_lowers: Sequence[int], _writable: int | None) -> int:
    raise KernelError(errno.EINVAL, "fsconfig", "lowerdir+")


def test_layers_are_attached_for_a_moment_where_descriptors_are_not_taken(
    image: Path, data_dir: Path, ids: IdRange, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By path the same root comes out, and no mount stays attached."""
    monkeypatch.setattr(overlay, "_mount_by_descriptor", refuse)
    before = Path("/proc/self/mountinfo").read_text()
    top = data_dir / "top"
    top.mkdir()
    (top / "owned").write_text("from the top")
    for attempt in range(2):
        fd = assemble_overlay([top, image], data_dir / "instance", ids, sandbox.user)
        try:
            assert Path("/proc/self/mountinfo").read_text() == before
            root = Path(f"/proc/self/fd/{fd}")
            assert (root / "owned").read_text() == "from the top"
            assert (root / "program").stat().st_uid == ids.first
            assert (root / "run").exists() == bool(attempt)
            (root / "run").touch()
        finally:
            os.close(fd)
    remove_writable(data_dir / "instance")


def test_a_place_that_cannot_be_an_upper_layer_is_named(
    image: Path, ids: IdRange, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    """The error has the kernel's own words, the directory, and what to do."""

    def refuse_path(*_: object) -> int:
        raise KernelError(errno.EINVAL, "make a new overlay (filesystem not supported)")

    monkeypatch.setattr(overlay, "_mount_by_descriptor", refuse)
    monkeypatch.setattr(overlay, "_mount_by_path", refuse_path)
    with pytest.raises(HostError, match=r"not supported.*instance") as refused:
        assemble_overlay([image], data_dir / "instance", ids, sandbox.user)
    assert refused.value.hint is not None
    remove_writable(data_dir / "instance")


# Before Linux 6.15 the first way ends in the second by itself.
WAYS = pytest.mark.parametrize(
    "way", ["descriptor", pytest.param("path", marks=pytest.mark.native)]
)


@pytest.fixture
def layers(data_dir: Path, image: Path) -> list[Path]:
    """As many layers as there may be, the image lowest; each has its own file, and `top`."""
    made = []
    for number in range(MOST_LAYERS - 1):
        layer = data_dir / "layers" / str(number)
        layer.mkdir(parents=True)
        (layer / f"only-{number}").touch()
        (layer / "top").write_text(str(number))
        made.append(layer)
    return [*made, image]


@WAYS
def test_five_hundred_layers_are_one_root(
    way: str,
    layers: list[Path],
    data_dir: Path,
    ids: IdRange,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel's own limit can be reached on old kernels too, with and without an upper layer."""
    if way == "path":
        monkeypatch.setattr(overlay, "_mount_by_descriptor", refuse)
    before = Path("/proc/self/mountinfo").read_text()
    for fd in (
        merge_layers(layers, sandbox.user),
        assemble_overlay(layers, data_dir / "instance", ids, sandbox.user),
    ):
        try:
            assert Path("/proc/self/mountinfo").read_text() == before
            root = Path(f"/proc/self/fd/{fd}")
            assert (root / "top").read_text() == "0"
            assert len(list(root.glob("only-*"))) == MOST_LAYERS - 1
            assert (root / "owned").stat().st_uid == ids.first + 33
        finally:
            os.close(fd)
    remove_writable(data_dir / "instance")


def test_more_layers_than_the_kernel_takes_are_refused_in_words(image: Path) -> None:
    """One layer more is the image's fault, and nothing has been mounted."""
    with pytest.raises(ImageError, match="501 layers, and overlayfs takes 500"):
        merge_layers([image / str(number) for number in range(MOST_LAYERS + 1)], None)


@WAYS
@pytest.mark.parametrize("many", [False, True])
def test_what_a_layer_takes_away_is_not_there(
    way: str, many: bool, image: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mark is never a device node: not over the layer it is meant for, and not alone."""
    if way == "path":
        monkeypatch.setattr(overlay, "_mount_by_descriptor", refuse)
    top = data_dir / "top"
    (top / "etc").mkdir(parents=True)
    (top / "new").mkdir()
    for name in ("owned", "never-was", "etc/passwd", "new/never-was"):
        os.mknod(top / name, 0o20000, os.makedev(0, 0))
    fd = merge_layers([top, image] if many else [top], None)
    try:
        root = Path(f"/proc/self/fd/{fd}")
        assert sorted(os.listdir(root)) == sorted(["etc", "new", *["program"] * many])
        for name in ("owned", "never-was", "etc/passwd", "new/never-was"):
            assert not os.path.lexists(root / name)
        with pytest.raises(OSError, match="Read-only"):
            (root / "etc/new").touch()
    finally:
        os.close(fd)


@WAYS
def test_a_layer_may_come_twice(
    way: str, image: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images repeat a layer: what it has is seen where it is uppermost."""
    if way == "path":
        monkeypatch.setattr(overlay, "_mount_by_descriptor", refuse)
    between = data_dir / "between"
    between.mkdir()
    (between / "owned").write_text("between")
    fd = merge_layers([image, between, image], None)
    try:
        assert Path(f"/proc/self/fd/{fd}/owned").read_text() == "x"
    finally:
        os.close(fd)


@WAYS
def test_an_opaque_directory_hides_what_is_beneath(
    way: str, image: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that replaces another shows nothing of it; a redirect is not followed."""
    if way == "path":
        monkeypatch.setattr(overlay, "_mount_by_descriptor", refuse)
    top = data_dir / "top"
    (top / "etc").mkdir(parents=True)
    os.setxattr(top / "etc", "trusted.overlay.opaque", b"y")
    (top / "stolen").mkdir()
    os.setxattr(top / "stolen", "trusted.overlay.redirect", b"/etc")
    fd = merge_layers([top, image], None)
    try:
        root = Path(f"/proc/self/fd/{fd}")
        assert os.listdir(root / "etc") == []
        with pytest.raises(PermissionError):
            (root / "stolen/passwd").stat()
    finally:
        os.close(fd)
