"""Key paths and their lines."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet.places import Place, around, join, key_lines, nearest_place

TEXT = '''# a comment with [brackets] and key = "value"
title = "x" # another = 1
[fleet]
name.first = "a"
"quoted key" = 'literal # no comment'

[containers."with.dot"]
list = [
  "one", # ], not the end
  "two]",
  { inner = 1, "b.c" = [ 2,
    3 ] },
]
text = """
not = "a key"
[nor.a.header] \\"""
"""
raw = \'\'\'
also = 'not'\'\'\'\'
after = 2026-01-02 03:04:05
[[jobs]]
name = "first"
[[jobs]]
name = "second"
[jobs.more]
deep.er = true
[[jobs.steps]]
run = 1
'''

EXPECTED = {
    "title": 2,
    "fleet": 3,
    "fleet.name": 4,
    "fleet.name.first": 4,
    'fleet."quoted key"': 5,
    "containers": 7,
    'containers."with.dot"': 7,
    'containers."with.dot".list': 8,
    'containers."with.dot".list[0]': 9,
    'containers."with.dot".list[1]': 10,
    'containers."with.dot".list[2]': 11,
    'containers."with.dot".list[2].inner': 11,
    'containers."with.dot".list[2]."b.c"': 11,
    'containers."with.dot".list[2]."b.c"[0]': 11,
    'containers."with.dot".list[2]."b.c"[1]': 12,
    'containers."with.dot".text': 14,
    'containers."with.dot".raw': 18,
    'containers."with.dot".after': 20,
    "jobs": 21,
    "jobs[0]": 21,
    "jobs[0].name": 22,
    "jobs[1]": 23,
    "jobs[1].name": 24,
    "jobs[1].more": 25,
    "jobs[1].more.deep": 26,
    "jobs[1].more.deep.er": 26,
    "jobs[1].steps": 27,
    "jobs[1].steps[0]": 27,
    "jobs[1].steps[0].run": 28,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_way_to_write_a_key_is_found(newline: str) -> None:
    """Comments, quotes, brackets in strings and both line ends change nothing."""
    tomllib.loads(TEXT)
    assert key_lines(TEXT.replace("\n", newline)) == EXPECTED


keys = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=5
) | st.sampled_from(["a", "b-c", "d_e", "1"])
scalars = (
    st.integers(-9, 9)
    | st.booleans()
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=8)
    | st.sampled_from(["]", "}", "#", '"', "'''", "a = 1\nb = 2", '"""', "\\"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(keys, values, max_size=4)


def _key(key: str, style: int) -> str:
    if key and key.isascii() and key.replace("-", "").replace("_", "").isalnum():
        return key
    if style and "'" not in key:
        return f"'{key}'"
    return _string(key, 0)


def _string(text: str, style: int) -> str:
    if style == 1 and "'" not in text and "\n" not in text:
        return f"'{text}'"
    if style == 2 and '"' not in text and "\\" not in text:
        return f'"""\n{text}"""'
    if style == 3 and "'" not in text:
        return f"'''{text}'''"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _value(draw: st.DrawFn, value: object, *, inline: bool = False) -> str:
    """Write a value in one of TOML's ways."""
    blank = " " if inline else draw(st.sampled_from(["", " ", "\n", " # no ] end\n"]))
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return _string(value, draw(st.integers(0, 1 if inline else 3)))
        case list():
            inner = [_value(draw, one, inline=inline) for one in value]
            return f"[{blank}" + f",{blank}".join(inner) + f"{blank}]"
        case dict():
            pairs = [
                f"{_key(key, draw(st.integers(0, 1)))} = {_value(draw, one, inline=True)}"
                for key, one in value.items()
            ]
            return "{ " + ", ".join(pairs) + " }"
        case _:
            raise AssertionError(value)


@st.composite
def toml_texts(draw: st.DrawFn) -> tuple[str, dict[str, object]]:
    """A document, and it written down: pairs first, then tables by header or dotted."""
    document: dict[str, object] = dict(draw(documents))
    lines, tables = [], []
    for key, value in document.items():
        name = _key(key, draw(st.integers(0, 1)))
        style = draw(st.integers(0, 2))
        if isinstance(value, dict) and style == 0:
            body = [
                f"{_key(inner, 0)}={_value(draw, one)}  # x = 1" for inner, one in value.items()
            ]
            tables.append("\n".join([f"[ {name} ]", *body]))
        elif isinstance(value, dict) and value and style == 1:
            lines += [
                f"{name} . {_key(inner, 0)} = {_value(draw, one)}" for inner, one in value.items()
            ]
        else:
            lines.append(f"{name} = {_value(draw, value)}")
    return "\n".join([*lines, "", *tables, ""]), document


def _paths(path: str, value: object) -> Iterator[tuple[str, str | None]]:
    """Every path of a document, and the key that ends it."""
    match value:
        case dict():
            for key, inner in value.items():
                yield join(path, key), key
                yield from _paths(join(path, key), inner)
        case list():
            for index, inner in enumerate(value):
                yield f"{path}[{index}]", None
                yield from _paths(f"{path}[{index}]", inner)
        case _:
            pass


@given(toml_texts())
def test_every_leaf_of_tomllib_has_a_line_that_holds_its_key(
    written: tuple[str, dict[str, object]],
) -> None:
    """The scanner finds exactly the paths that tomllib finds, each where its key is."""
    text, document = written
    assert tomllib.loads(text) == document
    found = key_lines(text)
    expected = dict(_paths("", document))
    assert found.keys() == expected.keys()
    lines = text.split("\n")
    for path, key in expected.items():
        if key is not None:
            line = lines[found[path] - 1]
            assert any(_key(key, style) in line for style in (0, 1))


@given(st.lists(keys, min_size=1, max_size=4))
def test_a_path_is_taken_apart_as_it_was_put_together(parts: list[str]) -> None:
    """The paths around a path are its own beginnings."""
    path, beginnings = "", []
    for part in parts:
        path = join(path, part)
        beginnings.append(path)
    assert list(around(path)) == beginnings[-2::-1]


def test_the_nearest_place_is_of_what_is_around() -> None:
    """A key that is not in the file has the line of its table, and is named as if it were there."""
    places = {
        "containers": Place("a", 1, "containers"),
        "containers.web": Place("b", 3, "containers.base"),
        "containers.web.ports": Place("b", 5, "containers.base.ports"),
    }
    assert nearest_place(places, "containers.web.ports[7]", "a") == (
        ("b", 5, "containers.base.ports[7]")
    )
    assert nearest_place(places, 'containers.web.sysctls."net.x"', "a") == (
        ("b", 3, 'containers.base.sysctls."net.x"')
    )
    assert nearest_place(places, "networks.front", "a") == ("a", None, "networks.front")
    assert nearest_place(places, "", "a") == ("a", None, None)


@given(st.text(st.characters(codec="utf-8"), max_size=8))
def test_a_path_is_printable_and_can_be_written_in_the_file(key: str) -> None:
    """A key full of escape sequences cannot reach the terminal, and still reads back as itself."""
    path = join("", key)
    assert path.isprintable()
    assert tomllib.loads(f"{path} = 1") == {key: 1}
