"""Pictures are made, of whatever there are figures for, and are what their names say."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from plots import draw
from records import Answer, read
from report import PICTURES

RECORDED = Path(__file__).parent / "recorded"
PNG = b"\x89PNG\r\n\x1a\n"
END_OF_PNG = b"IEND\xaeB`\x82"
KIB = 1024


@pytest.fixture(scope="module")
def answers() -> list[Answer]:
    """Some of every question that has a picture."""
    return read(RECORDED)[0]


def test_every_picture_is_drawn(answers: list[Answer], tmp_path: Path) -> None:
    """Both kinds of each, whole, and small enough to be kept with the sources."""
    made = draw(answers, tmp_path, ("svg", "png"))
    assert {one.name for one in made} == {
        f"{name}.{kind}" for name in PICTURES for kind in ("svg", "png")
    }
    for one in made:
        assert one.stat().st_size < 100 * KIB
        if one.suffix == ".png":
            content = one.read_bytes()
            assert content.startswith(PNG)
            assert content.endswith(END_OF_PNG)
        else:
            assert ET.parse(one).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_a_picture_says_what_it_shows(answers: list[Answer], tmp_path: Path) -> None:
    """Its text stays text: who is in it, and how much."""
    draw(answers, tmp_path, ("svg",))
    words = {one.stem: " ".join(ET.parse(one).getroot().itertext()) for one in tmp_path.iterdir()}
    for name in ("C floor", "overlay", "copy", "unpacking a tar", "1 MiB", "121 MiB", "1,210"):
        assert name in words["copy-on-write"]
    assert "overlay, network, back to back" in words["distribution"]
    assert all(name in words["burst"] for name in ("anchor", "C floor", "crun"))
    assert all(name in words["peers"] for name in ("anchor run", "crun", "8 / 12.5 ms"))
    assert all(name in words["phases"] for name in ("root", "rest", "with network"))


def test_the_same_figures_make_the_same_picture(answers: list[Answer], tmp_path: Path) -> None:
    """So that a page that was made again differs where its figures do."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        draw(answers, tmp_path / name, ("svg",))
    for picture in (tmp_path / "one").iterdir():
        assert picture.read_bytes() == (tmp_path / "two" / picture.name).read_bytes()


def test_no_figures_make_no_picture(tmp_path: Path) -> None:
    """Not an empty one."""
    assert draw([Answer("startup", {}, "long")], tmp_path, ("svg", "png")) == []
    assert list(tmp_path.iterdir()) == []
