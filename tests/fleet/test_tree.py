"""Trees of values that know where they are written, and their plain values again."""

from __future__ import annotations

import tomllib
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.errors import FleetError
from anchor_supervisor.fleet import tree
from anchor_supervisor.fleet.places import LONGEST_PATH, Place, key_lines
from anchor_supervisor.fleet.tree import (
    DEEPEST,
    LONGEST_KEY,
    Node,
    Origin,
    flatten,
    grow,
    same,
    size,
)
from anchor_supervisor.fleet.wording import Mistake

HERE: Final = Origin("here.toml", "/here", {})
THERE: Final = Origin("there.toml", "/there", {})
TEXT: Final = 'a = 1\nb = [\n  { c = "x" },\n  2,\n]\n[d."e.f"]\ng = true\n'


def grown(document: object, origin: Origin = HERE, text: str = "") -> Node:
    """A tree of a document, every scalar as it is."""
    return grow(document, key_lines(text), origin, lambda value: value)


def test_a_tree_becomes_what_it_was_made_of() -> None:
    """And knows where each value is written."""
    document = tomllib.loads(TEXT)
    node = grown(document, text=TEXT)
    flat = flatten(node)
    assert flat.document == document
    assert flat.places["b[0].c"] == Place("here.toml", 3, "b[0].c")
    assert flat.places['d."e.f".g'] == Place("here.toml", 7, 'd."e.f".g')
    assert flat.places[""] == Place("here.toml", None, None)
    assert flat.origins["b[1]"] is HERE
    assert size(node) == len(flat.places) == 9


def test_a_part_of_a_tree_is_where_it_is_put() -> None:
    """Its values keep the paths that they are written at."""
    part = grown(tomllib.loads(TEXT), text=TEXT).get("b")
    assert part is not None
    flat = flatten(part, "x.y")
    assert flat.places["x.y[0].c"] == Place("here.toml", 3, "b[0].c")


def test_what_is_wrong_with_a_value_stays_with_it() -> None:
    """It is told where the value ends up, and not at all where it ends up nowhere."""

    def read(value: object) -> object:
        if value == "bad":
            raise Mistake("it is bad", hint="be good")
        return value

    node = grow({"a": ["good", "bad"], "b": 1}, {}, HERE, read)
    [(path, mistake)] = flatten(node).mistakes
    assert (path, mistake.message, mistake.hint) == ("a[1]", "it is bad", "be good")
    inner = node.get("b")
    assert inner is not None
    assert flatten(inner).mistakes == ()


def test_keys_and_depth_have_an_end() -> None:
    """A key nobody could read is left out and told; a depth nobody could follow is refused."""
    long = "k" * (LONGEST_KEY + 1)
    flat = flatten(grown({"a": {long: 1, "b": 2}}))
    assert flat.document == {"a": {"b": 2}}
    assert [path for path, _ in flat.mistakes] == ["a"]
    deep: object = 1
    for _ in range(DEEPEST):
        deep = [deep]
    assert flatten(grown(deep)).document == deep
    with pytest.raises(FleetError, match="nested too deeply"):
        grown([deep])


def test_places_of_long_paths_are_not_kept() -> None:
    """What is around them has one."""
    key = "k" * LONGEST_KEY
    flat = flatten(grown({key: {key: {key: 1}}}))
    assert max(map(len, flat.places)) <= LONGEST_PATH
    assert flat.document == {key: {key: {key: 1}}}


def test_the_number_of_values_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared by many, a part of a tree counts for each of them."""
    monkeypatch.setattr(tree, "MOST_VALUES", 10)
    node = grown([1, 2, 3])
    flatten(Node(HERE, elements=(node, node)))
    with pytest.raises(FleetError, match="more than 10 values"):
        flatten(Node(HERE, elements=(node, node, node)))


def test_the_same_is_the_same_value_meant_alike() -> None:
    """A line is of no account, a directory is."""
    assert same(grown({"a": ["./x"]}, text="\na=0"), grown({"a": ["./x"]}))
    assert not same(grown({"a": ["./x"]}), grown({"a": ["./x"]}, THERE))
    assert not same(grown({"a": 1}), grown({"a": 2}))


def test_looking_for_what_is_not_there() -> None:
    """None, wherever the way ends."""
    node = grown({"a": {"b": 1}})
    assert node.get("a", "c") is None
    assert node.get("a", "b", "c") is None
    assert node.get("x", "y") is None
    assert node.get() is node


def test_values_are_not_shown() -> None:
    """A password in a tree does not get into a report."""
    assert "geheim" not in repr(grown({"password": "geheim", "list": ["geheim"]}))
    assert "geheim" not in repr(Origin(None, "/", {"PASSWORD": "geheim"}))


documents = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@given(documents)
def test_any_document_survives(document: object) -> None:
    """Whatever TOML can hold."""
    flat = flatten(grown(document))
    assert flat.document == document
    assert flat.mistakes == ()
