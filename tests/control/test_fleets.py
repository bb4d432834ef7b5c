"""Which fleet is meant."""

from __future__ import annotations

import tomllib
from contextlib import ExitStack
from pathlib import Path

import pytest

from anchor_supervisor.control.fleets import NoFleet, find_fleet, running_fleets
from anchor_supervisor.control.listener import listening
from anchor_supervisor.errors import ControlError, FleetError


@pytest.fixture(autouse=True)
def here(run_dir: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and run directory."""
    monkeypatch.setenv("ANCHOR_RUN_DIR", str(run_dir))
    monkeypatch.chdir(data_dir)
    return data_dir


def test_a_name_is_enough() -> None:
    """`-p NAME` needs neither a file nor a running fleet."""
    assert find_fleet(name="shop") == "shop"


@pytest.mark.parametrize("name", ["", "..", "a/b", "Shop", "-x", "a" * 32, "shop\n"])
def test_a_name_never_leads_elsewhere(name: str) -> None:
    """What is not a fleet's name is refused before it becomes a path."""
    with pytest.raises(ControlError, match="not a fleet's name"):
        find_fleet(name=name)


@pytest.mark.parametrize(
    ("text", "name"),
    [("[fleet]\nname = 'other'\n", "other"), ("", "shop"), ("[containers.x]\nimage=1\n", "shop")],
)
def test_a_file_names_its_fleet(here: Path, text: str, name: str) -> None:
    """`[fleet].name`, or the file's stem; the rest of the file may be wrong."""
    (here / "shop.toml").write_text(text)
    assert find_fleet(files=[str(here / "shop.toml")]) == name


def test_several_files_name_one_fleet(here: Path) -> None:
    """The last name that one of them gives, or else the first file's own."""
    (here / "shop.toml").write_text("")
    (here / "a.toml").write_text("[fleet]\nname = 'a'\n")
    (here / "b.toml").write_text("[fleet]\nname = 'b'\n")
    (here / "c.toml").write_text("[fleet]\nlimits = 'strict'\n")
    assert find_fleet(files=["shop.toml", "c.toml"]) == "shop"
    assert find_fleet(files=["shop.toml", "a.toml", "c.toml"]) == "a"
    assert find_fleet(files=["b.toml", "a.toml", "b.toml", "shop.toml"]) == "b"
    with pytest.raises(FleetError, match=r"gone\.toml: No such file"):
        find_fleet(files=["a.toml", "gone.toml"])


@pytest.mark.parametrize(
    "text",
    [
        '[fleet]\nname = "other"\n\n[containers.web]\nname = "x"\n',
        '# [fleet]\n# name = "x"\n\n  [fleet] # of two\r\n\r\n  name = "other" # "x"\r\n',
        '[ fleet ]\nname="other"',
        "[fleet]\nname = 'other'\n",
        '[fleet]\nname = "oth\\u0065r"\n',
        '[fleet]\nname = """other"""\n',
        '[fleet]\nname = """\\\n  other"""\n',
        '[fleet]\n"name" = "other"\n',
        '[fleet]\nlimits = "strict"\nname = "other"\n',
        '[fleets]\nname = "x"\n[fleet]\nname = "other"\n',
        'x = """\n[fleet]\nname = "x"\n"""\n[fleet]\nname = "other"\n',
        'fleet = { name = "other" }\n',
        'fleet.name = "other"\n',
    ],
)
def test_a_name_is_what_toml_says(here: Path, text: str) -> None:
    """However it is written, and wherever: at the top, as mostly, or not."""
    (here / "shop.toml").write_bytes(text.encode())
    assert find_fleet(files=["shop.toml"]) == tomllib.loads(text)["fleet"]["name"] == "other"


@pytest.mark.parametrize("content", [b"[fleet", b"\xff", b"[fleet]\nname = 3\n"])
def test_a_wrong_file_is_a_problem_of_the_file(here: Path, content: bytes) -> None:
    """A file that cannot be read as TOML is named in the error."""
    (here / "shop.toml").write_bytes(content)
    with pytest.raises(FleetError, match=r"shop\.toml"):
        find_fleet(files=[str(here / "shop.toml")])


def test_a_missing_file_is_a_problem_of_the_file() -> None:
    """So is one that is not there."""
    with pytest.raises(FleetError, match=r"nothing\.toml: No such file"):
        find_fleet(files=["nothing.toml"])


def test_the_only_one_running(run_dir: Path) -> None:
    """Without a name the only running fleet is meant; empty directories do not count."""
    (run_dir / "dead").mkdir()
    with listening(run_dir / "shop" / "control.sock"):
        assert running_fleets() == ["shop"]
        assert find_fleet() == "shop"


def test_several_running(run_dir: Path, here: Path) -> None:
    """Several running fleets are a question, unless ./fleet.toml answers it."""
    with ExitStack() as opened:
        for name in ("one", "two"):
            opened.enter_context(listening(run_dir / name / "control.sock"))
        with pytest.raises(ControlError, match="several fleets are running: one, two"):
            find_fleet()
        (here / "fleet.toml").write_text("[fleet]\nname = 'three'\n")
        assert find_fleet() == "three"


def test_none_at_all(here: Path) -> None:
    """Nothing named, nothing running, nothing here."""
    assert list(here.iterdir()) == []
    with pytest.raises(NoFleet):
        find_fleet()
