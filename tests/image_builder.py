"""`anchor build` as a person drives it, a base to build on, and trees as values to compare."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import Any, Final, final

from attrs import frozen

from anchor_supervisor.images.model import Image
from anchor_supervisor.images.store import Store
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.strategies import merged
from console import Console, Said

BUSYBOX: Final = Path("/bin/busybox")
APPLETS: Final = (
    *("sh", "cat", "ls", "echo", "sleep", "true", "false", "id", "pwd", "env", "mkdir", "rm"),
    *("ln", "mv", "cp", "touch", "chmod", "chown", "test", "stat", "grep", "head", "printf", "ip"),
)
PASSWD: Final = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n"
GROUP: Final = "root:x:0:\nweb:x:1001:\nstaff:x:50:web\n"


def make_base(place: Path) -> Path:
    """A root of busybox and a few files, as a base image wants it."""
    for name in ("bin", "etc", "root", "tmp", "home", "usr/share/empty"):
        (place / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, place / "bin/busybox")
    for applet in APPLETS:
        (place / "bin" / applet).symlink_to("busybox")
    (place / "etc/passwd").write_text(PASSWD)
    (place / "etc/group").write_text(GROUP)
    (place / "root").chmod(0o700)
    (place / "tmp").chmod(0o1777)
    for path in sorted(place.rglob("*"), reverse=True):
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    return place


@final
@frozen(eq=False)
class Builder:
    """`anchor build` in places of its own, and what it has made."""

    console: Console

    @property
    def store(self) -> Store:
        """The store that it builds into."""
        return Store(self.console.data_dir)

    @property
    def place(self) -> Path:
        """Where contexts are made."""
        return self.console.directory

    def context(self, dockerfile: str, name: str = "context", **files: str) -> Path:
        """Make a context; a keyword `a__b` is the file `a.b`."""
        context = self.place / name
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(dockerfile)
        for file, content in files.items():
            (context / file.replace("__", ".")).write_text(content)
        return context

    def __call__(self, context: Path, *words: str | Path) -> Said:
        """`anchor build`, however it ends."""
        return self.console.anchor("build", *words, context)

    def image(self, context: Path, *words: str | Path) -> Image:
        """Build; it must work."""
        said = self(context, *words)
        assert said.code == 0, said
        image = self.store.find(said.out.split()[0])
        assert image is not None
        return image

    def refused(self, context: Path, *words: str | Path) -> str:
        """Build; it must fail, with an error and not a bug. Returns what it said."""
        said = self(context, *words)
        assert said.code in (1, 2, 3), said
        assert not said.out
        return said.err

    def read(self, image: Image, path: str) -> str:
        """The content of a file of an image."""
        with Rooted(self.store, image) as root:
            return (root / path).read_text()

    def tree(self, image: Image) -> dict[str, Any]:
        """Everything in an image."""
        with Rooted(self.store, image) as root:
            return tree_of(root)


@final
class Rooted:
    """An image's root, mounted nowhere, as a path for a while."""

    def __init__(self, store: Store, image: Image) -> None:
        """Take both."""
        self._layers = tuple(store.layer_root(layer.diff_id) for layer in reversed(image.layers))
        self._fd = -1

    def __enter__(self) -> Path:
        """Mount it."""
        self._fd = merged(Layers(self._layers, "sha256:test"))
        return Path(f"/proc/self/fd/{self._fd}")

    def __exit__(self, *_: object) -> None:
        """Let it go."""
        os.close(self._fd)


def tree_of(root: Path) -> dict[str, Any]:
    """Kind, mode, owner and content of everything beneath a directory."""
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    found = {}
    try:
        for folder, directories, files, fd in os.fwalk(".", dir_fd=top):
            for name in (*directories, *files):
                found[str(Path(folder, name))] = _entry(name, fd)
    finally:
        os.close(top)
    return found


def _entry(name: str, directory: int) -> tuple[object, ...]:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    content = ""
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(name, dir_fd=directory)
    elif stat.S_ISREG(status.st_mode):
        fd = os.open(name, os.O_RDONLY, dir_fd=directory)
        with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
            content = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{status.st_mode:o}", status.st_uid, status.st_gid, content
