"""What stands for `typing` at run time."""

from __future__ import annotations

from anchor_supervisor import hints


def test_a_final_class_is_the_class_itself() -> None:
    """Nothing is done to it; mypy alone reads it."""

    class Thing:
        """Anything."""

    made: object = hints.final(Thing)
    assert made is Thing


def test_nobody_checks_types_at_run_time() -> None:
    """What is imported for annotations alone is not imported."""
    assert hints.TYPE_CHECKING is False
