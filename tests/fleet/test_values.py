"""Single TOML values."""

from __future__ import annotations

import math

import pytest

from anchor_supervisor.fleet import values
from anchor_supervisor.fleet.model import Image, ImageKind, Kind, RootStrategy
from anchor_supervisor.fleet.wording import Mistake


@pytest.mark.parametrize(
    ("reference", "kind", "resolved"),
    [
        ("host", ImageKind.HOST, "host"),
        ("./dir", ImageKind.DIRECTORY, "/etc/fleet/dir"),
        (".", ImageKind.DIRECTORY, "/etc/fleet"),
        ("/a/../b/", ImageKind.DIRECTORY, "/b"),
        ("./rootfs.tar", ImageKind.ARCHIVE, "/etc/fleet/rootfs.tar"),
        ("../r.tar.gz", ImageKind.ARCHIVE, "/etc/r.tar.gz"),
        ("/r.TGZ", ImageKind.ARCHIVE, "/r.TGZ"),
        ("./r.tar.xz", ImageKind.ARCHIVE, "/etc/fleet/r.tar.xz"),
        ("./r.tar.bz2", ImageKind.ARCHIVE, "/etc/fleet/r.tar.bz2"),
        ("./r.tar.zst", ImageKind.ARCHIVE, "/etc/fleet/r.tar.zst"),
        ("postgres", ImageKind.STORE, "postgres"),
        ("postgres:16", ImageKind.STORE, "postgres:16"),
        ("docker.io/library/x", ImageKind.STORE, "docker.io/library/x"),
        ("localhost:5000/dir/sub:1", ImageKind.STORE, "localhost:5000/dir/sub:1"),
    ],
)
def test_an_image_is_known_by_how_it_is_written(
    reference: str, kind: ImageKind, resolved: str
) -> None:
    """A first dot or slash makes it a path, its ending an archive, else it is a store's name."""
    assert values.image("/etc/fleet")(reference) == Image(kind, resolved)


@pytest.mark.parametrize("reference", ["", "-x", "a b", "~/x", 7, None])
def test_what_is_no_image_is_refused(reference: object) -> None:
    """A registry's reference is known, but not supported yet."""
    with pytest.raises(Mistake):
        values.image("/")(reference)


def test_words_are_a_list_or_split_as_a_shell_splits_them() -> None:
    """Quotes group, nothing is run or expanded."""
    assert values.words(["a", "b c"]) == ("a", "b c")
    assert values.words("a 'b c' \"d\" e\\ f $X ; g") == ("a", "b c", "d", "e f", "$X", ";", "g")
    assert values.words("") == ()
    for wrong in ("'open", ["a", 1], 5):
        with pytest.raises(Mistake):
            values.words(wrong)


def test_numbers_may_come_as_strings() -> None:
    """`${VAR}` can be written only in a string."""
    assert values.whole(1, 10)("7") == values.whole(1, 10)(7) == 7
    assert values.fraction(0, 1)("0.5") == values.fraction(0, 1)("50%") == 0.5
    assert values.size("64M") == values.size(64 << 20) == 64 << 20


@pytest.mark.parametrize("value", [True, 1.5, "x", [], {}, 0, 11, -1, 2**70])
def test_a_whole_number_is_in_its_range_and_no_boolean(value: object) -> None:
    """TOML's booleans are numbers to Python, not to us."""
    with pytest.raises(Mistake):
        values.whole(1, 10)(value)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, -0.1, 1.1, True, "NaN", "1e0", []]
)
def test_a_fraction_is_finite_and_in_its_range(value: object) -> None:
    """TOML allows nan and inf; no limit does."""
    with pytest.raises(Mistake):
        values.fraction(0.0, 1.0)(value)


def test_a_duration_without_a_unit_gets_a_hint() -> None:
    """The hint is what to write instead."""
    with pytest.raises(Mistake) as caught:
        values.duration()(10)
    assert caught.value.hint == '`"10s"` is 10 seconds'
    with pytest.raises(Mistake, match="is under 10ms"):
        values.duration(0.01)("1ms")


def test_a_choice_names_its_words() -> None:
    """An unknown word gets the nearest one, a later one is not supported yet."""
    with pytest.raises(Mistake) as caught:
        values.choice(Kind)("jobs")
    assert caught.value.message == "`jobs` is none of `service`, `job`"
    assert caught.value.hint == "did you mean `job`?"
    with pytest.raises(Mistake, match="not supported yet"):
        values.choice(RootStrategy, later={"reflink"})("reflink")


def test_paths_are_tidied_as_text() -> None:
    """Two leading slashes are one on Linux."""
    assert values.clean("//a//b/./c/../d/") == "/a/b/d"
    assert values.clean("/") == "/"
    assert values.absolute("x", "/etc") == "/etc/x"
    assert values.absolute("/x", "/etc") == "/x"


def test_a_boolean_in_quotes_gets_a_hint() -> None:
    """And a boolean where a string is wanted, too."""
    with pytest.raises(Mistake) as caught:
        values.boolean("true")
    assert caught.value.hint == "without quotes"
    with pytest.raises(Mistake) as caught:
        values.plain(value=True)
    assert caught.value.hint == 'in quotes: `"true"`'
    assert values.plain(5) == "5"
