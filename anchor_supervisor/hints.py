"""What `typing` is asked for at run time, without importing it: it takes longer than all of ours.

For what a command loads that only speaks to a running fleet. Annotations are never evaluated,
so what they name is imported `if TYPE_CHECKING:`. mypy and ruff know both names from here as well.
"""

from __future__ import annotations

__all__ = ["TYPE_CHECKING", "final"]

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import final
else:

    def final(kind):  # noqa: ANN001, ANN201 - to mypy it is the one of `typing`
        """Take a class that nobody may extend, which mypy sees to."""
        return kind
