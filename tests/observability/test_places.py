"""Where things are."""

from __future__ import annotations

from pathlib import Path

import pytest

from anchor_supervisor.observability import places


def test_the_usual_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variables, /run/anchor and /var/lib/anchor."""
    monkeypatch.delenv("ANCHOR_RUN_DIR", raising=False)
    monkeypatch.setenv("ANCHOR_DATA_DIR", "")
    assert places.control_socket("shop") == Path("/run/anchor/shop/control.sock")
    assert places.run_path("shop", places.SOCKET) == "/run/anchor/shop/control.sock"
    assert places.log_dir("shop", "web.2") == Path("/var/lib/anchor/logs/shop/web.2")


def test_other_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables move them, and a relative one is made absolute."""
    monkeypatch.setenv("ANCHOR_RUN_DIR", "/elsewhere")
    monkeypatch.setenv("ANCHOR_DATA_DIR", "data")
    assert places.fleet_run_dir("shop") == Path("/elsewhere/shop")
    assert places.run_path("shop") == "/elsewhere/shop"
    assert places.fleet_log_dir("shop") == Path.cwd() / "data" / "logs" / "shop"


def test_equal_names_elsewhere_have_other_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """The short id is seven hex digits of the run directory and the name."""
    monkeypatch.setenv("ANCHOR_RUN_DIR", "/one")
    one = places.fleet_id("shop")
    assert places.fleet_id("shop") == one != places.fleet_id("shop2")
    monkeypatch.setenv("ANCHOR_RUN_DIR", "/two")
    assert places.fleet_id("shop") != one
    assert len(one) == 7
    assert int(one, 16) >= 0
