"""Digests are taken for nothing else, and this machine is called what images call it."""

from __future__ import annotations

import platform

import pytest

from anchor_supervisor.errors import ImageError
from anchor_supervisor.images.model import (
    Platform,
    checked_digest,
    hexadecimal,
    machine_platform,
)

DIGITS = "0123456789abcdef" * 4


def test_a_digest_and_its_digits() -> None:
    """What files are named by is the half after the colon."""
    assert checked_digest(f"sha256:{DIGITS}") == f"sha256:{DIGITS}"
    assert hexadecimal(f"sha256:{DIGITS}") == DIGITS


@pytest.mark.parametrize(
    "text",
    [
        *(DIGITS, f"sha256:{DIGITS[1:]}", f"sha256:{DIGITS}\n", f"sha256:{DIGITS.upper()}"),
        *(f"sha512:{DIGITS}", "sha256:../../../etc/passwd", "", None, 7, ["sha256:"]),
    ],
)
def test_anything_else_is_no_digest(text: object) -> None:
    """No part of a path comes from what is not one."""
    with pytest.raises(ImageError, match="is not a sha256 digest"):
        checked_digest(text)


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        *(("x86_64", "linux/amd64"), ("aarch64", "linux/arm64"), ("armv7l", "linux/arm/v7")),
        *(("i686", "linux/386"), ("riscv64", "linux/riscv64")),
    ],
)
def test_the_machine_in_the_words_of_images(
    machine: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's names are not those of images."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert str(machine_platform()) == words


def test_a_platform_is_shown_as_it_is_asked_for() -> None:
    """Without a variant there is no third part."""
    assert str(Platform("linux", "arm", "v6")) == "linux/arm/v6"
    assert str(Platform()) == "linux/amd64"
