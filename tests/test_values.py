"""Our classes of values do what attrs' own do."""

from __future__ import annotations

import copy
import inspect
import operator
import pickle
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Generic, TypeVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor import values

SMALL = st.integers(0, 2)


def classes_of(module: Any, **options: bool) -> tuple[type, type]:
    """Make the same class of frozen values and of owners with one module's decorators."""

    class Value:
        """A field of each kind: plain, hidden, not compared, with a default."""

        plain: int
        hidden: int = module.field(repr=False)
        aside: int = module.field(eq=False)
        last: object = None

    class Owner:
        """Something that changes."""

        plain: int
        hidden: int = module.field(repr=False)
        aside: int = module.field(eq=False)
        last: object = None

    return module.frozen(**options)(Value), module.define(**options)(Owner)


PAIRS = list(zip(classes_of(values), classes_of(attrs), strict=True))


@given(ours=st.tuples(SMALL, SMALL, SMALL, SMALL), theirs=st.tuples(SMALL, SMALL, SMALL, SMALL))
def test_values_compare_and_show_as_those_of_attrs(
    ours: tuple[int, ...], theirs: tuple[int, ...]
) -> None:
    """Equal, unequal, shown: the same as attrs says, for frozen values and for owners."""
    for our, their in PAIRS:
        assert (our(*ours) == our(*theirs)) is (their(*ours) == their(*theirs))
        assert (our(*ours) != our(*theirs)) is (their(*ours) != their(*theirs))
        assert repr(our(*ours)) == repr(their(*ours))
        assert our(*ours) != their(*ours)


@given(ours=st.tuples(SMALL, SMALL, SMALL), theirs=st.tuples(SMALL, SMALL, SMALL))
def test_equal_values_have_equal_hashes(ours: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    """A frozen value is a key, by what is compared of it."""
    our, _ = classes_of(values)
    one, other = our(*ours), our(*theirs)
    assert len({one, other}) == 1 + (one != other)


def test_what_changes_is_no_key() -> None:
    """An owner that is compared by what it holds now has no hash, as with attrs."""
    _, owner = classes_of(values)
    with pytest.raises(TypeError, match="unhashable"):
        hash(owner(1, 2, 3))


@pytest.mark.parametrize("make", [values.frozen, values.define])
def test_without_eq_only_the_same_one_is_equal(make: Callable[..., Any]) -> None:
    """`eq=False` is a thing of its own, and a key by that."""
    ours = make(eq=False)(type("Thing", (), {"__annotations__": {"a": int}}))
    one, other = ours(1), ours(1)
    assert one == one
    assert one != other
    assert len({one, other}) == 2


@given(pairs=st.lists(st.tuples(SMALL, SMALL), min_size=2, max_size=2))
def test_values_are_ordered_as_those_of_attrs(pairs: list[tuple[int, int]]) -> None:
    """`order=True` compares field after field, with values of the same class alone."""
    ours, theirs = (
        module.frozen(order=True)(type("Number", (), {"__annotations__": {"a": int, "b": int}}))
        for module in (values, attrs)
    )
    for operation in (operator.lt, operator.le, operator.gt, operator.ge):
        our = operation(*(ours(*pair) for pair in pairs))
        assert our is operation(*(theirs(*pair) for pair in pairs))
        with pytest.raises(TypeError, match="not supported between"):
            operation(ours(1, 2), theirs(1, 2))


@values.frozen
class Empty:
    """Nothing to compare."""


@values.define
class Knot:
    """Can hold itself."""

    inside: object = None


def test_the_edges_of_a_class() -> None:
    """No field at all, and a value within itself."""
    assert Empty() == Empty()
    assert hash(Empty()) == hash(Empty())
    assert repr(Empty()) == "Empty()"
    knot = Knot()
    knot.inside = knot
    assert repr(knot) == "Knot(inside=...)"


def made(**kinds: Any) -> type:
    """A class of frozen values that nobody has used yet, with these fields."""
    body = {"__annotations__": dict.fromkeys(kinds, object), "__module__": __name__} | kinds
    return values.frozen(type("Made", (), body))


def is_complete(cls: type) -> bool:
    """Whether attrs has had its turn."""
    return isinstance(vars(cls)["__attrs_attrs__"], tuple)


def call_wrongly(cls: Any) -> None:
    """Leave out what must be given."""
    with pytest.raises(TypeError, match="missing 1 required"):
        cls()


USES: dict[str, Callable[[Any], object]] = {
    "fields": lambda cls: [one.name for one in attrs.fields(cls)],
    "is it one": attrs.has,
    "wrongly": call_wrongly,
    "often": lambda cls: [cls(one) for one in range(values.FEW + 1)],
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_class_is_completed_where_that_is_needed(use: Callable[[Any], object]) -> None:
    """Before it attrs has done nothing, and after it all is there, for the values before it too."""
    cls: Any = made(a=values.field(), b=2)
    early = cls(1)
    assert str(early) == "Made(a=1, b=2)"
    assert values.field_names(cls) == ("a", "b")
    assert values.evolve(early, b=3) == cls(1, 3) != early
    assert not is_complete(cls)
    use(cls)
    assert is_complete(cls)
    value: Any = cls(1)
    assert value == early
    assert attrs.asdict(value) == {"a": 1, "b": 2}
    assert attrs.evolve(value, b=3) == values.evolve(early, b=3) == cls(1, 3) != value
    assert copy.copy(value) == copy.deepcopy(value) == value
    assert not hasattr(value, "__dict__")
    assert str(inspect.signature(cls)) == "(a: object, b: object = 2) -> None"
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
        cls()


def test_what_a_class_has_of_its_own_is_there_at_once() -> None:
    """Methods, properties, constants, its name and its module."""

    @values.frozen
    class Thing:
        """What it is."""

        FEW: ClassVar[int] = 3
        a: int

        @property
        def twice(self) -> int:
            """Double it."""
            return self.a * 2

    assert (Thing.__name__, Thing.__doc__, Thing.FEW) == ("Thing", "What it is.", 3)
    assert Thing.__module__ == __name__
    assert Thing.__qualname__.endswith("<locals>.Thing")
    assert Thing(2).twice == 4
    assert Thing.FEW == 3


def test_a_match_may_be_the_first_use() -> None:
    """A pattern takes its fields in order, also where nothing was made before."""

    @values.frozen
    class Point:
        """A place."""

        x: int
        y: int = 0

    for thing in (object(), Point(1)):
        match thing:
            case Point(x, y):
                assert (x, y) == (1, 0)
            case other:
                assert not isinstance(other, Point)


@values.define
class Owner:
    """Something that changes, begins by itself, and knows more than it was told."""

    _hidden: int
    _times: int = 2
    found: list[int] = values.field(factory=list, init=False)
    open: bool = values.field(default=False, init=False)
    later: int = values.field(init=False)
    named: int = values.field(default=0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        """Note what was given."""
        self.found += [self._hidden] * self._times


def test_what_is_done_after_making_is_done_each_time() -> None:
    """`__attrs_post_init__`, factories, private names, what is not given: the first times too."""
    assert not is_complete(Owner)
    for _ in range(values.FEW + 2):
        owner = Owner(hidden=3, named=5)
        assert (owner.found, owner.open, owner.named) == ([3, 3], False, 5)
        assert Owner(4, 1).found == [4]
        assert values.evolve(owner, times=1).found == [3]
        with pytest.raises(AttributeError, match="later"):
            print(owner.later)
        owner.later = 1
    with pytest.raises(TypeError, match="found"):
        Owner(1, found=[])  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional argument"):
        Owner(1, 2, 3)  # type: ignore[call-arg]
    assert is_complete(Owner)


T = TypeVar("T")


@values.frozen
class Box(Generic[T]):
    """Of anything."""

    content: T


@values.define(kw_only=True)
class Base:
    """What others build upon."""

    line: int = values.field(default=0, eq=False)


@values.define
class Derived(Base):
    """One of them."""

    words: str
    more: tuple[str, ...] = values.field(factory=tuple)


def test_classes_with_bases() -> None:
    """Type variables, and fields of the base: attrs puts those together."""
    assert Box[int](1) == Box(1) != Box(2)
    assert values.field_names(Box) == ("content",)
    assert values.field_names(Derived) == ("line", "words", "more")
    one = Derived("x", line=3)
    assert one == Derived("x", line=4) != Derived("y")
    assert repr(one) == "Derived(line=3, words='x', more=())"
    assert values.evolve(one, words="z") == Derived("z")


def test_two_threads_may_both_be_first() -> None:
    """Each value is whole, whoever completed the class."""
    for _ in range(20):
        cls: Any = made(a=1, b=2)
        start = threading.Barrier(4)

        def make(a: int, cls: Any = cls, start: threading.Barrier = start) -> object:
            start.wait()
            return cls(a)

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(make, range(4)))
        assert found == [cls(a) for a in range(4)]
        assert len(set(found)) == 4


@values.frozen
class Pair:
    """Two plain fields, called as an argument of anybody's may be."""

    value: int
    self_: object = ()


def pair() -> tuple[Any, Any]:
    """That class, not used yet, and the same of attrs."""
    body = {"__annotations__": {"value": int, "name": object}, "name": (), "__module__": __name__}
    return values.frozen(type("Pair", (), dict(body))), attrs.frozen(type("Pair", (), dict(body)))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((1,), {}),
        ((1, 2), {}),
        ((1,), {"name": 2}),
        ((), {"value": 1}),
        ((), {"name": 2, "value": 1}),
        ((), {}),
        ((), {"name": 2}),
        ((1, 2, 3), {}),
        ((1,), {"value": 1}),
        ((1, 2), {"name": 2}),
        ((1,), {"nobody": 1}),
        ((), {"value": 1, "nobody": 1}),
    ],
)
def test_plain_values_are_made_as_attrs_makes_them(
    arguments: tuple[int, ...], named: dict[str, int]
) -> None:
    """Also what cannot be one: the first few, and those after them."""
    ours, theirs = pair()
    for _ in range(values.FEW + 2):
        try:
            wanted = theirs(*arguments, **named)
        except TypeError as error:
            with pytest.raises(TypeError, match=re.escape(str(error))):
                ours(*arguments, **named)
        else:
            made = ours(*arguments, **named)
            assert (made.value, made.name) == (wanted.value, wanted.name)
            assert repr(made) == repr(wanted)


def test_a_class_of_plain_fields_is_completed_after_a_few_values() -> None:
    """Values from before and after are the same, and none of them can change."""
    ours, _ = pair()
    few = [ours(number) for number in range(values.FEW)]
    known = {one: one.value for one in few}
    assert not is_complete(ours)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        few[0].value = 2
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del few[0].value
    assert few[1] == ours(1)
    assert is_complete(ours)
    assert [ours(number) for number in range(values.FEW)] == few
    assert all(known[ours(number)] == number for number in range(values.FEW))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        few[0].value = 2


def test_an_owner_of_plain_fields_changes_from_the_first_on() -> None:
    """And is compared by what it holds, without being a key."""

    @values.define
    class Count:
        """It goes up."""

        so_far: int = 0

    one, other = Count(), Count(1)
    assert not is_complete(Count)
    one.so_far += 1
    assert one == other
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)
    with pytest.raises(AttributeError):
        one.nobody = 1  # type: ignore[attr-defined]


def test_a_value_of_an_incomplete_class_can_be_copied_and_sent() -> None:
    """And is then as it was."""
    one = Pair(1, [2])
    other = copy.deepcopy(one)
    assert other == one
    assert other.self_ is not one.self_
    assert pickle.loads(pickle.dumps(one)) == one
    ours, _ = pair()
    assert values.evolve(ours(1), name=3) == ours(1, 3)
