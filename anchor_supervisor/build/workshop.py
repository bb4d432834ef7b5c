"""What all steps of one build share: store, lease, cache, context, room, and open trees."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, final

from anchor_supervisor.build.cache import Cache
from anchor_supervisor.build.fingerprint import FileDigests
from anchor_supervisor.build.options import BuildOptions, Reporter
from anchor_supervisor.build.paths import Resolver
from anchor_supervisor.build.scratch import Scratch, scratch
from anchor_supervisor.build.tree import Tree
from anchor_supervisor.images.model import Layer, Platform, machine_platform
from anchor_supervisor.images.store import Lease, Store
from anchor_supervisor.observability import places
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.strategies import merged
from anchor_supervisor.values import define, field

PREFIX: Final = "build-"
"""How the fleets of RUN steps are called."""

SECRETS: Final = ".build"
"""No fleet's name, so it can lie beside their run directories."""

_TMPFS_IDMAPS: Final = (6, 3)  # the first Linux that maps the ids of a tmpfs


@final
@define(eq=False)
class Workshop:
    """Everything a step needs. `opened` closes it all when the build ends."""

    store: Store
    lease: Lease
    options: BuildOptions
    reporter: Reporter
    context: Tree
    cache: Cache
    digests: FileDigests
    room: Scratch
    opened: ExitStack
    _roots: dict[tuple[str, ...], int | None] = field(factory=dict, init=False)
    _hidden: Scratch | None = field(default=None, init=False)

    @property
    def platform(self) -> Platform:
        """What the image is to run on."""
        return self.options.platform or machine_platform()

    @property
    def now(self) -> int:
        """Nanoseconds that stand for now."""
        epoch = self.options.epoch
        return time.time_ns() if epoch is None else epoch * 10**9

    @property
    def newest(self) -> int | None:
        """The time that nothing in a layer may be newer than; None: it may be anything."""
        return None if self.options.epoch is None else self.now

    @property
    def created(self) -> str:
        """Now, as images say it."""
        seconds, rest = divmod(self.now, 10**9)
        text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{text}.{rest:09d}".rstrip("0").rstrip(".") + "Z"

    def secret_room(self) -> Scratch:
        """Room for secrets: in the run directory, which is memory on most machines."""
        if self._hidden is None:
            release = tuple(int(part) for part in platform.release().split(".")[:2])
            hides = release >= _TMPFS_IDMAPS
            parent = places.run_dir() / SECRETS if hides else self.cache.path / "scratch"
            self._hidden = self.opened.enter_context(scratch(parent))
        return self._hidden

    def paths(self, layers: Sequence[Layer]) -> tuple[Path, ...]:
        """The layers' directories, the uppermost first."""
        return self.store.stack(self.lease, [layer.diff_id for layer in layers])

    def root(self, layers: Sequence[Layer]) -> int | None:
        """All layers as one tree, to be looked at; None where there are none."""
        key = chain(layers)
        if key not in self._roots:
            self._roots[key] = self._merged(layers) if layers else None
        return self._roots[key]

    def _merged(self, layers: Sequence[Layer]) -> int:
        root = merged(Layers(self.paths(layers), layers[-1].diff_id))
        self.opened.callback(os.close, root)
        return root

    def resolver(self, layers: Sequence[Layer]) -> Resolver:
        """Resolve paths of these layers."""
        return Resolver(self.root(layers))

    def tree(self, layers: Sequence[Layer], words: str) -> Tree:
        """These layers as something to copy from; without any, an empty directory."""
        root = self.root(layers)
        if root is None:
            root = os.open(self.room.directory(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self.opened.callback(os.close, root)
        return Tree(root, words, keeps_owners=True)


def chain(layers: Sequence[Layer]) -> tuple[str, ...]:
    """What layers are, the lowest first: the part of a key that says what a step was done over."""
    return tuple(layer.diff_id for layer in layers)
