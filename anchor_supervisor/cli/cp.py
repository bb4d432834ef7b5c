"""`anchor cp`: files out of a container and into it, whether it runs or not.

The supervisor says where the container's root is; the copying is done here. Everything beneath
that root is hostile and moves meanwhile: it is resolved once, and only descriptors are used.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, final

from anchor_supervisor.cli.descriptors import OutputFailed
from anchor_supervisor.cli.options import add_fleet_options, fleet_client
from anchor_supervisor.cli.problems import warn
from anchor_supervisor.control.protocol import container_page
from anchor_supervisor.control.shapes import RootContext
from anchor_supervisor.errors import AnchorError, ControlError
from anchor_supervisor.images.endpoints import (
    Destination,
    Open,
    open_destination,
    open_directory,
    open_source,
)
from anchor_supervisor.images.planting import Ownership, Planter
from anchor_supervisor.images.tar_transfer import read_tar, write_tar
from anchor_supervisor.images.transfer import transfer
from anchor_supervisor.kernel.creator import creating_as
from anchor_supervisor.kernel.mount import open_beneath
from anchor_supervisor.rootfs.plan import RESERVED
from anchor_supervisor.runtime.container_root import ContainerRoot, container_root
from anchor_supervisor.values import frozen

STREAM: Final = "-"
_REMOTE: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*):(.*)", re.DOTALL)

EXAMPLES: Final = """\
`-` is a tar archive on standard input or output. SRC/. means the content of a directory. What is
copied in belongs to the container's root, what is copied out to you; with -a owners stay. The
container may have stopped, as long as its fleet runs.

examples:
  anchor cp web:/etc/nginx/nginx.conf .
  anchor cp ./site/. web.2:/srv
  anchor cp db:/var/lib/data - | tar t
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-a", "--archive", action="store_true", help="keep owners, set-id bits too")
    parser.add_argument(
        "-L", "--follow-link", action="store_true", help="follow a symbolic link in SRC"
    )
    add_fleet_options(parser)
    parser.add_argument("source", metavar="SRC", help="NAME:/path, a path, or - for a tar archive")
    parser.add_argument("destination", metavar="DST", help="the same")


def run(options: argparse.Namespace) -> int:
    """Copy."""
    source, destination = _Side.of(options.source), _Side.of(options.destination)
    if (source.name is None) == (destination.name is None):
        message = "one of the two must be in a container, written NAME:/path, and the other not"
        raise ControlError(message, hint="anchor cp NAME:/path DST, or anchor cp SRC NAME:/path")
    _raise_file_limit()
    client = fleet_client(options)
    name = source.name or destination.name or ""

    def ask() -> RootContext:
        found: RootContext = client.get(container_page(name, "root"))
        return found

    os.umask(0)
    if source.name is not None:
        _copy_out(options, ask, source.path, destination.path)
    else:
        _copy_in(options, ask, source.path, destination.path)
    return 0


@final
@frozen
class _Side:
    """One of the two operands; `name` None: on this machine."""

    name: str | None
    path: bytes

    @classmethod
    def of(cls, text: str) -> _Side:
        """Take `NAME:/path` apart; a path with a colon is told by a slash or a dot before it."""
        match = _REMOTE.fullmatch(text)
        if match is None:
            return cls(None, os.fsencode(text))
        return cls(match[1], os.fsencode(match[2]) or b"/")


def _here(path: bytes, flags: int) -> int:
    return os.open(path, flags)


def _beneath(root: ContainerRoot) -> Open:
    return lambda path, flags: open_beneath(root.handle, os.fsdecode(path), flags)


def _ownership(options: argparse.Namespace, root: ContainerRoot, *, inward: bool) -> Ownership:
    first, count = root.context["first_id"], root.context["ids"]
    return Ownership(keep=options.archive, first=first, count=count, inward=inward)


def _copy_out(
    options: argparse.Namespace, ask: Callable[[], RootContext], path: bytes, to: bytes
) -> None:
    with ExitStack() as opened:
        if to == os.fsencode(STREAM) and sys.stdout.isatty():
            message = "a tar archive is not for a terminal"
            raise ControlError(message, hint="anchor cp NAME:/path - | tar t")
        root = opened.enter_context(container_root(ask, warn))
        source = open_source(_beneath(root), path, follow=options.follow_link)
        opened.callback(os.close, source.node.handle)
        if to == os.fsencode(STREAM):
            first = root.context["first_id"]
            name = b"" if source.contents else source.name
            try:
                write_tar(source.node, name, _write, first_id=first, apart=_apart(root.handle))
                _write(b"")
            except _Unwritten as failed:
                raise failed.reason from None
            return
        destination = open_destination(_here, to, source)
        opened.callback(os.close, destination.directory)
        planter = Planter(_ownership(options, root, inward=False))
        apart = _apart(root.handle)
        transfer(source.node, *_places(destination), planter, warn, apart=apart)


class _Unwritten(AnchorError):  # noqa: N818 - it is what happened
    """Standard output failed; told from a failure to read, which is an OSError as well."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _write(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        if not data:
            sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        raise _Unwritten(error) from None
    except OSError as error:
        raise _Unwritten(OutputFailed(error.errno, error.strerror)) from None


def _copy_in(
    options: argparse.Namespace, ask: Callable[[], RootContext], path: bytes, to: bytes
) -> None:
    with ExitStack() as opened:
        if path == os.fsencode(STREAM):
            if sys.stdin.isatty():
                message = "there is no tar archive on the terminal"
                raise ControlError(message, hint="tar c DIR | anchor cp - NAME:/path")
            root = opened.enter_context(container_root(ask, warn))
            _warn_of_loss(root)
            planter = Planter(_ownership(options, root, inward=True))
            destination = open_directory(_beneath(root), to)
            opened.callback(os.close, destination.directory)
            opened.enter_context(creating_as(root.context["first_id"]))
            read_tar(sys.stdin.buffer, destination.directory, planter, warn)
            return
        source = open_source(_here, path, follow=options.follow_link)
        opened.callback(os.close, source.node.handle)
        root = opened.enter_context(container_root(ask, warn))
        _warn_of_loss(root)
        planter = Planter(_ownership(options, root, inward=True))
        destination = open_destination(_beneath(root), to, source)
        opened.callback(os.close, destination.directory)
        opened.enter_context(creating_as(root.context["first_id"]))
        transfer(source.node, *_places(destination), planter, warn)


def _apart(root: int) -> frozenset[int]:
    """Give the file systems that are only copied from where they are named: they hold no files."""
    found = set()
    for path in RESERVED:
        try:
            handle = open_beneath(root, path, os.O_PATH)
        except OSError:
            continue
        found.add(os.fstat(handle).st_dev)
        os.close(handle)
    return frozenset(found - {os.fstat(root).st_dev})


def _warn_of_loss(root: ContainerRoot) -> None:
    if root.context["volatile"] and not root.running:
        warn(f"`{root.context['name']}` is volatile: its next start forgets what is copied now")


def _places(destination: Destination) -> tuple[int, bytes | None]:
    return destination.directory, destination.name


def _raise_file_limit() -> None:
    """A tree takes two descriptors a level."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
