"""Fleet files are read once each, by whatever name; `.env` is beside the file that it is for."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from anchor_supervisor.errors import FleetError
from anchor_supervisor.fleet.model import TcpProbe
from anchor_supervisor.fleet.parse import load_files
from anchor_supervisor.fleet.read import MOST_FILES
from fleet_files import Folder
from fleet_text import HEAD, NOTHING

NO_PLACE = "fleet.toml:1: include[0]: "


def test_the_fleet_remembers_what_it_was_read_from(folder: Folder) -> None:
    """Absolute paths in the order of the command line, and the profiles: it can be read again."""
    folder.write({"fleet.toml": f'{HEAD}profiles = ["a"]', "sub/local.toml": ""})
    fleet = folder.load("fleet.toml", "sub/local.toml", profiles=["a"])
    assert fleet.files == (f"{folder.path}/fleet.toml", f"{folder.path}/sub/local.toml")
    assert (fleet.file, fleet.directory) == ("fleet.toml", str(folder.path))
    again = load_files([Path(file) for file in fleet.files], NOTHING, fleet.profiles)
    assert again.containers == fleet.containers


def test_no_file_at_all() -> None:
    """Nothing to read is a mistake, not an empty fleet."""
    with pytest.raises(FleetError, match="no file is named"):
        load_files([], NOTHING, ())


@pytest.mark.parametrize("name", ["a\0b.toml", "a\ud800.toml"])
def test_what_is_no_path_at_all(name: str) -> None:
    """Not from a command line, but a request can hold it."""
    with pytest.raises(FleetError, match="is not a path") as caught:
        load_files([Path(name)], NOTHING, ())
    assert str(caught.value).isprintable()


def test_a_file_given_twice(folder: Folder) -> None:
    """By another name, or through a link: its lists would grow by themselves."""
    folder.write({"fleet.toml": HEAD})
    (folder.path / "link.toml").symlink_to("fleet.toml")
    assert folder.told("fleet.toml", "./fleet.toml") == ["fleet.toml: the file is given twice"]
    assert folder.told("fleet.toml", "link.toml") == ["link.toml: the file is given twice"]


def test_all_files_that_cannot_be_read_are_told(folder: Folder) -> None:
    """Each with what is wrong with it, in the order of their names."""
    folder.write({"b.toml": "x", "d.toml": HEAD})
    (folder.path / "c.toml").mkdir()
    assert folder.told("a.toml", "b.toml", "c.toml", "d.toml") == [
        "a.toml: `a.toml` cannot be read: No such file or directory",
        "b.toml:1: not valid TOML: expected '=' after a key in a key/value pair (at the end)",
        "c.toml: `c.toml` is not a plain file",
    ]


def test_each_file_has_its_own_dotenv(folder: Folder) -> None:
    """Also for `K` alone, for the lines of `env_file`, and for secrets; the environment wins."""
    named = 'environment = ["WHO"]\nenv_file = "x.env"\nsecrets = ["{0}"]\ncommand = ["$WHO"]\n'
    text = '[containers.{0}]\nimage = "./root"\n' + named
    text += '[secrets.{0}]\nenvironment = "TOKEN"\n'
    folder.write(
        {
            "fleet.toml": text.format("here"),
            ".env": "WHO=outer\nTOKEN=1\n",
            "x.env": "E=$WHO-$ALL\n",
            "sub/more.toml": text.format("there"),
            "sub/.env": "WHO=inner\nTOKEN=2\nALL=never\n",
            "sub/x.env": "E=$WHO+$ALL\n",
        }
    )
    fleet = folder.load("fleet.toml", "sub/more.toml", environment={"ALL": "all"})
    here, there = fleet.containers["here"], fleet.containers["there"]
    assert (here.command, there.command) == (("outer",), ("inner",))
    assert here.environment == {"E": "outer-all", "WHO": "outer"}
    assert there.environment == {"E": "inner+all", "WHO": "inner"}
    assert [one.grants[0].content for one in (here, there)] == [b"1", b"2"]
    assert here.image.reference == f"{folder.path}/root"
    assert there.image.reference == f"{folder.path}/sub/root"


def test_a_dotenv_of_another_directory_is_told_with_its_own_line(folder: Folder) -> None:
    """It is that file which has to be mended."""
    folder.write({"fleet.toml": 'include = ["sub/a.toml"]', "sub/a.toml": HEAD, "sub/.env": "\nB"})
    assert folder.told() == ["sub/.env:2: variable `B` is not set"]
    (folder.path / "sub/.env").write_bytes(b"\xff")
    assert folder.told() == [f"{NO_PLACE}`sub/.env` is not UTF-8 text: line 1"]


def test_the_number_of_files_has_an_end(folder: Folder) -> None:
    """One that includes many more than anyone writes."""
    names = [f"f{number}.toml" for number in range(MOST_FILES)]
    folder.write(dict.fromkeys(names, ""))
    folder.write({"fleet.toml": f"include = {names}\n{HEAD}"})
    last = MOST_FILES - 1
    too_many = f"`f{last}.toml` is one file too many: a fleet is of at most {MOST_FILES}"
    assert folder.told() == [f"fleet.toml:1: include[{last}]: {too_many}"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.toml", "`missing.toml` cannot be read: No such file or directory"),
        (".", "`.` is not a plain file"),
        ("/dev/null", "`/dev/null` is not a plain file"),
        ("fleet.toml/x", "`fleet.toml/x` cannot be read: Not a directory"),
        ("x" * 300, f"`{'x' * 80}…` cannot be read: File name too long"),
    ],
)
def test_an_included_file_that_cannot_be_read(folder: Folder, name: str, words: str) -> None:
    """The place is the line that names it."""
    folder.write({"fleet.toml": f'include = ["{name}"]\n{HEAD}'})
    assert folder.told() == [f"{NO_PLACE}{words}"]


REFERENCE = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text("utf-8")
PAGES = {
    heading: text
    for section in re.split(r"^## ", REFERENCE, flags=re.MULTILINE)
    if section.startswith("Several files")
    for heading, _, text in (
        part.partition("\n") for part in re.split(r"^### ", section, flags=re.MULTILINE)[1:]
    )
}


@pytest.mark.parametrize("heading", PAGES)
def test_the_examples_of_the_reference_do_what_they_say(folder: Folder, heading: str) -> None:
    """Each command finds its files, and a fleet in them; what comments say is so."""
    files = re.findall(r"^```toml (\S+)\n(.*?)^```$", PAGES[heading], re.DOTALL | re.MULTILINE)
    folder.write(dict(files))
    [commands] = re.findall(r"^```sh\n(.*?)^```$", PAGES[heading], re.DOTALL | re.MULTILINE)
    parser = argparse.ArgumentParser()
    parser.add_argument("-f", action="append")
    parser.add_argument("--profile", action="append", default=[])
    fleets = []
    for command in commands.splitlines():
        words = shlex.split(command)
        assert words[:2] == ["anchor", "up"]
        options = parser.parse_args(words[2:])
        fleets.append(folder.load(*options.f, profiles=options.profile))
    there = [list(fleet.containers) for fleet in fleets]
    one = next(iter(fleets[0].containers.values()))
    match heading:
        case "Files that override":
            assert [port.host_port for port in one.ports] == [80, 9229]
            assert one.environment == {"LEVEL": "debug", "REGION": "eu"}
            assert one.health is not None
            assert (one.health.probe, one.health.interval) == (TcpProbe(80), 10.0)
        case "Include":
            assert there == [["web", "database"]]
        case "Extends":
            worker = fleets[0].containers["worker"]
            assert worker.environment == {"PYTHONUNBUFFERED": "1", "QUEUE": "mail"}
            assert (worker.limits.memory, worker.limits.cpus) == (256 << 20, 0.5)
        case "Profiles":
            everything = ["web", "shell", "load"]
            assert there == [["web"], everything, everything, everything]
        case _:
            pytest.fail("what does this page promise?")
