"""The descriptors that one start gives to its child, each known to the steps by its place.

What is opened for the child alone is asked for at first, and opened with all the rest in one visit
to the kernel: each visit for itself would cost a start more than what is done there.
"""

from __future__ import annotations

from typing import Final, final

from anchor_supervisor.errors import KernelError
from anchor_supervisor.kernel import libc
from anchor_supervisor.kernel.descriptors import Descriptors
from anchor_supervisor.kernel.mount_steps import Given

_GIVEN: Final = tuple(map(Given, range(64)))
"""The usual places: those of two starts are then the same values, and compared at once."""


@final
class Handover:
    """The descriptors of one start, in order."""

    def __init__(self) -> None:
        """Begin with none."""
        self._descriptors: list[int] = []
        self._calls: list[libc.Call] = []
        self._asked: list[tuple[int, int, str, str | None]] = []

    def copy(self) -> Handover:
        """Begin another with what was given, and asked for, until now."""
        other = Handover()
        other._descriptors = self._descriptors.copy()
        other._calls = self._calls.copy()
        other._asked = self._asked.copy()
        return other

    def add(self, descriptor: int) -> Given:
        """Give one; whoever owns it keeps it open until the child has it."""
        place = len(self._descriptors)
        self._descriptors.append(descriptor)
        return _GIVEN[place] if place < len(_GIVEN) else Given(place)

    @property
    def upcoming(self) -> libc.Result:
        """Stands for what is asked for next, in the calls that are made on it."""
        return libc.Result(len(self._calls))

    def ask(self, calls: list[libc.Call], words: str, subject: str | None = None) -> Given:
        """Give what the first of these calls will open; `words` and `subject` are for an error."""
        self._asked.append((len(self._descriptors), len(self._calls), words, subject))
        self._calls += calls
        return self.add(-1)

    def replace(self, given: Given, descriptor: int) -> None:
        """Give another at this place."""
        self._descriptors[given.place] = descriptor

    def open(self, opened: Descriptors) -> tuple[int, ...]:
        """Open all that was asked for, and return all descriptors in order, for `spawn`.

        What is open by then is owned by `opened`, in any case. Raises KernelError. May be used
        again for the next start, which gets others.
        """
        descriptors = self._descriptors.copy()
        results = libc.system_calls(self._calls)
        made = sum(result >= 0 for result in results)
        said, about = "", None
        for place, first, words, subject in self._asked:
            if first < made:
                descriptors[place] = opened.add(results[first])
            if first < len(results):
                said, about = words, subject
        if made < len(results):
            raise KernelError(-results[-1], said, about)
        return tuple(descriptors)
