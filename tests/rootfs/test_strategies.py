"""Roots of every strategy: the container's ids inside, its writes apart, the image untouched."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, ImageError
from anchor_supervisor.fleet.model import RootStrategy
from anchor_supervisor.kernel.namespaces import IdRange, Sandbox
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.removal import remove_writable
from anchor_supervisor.rootfs.strategies import assemble, merged, require_mount_points

pytestmark = pytest.mark.root

ActingAs = Callable[[int], contextlib.AbstractContextManager[None]]


@pytest.fixture
def writable(data_dir: Path) -> Iterator[Path]:
    """The writable directory of an instance, removed as the product does it."""
    path = data_dir / "instance"
    yield path
    remove_writable(path)
    assert not path.exists()


@contextlib.contextmanager
def root_of(
    strategy: RootStrategy, image: Path, writable: Path, ids: IdRange | None, sandbox: Sandbox
) -> Iterator[Path]:
    """The assembled root as a path, through its descriptor."""
    layers = Layers((image,), "x")
    user_namespace = sandbox.user if ids is not None else None
    fd = assemble(strategy, layers, writable, ids=ids, user_namespace=user_namespace)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def contents(top: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(path.relative_to(top)): (path.lstat().st_mode, path.lstat().st_uid, path.lstat().st_ino)
        for path in sorted(top.rglob("*"))
    }


@pytest.mark.parametrize("strategy", [RootStrategy.OVERLAY, RootStrategy.COPY, RootStrategy.BIND])
def test_the_images_ids_are_the_containers(
    strategy: RootStrategy, image: Path, writable: Path, ids: IdRange, sandbox: Sandbox
) -> None:
    """Root of the image is root of the container, 33 is its 33, and set-id bits stay."""
    with root_of(strategy, image, writable, ids, sandbox) as root:
        assert root.stat().st_uid == ids.first
        assert (root / "program").stat().st_uid == ids.first
        assert (root / "program").stat().st_mode & 0o7777 == 0o4755
        owned = (root / "owned").stat()
        assert (owned.st_uid, owned.st_gid) == (ids.first + 33, ids.first + 34)


@pytest.mark.parametrize("strategy", [RootStrategy.OVERLAY, RootStrategy.COPY, RootStrategy.BIND])
def test_without_a_user_namespace_ids_are_the_machines(
    strategy: RootStrategy, image: Path, writable: Path, sandbox: Sandbox
) -> None:
    """`user_namespace = "host"` leaves every number as it is."""
    with root_of(strategy, image, writable, None, sandbox) as root:
        assert (root / "owned").stat().st_uid == 33


@pytest.mark.parametrize("strategy", [RootStrategy.OVERLAY, RootStrategy.COPY])
def test_what_the_container_writes_stays_out_of_the_image(
    strategy: RootStrategy,
    image: Path,
    writable: Path,
    ids: IdRange,
    sandbox: Sandbox,
    acting_as: ActingAs,
) -> None:
    """New, changed and removed files are seen in the root, and the image is as it was."""
    before = contents(image)
    with root_of(strategy, image, writable, ids, sandbox) as root, acting_as(ids.first):
        (root / "new").write_text("new")
        (root / "owned").unlink()
        with (root / "etc/passwd").open("a") as file:
            file.write("more\n")
        assert (root / "new").stat().st_uid == ids.first
        assert "more" in (root / "etc/passwd").read_text()
        assert not (root / "owned").exists()
    assert contents(image) == before
    assert "more" not in (image / "etc/passwd").read_text()


@pytest.mark.parametrize("strategy", [RootStrategy.OVERLAY, RootStrategy.COPY])
def test_a_restart_finds_what_was_written(
    strategy: RootStrategy,
    image: Path,
    writable: Path,
    ids: IdRange,
    sandbox: Sandbox,
    acting_as: ActingAs,
) -> None:
    """The writable layer outlives a run, volatile though it is, as often as it takes."""
    for attempt in range(3):
        with root_of(strategy, image, writable, ids, sandbox) as root, acting_as(ids.first):
            assert len(list(root.glob("run-*"))) == attempt
            (root / f"run-{attempt}").touch()


def test_an_overlay_keeps_changes_owned_by_the_containers_root(
    image: Path, writable: Path, ids: IdRange, sandbox: Sandbox, acting_as: ActingAs
) -> None:
    """In the upper directory a file of the container's root has the first id of its range."""
    with root_of(RootStrategy.OVERLAY, image, writable, ids, sandbox) as root:
        with acting_as(ids.first):
            (root / "new").touch()
        with acting_as(ids.first + 33), pytest.raises(PermissionError):
            (root / "forbidden").touch()
    upper = writable / "upper"
    assert {path.name: path.stat().st_uid for path in upper.iterdir()} == {"new": ids.first}
    assert upper.stat().st_mode & 0o7777 == 0o755
    assert writable.stat().st_mode & 0o7777 == 0o700


ON_ANY_DISK = [RootStrategy.OVERLAY, RootStrategy.COPY, RootStrategy.BIND]


@pytest.mark.parametrize("strategy", ON_ANY_DISK)
@pytest.mark.parametrize("many", [False, True])
def test_layers_lie_over_one_another(
    strategy: RootStrategy,
    many: bool,
    image: Path,
    writable: Path,
    ids: IdRange,
    sandbox: Sandbox,
    data_dir: Path,
) -> None:
    """Every strategy shows the same tree: the uppermost file, and nothing that was taken away."""
    top = data_dir / "top"
    (top / "etc").mkdir(parents=True)
    os.setxattr(top / "etc", "trusted.overlay.opaque", b"y")
    (top / "etc/only").touch()
    os.mknod(top / "program", 0o20000, 0)
    os.mknod(top / "never-was", 0o20000, 0)
    (top / "from-top").symlink_to("etc")
    paths = (top, image) if many else (top,)
    fd = assemble(
        strategy, Layers(paths, "sha256:x"), writable, ids=ids, user_namespace=sandbox.user
    )
    try:
        root = Path(f"/proc/self/fd/{fd}")
        assert sorted(os.listdir(root)) == sorted(["etc", "from-top", *["owned"] * many])
        assert os.listdir(root / "etc") == ["only"]
        assert root.stat().st_uid == ids.first
        if many:
            assert (root / "owned").stat().st_uid == ids.first + 33
    finally:
        os.close(fd)


@pytest.mark.parametrize("strategy", ON_ANY_DISK)
def test_a_layer_may_hide_all_beneath_it(
    strategy: RootStrategy, image: Path, writable: Path, data_dir: Path
) -> None:
    """The mark is on its root, where overlayfs does not look; what lies above it stays."""
    top, middle = data_dir / "top", data_dir / "middle"
    for layer in (top, middle):
        layer.mkdir()
        (layer / layer.name).touch()
    os.setxattr(middle, "trusted.overlay.opaque", b"y")
    layers = Layers((top, middle, image), "sha256:x")
    fd = assemble(strategy, layers, writable, ids=None, user_namespace=None)
    try:
        assert sorted(os.listdir(f"/proc/self/fd/{fd}")) == ["middle", "top"]
    finally:
        os.close(fd)


def test_a_merged_tree_is_read_only_and_takes_a_mapping_or_none(
    image: Path, ids: IdRange, sandbox: Sandbox
) -> None:
    """One directory or many layers: the same for whoever looks something up in them."""
    for paths in ((image,), (image, image)):
        for user, first in ((None, 0), (sandbox.user, ids.first)):
            fd = merged(Layers(paths, "x"), user_namespace=user)
            try:
                root = Path(f"/proc/self/fd/{fd}")
                assert (root / "owned").stat().st_uid == first + 33
                with pytest.raises(OSError, match="Read-only"):
                    (root / "new").touch()
            finally:
                os.close(fd)


@pytest.mark.parametrize("strategy", [RootStrategy.OVERLAY, RootStrategy.COPY])
def test_a_fresh_root_has_nothing_of_the_run_before(
    strategy: RootStrategy, image: Path, writable: Path
) -> None:
    """What was written and what was removed is forgotten; what lies beside the root is not."""
    layers = Layers((image,), "x")
    for attempt in range(3):
        fresh = attempt < 2
        fd = assemble(strategy, layers, writable, ids=None, user_namespace=None, fresh=fresh)
        try:
            root = Path(f"/proc/self/fd/{fd}")
            assert (root / "owned").exists() == fresh
            assert (root / "new").exists() != fresh
            (root / "new").touch()
            (root / "owned").unlink(missing_ok=True)
        finally:
            os.close(fd)
        (writable / "volumes").mkdir(exist_ok=True)
        assert (writable / "volumes").is_dir()


def test_a_cancelled_copy_leaves_nothing(image: Path, writable: Path) -> None:
    """The next start copies from the beginning."""
    with pytest.raises(HostError, match="cancelled"):
        assemble(
            RootStrategy.COPY,
            Layers((image,), "x"),
            writable,
            ids=None,
            user_namespace=None,
            cancelled=lambda: True,
        )
    assert list(writable.iterdir()) == []


def test_device_nodes_of_an_image_cannot_be_opened(
    image: Path, writable: Path, ids: IdRange, sandbox: Sandbox
) -> None:
    """A device that an image brings along is a name and no more."""
    os.mknod(image / "null", 0o20666, os.makedev(1, 3))
    for strategy in (RootStrategy.OVERLAY, RootStrategy.BIND):
        with (
            root_of(strategy, image, writable, ids, sandbox) as root,
            pytest.raises(PermissionError),
        ):
            (root / "null").read_bytes()


def test_a_bound_image_cannot_be_written(
    image: Path, writable: Path, ids: IdRange, sandbox: Sandbox
) -> None:
    """`bind` is read-only from its first moment, and leaves no writable directory."""
    with (
        root_of(RootStrategy.BIND, image, writable, ids, sandbox) as root,
        pytest.raises(OSError, match="Read-only"),
    ):
        (root / "new").touch()
    assert not writable.exists()


def test_a_copy_that_was_cut_short_is_made_again(
    image: Path, writable: Path, ids: IdRange, sandbox: Sandbox
) -> None:
    """Only a complete copy has the name that is used."""
    (writable / ".root-new/half").mkdir(parents=True)
    with root_of(RootStrategy.COPY, image, writable, ids, sandbox) as root:
        assert (root / "program").exists()
        assert not (root / "half").exists()
    assert [path.name for path in writable.iterdir()] == ["root"]


@pytest.mark.parametrize("strategy", [RootStrategy.COPY, RootStrategy.REFLINK])
def test_the_whole_machine_is_not_copied(strategy: RootStrategy, writable: Path) -> None:
    """With image `host` this is refused, and the hint says what does the same for nothing."""
    layers = Layers((Path("/"),), "host", host=True)
    with pytest.raises(HostError, match=f"`{strategy}`.* the whole machine") as refused:
        assemble(strategy, layers, writable, ids=None, user_namespace=None)
    assert refused.value.hint is not None


def test_mount_points_that_are_missing_are_named(image: Path) -> None:
    """A root that cannot be written to must have them, each of the right kind."""
    fd = os.open(image, os.O_PATH | os.O_DIRECTORY)
    try:
        require_mount_points(fd, [("/etc", True), ("/etc/passwd", False)])
        with pytest.raises(ImageError, match="no directory `/proc` to mount on") as refused:
            require_mount_points(fd, [("/etc", True), ("/proc", True)])
        assert refused.value.hint is not None
        with pytest.raises(ImageError, match="no directory `/etc/passwd`"):
            require_mount_points(fd, [("/etc/passwd", True)])
    finally:
        os.close(fd)


def test_no_mount_and_no_descriptor_is_left(
    image: Path, writable: Path, ids: IdRange, sandbox: Sandbox
) -> None:
    """A closed root leaves the mount table and the descriptor table as they were."""

    def look() -> tuple[str, int]:
        return Path("/proc/self/mountinfo").read_text(), len(os.listdir("/proc/self/fd"))

    before = look()
    for strategy in (RootStrategy.OVERLAY, RootStrategy.COPY, RootStrategy.BIND):
        with root_of(strategy, image, writable, ids, sandbox) as root:
            assert look()[0] == before[0]
            assert root.is_dir()
    assert look() == before


@pytest.mark.parametrize("strategy", [RootStrategy.OVERLAY, RootStrategy.COPY, RootStrategy.BIND])
def test_the_top_directory_is_whose_the_image_says(
    strategy: RootStrategy, image: Path, writable: Path, ids: IdRange, sandbox: Sandbox
) -> None:
    """Owner, group and mode of `/` itself, as of what is in it."""
    os.chown(image, 7, 8)
    image.chmod(0o2750)
    with root_of(strategy, image, writable, ids, sandbox) as root:
        status = root.stat()
        assert (status.st_uid, status.st_gid) == (ids.first + 7, ids.first + 8)
        assert status.st_mode & 0o7777 == 0o2750


def test_an_owner_that_the_container_lacks_is_its_root(
    image: Path, writable: Path, ids: IdRange, sandbox: Sandbox
) -> None:
    """Nobody else's id gets into a writable layer."""
    os.chown(image, ids.count, 1)
    with root_of(RootStrategy.OVERLAY, image, writable, ids, sandbox):
        status = (writable / "upper").stat()
        assert (status.st_uid, status.st_gid) == (ids.first, ids.first + 1)
