"""What is made with every restart is made fast."""

from __future__ import annotations

import attrs

from anchor_supervisor.runtime.frequent import FREQUENT, make_ready


def test_attrs_completes_what_every_restart_makes() -> None:
    """Each is a class of values, and has attrs' own `__init__` afterwards."""
    make_ready()
    for one in FREQUENT:
        assert vars(one)["__init__"].__code__.co_filename.startswith("<attrs generated"), one
        assert isinstance(vars(one)["__attrs_attrs__"], tuple)
        assert attrs.has(one)
