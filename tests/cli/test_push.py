"""`anchor push`, as a person or a script uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from anchor_program import ROOT, Anchor
from anchor_supervisor.images.store import Store
from fake_registry import FakeRegistry, fake_registry
from image_store import tagged

pytestmark = [pytest.mark.root, pytest.mark.native]  # the same code on any kernel


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """An empty registry."""
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def environment(programs: dict[str, str], data_dir: Path) -> dict[str, str]:
    """Somebody without credentials."""
    home = {"HOME": str(data_dir.parent), "XDG_RUNTIME_DIR": "/nowhere"}
    return {**programs, "PYTHONPATH": str(ROOT), **home}


def test_to_another_name(anchor: Anchor, fake: FakeRegistry, data_dir: Path) -> None:
    """The digest there is the digest here."""
    image = tagged(Store(data_dir), "shop", 1)
    result = anchor("push", "shop", f"{fake.address}/team/shop:2")
    assert (result.returncode, result.stdout) == (
        0,
        f"{fake.address}/team/shop:2@{image.digest}\n",
    )
    assert sorted(line.split(": ")[1].split()[0] for line in result.stderr.splitlines()) == [
        *("pushed", "pushed"),
    ]
    assert ("team/shop", "2") in fake.manifests
    again = anchor("push", "-q", "--json", "shop", f"{fake.address}/team/shop:2")
    assert again.stderr == ""
    assert json.loads(again.stdout) == {
        "name": f"{fake.address}/team/shop:2",
        "digest": image.digest,
    }


def test_to_its_own_name(anchor: Anchor, fake: FakeRegistry, data_dir: Path) -> None:
    """Without a second name the image goes where its first one says."""
    tagged(Store(data_dir), f"{fake.address}/shop:3", 1)
    assert anchor("push", f"{fake.address}/shop:3").returncode == 0
    assert ("shop", "3") in fake.manifests


def test_what_is_not_here(anchor: Anchor) -> None:
    """It is said, and where to look."""
    result = anchor("push", "shop")
    assert result.returncode == 3
    assert (
        result.stderr
        == "error: there is no image `shop`\nhint: `anchor images` lists what is here\n"
    )
