"""The options that many verbs share: which files, which profiles, which fleet they are."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from anchor_program import Anchor
from anchor_supervisor.cli import up as up_module
from anchor_supervisor.cli.main import UNSAID, main
from anchor_supervisor.cli.options import (
    PROFILES,
    add_file_option,
    add_profile_option,
    chosen_profiles,
    fleet_files,
    load_fleet,
)
from anchor_supervisor.errors import FleetError
from anchor_supervisor.fleet.model import Fleet

BASE = '[containers.web]\nimage = "host"\ncommand = ["base"]\n'
DEBUG = '[containers.shell]\nimage = "host"\ncommand = ["sh"]\nprofiles = ["debug", "all-day"]\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a fleet, an override, and no profiles chosen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PROFILES, raising=False)
    (tmp_path / "fleet.toml").write_text(BASE + DEBUG)
    (tmp_path / "local.toml").write_text('[containers.web]\ncommand = ["local"]\n')
    return tmp_path


def options(*words: str) -> argparse.Namespace:
    """What a verb gets that takes files and profiles."""
    parser = argparse.ArgumentParser()
    add_file_option(parser)
    add_profile_option(parser)
    return parser.parse_args(words, argparse.Namespace(**UNSAID))


def test_without_options_it_is_the_fleet_of_this_directory(here: Path) -> None:
    """`fleet.toml`, and no profile."""
    assert fleet_files(options()) == (Path("fleet.toml"),)
    fleet = load_fleet(options())
    assert (fleet.name, fleet.files, fleet.profiles) == ("fleet", (f"{here}/fleet.toml",), ())
    assert list(fleet.containers) == ["web"]


def test_files_and_profiles_may_be_several(here: Path) -> None:
    """In the order of the command line; a profile named twice is chosen once."""
    words = ["-f", "fleet.toml", "--profile", "debug", "--file", "local.toml"]
    fleet = load_fleet(options(*words, "--profile", "all-day", "--profile", "debug"))
    assert fleet.files == (f"{here}/fleet.toml", f"{here}/local.toml")
    assert fleet.profiles == ("debug", "all-day")
    assert list(fleet.containers) == ["web", "shell"]
    assert fleet.containers["web"].command == ("local",)


@pytest.mark.usefixtures("here")
def test_an_unknown_profile_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The known ones are named; so with the variable."""
    for words, name in ((["--profile", "debgu"], "debgu"), ([], "x")):
        monkeypatch.setenv(PROFILES, "x")
        with pytest.raises(FleetError, match=f"there is no profile `{name}`") as caught:
            load_fleet(options(*words))
        assert "there are `all-day`, `debug`" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("given", "variable", "chosen"),
    [
        ([], None, ()),
        ([], "", ()),
        ([], " a, b,,a ", ("a", "b")),
        ([], "*", ("*",)),
        (["c"], "a,b", ("c",)),
        (["c", "d", "c"], None, ("c", "d")),
    ],
)
def test_the_environment_chooses_where_the_command_line_does_not(
    given: list[str], variable: str | None, chosen: tuple[str, ...]
) -> None:
    """`ANCHOR_PROFILES=a,b`."""
    environment = {} if variable is None else {PROFILES: variable}
    assert chosen_profiles(given, environment) == chosen


@pytest.mark.parametrize(
    "words",
    [
        ["up", "-f", "fleet.toml", "-f", "local.toml", "--profile", "*"],
        ["-f", "fleet.toml", "up", "-f", "local.toml", "--profile", "debug"],
        ["-f", "fleet.toml", "-f", "local.toml", "up", "--profile=debug"],
    ],
)
def test_files_before_and_after_the_verb_belong_together(
    here: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """`anchor up` reads them all, from left to right."""
    read: list[Fleet] = []

    def up(fleet: Fleet, **_: object) -> int:
        read.append(fleet)
        return 0

    monkeypatch.setattr(up_module, "up", up)
    assert main(words) == 0
    [fleet] = read
    assert [Path(file).name for file in fleet.files] == ["fleet.toml", "local.toml"]
    assert all(Path(file).parent == here for file in fleet.files)
    assert fleet.containers["web"].command == ("local",)
    assert "shell" in fleet.containers


def test_other_verbs_find_the_fleet_by_its_files(anchor: Anchor, data_dir: Path) -> None:
    """The last name that a file gives, else the first file's; as `up` calls it."""
    (data_dir / "base.toml").write_text(BASE)
    (data_dir / "local.toml").write_text('[fleet]\nlimits = "strict"\n')
    (data_dir / "named.toml").write_text('[fleet]\nname = "shop"\n')
    for files, name in (
        (["base.toml", "local.toml"], "base"),
        (["base.toml", "named.toml"], "shop"),
        (["named.toml", "base.toml"], "shop"),
    ):
        words = [word for file in files for word in ("-f", file)]
        assert f"fleet `{name}` is not running" in anchor("ps", *words).stderr
        assert f"fleet `{name}` is not running" in anchor(*words, "ps").stderr
        words = [word for file in files for word in ("--file", file)]
        assert f"fleet `{name}`" in anchor("logs", "-f", *words).stderr


def test_wrong_files_are_told_by_name_and_line(anchor: Anchor, data_dir: Path) -> None:
    """Exit 2; each file has its own places."""
    (data_dir / "base.toml").write_text(BASE)
    (data_dir / "local.toml").write_text("\n[containers.web]\ncomand = 1\n")
    result = anchor("up", "-f", "base.toml", "-f", "local.toml")
    assert result.returncode == 2
    assert "local.toml:3: containers.web.comand: unknown key `comand`" in result.stderr
    result = anchor("up", "-f", "base.toml", "-f", "gone.toml")
    assert result.returncode == 2
    assert "gone.toml: `gone.toml` cannot be read: No such file or directory" in result.stderr
    result = anchor("ps", "-f", "base.toml", "-f", "gone.toml")
    assert (result.returncode, "gone.toml" in result.stderr) == (2, True)
    result = anchor("up", "-f", "base.toml", ANCHOR_PROFILES="nightly")
    assert result.returncode == 2
    assert "there is no profile `nightly`" in result.stderr
