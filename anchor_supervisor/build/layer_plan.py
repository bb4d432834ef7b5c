"""What a COPY, an ADD or a WORKDIR adds to an image, planned whole and then written as a tar.

Nothing is written into a tree: the image beneath is only looked at, to follow its links and to say
again what its directories are like, since in a layer a directory replaces the one below it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Final, final

from anchor_supervisor.build.paths import Resolver, shown
from anchor_supervisor.build.tree import Node, Tree
from anchor_supervisor.errors import BuildError
from anchor_supervisor.images import headers
from anchor_supervisor.images.headers import Header
from anchor_supervisor.values import define, evolve, field, frozen

_CHUNK: Final = 1 << 20
WHITEOUT: Final = ".wh."
_KINDS: Final = {
    stat.S_IFREG: headers.FILE,
    stat.S_IFDIR: headers.DIRECTORY,
    stat.S_IFLNK: headers.SYMLINK,
    stat.S_IFIFO: headers.FIFO,
    stat.S_IFCHR: headers.CHARACTER_DEVICE,
    stat.S_IFBLK: headers.BLOCK_DEVICE,
}

Sink = Callable[[bytes], object]


@final
@frozen
class Item:
    """One entry: its header, and where its content is (a file of a tree, or these bytes)."""

    header: Header
    tree: Tree | None = None
    node: Node | None = None
    content: bytes = b""

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return self.header.kind == headers.DIRECTORY


def item_of(tree: Tree, node: Node) -> Item | None:
    """Take something as it is in its tree; None for a socket, which is nothing without its server.

    Raises BuildError for a device of a context.
    """
    status = node.status
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return None
    device = (0, 0)
    if kind in (headers.CHARACTER_DEVICE, headers.BLOCK_DEVICE):
        if not tree.keeps_owners or not status.st_rdev:
            message = f"`{shown(node.path)}` is a device, and cannot be copied"
            raise BuildError(message, hint="leave it out with `.dockerignore` or `--exclude`")
        device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    header = Header(
        b"",
        kind,
        node.mode,
        status.st_uid if tree.keeps_owners else 0,
        status.st_gid if tree.keeps_owners else 0,
        status.st_size if kind == headers.FILE else 0,
        status.st_mtime_ns,
        os.fsencode(node.text),
        device,
        tree.attributes(node),
    )
    return Item(header, tree, node)


@final
@define(eq=False)
class LayerPlan:
    """The entries of a layer over the image that `image` resolves.

    `owner` is whom directories belong to that are made on the way, `now` in nanoseconds their
    time; `newest`: no time is later than this.
    """

    image: Resolver
    owner: tuple[int, int] = (0, 0)
    now: int = 0
    newest: int | None = None
    _items: dict[str, Item] = field(factory=dict, init=False)
    _links: dict[tuple[int, int, int], bytes] = field(factory=dict, init=False)

    def put(self, path: str, item: Item) -> None:
        """Add an entry at a path without links, and the directories above it.

        Raises BuildError where a directory is in a file's place, or the other way round.
        """
        if any(part.startswith(WHITEOUT) for part in path.split("/")):
            message = f"`{shown(path)}` cannot be in an image: `{WHITEOUT}` names mean removals"
            raise BuildError(message, hint="rename it")
        self._check(path, is_directory=item.is_directory)
        self._put_parents(path)
        self._items[path] = item

    def make_directory(self, path: str) -> bool:
        """Add a directory, unless it is there already; what is there keeps its attributes."""
        self._check(path, is_directory=True)
        if path in self._items:
            return False
        if self.image.status(path) is None:
            uid, gid = self.owner
            header = Header(b"", headers.DIRECTORY, 0o755, uid, gid, mtime_ns=self.now)
            self.put(path, Item(header))
            return True
        self.keep_directory(path)
        return False

    def keep_directory(self, path: str) -> None:
        """Say again what a directory of the image is like."""
        if path in self._items:
            return
        status = self.image.status(path)
        assert status is not None
        header = Header(
            b"",
            headers.DIRECTORY,
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            mtime_ns=status.st_mtime_ns,
            xattrs=self.image.attributes(path),
        )
        if path:
            self._put_parents(path)
        self._items[path] = Item(header)

    def _check(self, path: str, *, is_directory: bool) -> None:
        planned, status = self._items.get(path), self.image.status(path)
        if planned is not None:
            there_is_directory = planned.is_directory
        elif status is not None:
            there_is_directory = stat.S_ISDIR(status.st_mode)
        else:
            return
        if there_is_directory and not is_directory:
            message = f"`/{shown(path)}` is a directory, and a file cannot replace it"
            raise BuildError(message)
        if is_directory and not there_is_directory:
            is_link = status is not None and stat.S_ISLNK(status.st_mode)
            what = "link" if is_link else "file"
            message = f"`/{shown(path)}` is a {what}, and a directory cannot replace it"
            raise BuildError(message, hint="copy to where it leads" if is_link else None)

    def _put_parents(self, path: str) -> None:
        parts = path.split("/")[:-1]
        if path and self.image.root is not None:
            self.keep_directory("")
        for depth in range(1, len(parts) + 1):
            self.make_directory("/".join(parts[:depth]))

    @property
    def is_empty(self) -> bool:
        """Whether it would change nothing."""
        return not self._items

    def write(self, sink: Sink) -> None:
        """Write the tar, parents first, in the order of the names' bytes."""
        self._links.clear()
        for path in sorted(self._items, key=lambda path: os.fsencode(path).split(b"/")):
            self._write(path, self._items[path], sink)
        sink(headers.END)

    def _write(self, path: str, item: Item, sink: Sink) -> None:
        name = os.fsencode(path)
        mtime = item.header.mtime_ns
        if self.newest is not None:
            mtime = min(mtime, self.newest)
        header = evolve(item.header, name=name, mtime_ns=mtime)
        if item.is_directory:
            sink(headers.encoded(evolve(header, name=name + b"/" if name else b"./")))
        elif header.kind != headers.FILE:
            sink(headers.encoded(header))
        elif item.node is None or item.tree is None:
            size = len(item.content)
            sink(headers.encoded(evolve(header, size=size)) + item.content + headers.padding(size))
        elif not self._write_link(header, item.tree, item.node, sink):
            _write_file(header, item.tree, item.node, sink)

    def _write_link(self, header: Header, tree: Tree, node: Node, sink: Sink) -> bool:
        """Write what has been written under another name as a link to that."""
        if node.status.st_nlink < 2:
            return False
        key = (id(tree), node.status.st_dev, node.status.st_ino)
        first = self._links.setdefault(key, header.name)
        if first == header.name:
            return False
        sink(headers.encoded(evolve(header, kind=headers.HARD_LINK, link=first, size=0)))
        return True


def _write_file(header: Header, tree: Tree, node: Node, sink: Sink) -> None:
    """Write a file as long as it was when it was looked at."""
    missing = header.size
    sink(headers.encoded(header))
    fd = tree.open(node)
    try:
        while missing:
            piece = os.read(fd, min(missing, _CHUNK))
            if not piece:
                message = f"`{shown(node.path)}` was changed while it was copied"
                raise BuildError(message, hint="try again when nobody changes the context")
            sink(piece)
            missing -= len(piece)
        after = os.fstat(fd)
        if (after.st_mtime_ns, after.st_size) != (node.status.st_mtime_ns, node.status.st_size):
            message = f"`{shown(node.path)}` was changed while it was copied"
            raise BuildError(message, hint="try again when nobody changes the context")
    finally:
        os.close(fd)
    sink(headers.padding(header.size))
