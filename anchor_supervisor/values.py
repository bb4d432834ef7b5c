"""attrs' classes, made when they are used. What they do is the same.

attrs writes the methods of every class as text and has it compiled when the class is made, half a
millisecond each; a supervisor begins with two hundred classes, and a command that is soon over
makes one or two values of most that it loads. So a class is at first its own methods with places
for its fields, and attrs completes it when that is worth it: for the first value of it, or for
whoever asks about its fields; for a class of plain fields, after the first few values, which need
nothing but to be put into their places. How values are shown, compared and hashed needs no code
of each class's own, so only `__init__` is left to attrs.
"""

from __future__ import annotations

import functools
import operator
import reprlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

__all__ = ["define", "frozen"]

if TYPE_CHECKING:
    from attrs import define, frozen
else:

    def frozen(cls: type | None = None, **options: bool) -> Any:  # noqa: ANN401 - as attrs has it
        """Make a class of frozen values, as `attrs.frozen` does."""
        return _made(attrs.frozen, cls, options, _hash)

    def define(cls: type | None = None, **options: bool) -> Any:  # noqa: ANN401
        """Make a class of values that change, as `attrs.define` does."""
        return _made(attrs.define, cls, options, None)


FEW: Final = 32
"""Values of a class before its `__init__` is compiled, which takes as long as fifty of them."""

_FIELD: Final = type(attrs.field())
_Hashed = Callable[["_Compared"], Callable[[Any], int]]


def _made(
    maker: Callable[..., Any], cls: type | None, options: dict[str, bool], hashed: _Hashed | None
) -> Any:  # noqa: ANN401 - a class, or what makes one
    if cls is None:
        return functools.partial(_made, maker, options=options, hashed=hashed)
    complete = functools.partial(_complete, maker, options, hashed)
    # What one of these is about may be asked of the class itself, or be in a base of it.
    if cls.__bases__ != (object,) or options.keys() - {"eq"}:
        return complete(cls)
    return _Promised(cls, complete).made(frozen=hashed is not None, eq=options.get("eq", True))


def _complete(
    maker: Callable[..., Any], options: dict[str, bool], hashed: _Hashed | None, cls: type
) -> type[attrs.AttrsInstance]:
    made: Any
    if options.get("order"):  # then all that compares is attrs' work
        made = maker(cls, repr=False, **options)
    else:
        made = maker(cls, repr=False, **{**options, "eq": False})
        if options.get("eq", True):
            compared = _compared(made)
            made.__eq__ = _eq(compared)
            made.__hash__ = None if hashed is None else hashed(compared)
    made.__repr__ = _repr
    return made  # type: ignore[no-any-return]


class _Promised:
    """A class without what attrs adds to it, which it gets when it is needed.

    What can be missed before that, a promise stands for. Two threads may both complete it: each
    does the same, and `__init__` comes last. (No method may use `super()`, which means the class
    as it was written; a test looks.)
    """

    def __init__(self, cls: type, complete: Callable[[type], type]) -> None:
        """Look at the class as it is written."""
        self._cls, self._complete = cls, complete
        self._fields = tuple(
            name
            for name, kind in cls.__annotations__.items()
            if not str(kind).startswith(("ClassVar", "typing.ClassVar"))
        )
        left = {*self._fields, "__dict__", "__weakref__"}
        self._own = {name: value for name, value in cls.__dict__.items() if name not in left}

    def made(self, *, frozen: bool, eq: bool) -> type:
        """Make it."""
        body = {
            **self._own,
            "__slots__": (*self._fields, "__weakref__"),
            "__qualname__": self._cls.__qualname__,
            "__init__": self._first(),
            "__getstate__": self._later("__getstate__"),
            "__setstate__": self._later("__setstate__"),
            "__repr__": _repr,
            "__attrs_attrs__": _Promise("__attrs_attrs__", self._keep),
            "__match_args__": _Promise("__match_args__", self._keep),
        }
        if self._is_plain():
            body["__init__"] = self._plain()
            if frozen:
                body["__setattr__"], body["__delattr__"] = _refuse, _refuse
            if eq:
                compared = _places(self._fields)
                body["__eq__"] = _eq(compared)
                body["__hash__"] = _hash(compared) if frozen else None
        self._made: Any = type(self._cls.__name__, (), body)
        return self._made

    def _is_plain(self) -> bool:
        """Whether to make a value is to put what is given, or else the default, into its place."""
        return "__attrs_post_init__" not in self._own and not any(
            name.startswith("_") or isinstance(self._cls.__dict__.get(name), _FIELD)
            for name in self._fields
        )

    def _keep(self) -> None:
        whole = self._complete(self._cls)
        places = {*self._fields, "__weakref__", "__slots__"}
        added = {
            name: value
            for name, value in whole.__dict__.items()
            if name not in self._own and name not in places
        }
        for name in (*sorted(added.keys() - {"__init__"}), "__init__"):
            setattr(self._made, name, added[name])

    def _first(self) -> Callable[..., None]:
        def first(value: object, /, *arguments: object, **named: object) -> None:
            self._keep()
            self._made.__init__(value, *arguments, **named)

        return first

    def _plain(self) -> Callable[..., None]:
        fields, names, put = self._fields, frozenset(self._fields), object.__setattr__
        defaults = {one: value for one, value in self._cls.__dict__.items() if one in names}
        first = self._first()
        left = FEW

        def plain(value: object, /, *arguments: object, **named: object) -> None:
            nonlocal left
            left -= 1
            given = {**defaults, **dict(zip(fields, arguments, strict=False)), **named}
            sound = (
                given.keys() == names
                and len(arguments) <= len(fields)
                and named.keys().isdisjoint(fields[: len(arguments)])
            )
            if left < 0 or not sound:  # attrs' own says best what is wrong
                first(value, *arguments, **named)
                return
            for name, one in given.items():
                put(value, name, one)

        return plain

    def _later(self, name: str) -> Callable[..., Any]:
        def later(value: object, /, *arguments: object) -> Any:  # noqa: ANN401 - whatever it is
            self._keep()
            return getattr(value, name)(*arguments)

        return later


class _Promise:
    """Something that a class has once it is complete, and that is asked of the class itself."""

    def __init__(self, name: str, keep: Callable[[], None]) -> None:
        """Stand for `name`."""
        self._name, self._keep = name, keep

    def __get__(self, value: object, cls: type) -> object:
        """Complete the class, which puts the thing itself in this place."""
        self._keep()
        return cls.__dict__[self._name]


_Compared = Callable[[Any], object]


def _compared(made: type[attrs.AttrsInstance]) -> _Compared:
    """Say what of a value counts when two are compared."""
    return _places([field.name for field in attrs.fields(made) if field.eq])


def _places(names: Sequence[str]) -> _Compared:
    return operator.attrgetter(*names) if names else lambda _: ()


def _refuse(_value: object, _name: str, *_: object) -> None:
    raise attrs.exceptions.FrozenInstanceError


def _eq(compared: _Compared) -> Callable[[object, object], Any]:
    def equals(self: object, other: object) -> Any:  # noqa: ANN401 - NotImplemented is no bool
        if other.__class__ is not self.__class__:
            return NotImplemented
        return compared(self) == compared(other)

    return equals


def _hash(compared: _Compared) -> Callable[[Any], int]:
    return lambda self: hash((self.__class__, compared(self)))


@reprlib.recursive_repr()
def _repr(self: attrs.AttrsInstance) -> str:
    shown = (one.name for one in attrs.fields(self.__class__) if one.repr)
    said = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
    return f"{self.__class__.__qualname__.rsplit('>.', 1)[-1]}({said})"
