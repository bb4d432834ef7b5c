"""`RUN --mount`: what each of them is for the cache key, and what it is mounted from.

A secret is in neither: not in the key, and not in anything that stays.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, final

from anchor_supervisor.build.cache import Cache
from anchor_supervisor.build.copying import Wishes, plan_copy
from anchor_supervisor.build.fingerprint import FileDigests, fingerprint
from anchor_supervisor.build.instructions import MountKind, RunMount, Sharing
from anchor_supervisor.build.layer_plan import LayerPlan
from anchor_supervisor.build.options import Secret
from anchor_supervisor.build.paths import Resolver, shown
from anchor_supervisor.build.scratch import Scratch
from anchor_supervisor.build.selection import Source
from anchor_supervisor.build.tree import Node, Tree
from anchor_supervisor.errors import BuildError
from anchor_supervisor.fleet.model import Volume, VolumeKind
from anchor_supervisor.images.unpack import unpack
from anchor_supervisor.kernel.mount import open_beneath
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS
from anchor_supervisor.values import define, field, frozen

LARGEST_SECRET: Final = 500 << 10  # bytes; BuildKit's own limit
_SECRETS: Final = "/run/secrets"

Target = tuple[str, bool]
"""What something is mounted on, and whether that is a directory."""

FindTree = Callable[[str | None], Tree]
"""The tree of a stage or an image; of the context for None. Raises AnchorError."""


@final
@frozen
class Prepared:
    """What the container gets: volumes, what they need to be mounted on, and secret variables."""

    volumes: tuple[Volume, ...]
    targets: tuple[Target, ...]
    environment: Mapping[str, str]


@final
@define(eq=False)
class Mounts:
    """The mounts of one RUN; `opened` closes what they hold once the command has ended.

    `hidden` gives a place for secrets, in memory where there is such.
    """

    find: FindTree
    cache: Cache
    secrets: Mapping[str, Secret]
    scratch: Scratch
    hidden: Callable[[], Scratch]
    opened: ExitStack
    _held: dict[str, Path] = field(factory=dict, init=False)

    def facts(
        self, mounts: Sequence[RunMount], working_dir: str, digests: FileDigests
    ) -> Iterator[list[object]]:
        """What of the mounts the result depends on, for the cache key."""
        for mount in mounts:
            facts: list[object] = [mount.kind.value, _target(mount, working_dir), mount.read_only]
            match mount.kind:
                case MountKind.BIND:
                    facts.append(fingerprint([self._source(mount)], digests))
                case MountKind.CACHE:
                    facts += [mount.id, mount.sharing.value, mount.mode, mount.uid, mount.gid]
                case MountKind.TMPFS:
                    facts.append(mount.size)
                case MountKind.SECRET:
                    facts += [_secret_id(mount), mount.env, mount.mode, mount.uid, mount.gid]
            yield facts

    def prepare(self, mounts: Sequence[RunMount], working_dir: str) -> Prepared:
        """Make everything ready. Raises BuildError where a source or a secret is missing."""
        volumes: list[Volume] = []
        targets: list[Target] = []
        environment: dict[str, str] = {}
        for mount in mounts:
            target = _target(mount, working_dir)
            match mount.kind:
                case MountKind.TMPFS:
                    volumes.append(Volume(VolumeKind.TMPFS, target, size=mount.size))
                case MountKind.CACHE:
                    source = self._cache_directory(mount, target)
                    volumes.append(_bind(source, target, read_only=mount.read_only))
                case MountKind.BIND:
                    source = self._bound(mount)
                    volumes.append(_bind(source, target, read_only=mount.read_only))
                case MountKind.SECRET:
                    secret = self._secret(mount)
                    if secret is None:
                        continue
                    if mount.env is not None:
                        environment[mount.env] = _text(secret, mount)
                    if mount.env is not None and mount.target is None:
                        continue
                    source = self._secret_file(mount, secret)
                    volumes.append(_bind(source, target, read_only=True))
                    targets.append((target, False))
                    continue
            is_directory = mount.kind is not MountKind.BIND or source.is_dir()
            targets.append((target, is_directory))
        return Prepared(tuple(volumes), tuple(targets), environment)

    def script(self, content: str, target: str) -> Prepared:
        """Make a text a program of the container's, at `target`."""
        file = self.scratch.file(content.encode("utf-8", "surrogateescape"), 0o755)
        return Prepared((_bind(file, target, read_only=True),), ((target, False),), {})

    def _source(self, mount: RunMount) -> Source:
        tree = self.find(mount.from_)
        path = posixpath.normpath(f"/{mount.source or ''}").lstrip("/")
        node = tree.find(path)
        if node is None:
            message = f"`{shown(mount.source or '.')}` is not in {tree.words}"
            raise BuildError(message)
        below = tuple(tree.walk(node.path)) if node.is_directory else ()
        if not node.is_directory and not node.is_file:
            message = f"`{shown(mount.source or '.')}` is neither a directory nor a file"
            raise BuildError(message)
        return Source("content", tree, node, below)

    def _bound(self, mount: RunMount) -> Path:
        """A directory or a file to bind: the context's own only where nothing can be told apart.

        A copy is made of what is in an image, since no overlay can be seen through a mapping of
        ids, of what may be written to, and of a context that has more than what is to be seen.
        """
        source = self._source(mount)
        assert source.tree is not None
        assert source.node is not None
        if mount.read_only and not source.tree.keeps_owners and not source.tree.ignored.patterns:
            return self._opened_again(source.tree, source.node)
        place = self.scratch.directory()
        copied = _copy(source, place, self.scratch, self.opened)
        if source.is_directory:
            mode, owner = source.node.mode, source.node.status
            if source.tree.keeps_owners:
                os.chown(copied, owner.st_uid, owner.st_gid)
            copied.chmod(mode)
        return copied

    def _opened_again(self, tree: Tree, node: Node) -> Path:
        """Open something of the context from within our own mount namespace, to be mounted.

        Only the path of its root is asked for again, and must lead to the same directory.
        """
        from anchor_supervisor.runtime.service import own_mount_namespace  # trio: not for a hit

        own_mount_namespace()
        path = Path(f"/proc/self/fd/{tree.root}").readlink()
        root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.opened.callback(os.close, root)
        if not os.path.samestat(os.fstat(root), os.fstat(tree.root)):
            message = f"{tree.words} was moved while it was built from"
            raise BuildError(message)
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = open_beneath(root, node.path or ".", flags)
        self.opened.callback(os.close, fd)
        return Path(f"/proc/self/fd/{fd}")

    def _cache_directory(self, mount: RunMount, target: str) -> Path:
        if mount.from_ is not None or mount.source is not None:
            message = "a cache mount that begins as a copy (`from`, `source`) is not supported yet"
            raise BuildError(message, hint="copy into it when it is empty")
        name = mount.id or target
        if name not in self._held:
            if mount.sharing is Sharing.PRIVATE:
                found = self.opened.enter_context(self.cache.private_mount(name))
            else:
                alone = mount.sharing is Sharing.LOCKED
                found = self.opened.enter_context(self.cache.mount(name, alone=alone))
            os.chown(found, mount.uid or 0, mount.gid or 0)
            found.chmod(0o755 if mount.mode is None else mount.mode)
            self._held[name] = found
        return self._held[name]

    def _secret(self, mount: RunMount) -> bytes | None:
        name = _secret_id(mount)
        secret = self.secrets.get(name)
        if secret is None:
            if mount.required:
                message = f"secret `{name}` is required"
                raise BuildError(message, hint=f"`--secret id={name},src=FILE`")
            return None
        return read_secret(name, secret)

    def _secret_file(self, mount: RunMount, content: bytes) -> Path:
        path = self.hidden().file(content)
        os.chown(path, mount.uid or 0, mount.gid or 0)
        path.chmod(0o400 if mount.mode is None else mount.mode)
        return path


def read_secret(name: str, secret: Secret) -> bytes:
    """Read a secret's content. Raises BuildError where there is none."""
    if secret.variable is not None:
        value = os.environb.get(secret.variable.encode())
        if value is None:
            message = f"secret `{name}`: variable `{secret.variable}` is not set"
            raise BuildError(message)
        return value
    assert secret.file is not None
    try:
        with secret.file.open("rb") as file:
            content = file.read(LARGEST_SECRET + 1)
    except OSError as error:
        message = f"secret `{name}`: `{secret.file}` cannot be read: {error.strerror}"
        raise BuildError(message) from error
    if len(content) > LARGEST_SECRET:
        message = f"secret `{name}`: `{secret.file}` is larger than {LARGEST_SECRET} bytes"
        raise BuildError(message)
    return content


def _secret_id(mount: RunMount) -> str:
    return mount.id or mount.source or posixpath.basename(mount.target or "") or mount.env or ""


def _text(secret: bytes, mount: RunMount) -> str:
    if b"\0" in secret:
        message = f"secret `{_secret_id(mount)}` has a NUL byte, and cannot be a variable"
        raise BuildError(message)
    return os.fsdecode(secret)


def _target(mount: RunMount, working_dir: str) -> str:
    target = mount.target
    if target is None:
        target = f"{_SECRETS}/{_secret_id(mount)}"
    return posixpath.normpath(posixpath.join("/", working_dir, target)).replace("//", "/", 1)


def _bind(source: Path, target: str, *, read_only: bool) -> Volume:
    return Volume(VolumeKind.BIND, target, str(source), read_only)


def _copy(source: Source, place: Path, scratch: Scratch, opened: ExitStack) -> Path:
    """Copy a source into an empty directory; what is there in the end is given back."""
    plan = LayerPlan(Resolver(None))
    plan_copy(plan, [source], "/", Wishes(), scratch=scratch, opened=opened)
    root = os.open(place, DIRECTORY_FLAGS)
    opened.callback(os.close, root)
    archive = scratch.directory() / "archive"
    with archive.open("w+b") as file:
        plan.write(file.write)
        file.seek(0)
        unpack(file, root)
    archive.unlink()
    return place if source.is_directory else place / source.name
