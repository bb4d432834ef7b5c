"""What a new volume begins with: the image's own content, once, whole, and nothing from outside."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError, KernelError
from anchor_supervisor.rootfs import volume_content
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.removal import remove_writable
from anchor_supervisor.rootfs.tree_copy import copy_tree
from anchor_supervisor.rootfs.volume_content import (
    Origin,
    anonymous_path,
    make_content,
    named_path,
    volumes_dir,
)

pytestmark = pytest.mark.root


@pytest.fixture
def content(data_dir: Path) -> Path:
    """Where the volume under test will live."""
    return named_path(data_dir, "shop", "pgdata")


def make(content: Path, image: Path, target: str = "/data") -> None:
    make_content(content, (33, 34), Origin(Layers((image,), "x"), target))


def fill(image: Path) -> Path:
    """Give the image a directory with one of everything."""
    top = image / "data"
    (top / "sub").mkdir(parents=True)
    (top / "sub/file").write_text("from the image")
    os.link(top / "sub/file", top / "linked")
    os.chown(top / "sub/file", 5, 6)
    (top / "setuid").touch()
    os.chown(top / "setuid", 7, 8)
    (top / "setuid").chmod(0o4755)
    os.setxattr(top / "sub", "user.note", b"x")
    (top / "away").symlink_to("/etc/passwd")
    os.chown(top, 999, 998)
    top.chmod(0o2750)
    return top


def test_a_new_volume_has_what_the_image_has_there(image: Path, content: Path) -> None:
    """Owners, modes, links and attributes are the image's, of the directory itself as well."""
    fill(image)
    make(content, image)
    top = content.stat()
    assert (stat.S_IMODE(top.st_mode), top.st_uid, top.st_gid) == (0o2750, 999, 998)
    assert (content / "sub/file").read_text() == "from the image"
    assert (content / "sub/file").stat().st_uid == 5
    assert (content / "sub/file").samefile(content / "linked")
    assert (content / "setuid").stat().st_mode & 0o7777 == 0o4755
    assert os.getxattr(content / "sub", "user.note") == b"x"
    assert str((content / "away").readlink()) == "/etc/passwd"
    assert [path.name for path in content.parent.iterdir()] == ["data"]


def test_content_comes_from_every_layer(image: Path, content: Path, data_dir: Path) -> None:
    """As the container would see it: changed above, removed above, and from beneath."""
    fill(image)
    top = data_dir / "top"
    (top / "data").mkdir(parents=True)
    (top / "data/new").touch()
    os.mknod(top / "data/away", 0o20000, 0)
    os.chown(top / "data", 11, 12)
    make_content(content, (33, 34), Origin(Layers((top, image), "sha256:x"), "/data"))
    assert sorted(os.listdir(content)) == ["linked", "new", "setuid", "sub"]
    assert content.stat().st_uid == 11


def test_a_volume_that_is_there_is_left_alone(image: Path, content: Path) -> None:
    """Also an empty one: somebody may have emptied it."""
    make(content, image, "/nothing")
    fill(image)
    make(content, image)
    assert os.listdir(content) == []


@pytest.mark.parametrize("target", ["/nothing", "/owned", "/owned/beneath", "/loop", "/nowhere"])
def test_where_the_image_has_no_directory_a_volume_is_empty(
    target: str, image: Path, content: Path
) -> None:
    """It belongs to the container's user then, with the mode that directories have."""
    (image / "loop").symlink_to("loop")
    (image / "nowhere").symlink_to("/not/there")
    make(content, image, target)
    assert os.listdir(content) == []
    assert (content.stat().st_uid, content.stat().st_gid) == (33, 34)
    assert content.stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize("away", ["/etc", "../../../../../../etc", "/proc/self/root/etc"])
def test_a_link_of_the_image_leads_to_the_image(away: str, image: Path, content: Path) -> None:
    """Where its directory is a link to /etc, that is its own /etc, never the machine's."""
    (image / "data").symlink_to(away)
    make(content, image)
    expected = ["passwd"] if "proc" not in away else []
    assert os.listdir(content) == expected


def test_nothing_of_the_machine_is_copied(content: Path) -> None:
    """Over image `host` a volume begins empty: what lies there is the machine's."""
    make_content(content, (0, 0), Origin(Layers((Path("/"),), "host", host=True), "/etc"))
    assert os.listdir(content) == []


def test_of_two_at_once_one_copies_and_the_other_waits(
    image: Path, content: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes second finds a whole volume; nobody ever sees half of one."""
    fill(image)
    copying, go_on = threading.Event(), threading.Event()
    copies = []

    def slow(source: int, target: int, **_: object) -> None:
        copies.append(target)
        copying.set()
        assert go_on.wait(30)
        copy_tree(source, target)

    monkeypatch.setattr(volume_content, "copy_tree", slow)
    first = threading.Thread(target=make, args=(content, image))
    first.start()
    assert copying.wait(30)
    found: list[int] = []

    def late() -> None:
        make(content, image)
        found.append(len(os.listdir(content)))

    second = threading.Thread(target=late)
    second.start()
    assert not content.exists()
    go_on.set()
    first.join()
    second.join()
    assert len(copies) == 1
    assert found == [4]


def test_a_copy_that_was_cut_short_is_made_again(
    image: Path, content: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is an error that names the volume; the next start begins anew."""
    fill(image)
    (content.parent / ".data-new/half").mkdir(parents=True)

    def full(_source: int, _target: int, **_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched:
        patched.setattr(volume_content, "copy_tree", full)
        with pytest.raises(KernelError, match=r"make volume `.*pgdata.*No space left"):
            make(content, image)
    assert list(content.parent.iterdir()) == []
    make(content, image)
    assert (content / "linked").exists()
    assert not (content / "half").exists()


def test_only_the_supervisor_comes_near(image: Path, content: Path, data_dir: Path) -> None:
    """The directories above a volume have mode 0700 (CVE-2021-41091)."""
    make(content, image)
    above = [content.parent, volumes_dir(data_dir, "shop"), data_dir / "volumes"]
    assert [path.stat().st_mode & 0o777 for path in above] == [0o700] * 3


def test_an_instances_own_volumes_are_apart(data_dir: Path) -> None:
    """Each target has a directory of its own, whatever its length and letters."""
    targets = ["/a/b", "/a-b", "/a", "/" + "x" * 3000]
    paths = {anonymous_path(data_dir / "web.1", target) for target in targets}
    assert len(paths) == len(targets)
    for path in paths:
        make_content(path)
    assert anonymous_path(data_dir / "web.1", "/a") in paths
    remove_writable(data_dir / "web.1")


def test_the_filling_can_be_cancelled(image: Path, content: Path) -> None:
    """A fleet that ends does not wait for a large one; the next start begins anew."""
    fill(image)
    with pytest.raises(HostError, match="cancelled"):
        make_content(content, (0, 0), Origin(Layers((image,), "x"), "/data"), lambda: True)
    assert os.listdir(content.parent) == []
    make(content, image)
    assert (content / "sub/file").read_text() == "from the image"
