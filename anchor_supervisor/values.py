"""attrs' classes, which attrs completes when that is worth it. What they do is the same.

attrs writes the `__init__` of every class as text and has it compiled when the class is made, half
a millisecond each; a supervisor begins with two hundred classes, and a command that is soon over
makes one or two values of most that it loads. Attrs itself takes as long to import as the whole
interpreter to start. So a class makes its first few values by the list of its fields, for which
nothing needs to be compiled. A class of which there are more gets the `__init__` that attrs writes,
and so does one that is called wrongly, because attrs says best what is wrong.

How values are shown, compared and hashed needs no code of each class's own.
"""

from __future__ import annotations

import functools
import operator
import reprlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, final

__all__ = ["define", "evolve", "field", "field_names", "frozen"]

if TYPE_CHECKING:
    from attrs import AttrsInstance, define, evolve, field, frozen
else:

    def frozen(cls: type | None = None, **options: bool) -> Any:  # noqa: ANN401 - as attrs has it
        """Make a class of frozen values, as `attrs.frozen` does."""
        return _made(cls, "frozen", options)

    def define(cls: type | None = None, **options: bool) -> Any:  # noqa: ANN401
        """Make a class of values that change, as `attrs.define` does."""
        return _made(cls, "define", options)

    def field(**options: Any) -> Any:  # noqa: ANN401
        """Say more about a field than its type, as `attrs.field` does."""
        return _Options(options)

    def evolve(value: Any, /, **changes: object) -> Any:  # noqa: ANN401
        """Make a value that is like this one but for the changes, as `attrs.evolve` does."""
        kept = {
            one.alias: getattr(value, one.name)
            for one in _fields(value.__class__)
            if one.init and one.alias not in changes
        }
        return value.__class__(**kept, **changes)


FEW: Final = 200
"""Values of a class before attrs compiles its `__init__`, which would have been as fast by then."""

_put: Final = object.__setattr__


def field_names(cls: type) -> tuple[str, ...]:
    """Name the fields of a class, in order."""
    return tuple(one.name for one in _fields(cls))


class _Options(dict[str, Any]):
    """What is said about a field in the body of its class."""


@final
class _Field:
    """A field, as attrs understands what is said about it: the names here are those of attrs."""

    default: object
    factory: Callable[[], object] | None = None
    init = eq = repr = True
    kw_only = False

    def __init__(self, name: str, options: _Options) -> None:
        """Take what is said."""
        self.name, self.options = name, options
        self.alias = name.lstrip("_")
        self.__dict__.update(options)

    @property
    def is_required(self) -> bool:
        """Whether a value must be given."""
        return self.init and not self.options.keys() & {"default", "factory"}


def _fields(cls: type) -> tuple[_Field, ...]:
    fields: tuple[_Field, ...] = getattr(cls, "__values_fields__", ())
    return fields


def _declared(cls: type) -> Iterator[_Field]:
    """Read the fields that are written in the body of a class."""
    for name, kind in cls.__annotations__.items():
        if not str(kind).startswith(("ClassVar", "typing.ClassVar")):
            given = cls.__dict__.get(name, _Options())
            yield _Field(name, given if isinstance(given, _Options) else _Options(default=given))


def _made(cls: type | None, kind: str, options: dict[str, bool]) -> Any:  # noqa: ANN401 - or what
    if cls is None:  # makes one
        return functools.partial(_made, kind=kind, options=options)
    own = tuple(_declared(cls))
    alike = _alike((*_fields(cls.__bases__[0]), *own), kind, options)
    if cls.__bases__ in {(object,), (Generic,)} and options.keys() <= {"eq", "order"}:
        return _promised(cls, kind, own, alike)
    # One that has fields of another, which attrs knows how to put together.
    made = _written(cls, kind, own, options)
    for name, value in alike.items():
        setattr(made, name, value)
    return made


def _alike(fields: tuple[_Field, ...], kind: str, options: dict[str, bool]) -> dict[str, Any]:
    """Say what all classes do alike, by their fields."""
    methods: dict[str, Any] = {"__values_fields__": fields, "__repr__": _repr}
    if options.get("eq", True):
        compared = _compared([one.name for one in fields if one.eq])
        methods["__eq__"] = _answer(compared, operator.eq)
        methods["__hash__"] = _hash(compared) if kind == "frozen" else None
        if options.get("order"):
            for operation in (operator.lt, operator.le, operator.gt, operator.ge):
                methods[f"__{operation.__name__}__"] = _answer(compared, operation)
    return methods


def _written(
    cls: type, kind: str, fields: tuple[_Field, ...], options: dict[str, bool]
) -> type[AttrsInstance]:
    """Have attrs write the class; what of it is ours already, it leaves out."""
    import attrs

    for one in fields:
        setattr(cls, one.name, attrs.field(**one.options))
    made: type[AttrsInstance] = getattr(attrs, kind)(
        cls, **{**options, "repr": False, "eq": False, "order": False}
    )
    return made


def _promised(
    cls: type, kind: str, fields: tuple[_Field, ...], alike: dict[str, Any]
) -> type[AttrsInstance]:
    """Make a class of its own methods and places for its fields, without attrs."""

    def complete() -> None:
        whole = _written(cls, kind, fields, {})
        made.__attrs_attrs__ = whole.__attrs_attrs__
        made.__init__ = whole.__init__

    first: Callable[..., None] | None = None

    def begin(value: object, /, *arguments: object, **named: object) -> None:
        nonlocal first
        if first is None:
            first = _first(fields, complete, then=hasattr(cls, "__attrs_post_init__"))
        first(value, *arguments, **named)

    names = tuple(one.name for one in fields)
    left_out = {*names, "__dict__", "__weakref__"}
    # All of it at once: to give a class a method afterwards costs a walk through all its slots.
    body = {name: value for name, value in cls.__dict__.items() if name not in left_out}
    body |= alike
    body |= {
        "__slots__": (*names, "__weakref__"),
        "__qualname__": cls.__qualname__,
        "__match_args__": tuple(one.name for one in fields if one.init and not one.kw_only),
        "__getstate__": _state,
        "__setstate__": _restore,
        "__attrs_attrs__": _Fields(complete),
        "__init__": begin,
    }
    if kind == "frozen":
        body |= {"__setattr__": _refuse, "__delattr__": _refuse}
    made: Any = type(cls.__name__, cls.__bases__, body)
    return made  # type: ignore[no-any-return]


def _first(
    fields: tuple[_Field, ...], complete: Callable[[], None], *, then: bool
) -> Callable[..., None]:
    """Write the `__init__` that makes the first few values, and then has attrs write its own.

    Two threads may both be the one that does so: each does the same.
    """
    aliases = [one.alias for one in fields if one.init and not one.kw_only]
    known = frozenset(one.alias for one in fields if one.init)
    required = frozenset(one.alias for one in fields if one.is_required)
    left = FEW

    def first(value: Any, /, *arguments: object, **named: object) -> None:  # noqa: ANN401
        nonlocal left
        left -= 1
        given = {**dict(zip(aliases, arguments, strict=False)), **named}
        sound = len(given) == len(arguments) + len(named) and required <= given.keys() <= known
        if left < 0 or not sound:
            complete()
            value.__init__(*arguments, **named)
            return
        for one in fields:
            if one.init and one.alias in given:
                _put(value, one.name, given[one.alias])
            elif one.factory is not None:
                _put(value, one.name, one.factory())
            elif "default" in one.options:
                _put(value, one.name, one.default)
        if then:
            value.__attrs_post_init__()

    return first


@final
class _Fields:
    """The fields of a class as attrs has them, for whoever asks attrs about them."""

    def __init__(self, complete: Callable[[], None]) -> None:
        """Stand in their place."""
        self._complete = complete

    def __get__(self, value: object, cls: type) -> object:
        """Have them written, which puts them themselves in this place."""
        self._complete()
        return cls.__dict__["__attrs_attrs__"]


_Compared = Callable[[Any], Any]


def _compared(names: Sequence[str]) -> _Compared:
    """Say what of a value counts when two are compared."""
    return operator.attrgetter(*names) if names else lambda _: ()


def _answer(compared: _Compared, operation: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def answer(self: object, other: object) -> Any:  # noqa: ANN401 - NotImplemented is no bool
        if other.__class__ is not self.__class__:
            return NotImplemented
        return operation(compared(self), compared(other))

    return answer


def _hash(compared: _Compared) -> Callable[[Any], int]:
    return lambda self: hash((self.__class__, compared(self)))


@reprlib.recursive_repr()
def _repr(self: object) -> str:
    shown = (one.name for one in _fields(self.__class__) if one.repr)
    said = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
    return f"{self.__class__.__qualname__.rsplit('>.', 1)[-1]}({said})"


def _refuse(_value: object, _name: str, *_: object) -> NoReturn:
    import attrs

    raise attrs.exceptions.FrozenInstanceError


def _state(self: object) -> dict[str, object]:
    return {name: getattr(self, name) for name in field_names(self.__class__)}


def _restore(self: object, state: dict[str, object]) -> None:
    for name, value in state.items():
        _put(self, name, value)
