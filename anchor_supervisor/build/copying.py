"""COPY and ADD: where each thing that was selected goes in the image, as docker decides it.

A destination that ends with a slash, or is a directory already, takes things in under their own
names; any other one is the name of the copy. A directory's content is copied and not itself.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from typing import Final, final

from anchor_supervisor.build import modes
from anchor_supervisor.build.layer_plan import WHITEOUT, Item, LayerPlan, item_of
from anchor_supervisor.build.paths import Place, shown
from anchor_supervisor.build.scratch import Scratch
from anchor_supervisor.build.selection import Source
from anchor_supervisor.build.tree import Node, Tree
from anchor_supervisor.errors import BuildError, ImageError
from anchor_supervisor.images import headers
from anchor_supervisor.images.archive_stream import ArchiveStream
from anchor_supervisor.images.headers import Header
from anchor_supervisor.images.model import Limits
from anchor_supervisor.images.unpack import unpack
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS
from anchor_supervisor.rootfs.users import lookup
from anchor_supervisor.values import evolve, field, frozen

_LARGEST_HEADER: Final = 1 << 20


@final
@frozen
class Wishes:
    """What the flags ask for: `owner` and `change` of everything that is copied.

    `unpack`: archives among the sources become what is in them. `limits` hold for those.
    """

    owner: tuple[int, int] | None = None
    change: modes.Change | None = None
    parents: bool = False
    unpack: bool = False
    limits: Limits = field(factory=Limits)


def owner_of(text: str, root: int) -> tuple[int, int]:
    """Read `--chown`: names are looked up in the image. A number alone is the group's as well."""
    if text.isdecimal():
        text = f"{text}:{text}"
    found = lookup(root, text)
    return found.uid, found.gid


def plan_copy(
    plan: LayerPlan,
    sources: Sequence[Source],
    destination: str,
    wishes: Wishes,
    *,
    scratch: Scratch,
    opened: ExitStack,
) -> None:
    """Put everything in its place; `destination` is absolute. `opened` closes what is opened.

    Raises BuildError where the destination cannot take it, ImageError for a bad archive.
    """
    into = destination.endswith(("/", "/.", "/.."))
    if len(sources) > 1 and not into and not plan.image.resolve(destination).is_directory:
        message = f"several sources cannot all become `{shown(destination)}`"
        raise BuildError(message, hint=f"a directory ends with a slash: `{shown(destination)}/`")
    place = plan.image.resolve(destination)
    for source in sources:
        archive = _archive(source, wishes, scratch, opened) if wishes.unpack else None
        if archive is not None:
            _put_archive(plan, _directory(plan, place), *archive, wishes)
        elif wishes.parents:
            _put_with_parents(plan, _directory(plan, place), source, wishes)
        elif source.is_directory:
            assert source.node is not None
            assert source.tree is not None
            base = _directory(plan, place)
            _put_all(plan, base, source.node.path, source.tree, source.below, wishes)
        else:
            inside = into or place.is_directory
            base = _directory(plan, place) if inside else place.path
            _put(plan, _joined(base, source.name) if inside else base, _item(source), wishes)


def _directory(plan: LayerPlan, place: Place) -> str:
    """The destination as a directory, made if need be."""
    if place.status is not None and not place.is_directory:
        message = f"`/{shown(place.path)}` is a file in the image, and no directory to copy into"
        raise BuildError(message)
    if place.path:
        plan.make_directory(place.path)
    return place.path


def _put_all(
    plan: LayerPlan, base: str, top: str, tree: Tree, nodes: Iterable[Node], wishes: Wishes
) -> None:
    skipped = len(top) + 1 if top else 0
    for node in nodes:
        _put(plan, _joined(base, node.path[skipped:]), item_of(tree, node), wishes)


def _put_archive(plan: LayerPlan, base: str, archive: Tree, begun: int, wishes: Wishes) -> None:
    """Put what has been unpacked; directories that only lie on the way stay as they are.

    The archive does not name those, so they have no time but that of their making, after `begun`.
    """
    for node in archive.walk(""):
        path = _joined(base, node.path)
        if node.is_directory and node.status.st_mtime_ns >= begun:
            plan.make_directory(path)
        else:
            _put(plan, path, item_of(archive, node), wishes)


def _put_with_parents(plan: LayerPlan, base: str, source: Source, wishes: Wishes) -> None:
    assert source.tree is not None
    assert source.node is not None
    parts = source.name.split("/")
    for depth, node in enumerate(source.above, 1):
        _put(plan, _joined(base, "/".join(parts[:depth])), item_of(source.tree, node), wishes)
    _put(plan, _joined(base, source.name), _item(source), wishes)
    for node in source.below:
        below = node.path[len(source.node.path) :]
        _put(plan, _joined(base, source.name + below), item_of(source.tree, node), wishes)


def _item(source: Source) -> Item | None:
    if source.content is not None:
        return Item(Header(b"", headers.FILE, 0o644), content=source.content)
    assert source.tree is not None
    assert source.node is not None
    return item_of(source.tree, source.node)


def _put(plan: LayerPlan, path: str, item: Item | None, wishes: Wishes) -> None:
    if item is None:
        return
    header = item.header
    if item.node is None:
        header = evolve(header, mtime_ns=plan.now)
    if wishes.owner is not None:
        uid, gid = wishes.owner
        header = evolve(header, uid=uid, gid=gid)
    if wishes.change is not None and header.kind != headers.SYMLINK:
        header = evolve(header, mode=wishes.change(header.mode, item.is_directory))
    plan.put(path, evolve(item, header=header))


def _joined(base: str, name: str) -> str:
    return f"{base}/{name}" if base and name else base or name


def _archive(
    source: Source, wishes: Wishes, scratch: Scratch, opened: ExitStack
) -> tuple[Tree, int] | None:
    """Unpack a source that is an archive, and say when that began; None where it is none."""
    if source.node is None or source.tree is None or not source.node.is_file:
        return None
    fd = source.tree.open(source.node)
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
        if not _is_archive(fd):
            return None
        place = scratch.directory()
        root = os.open(place, DIRECTORY_FLAGS)
        opened.callback(os.close, root)
        begun = os.fstat(root).st_mtime_ns
        try:
            done = unpack(file, root, wishes.limits)
        except ImageError as error:
            message = f"`{shown(source.node.path)}`: {error.message}"
            raise ImageError(message, hint=error.hint) from error
    if done.marks:
        # They are names like any other here; but no layer can say so, and to remove what they
        # name is not what was asked for.
        message = (
            f"`{shown(source.node.path)}` has names in it that begin with `{WHITEOUT}`, "
            "which mean removals in an image"
        )
        raise BuildError(message, hint="leave them out of the archive, or unpack it in a `RUN`")
    return Tree(root, "the archive", keeps_owners=True), begun


def _is_archive(fd: int) -> bool:
    """Whether it begins as a tar does, compressed or not; the descriptor stays at its start."""
    try:
        with (
            open(fd, "rb", closefd=False) as file,
            closing(ArchiveStream(file, most=_LARGEST_HEADER)) as stream,
        ):
            block = stream.read(tarfile.BLOCKSIZE)
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (ImageError, tarfile.HeaderError):
        return False
    finally:
        os.lseek(fd, 0, os.SEEK_SET)
    return True
