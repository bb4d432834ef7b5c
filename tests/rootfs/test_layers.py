"""Which directories may hold overlayfs's marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from anchor_supervisor.rootfs.layers import Layers


@pytest.mark.parametrize(
    ("digest", "marked"), [("sha256:00ff", True), ("directory:00ff", False), ("host", False)]
)
def test_only_layers_of_the_store_are_marked(digest: str, marked: bool) -> None:
    """Somebody's directory is shown as it is, live, whatever it holds."""
    assert Layers((Path("/image"),), digest).marked == marked
