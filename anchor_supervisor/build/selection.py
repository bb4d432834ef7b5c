"""Which files a COPY or an ADD means: its sources as patterns, found in a tree.

The patterns are those of Go's filepath.Match: `*` and `?` stop at a slash, `[a-z]` and `[^a-z]`,
and a backslash before what is meant as it is. `..` stops at the tree's root.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, final

from anchor_supervisor.build.paths import shown
from anchor_supervisor.build.tree import Node, Tree
from anchor_supervisor.errors import BuildError
from anchor_supervisor.values import frozen

_WILD: Final = re.compile(r"[*?\[\\]")
PIVOT: Final = "/./"


@final
@frozen
class Source:
    """One thing to copy: `name` is what it is called, `below` what a directory has in it.

    `content` in place of a tree is a text of the Dockerfile's. `above` are the directories that
    `--parents` makes again, from the pivot down.
    """

    name: str
    tree: Tree | None = None
    node: Node | None = None
    below: tuple[Node, ...] = ()
    above: tuple[Node, ...] = ()
    content: bytes | None = None

    @property
    def is_directory(self) -> bool:
        """Whether its content is copied, and not itself."""
        return self.node is not None and self.node.is_directory


def select(
    tree: Tree, pattern: str, *, parents: bool = False, excluded: Callable[[str], bool] | None
) -> Iterator[Source]:
    """Every source that `pattern` means, in order; a pattern with wildcards may mean none.

    `excluded` is asked for each path, seen from its source. Raises BuildError where nothing has
    that name.
    """
    base, pivot, rest = pattern.partition(PIVOT)
    start = _clean(base) if parents and pivot else ""
    whole = _clean(f"{base}/{rest}")
    for path in _matches(tree, whole):
        node = tree.find(path)
        if node is None:
            if _WILD.search(whole):
                continue
            raise _missing(tree, path)
        name = posixpath.basename(path)
        if node.is_directory:
            below = tuple(tree.walk(node.path, _beneath(node.path, excluded)))
        elif excluded is not None and excluded(name):
            continue
        else:
            below = ()
        above = tuple(_above(tree, path, start)) if parents else ()
        yield Source(path[len(start) :].lstrip("/") if parents else name, tree, node, below, above)


def _clean(path: str) -> str:
    return posixpath.normpath(f"/{path}").lstrip("/")


def _above(tree: Tree, path: str, start: str) -> Iterator[Node]:
    """The directories between the pivot and a source, the outermost first."""
    parts = path.split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        above = "/".join(parts[:depth])
        if len(above) > len(start):
            place = tree.resolver.resolve(above)
            if place.status is not None:
                yield Node(place.path, place.status)


def _beneath(path: str, excluded: Callable[[str], bool] | None) -> Callable[[str], bool] | None:
    if excluded is None:
        return None
    skipped = len(path) + 1 if path else 0
    return lambda below: excluded(below[skipped:])


def _missing(tree: Tree, path: str) -> BuildError:
    message = f"`{shown(path)}` is not in {tree.words}"
    place = tree.resolver.resolve(path)
    if place.status is not None:
        return BuildError(message, hint="`.dockerignore` leaves it out")
    return BuildError(message)


def _matches(tree: Tree, pattern: str) -> Iterator[str]:
    if not _WILD.search(pattern):
        yield pattern
        return
    yield from _expand(tree, pattern.split("/"), "")


def _expand(tree: Tree, components: Sequence[str], at: str) -> Iterator[str]:
    first, rest = components[0], components[1:]
    match = matcher(first)
    for name in tree.names(at):
        if match(name) is None:
            continue
        path = f"{at}/{name}" if at else name
        if rest:
            yield from _expand(tree, rest, path)
        elif not tree.hides(path):
            yield path


def matcher(pattern: str) -> Callable[[str], object | None]:
    """Return what says whether one component matches. Raises BuildError for a malformed pattern."""
    parts, at = [], 0
    while at < len(pattern):
        sign = pattern[at]
        at += 1
        if sign == "*":
            parts.append("[^/]*")
        elif sign == "?":
            parts.append("[^/]")
        elif sign == "[":
            text, at = _class(pattern, at)
            parts.append(text)
        else:
            if sign == "\\":
                if at == len(pattern):
                    raise _malformed(pattern)
                sign = pattern[at]
                at += 1
            parts.append(re.escape(sign))
    return re.compile("".join(parts), re.DOTALL).fullmatch


def _class(pattern: str, at: int) -> tuple[str, int]:
    """Read a class whose bracket is open; return it as a regular expression, and where it ends."""
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[str] = []
    while True:
        if pattern[at : at + 1] == "]" and ranges:
            inside = "".join(ranges)
            return f"(?!/)[{'^' if negated else ''}{inside}]", at + 1
        low, at = _sign(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _sign(pattern, at + 1)
        if high < low:
            raise _malformed(pattern)
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")


def _sign(pattern: str, at: int) -> tuple[str, int]:
    sign = pattern[at : at + 1]
    if sign == "\\":
        at += 1
        sign = pattern[at : at + 1]
    elif sign in ("-", "]"):
        raise _malformed(pattern)
    if not sign:
        raise _malformed(pattern)
    return sign, at + 1


def _malformed(pattern: str) -> BuildError:
    message = f"`{shown(pattern)}` is not a pattern"
    return BuildError(message, hint="`*`, `?`, `[a-z]`, and a backslash before what is meant as is")
