"""The configuration of an image that was made from a container."""

from __future__ import annotations

from typing import Any

import pytest

from anchor_supervisor.build import committed
from anchor_supervisor.control.shapes import ProcessFacts
from anchor_supervisor.errors import FleetError
from anchor_supervisor.images.model import Descriptor, Layer, Platform

NOTHING: ProcessFacts = {
    "entrypoint": None,
    "command": None,
    "environment": {},
    "user": None,
    "working_dir": None,
    "stop_signal": "TERM",
    "labels": {},
    "ports": [],
}
BASE: dict[str, Any] = {
    "architecture": "arm64",
    "os": "linux",
    "config": {"Cmd": ["old"], "Env": ["A=1", "B=2"], "OnBuild": ["RUN x"], "Labels": {"a": "b"}},
    "history": [{"created_by": "first"}],
    "container": "of somebody",
}


def test_the_images_word_stays_where_the_fleet_says_nothing() -> None:
    """Its platform, its command, its triggers; nothing of whoever made it."""
    found = committed.told(committed.begun(BASE, Platform()), NOTHING)
    assert found["config"] == BASE["config"]
    assert (found["architecture"], found["history"]) == ("arm64", BASE["history"])
    assert "container" not in found
    assert committed.begun(BASE, Platform(), kept=False)["history"] == []
    assert committed.begun(None, Platform())["architecture"] == "amd64"


def test_what_the_fleet_said_becomes_the_images() -> None:
    """Command, variables, user, directory, signal, labels, ports; added ones are named."""
    said: ProcessFacts = {
        "entrypoint": ["run"],
        "command": None,
        "environment": {"A": "1", "B": "3", "C": "secret"},
        "user": "web",
        "working_dir": "/srv",
        "stop_signal": "INT",
        "labels": {"c": "d"},
        "ports": ["80/tcp"],
    }
    begun = committed.begun(BASE, Platform())
    assert committed.new_variables(begun, said) == ("B", "C")
    assert committed.told(begun, said)["config"] == {
        "Entrypoint": ["run"],
        "Env": ["A=1", "B=3", "C=secret"],
        "OnBuild": ["RUN x"],
        "Labels": {"a": "b", "c": "d"},
        "User": "web",
        "WorkingDir": "/srv",
        "StopSignal": "SIGINT",
        "ExposedPorts": {"80/tcp": {}},
    }
    assert BASE["config"]["Cmd"] == ["old"]


def test_changes_are_instructions_of_a_dockerfile() -> None:
    """In order, with the image's variables; a new entrypoint forgets an old command."""
    texts = ["ENV C=${A}2", 'ENTRYPOINT ["e"]', "EXPOSE 53/udp", "WORKDIR sub", "USER nobody"]
    found = committed.changed(committed.begun(BASE, Platform()), texts)["config"]
    assert "C=12" in found["Env"]
    assert found["Entrypoint"] == ["e"]
    assert "Cmd" not in found
    assert (found["ExposedPorts"], found["User"]) == ({"53/udp": {}}, "nobody")
    both = committed.changed(committed.begun(BASE, Platform()), ['CMD ["c"]', 'ENTRYPOINT ["e"]'])
    assert both["config"]["Cmd"] == ["c"]


@pytest.mark.parametrize(
    "text", ["RUN ls", "COPY a b", "FROM x", "nonsense", "", "ENV A=1\nRUN ls", "ENV", "ARG A"]
)
def test_everything_else_is_refused(text: str) -> None:
    """Nothing that would need a build."""
    with pytest.raises(FleetError):
        committed.changed(committed.begun(None, Platform()), [text])


def test_the_history_tells_of_each_layer() -> None:
    """The comment is the last one's."""
    blob = Descriptor("x", "sha256:" + "0" * 64, 1)
    layers = [(Layer("sha256:" + digit * 64, blob), f"step {digit}") for digit in "12"]
    found = committed.recorded(
        committed.begun(None, Platform()),
        layers,
        created="2026-01-02T03:04:05Z",
        author="me",
        message="why",
    )
    assert [entry["created_by"] for entry in found["history"]] == ["step 1", "step 2"]
    assert [entry.get("comment") for entry in found["history"]] == [None, "why"]
    assert (found["author"], found["created"]) == ("me", "2026-01-02T03:04:05Z")
    assert len(found["rootfs"]["diff_ids"]) == 2
