"""Every deliberate error. Whoever raises one says what, which and why; only `cli` prints and exits.

The tree, with the exit code of `anchor-supervise`::

    AnchorError                 1
    ├── FleetError              2   the user's file is wrong: every problem found, with its place
    ├── HostError               3   the machine cannot do it; names what is missing and the remedy
    │   ├── UnfitHostError      3   what a fleet file asks and the machine lacks, each with a place
    │   ├── KernelError         3   a system call failed (also an OSError: errno, call, object)
    │   ├── ImageError          3   an image is missing, malformed or hostile
    │   └── NetworkError        3   addresses, links or the firewall
    ├── BuildError              1   a step of a Dockerfile failed, or cannot be done
    ├── ControlError            1   a running fleet could not be reached, or refused
    └── SupervisionBug         70   our mistake, never the user's

A message is lower case, without a full stop, and puts the value in back-quotes. Advice that a
person can act on goes into `hint`.
"""

from __future__ import annotations

import os

from anchor_supervisor.hints import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import ClassVar, Final


class AnchorError(Exception):
    """Base of every error we raise on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Keep the message and the advice apart, so that a renderer can set them apart."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message alone; the hint is the renderer's."""
        return self.message


@final
class Problem:
    """One thing that is wrong with a fleet file.

    `file` and `line` (1-based) are None where the fleet did not come from a file. `key` is the
    dotted key path, such as ``containers.web.depends_on.db``. (Written out, because `typing` or
    `dataclasses`, let alone attrs, would take a tenth of the time that `anchor ps` may take.)
    """

    __slots__ = ("file", "hint", "key", "line", "message")

    def __init__(
        self,
        message: str,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
        hint: str | None = None,
    ) -> None:
        """Say what is wrong, and where; `hint` is what a person can do about it."""
        self.message: Final = message
        self.file: Final = file
        self.line: Final = line
        self.key: Final = key
        self.hint: Final = hint

    def _facts(self) -> tuple[str, str | None, int | None, str | None, str | None]:
        return self.message, self.file, self.line, self.key, self.hint

    def __eq__(self, other: object) -> bool:
        """Say whether it is the same problem, at the same place."""
        return self._facts() == other._facts() if isinstance(other, Problem) else NotImplemented

    def __hash__(self) -> int:
        """Go with `==`."""
        return hash(self._facts())

    def __repr__(self) -> str:
        """Show what it was made with."""
        return f"Problem{self._facts()!r}"

    def __str__(self) -> str:
        """Return `file:line: key: message`, leaving out what is not known."""
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return ": ".join(part for part in (place, self.key, self.message) if part)


class FleetError(AnchorError):
    """The fleet file is wrong. Carries every problem found, not only the first."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Take at least one problem; the message is all of them, a line each."""
        self.problems = tuple(problems)
        super().__init__(
            "\n".join(str(problem) for problem in self.problems),
            hint=self.problems[0].hint if len(self.problems) == 1 else None,
        )


class HostError(AnchorError):
    """The machine cannot do what was asked; the hint is the remedy."""

    exit_code = 3


class UnfitHostError(HostError):
    """The machine cannot do what the file asks. Carries everything found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Take at least one problem; the message is all of them, a line each."""
        self.problems = tuple(problems)
        super().__init__(
            "\n".join(str(problem) for problem in self.problems),
            hint=self.problems[0].hint if len(self.problems) == 1 else None,
        )


class KernelError(HostError, OSError):
    """A system call failed: `errno`, the call's name (or the step's words) and its object."""

    def __init__(
        self, number: int, call: str, subject: str | None = None, *, hint: str | None = None
    ) -> None:
        """Build ``call `subject`: strerror`` and keep the errno."""
        what = f"{call} `{subject}`" if subject is not None else call
        super().__init__(f"{what}: {os.strerror(number)}", hint=hint)
        self.errno = number
        self.call = call
        self.subject = subject


class ImageError(HostError):
    """An image is missing, malformed, or tries to reach outside its root."""


class NetworkError(HostError):
    """No free subnet, a port in use, a link or a rule that could not be made."""


class BuildError(AnchorError):
    """A step of a Dockerfile failed, or asks for what is not there or not allowed."""


class ControlError(AnchorError):
    """A running fleet could not be reached, did not answer, or refused the request."""


class SupervisionBug(AnchorError):  # noqa: N818 - names whose fault it is, as the others do
    """An internal promise was broken. Never the user's fault; please report it."""

    exit_code = 70
