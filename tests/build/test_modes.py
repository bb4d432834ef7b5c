"""`--chmod` in numbers and in words."""

from __future__ import annotations

import pytest

from anchor_supervisor.build.modes import read
from anchor_supervisor.errors import BuildError


@pytest.mark.parametrize(
    ("text", "before", "directory", "after"),
    [
        ("755", 0o600, False, 0o755),
        ("0644", 0o777, True, 0o644),
        ("4755", 0, False, 0o4755),
        ("u+x", 0o644, False, 0o744),
        ("+x", 0o644, False, 0o755),
        ("go-rwx", 0o777, False, 0o700),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o600, True, 0o755),
        ("a=", 0o777, False, 0),
        ("u+s", 0o755, False, 0o4755),
        ("+t", 0o777, True, 0o1777),
        ("a=r,u+w", 0o777, False, 0o644),
    ],
)
def test_what_becomes_of_a_mode(text: str, before: int, directory: bool, after: int) -> None:
    """As chmod(1) would, without an umask."""
    assert read(text)(before, directory) == after


@pytest.mark.parametrize("text", ["", "8", "99999", "rwx", "u", "u+y", "x=r", "755,u+x", "-1"])
def test_what_is_no_mode(text: str) -> None:
    """Is said, with an example."""
    with pytest.raises(BuildError, match="is not a mode"):
        read(text)
