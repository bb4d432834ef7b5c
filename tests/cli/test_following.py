"""What there is, and then what comes."""

from __future__ import annotations

import argparse

import pytest

from anchor_supervisor.cli.following import add_following_options, following, show
from anchor_supervisor.control.client import NotRunning


def parsed(*words: str) -> argparse.Namespace:
    """What these words mean to `logs` and to `events`."""
    parser = argparse.ArgumentParser()
    add_following_options(parser, "lines")
    return parser.parse_args(words)


def test_the_request_says_what_the_words_say() -> None:
    """Whose, from where on; and that it goes on."""
    words = ("-f", "-n", "3", "--since", "2026-01-02T03:04:05Z", "web", "db.1")
    assert following(parsed(*words)) == [
        *(("name", "web"), ("name", "db.1"), ("follow", "1"), ("tail", "3")),
        ("since", "2026-01-02T03:04:05.000000000Z"),
    ]
    assert following(parsed("-f")) == [("follow", "1")]


def test_what_comes_or_what_is_stored(capsys: pytest.CaptureFixture[str]) -> None:
    """The one that was asked for; where nobody can tell what comes, the other, and why."""
    shown: list[str] = []

    def nobody() -> None:
        raise NotRunning("fleet `shop` is not running")

    def stored() -> None:
        shown.append("stored")

    assert show(parsed("-f"), lambda: shown.append("comes"), stored) == 0
    assert show(parsed(), nobody, stored) == 0
    assert (shown, capsys.readouterr().err) == (["comes", "stored"], "")
    assert show(parsed("-f"), nobody, stored) == 0
    assert shown == ["comes", "stored", "stored"]
    assert "`shop` is not running, so there is nothing to follow" in capsys.readouterr().err
