"""Regular expressions that their first use compiles: a command uses few of those that it loads."""

from __future__ import annotations

import re

from anchor_supervisor.hints import TYPE_CHECKING, final

__all__ = ["pattern"]

if TYPE_CHECKING:
    from re import compile as pattern
    from typing import Any
else:

    @final
    class pattern:  # noqa: N801 - to be read as a call of re.compile, which it stands for
        """What re.compile gives, but for the moment: a wrong expression is wrong when it is used.

        A method once used is an attribute, and as fast as the expression's own.
        """

        def __init__(self, expression: str | bytes, flags: int = 0) -> None:
            """Keep what there is to compile."""
            self._expression, self._flags = expression, flags

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever it is
            """Compile it, if nobody has; re keeps it for the next method."""
            found = getattr(re.compile(self._expression, self._flags), name)
            setattr(self, name, found)
            return found
