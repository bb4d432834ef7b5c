"""Where credentials are found, and which ones: pure but for reading files."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from anchor_supervisor.errors import HostError
from anchor_supervisor.images.credentials import Credentials, look_up
from anchor_supervisor.images.reference import parse


def auth(user: str, password: str = "secret") -> dict[str, str]:
    """An entry as docker writes it."""
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, content: object) -> None:
    """A file of credentials."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def found(environment: dict[str, str], name: str) -> str | None:
    """Who we are for this image."""
    credentials = look_up(parse(name), environment, no_warning)
    return None if credentials is None else credentials.user


def no_warning(sentence: str) -> None:
    """Nothing is to be warned of."""
    raise AssertionError(sentence)


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with an empty home."""
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}


def test_every_place_in_its_order(home: dict[str, str], tmp_path: Path) -> None:
    """What the environment names comes first; then each place where those before have nothing."""
    assert found(home, "registry.example/x") is None
    places = [
        (tmp_path / ".docker/config.json", {}),
        (tmp_path / ".config/containers/auth.json", {}),
        (tmp_path / "run/containers/auth.json", {}),
        (tmp_path / "d/config.json", {"DOCKER_CONFIG": str(tmp_path / "d")}),
        (tmp_path / "named.json", {"REGISTRY_AUTH_FILE": str(tmp_path / "named.json")}),
    ]
    for number, (path, more) in enumerate(places):
        write(path, {"auths": {"registry.example": auth(f"user{number}")}})
        home |= more
        assert found(home, "registry.example/x") == f"user{number}"
    write(tmp_path / "named.json", {"auths": {"other.example": auth("other")}})
    assert found(home, "registry.example/x") == "user3"


@pytest.mark.parametrize(
    ("name", "user"),
    [
        ("quay.io/team/app:1", "app"),
        ("quay.io/team/apple", "team"),
        ("quay.io/other", "quay"),
        ("quay.io:443/other", None),
        ("debian", "hub"),
        ("someone/tool", "hub"),
        ("docker.io/someone/tool", "hub"),
        ("old.example/x", "old"),
        ("example/x", "hub"),
    ],
)
def test_the_longest_key_wins(home: dict[str, str], tmp_path: Path, name: str, user: str) -> None:
    """Keys are hosts, addresses, or repositories; a part of a word is no match."""
    keys = {
        "quay.io": "quay",
        "quay.io/team": "team",
        "quay.io/team/app": "app",
        "https://index.docker.io/v1/": "hub",
        "https://old.example/v2/": "old",
    }
    write(tmp_path / ".docker/config.json", {"auths": {key: auth(keys[key]) for key in keys}})
    assert found(home, name) == user


@pytest.mark.parametrize(
    ("entry", "credentials"),
    [
        (auth("me", "a:b"), Credentials("me", "a:b")),
        ({"username": "me", "password": "x"}, Credentials("me", "x")),
        ({**auth("me", ""), "identitytoken": "t"}, Credentials("me", "", "t")),
        ({"auth": base64.b64encode(b"me:x\0\0").decode()}, Credentials("me", "x")),
        ({}, None),
    ],
)
def test_entries(
    home: dict[str, str], tmp_path: Path, entry: dict[str, str], credentials: Credentials | None
) -> None:
    """A name and a password in any of the forms, or a token."""
    write(tmp_path / ".docker/config.json", {"auths": {"a.example": entry}})
    assert look_up(parse("a.example/x"), home, no_warning) == credentials


def test_secrets_are_not_shown() -> None:
    """Not where credentials are printed by mistake, either."""
    assert repr(Credentials("me", "secret", "token")) == "Credentials(user='me')"


@pytest.mark.parametrize(
    ("content", "warns"),
    [
        ({"credHelpers": {"a.example": "pass"}}, True),
        ({"credHelpers": {"b.example": "pass"}}, False),
        ({"credsStore": "desktop", "auths": {"https://a.example": {}}}, True),
        ({"credsStore": "desktop", "auths": {"b.example": {}}}, False),
        ({"credsStore": "desktop"}, False),
    ],
)
def test_helpers_are_a_warning(
    home: dict[str, str], tmp_path: Path, content: dict[str, Any], warns: bool
) -> None:
    """Where a helper would have been asked for this very registry, the file is named."""
    path = tmp_path / ".docker/config.json"
    write(path, content)
    sentences: list[str] = []
    assert look_up(parse("a.example/x"), home, sentences.append) is None
    assert bool(sentences) is warns
    assert all(f"`{path}`" in sentence and "podman login" in sentence for sentence in sentences)


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{", "[" * 100_000, '{"auths": [1]}', '{"auths": {"a.example": 1}}'),
        *('{"auths": {"a.example": {"auth": "!"}}}', '{"auths": {"a.example": {"auth": "YQ=="}}}'),
        *('{"auths": {"a.example": {"username": 1}}}', '{"credHelpers": 7}'),
        *('{"auths": {"a.example": {"auth": "/////w=="}}}', " " * (2 << 20)),
    ],
)
def test_malformed_files(home: dict[str, str], tmp_path: Path, content: str) -> None:
    """A file that is not what it should be is named."""
    path = tmp_path / ".docker/config.json"
    write(path, content)
    with pytest.raises(HostError) as refused:
        look_up(parse("a.example/x"), home, no_warning)
    assert refused.value.message == f"the credentials in `{path}` are malformed"


def test_a_file_that_is_named_must_be_there(home: dict[str, str], tmp_path: Path) -> None:
    """REGISTRY_AUTH_FILE is a wish; the usual places are only looked at."""
    path = tmp_path / "none.json"
    with pytest.raises(HostError, match=f"`{path}` has no credentials"):
        look_up(parse("a.example/x"), {**home, "REGISTRY_AUTH_FILE": str(path)}, no_warning)
    (tmp_path / ".docker").write_text("")
    assert look_up(parse("a.example/x"), home, no_warning) is None
