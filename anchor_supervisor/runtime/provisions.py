"""The fleet's images found in the store, and the fleet as it is once they have had their say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar, final

from anchor_supervisor.errors import AnchorError, FleetError, HostError, Problem, UnfitHostError
from anchor_supervisor.fleet import check
from anchor_supervisor.fleet.model import Container, Fleet, ImageKind
from anchor_supervisor.fleet.model import Image as Reference
from anchor_supervisor.images.plain import Resolved, is_plain, resolve_plain
from anchor_supervisor.rootfs.layers import Layers
from anchor_supervisor.values import evolve, frozen

if TYPE_CHECKING:
    from anchor_supervisor.images.model import Image
    from anchor_supervisor.images.store import Lease, Store

T = TypeVar("T")


@final
@frozen
class Provisions:
    """`fleet`: complete with what its images say; `layers`: their directories, by container."""

    fleet: Fleet
    layers: Mapping[str, Layers]
    images: Mapping[str, Image]


def needs_store(fleet: Fleet) -> bool:
    """Whether any image of the fleet is in the store, or is to be put there."""
    return not all(is_plain(one.image) for one in fleet.containers.values())


def plain_provisions(fleet: Fleet) -> Provisions:
    """As `provisions`, for a fleet that does not need the store."""
    return _provisions(fleet, resolve_plain)


def provisions(fleet: Fleet, store: Store, lease: Lease) -> Provisions:
    """Find every image, and complete the fleet; an image that several use is looked for once.

    The fleet also gets the digests of its images and of the files it mounts, by which it is known
    later what has changed. Nothing is pulled or built here; an archive is unpacked where it has not
    been yet. Raises UnfitHostError with every image that is missing or wrong, FleetError for what
    an image's word and the file's do not make sense together.
    """
    from anchor_supervisor.images.resolve import resolve  # what no fleet of directories needs

    return _provisions(fleet, lambda image: resolve(image, store, lease))


def _provisions(fleet: Fleet, resolve: Callable[[Reference], Resolved]) -> Provisions:
    known: dict[str, Resolved] = {}

    def find(container: Container) -> Resolved:
        key = f"{container.image.kind}:{container.image.reference}"
        if key not in known:
            known[key] = resolve(container.image)
        return known[key]

    found = each_image(fleet, find)
    images = {name: one.image for name, one in found.items() if one.image is not None}
    layers = {name: one.layers for name, one in found.items()}
    complete = complete_fleet(fleet, images)
    complete = _with_digests(complete, layers)
    if any(one.volumes for one in complete.containers.values()):
        from anchor_supervisor.runtime.contents import with_contents

        complete = with_contents(complete)
    return Provisions(complete, layers, images)


def _with_digests(fleet: Fleet, layers: Mapping[str, Layers]) -> Fleet:
    """Say which content each image is: a directory counts by its place, as `Layers` has it."""

    def known(container: Container) -> Container:
        image = evolve(container.image, digest=layers[container.name].digest)
        return evolve(container, image=image)

    containers = {name: known(container) for name, container in fleet.containers.items()}
    return evolve(fleet, containers=containers)


def complete_fleet(fleet: Fleet, images: Mapping[str, Image]) -> Fleet:
    """Complete the containers of these images, by container name; check the whole once more."""
    whole = _with_defaults(fleet, images) if images else fleet
    wrong = check.problems(whole)
    if wrong:
        raise FleetError(wrong)
    return whole


def _with_defaults(fleet: Fleet, images: Mapping[str, Image]) -> Fleet:
    from anchor_supervisor.images.defaults import completed, defaults_of

    def complete(container: Container) -> Container:
        image = images.get(container.name)
        return container if image is None else completed(container, defaults_of(image))

    return evolve(fleet, containers=each_image(fleet, complete))


def each_image(fleet: Fleet, act: Callable[[Container], T]) -> dict[str, T]:
    """Do something for every container's image; raise UnfitHostError with all that failed."""
    problems: list[Problem] = []
    results: dict[str, T] = {}
    for name, container in fleet.containers.items():
        try:
            results[name] = act(container)
        except HostError as error:
            problems.append(image_problem(fleet, container, error))
    if problems:
        raise UnfitHostError(problems)
    return results


def image_problem(fleet: Fleet, container: Container, error: AnchorError) -> Problem:
    """Put what is wrong with an image at the line that names it."""
    key = f"containers.{container.name}.image"
    return Problem(error.message, *fleet.place(key), error.hint)


def wrong_names(fleet: Fleet) -> list[Problem]:
    """Every name that cannot be an image's; nothing is looked up."""
    named = [one for one in fleet.containers.values() if one.image.kind is ImageKind.STORE]
    problems: list[Problem] = []
    if named:
        from anchor_supervisor.images import reference

        for container in named:
            try:
                reference.parse(container.image.reference)
            except AnchorError as error:
                problems.append(image_problem(fleet, container, error))
    return problems
