"""attrs' classes, made when they are first used. What they do is the same.

attrs writes the methods of every class as text and has it compiled when the class is made, half a
millisecond each; a supervisor begins with two hundred classes, and a short command makes values of
few of those that it loads. So a class is at first its own methods with places for its fields, and
attrs completes it for the first value of it, or for whoever asks about its fields. How values are
shown, compared and hashed needs no code of each class's own, so only `__init__` is left to attrs.
"""

from __future__ import annotations

import functools
import operator
import reprlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

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
    return _promised(cls, complete)


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


def _promised(cls: type, complete: Callable[[type], type]) -> type:
    """Make the class without what attrs adds to it, which it gets when it is needed.

    Without a value of it nobody can miss more than what a promise stands for. Two threads may both
    complete it: each does the same, and `__init__` comes last. (No method may use `super()`,
    which means the class as it was written; a test looks.)
    """
    fields = [
        name
        for name, kind in cls.__annotations__.items()
        if not str(kind).startswith(("ClassVar", "typing.ClassVar"))
    ]
    own = {name: value for name, value in cls.__dict__.items() if name not in fields}
    for name in ("__dict__", "__weakref__"):
        own.pop(name, None)

    def keep() -> None:
        whole = complete(cls)
        added = {
            name: value
            for name, value in whole.__dict__.items()
            if name not in own and name not in places
        }
        for name in (*sorted(added.keys() - {"__init__"}), "__init__"):
            setattr(promised, name, added[name])

    def first(self: object, *arguments: object, **named: object) -> None:
        keep()
        promised.__init__(self, *arguments, **named)  # type: ignore[misc]

    def restored(self: Any, state: object) -> None:  # noqa: ANN401 - one made without `__init__`
        keep()
        self.__setstate__(state)

    places = (*fields, "__weakref__", "__slots__")
    asked = {name: _Promise(name, keep) for name in ("__attrs_attrs__", "__match_args__")}
    promised = type(
        cls.__name__,
        (),
        {
            **own,
            **asked,
            "__slots__": (*fields, "__weakref__"),
            "__qualname__": cls.__qualname__,
            "__init__": first,
            "__setstate__": restored,
        },
    )
    return promised


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
    names = [field.name for field in attrs.fields(made) if field.eq]
    return operator.attrgetter(*names) if names else lambda _: ()


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
