"""attrs' classes, three times as fast to make. What they do is the same.

attrs writes every method of every class as text and has it compiled when the class is made, which
takes half a millisecond; a supervisor begins with two hundred classes. How values are shown,
compared and hashed needs no code of each class's own, so only `__init__` is left to attrs.
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


def _made(
    maker: Callable[..., Any],
    cls: type | None,
    options: dict[str, bool],
    hashed: Callable[[_Compared], Callable[[Any], int]] | None,
) -> Any:  # noqa: ANN401 - a class, or what makes one
    if cls is None:
        return functools.partial(_made, maker, options=options, hashed=hashed)
    if options.get("order"):  # then all that compares is attrs' work
        made = maker(cls, repr=False, **options)
    else:
        made = maker(cls, repr=False, **{**options, "eq": False})
        if options.get("eq", True):
            compared = _compared(made)
            made.__eq__ = _eq(compared)
            made.__hash__ = None if hashed is None else hashed(compared)
    made.__repr__ = _repr
    return made


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
