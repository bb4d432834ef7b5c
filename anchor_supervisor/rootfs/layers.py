"""The directories an image is made of, as the strategies and the checks take them."""

from __future__ import annotations

from pathlib import Path
from typing import Final, final

from anchor_supervisor.values import frozen

HOST_ROOT: Final = Path("/")


@final
@frozen
class Layers:
    """Directories that make up an image, the uppermost first, and a name for their content.

    Two images of the same `digest` are the same; a directory is known by its place and inode, not
    by what is in it. `host` is the machine's own root, whose mounts beneath are left out. What an
    upper layer takes away from a lower one is marked as overlayfs marks it (overlayfs.rst:
    character devices 0:0, and `trusted.overlay.opaque`), so no directory is read without the
    ones above it.
    """

    paths: tuple[Path, ...]
    digest: str
    host: bool = False

    @property
    def marked(self) -> bool:
        """Whether there may be such marks: in a layer of the store, not in somebody's directory."""
        return self.unchanging

    @property
    def unchanging(self) -> bool:
        """Whether what is in them stays as it is: in the store, not in somebody's directory."""
        return self.digest.startswith("sha256:")
