"""A container's root as layers of the store: its image's own, and one of what it has changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import final

from anchor_supervisor.control.shapes import RootContext
from anchor_supervisor.errors import ControlError, ImageError
from anchor_supervisor.fleet.model import ImageKind, RootStrategy
from anchor_supervisor.images.layer_writer import LayerWriter
from anchor_supervisor.images.model import Image, Layer
from anchor_supervisor.images.pack import pack_tree
from anchor_supervisor.images.progress import Progress
from anchor_supervisor.images.store import Lease, Store
from anchor_supervisor.rootfs import strategies
from anchor_supervisor.runtime.container_changes import is_upper, open_written
from anchor_supervisor.runtime.container_root import CHANGING, RUNNING, context_layers
from anchor_supervisor.runtime.writable_lock import writable_locked
from anchor_supervisor.values import frozen

Hold = Callable[[], AbstractContextManager[object]]
"""Keeps a running container still for the length of a block."""


@final
@frozen
class Committed:
    """`image` is the container's, None where it is not from the store.

    `new` are the layers that were written now, with what each is in words; `kept`: they lie over
    the image's own.
    """

    image: Image | None
    kept: bool
    new: tuple[tuple[Layer, str], ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All of them, the lowest first."""
        below = self.image.layers if self.kept and self.image else ()
        return (*below, *(layer for layer, _ in self.new))


def committed_layers(
    ask: Callable[[], RootContext], hold: Hold, store: Store, lease: Lease, progress: Progress
) -> Committed:
    """Write what the container has changed as a layer; `hold` is for one that runs.

    A root that is a copy becomes one layer; an image that has no layers in the store, because it
    is a directory or an archive, becomes a layer first. Raises ControlError and ImageError for
    what cannot be an image.
    """
    context = ask()
    refuse_host(context)
    image = None
    if context["image_kind"] == ImageKind.STORE:
        lease.hold(context["digest"])
        image = store.image(context["digest"])
    new: list[tuple[Layer, str]] = []
    over = is_upper(context) or context["strategy"] == RootStrategy.BIND
    if over and image is None:
        layer = _image_layer(context, store, lease, progress)
        new.append((layer, f"anchor import {context['image']}"))
    if context["strategy"] != RootStrategy.BIND:
        layer = _written_layer(context, ask, hold, store, lease, progress)
        new.append((layer, _command(context)))
    return Committed(image, over, tuple(new))


def refuse_host(context: RootContext) -> None:
    """The machine's own root is no image, and what lies over it means nothing elsewhere."""
    if context["host"]:
        message = f"`{context['name']}` runs over the machine's own root, which is no image"
        raise ImageError(message, hint="`anchor cp` copies files out; or use another `image`")


def _image_layer(context: RootContext, store: Store, lease: Lease, progress: Progress) -> Layer:
    with ExitStack() as opened:
        image = strategies.merged(context_layers(context))
        opened.callback(os.close, image)
        writer = opened.enter_context(LayerWriter(store, lease, progress=progress))
        pack_tree(image, writer.write)
        return writer.finish()


def _written_layer(
    context: RootContext,
    ask: Callable[[], RootContext],
    hold: Hold,
    store: Store,
    lease: Lease,
    progress: Progress,
) -> Layer:
    upper = is_upper(context)
    with LayerWriter(store, lease, progress=progress) as writer:
        with ExitStack() as still:
            if context["state"] in RUNNING:
                still.enter_context(hold())
                still.enter_context(_unmoved(ask))
            else:
                _hold_stopped(context, ask, still)
            tree = open_written(context)
            if tree is None:
                message = f"`{context['name']}` has no root yet"
                raise ControlError(message, hint=f"`anchor why {context['name']}` says why")
            still.callback(os.close, tree)
            first_id = context["first_id"] if upper else 0
            pack_tree(tree, writer.write, first_id=first_id, changes=upper)
        return writer.finish()


@contextmanager
def _unmoved(ask: Callable[[], RootContext]) -> Iterator[None]:
    """Refuse what was read while the container went on: it ended, or was held for too long.

    Without a hold nothing was promised. The number is asked for inside of the hold, both times.
    """
    before = ask()
    yield
    if before["hold"] is not None and ask()["hold"] != before["hold"]:
        message = f"`{before['name']}` did not stay still: it has ended, or this took too long"
        raise ControlError(message, hint="try again; `--no-pause` takes it as it is, moving")


def _hold_stopped(context: RootContext, ask: Callable[[], RootContext], still: ExitStack) -> None:
    """Let no start begin meanwhile."""
    try:
        still.enter_context(writable_locked(Path(context["writable"])))
    except FileNotFoundError:
        message = f"the writable layer of `{context['name']}` is gone: its fleet is ending"
        raise ControlError(message) from None
    again = ask()  # between its root and its process a start does not hold the lock
    if again["pid"] is not None or again["state"] in RUNNING or again["state"] == CHANGING:
        message = f"`{context['name']}` has just been started"
        raise ControlError(message, hint="try again")


def _command(context: RootContext) -> str:
    process = context["process"]
    return " ".join([*(process["entrypoint"] or ()), *(process["command"] or ())])
