"""Our classes of values do what attrs' own do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
        hidden: int = attrs.field(repr=False)
        aside: int = attrs.field(eq=False)
        last: object = None

    class Owner:
        """Something that changes."""

        plain: int
        hidden: int = attrs.field(repr=False)
        aside: int = attrs.field(eq=False)
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


def test_order_is_left_to_attrs() -> None:
    """`order=True` compares field after field, `cache_hash` is kept."""
    made = values.frozen(order=True, cache_hash=True)(
        type("Number", (), {"__annotations__": {"a": int, "b": int}})
    )
    assert sorted([made(2, 1), made(1, 2)]) == [made(1, 2), made(2, 1)]
    assert {made(1, 2): "x"}[made(1, 2)] == "x"


@values.frozen
class Empty:
    """Nothing to compare."""


@values.define
class Knot:
    """Can hold itself."""

    inside: object = None


def test_the_edges_of_a_class() -> None:
    """No field at all, a value within itself, and a value that must not change."""
    assert Empty() == Empty()
    assert hash(Empty()) == hash(Empty())
    assert repr(Empty()) == "Empty()"
    knot = Knot()
    knot.inside = knot
    assert repr(knot) == "Knot(inside=...)"
    ours, _ = classes_of(values)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        ours(1, 2, 3).plain = 4
