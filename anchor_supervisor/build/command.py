"""One RUN: a container of its own, with the isolation of every other, whose changes are a layer.

What is mounted needs something to be mounted on. Where the image has nothing there, it is made in
a directory of ours between the image and what the container writes, so it never gets into a layer.
"""

from __future__ import annotations

import io
import os
import secrets
import stat
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final, final

from anchor_supervisor.build.layer_plan import Item, LayerPlan
from anchor_supervisor.build.options import Interrupted, Reporter
from anchor_supervisor.build.paths import Resolver
from anchor_supervisor.build.run_mounts import Target
from anchor_supervisor.build.scratch import Scratch
from anchor_supervisor.build.workshop import PREFIX
from anchor_supervisor.errors import BuildError
from anchor_supervisor.fleet.model import (
    Attachment,
    Container,
    Fleet,
    Image,
    ImageKind,
    Kind,
    Network,
    NetworkMode,
    RestartPolicy,
    RestartWhen,
    StopPolicy,
    Volume,
)
from anchor_supervisor.images import headers
from anchor_supervisor.images.headers import Header
from anchor_supervisor.images.layer_writer import LayerWriter
from anchor_supervisor.images.model import Layer
from anchor_supervisor.images.pack import pack_tree
from anchor_supervisor.images.store import Lease, Store
from anchor_supervisor.images.unpack import unpack
from anchor_supervisor.rootfs import files
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.removal import DIRECTORY_FLAGS
from anchor_supervisor.rootfs.strategies import merged
from anchor_supervisor.runtime.bringup import Stdio
from anchor_supervisor.runtime.service import supervise
from anchor_supervisor.runtime.terms import Ending, Options, Written
from anchor_supervisor.values import define, field, frozen

NAME: Final = "build"
LAST_OUTPUT: Final = 4096  # bytes that are told again when a step fails
_DEFAULT: Final = "default"
_ALWAYS_MOUNTED: Final = ("proc", "sys", "dev")
_GENERATED: Final = (files.HOSTS, files.HOSTNAME, files.RESOLV_CONF)
_DEPTH: Final = 512


@final
@frozen
class Command:
    """What to run, over which layers (the uppermost first; none: an empty root)."""

    argv: tuple[str, ...]
    layers: tuple[Path, ...]
    environment: Mapping[str, str]
    working_dir: str = "/"
    user: str | None = None
    network: bool = True
    volumes: tuple[Volume, ...] = ()
    targets: tuple[Target, ...] = ()


@final
class StepFailed(BuildError):  # noqa: N818 - it is what happened
    """The command ended badly: how, and the last of what it said."""

    def __init__(self, ending: str, output: bytes) -> None:
        """Take both."""
        super().__init__(ending)
        self.output = output


def run_command(
    command: Command,
    store: Store,
    lease: Lease,
    *,
    scratch: Scratch,
    reporter: Reporter,
    newest: int | None = None,
) -> Layer:
    """Run it to its end, and keep what it has written as a layer.

    `newest`, in nanoseconds: no file of the layer is newer. Raises StepFailed where it ends badly,
    Interrupted where a signal came, AnchorError where it cannot be run.
    """
    made: list[Layer] = []
    errors: list[BaseException] = []

    def keep(written: Written) -> None:
        if written.exit is None or not written.exit.success:
            return
        try:
            made.append(_packed(written, store, lease, newest))
        except BaseException as error:  # it is raised again below, from the thread that asked
            errors.append(error)

    layers = (*_scaffold(command, scratch), *command.layers)
    name = f"{PREFIX}{secrets.token_hex(4)}"
    with _Listener(reporter) as listener:
        looks = Options(
            quiet=True,
            output=False,
            stdio=Stdio(listener.null, listener.writer, listener.writer),
            stops_at_once=True,  # at SIGINT a shell waits for its child, which never gets it
            forget_logs=True,
            check_programs=False,  # execve says it better
            layers={NAME: Layers(layers, f"sha256:{name}")},
            written=keep,
        )
        ending = supervise(_fleet(command, name, layers[0]), looks)
    if ending.asked is not None:
        raise Interrupted(ending.asked)
    if errors:
        raise errors[0]
    return made[0] if made else _explain(ending, listener.last)


def _explain(ending: Ending, output: bytes) -> Layer:
    for failure in ending.failures.values():
        raise StepFailed(failure.message, output)
    exits = [str(status.exit) for status in ending.statuses if status.exit is not None]
    raise StepFailed(exits[0] if exits else ending.outcome.reason, output)


def _fleet(command: Command, name: str, directory: Path) -> Fleet:
    mode = NetworkMode.BRIDGE if command.network else NetworkMode.NONE
    networks = {_DEFAULT: Attachment()} if command.network else {}
    container = Container(
        name=NAME,
        image=Image(ImageKind.DIRECTORY, str(directory)),
        kind=Kind.JOB,
        user=command.user,
        working_dir=command.working_dir,
        entrypoint=(),
        command=command.argv,
        environment=command.environment,
        volumes=command.volumes,
        network_mode=mode,
        networks=MappingProxyType(networks),
        restart=RestartPolicy(when=RestartWhen.NO),
        stop=StopPolicy(grace=3.0),
        no_new_privileges=False,  # a RUN may use sudo: root is the container's own
    )
    return Fleet(
        name=name,
        containers={NAME: container},
        networks={_DEFAULT: Network(_DEFAULT)} if command.network else {},
    )


def _packed(written: Written, store: Store, lease: Lease, newest: int | None) -> Layer:
    upper = os.open(written.upper, DIRECTORY_FLAGS)
    try:
        if newest is not None:
            _age(upper, newest)
        with LayerWriter(store, lease) as writer:
            pack_tree(upper, writer.write, first_id=written.first_id, changes=True)
            return writer.finish()
    finally:
        os.close(upper)


def _age(directory: int, newest: int, depth: int = 0) -> None:
    """Make nothing newer than `newest`; the tree is about to be packed, and then removed."""
    if depth > _DEPTH:
        return
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            below = os.open(name, DIRECTORY_FLAGS, dir_fd=directory)
            try:
                _age(below, newest, depth + 1)
            finally:
                os.close(below)
        if status.st_mtime_ns > newest:
            os.utime(name, ns=(newest, newest), dir_fd=directory, follow_symlinks=False)
    if not depth and os.fstat(directory).st_mtime_ns > newest:
        os.utime(directory, ns=(newest, newest))


def _scaffold(command: Command, scratch: Scratch) -> tuple[Path, ...]:
    """What there is to mount on and the image lacks, as a layer; none where it lacks nothing."""
    with ExitStack() as opened:
        root = None
        if command.layers:
            root = merged(Layers(command.layers, f"sha256:{NAME}"))
            opened.callback(os.close, root)
        plan = LayerPlan(Resolver(root))
        for name in _ALWAYS_MOUNTED:
            if plan.image.status(name) is None:
                plan.make_directory(name)
        generated = [(path, False) for path in _GENERATED]
        for path, is_directory in (*generated, *command.targets, (command.working_dir, True)):
            _put_target(plan, path, is_directory=is_directory)
        if plan.is_empty:
            return ()
        archive = io.BytesIO()
        plan.write(archive.write)
        archive.seek(0)
        place = scratch.directory()
        target = os.open(place, DIRECTORY_FLAGS)
        opened.callback(os.close, target)
        unpack(archive, target)
        return (place,)


def _put_target(plan: LayerPlan, path: str, *, is_directory: bool) -> None:
    place = plan.image.resolve(path)
    if place.status is not None or not place.path:
        return
    if is_directory:
        plan.make_directory(place.path)
    else:
        plan.put(place.path, Item(Header(b"", headers.FILE, 0o644)))


@final
@define(eq=False)
class _Listener:
    """Passes on what the command says, from a thread, and keeps the last of it."""

    reporter: Reporter
    null: int = field(init=False)
    writer: int = field(init=False)
    _reader: int = field(init=False)
    _thread: threading.Thread = field(init=False)
    _kept: deque[bytes] = field(factory=deque, init=False)

    def __enter__(self) -> _Listener:
        """Begin to listen."""
        self.null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.fchmod(self.writer, 0o622)  # so that /dev/stdout can be opened again, by any user
        self._thread = threading.Thread(target=self._listen, name="output", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Listen to the end: nothing of the container runs any more."""
        os.close(self.writer)
        os.close(self.null)
        self._thread.join()
        os.close(self._reader)

    @property
    def last(self) -> bytes:
        """The last of what was said."""
        return b"".join(self._kept)[-LAST_OUTPUT:]

    def _listen(self) -> None:
        kept = 0
        while data := os.read(self._reader, 65536):
            self._kept.append(data)
            kept += len(data)
            while kept - len(self._kept[0]) > LAST_OUTPUT:
                kept -= len(self._kept.popleft())
            with suppress(OSError, ValueError):  # nobody reads what we show: the step goes on
                self.reporter.output(data)
