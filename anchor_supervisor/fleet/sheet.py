"""What the files say while it is read: every problem with its place, and typed looks into tables.

A reader never stops at the first mistake: what cannot be read is noted and replaced by a default,
so that one run shows everything there is to mend. Nothing here knows what a key means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar, cast, final

from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.places import Place, around, join, named_for, nearest_place
from anchor_supervisor.fleet.schema import ELSEWHERE, Section
from anchor_supervisor.fleet.tree import Flat, Origin
from anchor_supervisor.fleet.wording import Mistake, kind_of, nearest, printable, show

T = TypeVar("T")

MOST_PROBLEMS: Final = 100
"""Nobody reads more at once."""


@final
class Sheet:
    """Where problems are written down. `flat` knows where each key path is written."""

    def __init__(self, flat: Flat, home: Origin) -> None:
        """Begin with the mistakes that the values came with; `home` is for what is nowhere."""
        self.home = home
        self.places = flat.places
        self.problems: list[Problem] = []
        self.unsaid = 0
        self._origins = flat.origins
        self._told: set[Problem] = set()
        self._blamed: set[str] = set()
        self._suspected: set[str] = set()
        self._around_wrong: set[str] = set()
        for path, mistake in flat.mistakes:
            self.report(path, mistake.message, mistake.hint)

    def report(self, path: str, message: str, hint: str | None = None) -> None:
        """Note a problem at this key path; count it only, where there are too many already."""
        place = nearest_place(self.places, path, self.home.file)
        self._blamed.add(path)
        self._around_wrong.update(around(path))
        self.add(Problem(message, *named_for(place, path), hint), place)

    def add(self, problem: Problem, place: Place | None = None) -> None:
        """Note a problem that knows its place: once, however many containers have it in common.

        `place` is where it is written, where that is another container's.
        """
        identity = problem if place is None else Problem(problem.message, *place, problem.hint)
        if identity in self._told:
            return
        if len(self.problems) >= MOST_PROBLEMS:
            self.unsaid += 1
            return
        self._told.add(identity)
        self.problems.append(problem)

    def origin(self, path: str) -> Origin:
        """Return the file that this key, or else the nearest around it, is written in."""
        found = (self._origins[one] for one in (path, *around(path)) if one in self._origins)
        return next(found, self.home)

    def suspect(self, path: str) -> None:
        """Note that this key may be meant by another that is unknown."""
        self._suspected.add(path)
        self._around_wrong.update(around(path))

    def covers(self, path: str) -> bool:
        """Whether exactly this key, or something around it, is known or likely to be wrong."""
        return any(one in self._blamed or one in self._suspected for one in (path, *around(path)))

    def blames(self, path: str) -> bool:
        """Whether something at, inside or around this key is known or likely to be wrong."""
        return path in self._around_wrong or self.covers(path)

    def attempt(self, path: str, read: Callable[[object], T], value: object, default: T) -> T:
        """Return what `read` makes of the value; note its mistake and return the default."""
        if path in self._blamed:  # one problem a value is enough
            return default
        try:
            return read(value)
        except Mistake as mistake:
            self.report(path, mistake.message, mistake.hint)
        except FleetError as error:  # of another file, which knows its own places
            for problem in error.problems:
                self.add(problem)
        return default


@final
class Table:
    """One table of the file, whose keys a section of the schema lists."""

    def __init__(self, sheet: Sheet, path: str, value: object, section: Section) -> None:
        """Note that it is no table, and every key that is unknown or not supported yet."""
        self.sheet = sheet
        self.path = path
        self._values = table_of(sheet, path, value)
        for key in self._values:
            if key not in section:
                self._report_unknown(key, section)
            elif not section[key].supported:
                sheet.report(self.at(key), f"`{key}` is not supported yet")

    def __contains__(self, key: str) -> bool:
        """Whether the file gives this key."""
        return key in self._values

    def get(self, key: str, default: object = None) -> object:
        """Return the key's raw value."""
        return self._values.get(key, default)

    @property
    def given(self) -> frozenset[str]:
        """The keys that the file gives."""
        return frozenset(self._values)

    def at(self, key: str) -> str:
        """Return the path of one of the keys."""
        return join(self.path, key)

    def read(self, key: str, read: Callable[[object], T], default: T) -> T:
        """Return the key's value as `read` makes it; the default where it is absent or wrong."""
        if key not in self._values:
            return default
        return self.sheet.attempt(self.at(key), read, self._values[key], default)

    def items(self, key: str, read: Callable[[object], T]) -> tuple[T, ...]:
        """Return every element of a list that `read` understands."""
        value = self._values.get(key, [])
        return items(self.sheet, self.at(key), value, read)

    def located(self, key: str, reader: Callable[[Origin], Callable[[object], T]]) -> tuple[T, ...]:
        """As `items`, with a reader for the file that each element is written in."""
        return located(self.sheet, self.at(key), self._values.get(key, []), reader)

    def origin(self, key: str) -> Origin:
        """Return the file that one of the keys is written in."""
        return self.sheet.origin(self.at(key))

    def entries(self, key: str, read: Callable[[object], T]) -> Mapping[str, T]:
        """Return every entry of a table with names of the user's own that `read` understands."""
        path = self.at(key)
        return entries(self.sheet, path, self._values.get(key, {}), read)

    def _report_unknown(self, key: str, section: Section) -> None:
        near = nearest(key, section)
        meant = ELSEWHERE.get(key)
        hint = f"did you mean `{near}`?" if near else None
        if meant is not None and (place := meant.partition(".")[0]) in section:
            near, hint = place, f"here it is `{meant}`"
        if not section:
            hint = "this table is empty: it declares its name"
        if near is not None:
            self.sheet.suspect(self.at(near))
        self.sheet.report(self.at(key), f"unknown key `{printable(key)}`", hint)


def table_of(sheet: Sheet, path: str, value: object) -> Mapping[str, object]:
    """Return the value as a table, an empty one after noting that it is none."""
    if isinstance(value, dict):
        return cast("dict[str, object]", value)
    sheet.report(path, f"{show(value)} is {kind_of(value)}, not a table")
    return MappingProxyType({})


def items(sheet: Sheet, path: str, value: object, read: Callable[[object], T]) -> tuple[T, ...]:
    """Return every element of a list that `read` understands; note the others."""
    return located(sheet, path, value, lambda _: read)


def located(
    sheet: Sheet, path: str, value: object, reader: Callable[[Origin], Callable[[object], T]]
) -> tuple[T, ...]:
    """As `items`, with a reader for the file that each element is written in."""
    if not isinstance(value, list):
        sheet.report(path, f"{show(value)} is {kind_of(value)}, not a list")
        return ()
    missing = object()
    paths = [f"{path}[{index}]" for index in range(len(value))]
    found = [
        sheet.attempt(at, reader(sheet.origin(at)), element, cast("T", missing))
        for at, element in zip(paths, value, strict=True)
    ]
    return tuple(element for element in found if element is not missing)


def entries(sheet: Sheet, path: str, value: object, read: Callable[[object], T]) -> Mapping[str, T]:
    """Return every entry of a table that `read` understands; note the others."""
    missing = object()
    found = {
        key: sheet.attempt(join(path, key), read, element, cast("T", missing))
        for key, element in table_of(sheet, path, value).items()
    }
    return MappingProxyType({key: got for key, got in found.items() if got is not missing})
