"""`USER` and `USER:GROUP`."""

from __future__ import annotations

import pytest

from anchor_supervisor.fleet.users import check_user, foreign_ids, user_mistakes
from anchor_supervisor.fleet.wording import Mistake


@pytest.mark.parametrize("text", ["0", "1000:1000", "postgres", "a.b:c-d", "host$", "root:0"])
def test_users_that_can_be_meant(text: str) -> None:
    """Names and numbers, with a group or without."""
    check_user(text)
    assert list(user_mistakes(text)) == []


@pytest.mark.parametrize(
    "text", ["", ":", "1000:", ":0", "1:2:3", "-1", "0x0", "4294967295", "a b"]
)
def test_users_that_cannot(text: str) -> None:
    """What has meant root elsewhere, and what means nothing."""
    with pytest.raises(Mistake):
        check_user(text)


def test_both_halves_are_told() -> None:
    """One run shows everything there is to mend."""
    found = [mistake.message for mistake in user_mistakes("a b:010")]
    assert found == ["`a b` is not the name of a user", "group: `010` is not an id"]


def test_a_namespace_of_its_own_has_so_many_ids() -> None:
    """Names are looked up, and have theirs there."""
    assert list(foreign_ids("65535:app")) == []
    assert list(foreign_ids("root:65536")) == [
        "group `65536` is not among the 65536 ids of the container"
    ]
