"""What the tests of images share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from anchor_supervisor.images.store import Store
from fake_registry import FakeRegistry, fake_registry
from image_store import unsynced

_FOREIGN: Final = (
    *("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> Path:
    """Be somebody without credentials and proxies; gives the home."""
    for name in _FOREIGN:
        monkeypatch.delenv(name, raising=False)
    home = data_dir.parent / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    return home


@pytest.fixture
def store(data_dir: Path, nobody: Path) -> Iterator[Store]:
    """An empty store."""
    with unsynced():
        yield Store(data_dir)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    """A registry that can be made to misbehave."""
    with fake_registry() as registry:
        yield registry
