"""What the product costs beyond the kernel stays within bounds: ratios, never absolute times.

Product and floor take turns, and the best of the turns counts, for what else happens on the machine
makes some of them worse and none better. The bounds are wide, about twice what is usual: what they
catch is a start that does twice the work, not one that is a tenth slower.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from floor import floor_samples
from harness import Fresh, fleet_of, machine_of, run_loop
from measure import own_directories
from programs import first_image
from restart import crashes

pytestmark = [pytest.mark.root, pytest.mark.native]

TURNS = 6
EACH = 10

START = {True: 5.0, False: 5.0}
"""Times the floor: with a network, beside the floor with a namespace for one; and without."""

RESTART = 4.0
"""Times the floor without network: a crash, seen, to the next first instruction."""


@pytest.mark.parametrize("network", [True, False])
def test_a_start_is_within_bounds_of_the_floor(
    run_dir: Path, data_dir: Path, *, network: bool
) -> None:
    """To the first instruction of a new container, with default isolation over an overlay."""
    ratios: list[float] = []
    with own_directories() as directory:
        image = first_image(directory)
        fleet = fleet_of(image, TURNS * (EACH + 1), network=network)

        async def take_turns() -> None:
            fresh = Fresh(machine)
            for _ in range(TURNS):
                floors = floor_samples(image, directory, EACH, network=network)
                starts = await fresh.start(EACH)
                ours = median(one.first for one in starts)
                ratios.append(ours / median(first for first, _ in floors))

        with machine_of(fleet) as machine:
            run_loop(take_turns)
    assert min(ratios) <= START[network], ratios


def test_a_restart_is_within_bounds_of_the_floor(run_dir: Path, data_dir: Path) -> None:
    """From the last instruction of a run to the first of the next, with network and address."""
    ratios = []
    with own_directories() as directory:
        image = first_image(directory)
        for turn in range(TURNS // 2):
            floors = floor_samples(image, directory, EACH, 0.02, network=False)
            ours = crashes(directory, f"crash-{turn}", EACH, 20, network=True)
            ratios.append(median(ours) / median(first for first, _ in floors))
    assert min(ratios) <= RESTART, ratios
