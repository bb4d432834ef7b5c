"""Capability arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.kernel import capabilities

NAMES = st.lists(st.sampled_from(capabilities.NAMES))


def test_the_default_is_eleven() -> None:
    """Podman's set, which is Docker's less MKNOD, NET_RAW and AUDIT_WRITE."""
    assert capabilities.words(capabilities.resolve()).count(",") == 10
    assert capabilities.resolve() & capabilities.mask_of(["MKNOD", "NET_RAW", "SYS_ADMIN"]) == 0


@given(add=NAMES, drop=NAMES)
def test_what_is_dropped_is_not_held_and_the_rest_of_what_is_added_is(
    add: list[str], drop: list[str]
) -> None:
    """Dropping wins over adding, and nothing else is touched."""
    mask = capabilities.resolve(add, drop)
    for name in capabilities.NAMES:
        held = bool(mask & capabilities.mask_of([name]))
        assert held == (name not in drop and (name in add or name in capabilities.DEFAULT))


@given(add=NAMES)
def test_all_dropped_leaves_what_is_added(add: list[str]) -> None:
    """`drop = ["ALL"]` makes `add` the whole list."""
    assert capabilities.resolve(add, ["ALL"]) == capabilities.mask_of(add)


def test_all_added_and_some_dropped() -> None:
    """`add = ["ALL"]` holds everything but what is dropped."""
    mask = capabilities.resolve(["ALL"], ["KILL"])
    assert mask == capabilities.ALL & ~capabilities.mask_of(["KILL"])


def test_words_name_the_mask() -> None:
    """All, none, or the names in the order of their numbers."""
    assert capabilities.words(capabilities.ALL) == "all"
    assert capabilities.words(0) == "none"
    assert capabilities.words(capabilities.mask_of(["KILL", "CHOWN"])) == "CHOWN, KILL"


def test_an_unknown_name_is_refused() -> None:
    """A typing error must not become a weaker container."""
    with pytest.raises(ValueError, match="unknown capability `SYS_ADMINN`"):
        capabilities.resolve(["SYS_ADMINN"])


def test_the_table_covers_this_kernel() -> None:
    """The last capability the kernel knows is in our table."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    assert last < len(capabilities.NAMES)
