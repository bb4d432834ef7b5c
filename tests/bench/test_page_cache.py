"""A cold start is one: the pages are gone, also where they were read through an overlay."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from anchor_supervisor.errors import HostError
from anchor_supervisor.fleet.model import InstanceId
from harness import fleet_of, machine_of, run_loop, start_and_reap
from measure import own_directories
from page_cache import forget_pages, resident_pages
from programs import first_image

PAGES = 64


@pytest.fixture
def tree(data_dir: Path) -> Path:
    """A directory with a file of some pages, written just now, an empty file and a link."""
    tree = data_dir / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(os.urandom(PAGES * mmap.PAGESIZE))
    (tree / "empty").touch()
    (tree / "link").symlink_to("file")
    return tree


@pytest.mark.root
def test_what_was_written_or_read_is_in_memory_until_it_is_forgotten(tree: Path) -> None:
    """Dirty pages too, which nothing but writing them makes the kernel drop."""
    assert resident_pages(tree) == PAGES
    forget_pages(tree)
    assert resident_pages(tree) == 0
    with (tree / "file").open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(file.fileno(), 1, 5 * mmap.PAGESIZE)
    assert resident_pages(tree) == 1


@pytest.mark.root
def test_pages_that_cannot_go_are_told(tree: Path) -> None:
    """A page that some process has mapped stays, and such a start would not be cold."""
    with (
        (tree / "file").open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
    ):
        assert len(mapped[: mmap.PAGESIZE]) == mmap.PAGESIZE
        with pytest.raises(HostError, match="stay in memory"):
            forget_pages(tree)


@pytest.mark.root
@pytest.mark.native
def test_a_container_over_an_overlay_reads_the_pages_of_its_image(
    run_dir: Path, data_dir: Path
) -> None:
    """So that it is enough to forget those; a start brings them back."""
    with own_directories() as directory:
        image = first_image(directory)

        async def start() -> None:
            forget_pages(image)
            assert resident_pages(image) == 0
            await start_and_reap(machine, InstanceId("one", 1))
            assert resident_pages(image) > 0

        with machine_of(fleet_of(image, 1, network=False)) as machine:
            run_loop(start)
        forget_pages(image)
