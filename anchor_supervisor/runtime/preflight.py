"""What a fleet needs of this machine, looked at before anything is made: all of it, at once.

`look` finds what is wrong (errors) and what will be done without (warnings). It starts nothing,
unpacks nothing, and changes nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, final

from anchor_supervisor.errors import (
    FleetError,
    HostError,
    NetworkError,
    Problem,
    UnfitHostError,
)
from anchor_supervisor.fleet.model import (
    Container,
    Fleet,
    ImageKind,
    LimitsMode,
    Pull,
    RootStrategy,
    VolumeKind,
)
from anchor_supervisor.kernel import cgroup_limits
from anchor_supervisor.kernel.cgroup import Cgroup, find_mount
from anchor_supervisor.kernel.mount import open_beneath
from anchor_supervisor.network.plan import PublishedPort
from anchor_supervisor.network.ports import reserve
from anchor_supervisor.observability import places
from anchor_supervisor.rootfs import command
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.rootfs.strategies import merged
from anchor_supervisor.runtime.provisions import complete_fleet, wrong_names
from anchor_supervisor.runtime.recipe import exceeds_own_limit
from anchor_supervisor.values import frozen

if TYPE_CHECKING:
    from anchor_supervisor.images.store import Store

CAP_SYS_RESOURCE = 24  # capabilities(7)


@final
@frozen
class Findings:
    """What `look` saw. `wrong`: the file's fault; `unfit`: the machine's; both with their place."""

    wrong: tuple[Problem, ...] = ()
    unfit: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()

    def refuse(self) -> None:
        """Raise FleetError or UnfitHostError with everything that stands in the way."""
        if self.wrong:
            raise FleetError((*self.wrong, *self.unfit))
        if self.unfit:
            raise UnfitHostError(self.unfit)


def require_root() -> None:
    """Raise HostError for an ordinary user, before anything is tried."""
    if os.geteuid() != 0:
        message = "containers can only be started by root"
        raise HostError(message, hint="run it again with sudo")


def look(fleet: Fleet) -> Findings:
    """Look at everything a start would need. Raises HostError where we may not look."""
    require_root()
    available = Cgroup(find_mount()).controllers()
    wrong = wrong_names(fleet)
    unfit: list[Problem] = []
    warnings: list[str] = []
    if not wrong:
        unfit += unobtainable_images(fleet)
    for container in fleet.containers.values():
        wrong += _missing_sources(fleet, container)
        wrong += _missing_image(fleet, container)
        unfit += _impossible_ulimits(fleet, container)
        for key in cgroup_limits.unenforceable(container.limits, available):
            if key not in container.limits.declared:
                continue  # a default is best-effort, always
            words = f"this kernel cannot enforce the limit `{key}` of `{container.name}`"
            if fleet.limits is LimitsMode.STRICT:
                hint = 'enable the controller on cgroup v2, or set `limits = "best-effort"`'
                path = f"containers.{container.name}.limits.{key}"
                unfit.append(_problem(fleet, path, words, hint))
            else:
                warnings.append(f"{words}: it runs without")
    return Findings(tuple(wrong), tuple(unfit), tuple(warnings))


def require_ports(fleet: Fleet, ports: Iterable[PublishedPort]) -> None:
    """Check that nobody else has one of these ports that the fleet publishes.

    Raises UnfitHostError with every one that is in use.
    """
    problems = []
    for port in ports:
        try:
            reserve(port).close()
        except NetworkError as error:
            key = f"containers.{port.container}.ports"
            problems.append(_problem(fleet, key, error.message, error.hint))
    if problems:
        raise UnfitHostError(problems)


def require_programs_on_disk(fleet: Fleet) -> None:
    """As `require_commands`, for every image that can be looked into without making anything."""
    from anchor_supervisor.images.resolve import resolve
    from anchor_supervisor.images.store import Store

    store = Store(places.data_dir())
    found = {
        name: resolve(container.image, store, NoLease())
        for name, container in fleet.containers.items()
        if _is_here(container, store)
    }
    images = {name: one.image for name, one in found.items() if one.image is not None}
    _require(complete_fleet(fleet, images), {name: one.layers for name, one in found.items()})


def absent_images(fleet: Fleet) -> dict[str, Container]:
    """Give the containers, by name, whose image the store has not got yet."""
    named = {
        name: container
        for name, container in fleet.containers.items()
        if container.image.kind is ImageKind.STORE
    }
    if not named:
        return {}
    from anchor_supervisor.images.store import Store  # what no fleet of directories needs

    store = Store(places.data_dir())
    return {name: one for name, one in named.items() if store.find(one.image.reference) is None}


def _is_here(container: Container, store: Store) -> bool:
    image = container.image
    if image.kind is ImageKind.STORE:
        return store.find(image.reference) is not None
    return image.kind is not ImageKind.ARCHIVE


@final
class NoLease:
    """For a look that is over in a moment, and must leave no trace."""

    def hold(self, *digests: str) -> None:
        """Hold nothing."""


def require_commands(fleet: Fleet, layers: Mapping[str, Layers]) -> None:
    """Check that each container's program is in its image and may be executed.

    A program that a volume brings is left to execve. Raises FleetError with every one missing.
    """
    _require(fleet, layers)


def _require(fleet: Fleet, layers: Mapping[str, Layers]) -> None:
    problems = [
        problem
        for name, found in layers.items()
        for problem in _missing_program(fleet, fleet.containers[name], found)
    ]
    if problems:
        raise FleetError(problems)


def _problem(fleet: Fleet, key: str, message: str, hint: str | None = None) -> Problem:
    """Put a problem at its line: its own, or that of the nearest key above it that has one."""
    return Problem(message, *fleet.place(key), hint)


def _missing_sources(fleet: Fleet, container: Container) -> Iterator[Problem]:
    for number, volume in enumerate(container.volumes):
        if volume.kind is VolumeKind.BIND and not Path(volume.source or "").exists():
            yield _problem(
                fleet,
                f"containers.{container.name}.volumes[{number}]",
                f"there is no `{volume.source}` to mount on `{volume.target}`",
                "nothing is created behind your back: make it, or name a volume instead",
            )
        elif volume.kind is VolumeKind.BIND:
            try:
                from anchor_supervisor.rootfs.volumes import open_source  # few have volumes

                os.close(open_source(volume, Path(volume.source or "")))
            except HostError as error:
                key = f"containers.{container.name}.volumes[{number}]"
                yield _problem(fleet, key, error.message, error.hint)


def _missing_image(fleet: Fleet, container: Container) -> Iterator[Problem]:
    image = container.image
    key = f"containers.{container.name}.image"
    path = Path(image.reference)
    if image.kind is ImageKind.DIRECTORY and not path.is_dir():
        words = "is not a directory" if path.exists() else "does not exist"
        yield _problem(fleet, key, f"image `{image.reference}` {words}")
    elif image.kind is ImageKind.ARCHIVE and not path.is_file():
        words = "is not a file" if path.exists() else "does not exist"
        yield _problem(fleet, key, f"image `{image.reference}` {words}")
    elif image.kind is ImageKind.HOST and container.root in {
        RootStrategy.COPY,
        RootStrategy.REFLINK,
    }:
        yield _problem(
            fleet,
            f"containers.{container.name}.root",
            f"root `{container.root}` with image `host` would copy the whole machine",
            'root = "overlay" copies only what is changed',
        )


def unobtainable_images(fleet: Fleet) -> Iterator[Problem]:
    """Look for images that are not here, and can be neither pulled nor built."""
    built = {one.image for one in fleet.containers.values() if one.build is not None}
    for name, container in absent_images(fleet).items():
        reference = container.image.reference
        if container.build is not None:
            if not Path(container.build.context).is_dir():
                yield _problem(
                    fleet,
                    f"containers.{name}.build",
                    f"there is no directory `{container.build.context}` to build "
                    f"image `{reference}` of",
                    "`build` names the directory of the Dockerfile, from the fleet's file on",
                )
        elif container.pull is Pull.NEVER and container.image not in built:
            yield _problem(
                fleet,
                f"containers.{name}.image",
                f"image `{reference}` is not here, and is never to be pulled",
                f"`anchor pull {reference}`, or `anchor import`",
            )


def _impossible_ulimits(fleet: Fleet, container: Container) -> Iterator[Problem]:
    if _holds_capability(CAP_SYS_RESOURCE):
        return
    for name, (_, hard) in container.ulimits.items():
        if exceeds_own_limit(name, hard):
            yield _problem(
                fleet,
                f"containers.{container.name}.ulimits.{name}",
                f"the limit `{name} = {hard}` is above this supervisor's own hard limit",
                "raising it needs CAP_SYS_RESOURCE, which this process does not have",
            )


def _holds_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _missing_program(fleet: Fleet, container: Container, layers: Layers) -> Iterator[Problem]:
    argv = command.argv(container)
    variables = command.environment(container, hostname="", home="/")
    tried = command.candidates(argv[0], variables["PATH"])
    targets = [volume.target.rstrip("/") + "/" for volume in container.volumes]
    if any(candidate.startswith(target) for candidate in tried for target in targets):
        return
    if not argv[0].startswith("/") and "/" in argv[0]:
        return  # relative to a working directory that may not exist yet
    verdict = _look_for_program(layers, tried)
    if verdict is not None:
        key = f"containers.{container.name}.command"
        yield _problem(fleet, key, f"`{argv[0]}` {verdict} in image `{container.image.reference}`")


def _look_for_program(layers: Layers, tried: tuple[str, ...]) -> str | None:
    """None where one of the candidates can be executed; otherwise what is wrong, in words.

    Looked up as the container will see it: beneath the image's root, links kept inside.
    """
    found = False
    with ExitStack() as opened:
        root = merged(layers)
        opened.callback(os.close, root)
        for candidate in tried:
            mode = _mode_beneath(root, candidate)
            if mode is None:
                continue
            found = True
            if stat.S_ISREG(mode) and mode & 0o111:
                return None
    return "is not executable" if found else "was not found"


def _mode_beneath(root: int, path: str) -> int | None:
    try:
        fd = open_beneath(root, path.lstrip("/"), os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
            raise  # it says nothing of the image
        return None
    try:
        return os.fstat(fd).st_mode
    finally:
        os.close(fd)
