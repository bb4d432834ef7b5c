"""What of a container's writing outlives its restarts, by the fleet file's choice."""

from __future__ import annotations

import pytest

from anchor_supervisor.supervision.states import ExitStatus
from real_fleet import Workshop, sh

pytestmark = pytest.mark.root

WRITE = sh("ls /; ls /own /kept; touch /written /own/written /kept/written")
VOLUMES = 'volumes = ["/own", "kept:/kept"]'


@pytest.mark.parametrize("strategy", ["overlay", "copy"])
@pytest.mark.parametrize("volatile", ["false", "true"])
async def test_volumes_stay_and_a_volatile_root_does_not(
    volatile: str, strategy: str, workshop: Workshop
) -> None:
    """A restart finds its volumes as they were; its root as well, unless that is `volatile`."""
    root = f'root = "{strategy}"'
    fleet = workshop.fleet(WRITE, VOLUMES, root, f"volatile = {volatile}", "[volumes.kept]")
    async with workshop.running(fleet) as real:
        for _ in range(2):
            assert await real.complete() == ExitStatus(code=0)
        count = real.said().split().count("written")
    assert count == (2 if volatile == "true" else 3)


async def test_a_volume_begins_with_the_images_content(workshop: Workshop) -> None:
    """Seen through the container's own ids, in a named volume and in one of its own."""
    fleet = workshop.fleet(
        sh("cat /etc/passwd; stat -c %u /etc/passwd; cat /usr/local/where || ls /usr"),
        'volumes = ["etc:/etc", "/usr"]',
        "[volumes.etc]",
    )
    async with workshop.running(fleet) as real:
        assert await real.complete() == ExitStatus(code=0)
        lines = real.said().splitlines()
    assert lines[0].startswith("root:")
    assert lines[-2:] == ["0", "local"]
    assert (workshop.data_dir / "volumes/shop/etc/data/passwd").stat().st_uid == 0
