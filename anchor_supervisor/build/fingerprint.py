"""What is to be copied, as one digest: names, kinds, modes, owners, links, content; not times.

Reading every file of a large context would take longer than an unchanged build may, so the digest
of a file is kept beside its device, inode, size and times, in one small file.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, final

from anchor_supervisor.build.selection import Source
from anchor_supervisor.build.tree import Node, Tree
from anchor_supervisor.values import define, field

MOST_REMEMBERED: Final = 50_000
# A file that is written to twice within the clock's grain looks unchanged (git's "racy" files).
_GRAIN: Final = 2 * 10**9
_CHUNK: Final = 1 << 20

Known = tuple[int, int, int, str]


@final
@define(eq=False)
class FileDigests:
    """The digests of files, remembered from build to build in `file`.

    A file that is damaged or missing only costs reading everything again.
    """

    file: Path
    _known: dict[str, Known] = field(init=False)
    _used: dict[str, Known] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        """Read what is remembered."""
        try:
            known = json.loads(self.file.read_bytes())
            self._known = {str(key): tuple(value) for key, value in known.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self._known = {}

    def digest(self, tree: Tree, node: Node) -> str:
        """Return the sha256 of a plain file's content."""
        status = node.status
        key = f"{status.st_dev}:{status.st_ino}"
        facts = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self._known.get(key)
        if known is not None and known[:3] == facts:
            self._used[key] = known
            return known[3]
        found = content_digest(tree, node)
        if time.time_ns() - max(facts[1:]) > _GRAIN:
            self._used[key] = (*facts, found)
        return found

    def save(self) -> None:
        """Write them down, those of this build first; whoever writes last has it."""
        if all(self._known.get(key) == value for key, value in self._used.items()):
            return
        kept = {**self._used, **{k: v for k, v in self._known.items() if k not in self._used}}
        most = max(MOST_REMEMBERED, len(self._used))
        content = json.dumps(dict(list(kept.items())[:most]), separators=(",", ":"))
        aside = self.file.with_name(f".{self.file.name}-{os.getpid()}")
        aside.write_text(content)
        aside.rename(self.file)


def content_digest(tree: Tree, node: Node) -> str:
    """Read a plain file through."""
    digest = hashlib.sha256()
    fd = tree.open(node)
    try:
        while piece := os.read(fd, _CHUNK):
            digest.update(piece)
    finally:
        os.close(fd)
    return digest.hexdigest()


def fingerprint(sources: Iterable[Source], digests: FileDigests) -> str:
    """Return one digest for everything that the sources are."""
    whole = hashlib.sha256()
    for source in sources:
        for fact in _facts(source, digests):
            # Each with its length, so that no two lists of facts read the same.
            whole.update(b"%d:%b" % (len(fact), fact))
    return whole.hexdigest()


def _facts(source: Source, digests: FileDigests) -> Iterator[bytes]:
    yield os.fsencode(source.name)
    if source.content is not None:
        yield source.content
        return
    assert source.tree is not None
    assert source.node is not None
    yield b"directory" if source.is_directory else b"file"
    for node in (*source.above, *(source.below if source.is_directory else (source.node,))):
        yield from _node_facts(source.tree, source.node, node, digests)


def _node_facts(tree: Tree, top: Node, node: Node, digests: FileDigests) -> Iterator[bytes]:
    status = node.status
    name = "" if node is top else node.path.removeprefix(top.path)
    yield os.fsencode(name)
    yield b"%o" % status.st_mode
    if tree.keeps_owners:
        yield b"%d:%d" % (status.st_uid, status.st_gid)
        for key, value in sorted(tree.attributes(node).items()):
            yield key.encode() + b"=" + value
    if stat.S_ISREG(status.st_mode):
        yield digests.digest(tree, node).encode()
    elif stat.S_ISLNK(status.st_mode):
        yield os.fsencode(node.text)
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        yield b"%d" % status.st_rdev
