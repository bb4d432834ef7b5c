"""Images a fleet needs and the store has not got: pulled or built before anything starts.

Here and not in the supervisor, because a person is waiting and wants to see how far it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from anchor_supervisor.errors import ImageError, UnfitHostError
from anchor_supervisor.fleet.model import Container, Fleet, ImageKind, Pull
from anchor_supervisor.observability import places
from anchor_supervisor.runtime import preflight
from anchor_supervisor.runtime.provisions import each_image, wrong_names

if TYPE_CHECKING:
    from anchor_supervisor.images.model import Image
    from anchor_supervisor.images.store import Lease, Store


@contextmanager
def provided(
    fleet: Fleet, *, build: bool = False, quiet: bool = False, insecure: bool = False
) -> Iterator[None]:
    """Pull and build what the fleet needs; hold it in the store as long as the block lasts.

    `build` makes every image with a `build` anew. Raises AnchorError, with the line of the image.
    """
    named = [one for one in fleet.containers.values() if one.image.kind is ImageKind.STORE]
    if not named:
        yield
        return
    preflight.require_root()
    wrong = wrong_names(fleet)
    problems = wrong or list(preflight.unobtainable_images(fleet))
    if problems:
        raise UnfitHostError(problems)
    from anchor_supervisor.images.store import Store  # what no fleet of directories needs

    store = Store(places.data_dir())
    providers = _providers(named)
    with store.lease(f"start of {fleet.name}") as lease:

        def provide(container: Container) -> None:
            if container is providers.get(container.image.reference):
                _hold(
                    lease, _provide(container, store, build=build, quiet=quiet, insecure=insecure)
                )

        each_image(fleet, provide)
        yield


def _providers(named: Iterable[Container]) -> dict[str, Container]:
    """Say for each image whose word counts: who builds it, then who always pulls it, then others.

    What one container builds must not be pulled for another that is only written before it:
    somebody else may have something of that name.
    """
    found: dict[str, Container] = {}
    for one in named:
        best = found.setdefault(one.image.reference, one)
        if _weight(one) > _weight(best):
            found[one.image.reference] = one
    return found


def _weight(container: Container) -> int:
    if container.build is not None:
        return len(Pull)
    return (Pull.NEVER, Pull.MISSING, Pull.ALWAYS).index(container.pull)


def _hold(lease: Lease, image: Image | None) -> None:
    if image is not None:
        lease.hold(image.digest)


def _provide(
    container: Container, store: Store, *, build: bool, quiet: bool, insecure: bool
) -> Image | None:
    name = container.image.reference
    here = store.find(name)
    if container.build is not None and (build or here is None):
        return _build(container, store, quiet=quiet)
    if container.build is not None or (here is not None and container.pull is not Pull.ALWAYS):
        return here
    if container.pull is Pull.NEVER:
        message = f"image `{name}` is not here, and is never to be pulled"
        raise ImageError(message, hint=f"`anchor pull {name}`, or `anchor import`")
    from anchor_supervisor.cli.progress import bars
    from anchor_supervisor.images.pull import pull
    from anchor_supervisor.images.reference import parse

    with bars(quiet=quiet) as progress:
        return pull(parse(name), store, insecure=insecure, progress=progress)


def _build(container: Container, store: Store, *, quiet: bool) -> Image:
    from anchor_supervisor.build.service import BuildOptions, build
    from anchor_supervisor.cli.build import output
    from anchor_supervisor.images.reference import parse

    wanted = container.build
    assert wanted is not None
    options = BuildOptions(
        dockerfile=None if wanted.dockerfile is None else Path(wanted.dockerfile),
        arguments=wanted.args,
        target=wanted.target,
        names=(parse(container.image.reference),),
    )
    with output(quiet=quiet) as progress:
        return build(Path(wanted.context), store, options, progress)
