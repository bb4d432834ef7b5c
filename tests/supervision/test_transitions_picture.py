"""The picture of the transition table is the table's, as it is now."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "docs/draw_transitions.py"


def test_the_picture_is_drawn_from_the_table() -> None:
    """Whoever changes the table draws it again: `.venv/bin/python docs/draw_transitions.py`."""
    module = runpy.run_path(str(SCRIPT))
    assert module["draw"]() == SCRIPT.with_name("transitions.svg").read_text()
