"""`include`: what other files declare is put beside what a file declares itself."""

from __future__ import annotations

from anchor_supervisor.fleet.include import DEEPEST
from fleet_files import Folder
from fleet_text import HEAD

DB = '[containers.db]\nimage = "./db"\ncommand = ["db"]\nvolumes = ["data:/data"]\n[volumes.data]\n'


def test_an_included_file_adds_what_it_declares(folder: Folder) -> None:
    """Paths start at its own directory; names are the fleet's, whoever declares them."""
    folder.write(
        {
            "fleet.toml": f'include = ["parts/db.toml"]\n{HEAD}depends_on = ["db"]',
            "parts/db.toml": DB,
        }
    )
    fleet = folder.load()
    assert list(fleet.containers) == ["web", "db"]
    assert fleet.containers["db"].image.reference == f"{folder.path}/parts/db"
    assert fleet.volumes == {"data"}
    assert fleet.place("containers.db.volumes[0]") == (
        ("parts/db.toml", 4, "containers.db.volumes[0]")
    )


def test_a_string_is_a_list_of_one_and_a_table_has_variables(folder: Folder) -> None:
    """They win over all others, and hold for what that file includes in turn."""
    folder.write(
        {
            "fleet.toml": 'include = "a.toml"\n',
            "a.toml": 'include = [{ file = "b.toml", environment = { IMAGE = "told", N = 2 } }]',
            "b.toml": 'include = ["c/c.toml"]\n[containers.b]\nimage = "$IMAGE"\nreplicas = "$N"',
            "c/c.toml": '[containers.c]\nimage = "$IMAGE"',
            "c/.env": "IMAGE=beside",
        }
    )
    fleet = folder.load(environment={"IMAGE": "around"})
    assert fleet.containers["b"].replicas == 2
    assert [one.image.reference for one in fleet.containers.values()] == ["told", "told"]


def test_a_fleet_table_of_an_included_file_is_for_running_it_by_itself(folder: Folder) -> None:
    """It has no say here, but it has to be right."""
    folder.write(
        {
            "fleet.toml": f'include = ["db.toml"]\n{HEAD}',
            "db.toml": f'[fleet]\nname = "db"\nlimits = "best-effort"\n{DB}',
        }
    )
    assert (folder.load().name, folder.load().limits) == ("fleet", "strict")
    assert folder.load("db.toml").name == "db"
    folder.write({"db.toml": f'[fleet]\nnam = "db"\n{DB}'})
    assert folder.told() == ["db.toml:2: fleet.nam: unknown key `nam`"]


def test_a_name_declared_twice_is_told_with_both_places(folder: Folder) -> None:
    """Whatever it names; what is the same is no contradiction."""
    folder.write(
        {
            "fleet.toml": f'include = ["a.toml", "b.toml"]\n{HEAD}',
            "a.toml": '[networks.front]\ninternal = true\n[volumes.data]\n[configs.c]\ncontent="1"',
            "b.toml": f"[volumes.data]\n[networks.front]\n[configs.c]\ncontent = '2'\n{HEAD}user=1",
        }
    )
    assert folder.told() == [
        "b.toml:2: networks.front: it is declared differently in `a.toml:1`",
        "b.toml:3: configs.c: it is declared differently in `a.toml:4`",
        "b.toml:5: containers.web: it is declared differently in `fleet.toml:2`",
    ]
    hint = "a file that is to change another is given after it on the command line"
    assert {one.hint for one in folder.problems()} == {hint}


def test_the_same_words_in_another_directory_mean_another_thing(folder: Folder) -> None:
    """Relative paths start elsewhere, so it is no repetition."""
    folder.write({"fleet.toml": f'include = ["a/a.toml"]\n{HEAD}', "a/a.toml": HEAD})
    assert folder.told() == [
        "a/a.toml:1: containers.web: it is declared differently in `fleet.toml:2`"
    ]


def test_a_file_that_two_include_is_there_once(folder: Folder) -> None:
    """By whatever name, from wherever."""
    folder.write(
        {
            "fleet.toml": 'include = ["a/a.toml", "b.toml", "base.toml"]',
            "a/a.toml": f'include = ["../base.toml"]\n{DB}',
            "b.toml": 'include = ["./base.toml"]',
            "base.toml": HEAD,
        }
    )
    assert list(folder.load().containers) == ["db", "web"]


def test_a_circle_is_shown_from_where_it_begins(folder: Folder) -> None:
    """The place is the line that closes it; a link does not hide it."""
    folder.write(
        {
            "fleet.toml": 'include = ["a.toml"]',
            "a.toml": '\ninclude = ["sub/b.toml"]',
            "sub/b.toml": f'include = ["../link.toml"]\n{HEAD}',
        }
    )
    (folder.path / "link.toml").symlink_to("a.toml")
    circle = "files include each other in a circle: `a.toml` -> `sub/b.toml` -> `a.toml`"
    assert folder.told() == [f"sub/b.toml:1: include[0]: {circle}"]
    folder.write({"fleet.toml": 'include = ["fleet.toml"]'})
    circle = "files include each other in a circle: `fleet.toml` -> `fleet.toml`"
    assert folder.told() == [f"fleet.toml:1: include[0]: {circle}"]


def test_a_file_that_includes_itself_with_ever_new_variables(folder: Folder) -> None:
    """It is the same file all the same."""
    text = 'include = [{ file = "fleet.toml", environment = { A = "${A:-}x" } }]'
    folder.write({"fleet.toml": text})
    assert "in a circle" in folder.told()[0]


def test_depth_has_an_end(folder: Folder) -> None:
    """A chain longer than anyone could follow."""
    folder.write({f"f{n}.toml": f'include = ["f{n + 1}.toml"]' for n in range(DEEPEST + 1)})
    assert folder.told("f0.toml") == [
        f"f{DEEPEST - 1}.toml:1: include[0]: more than {DEEPEST} files include one another"
    ]
    folder.write({f"f{DEEPEST - 1}.toml": HEAD})
    assert list(folder.load("f0.toml").containers) == ["web"]


def test_what_is_wrong_in_an_included_file_is_told_there(folder: Folder) -> None:
    """No TOML: at once, with all other files that are none; else with everything else."""
    folder.write(
        {
            "fleet.toml": f'include = ["a.toml", "b.toml"]\n{HEAD}usr = 1',
            "a.toml": "\nx",
            "b.toml": "[containers.b]\nimage = ''\ncommand = ['$B']\n[contaners.c]\n",
        }
    )
    assert folder.told() == [
        "a.toml:2: not valid TOML: expected '=' after a key in a key/value pair (at the end)"
    ]
    folder.write({"a.toml": ""})
    assert folder.told() == [
        "b.toml:2: containers.b.image: the value is empty",
        "b.toml:3: containers.b.command[0]: variable `B` is not set",
        "b.toml:4: contaners: unknown key `contaners`",
        "fleet.toml:5: containers.web.usr: unknown key `usr`",
    ]


def test_an_entry_that_cannot_be_meant(folder: Folder) -> None:
    """Each is told at its own place."""
    entries = '1, "", {}, { file = 2 }, { fil = "x" }, { file = "a.toml", environment = 3 }, "$A"'
    folder.write({"fleet.toml": f"include = [{entries}]\n{HEAD}", "a.toml": ""})
    assert folder.told() == [
        "fleet.toml:1: include[0]: `1` is a number, not a string",
        "fleet.toml:1: include[1]: the value is empty",
        "fleet.toml:1: include[2]: `file` is missing",
        "fleet.toml:1: include[3].file: `2` is a number, not a string",
        "fleet.toml:1: include[4]: `file` is missing",
        "fleet.toml:1: include[4].fil: unknown key `fil`",
        "fleet.toml:1: include[5].environment: `3` is a number, not a table",
        "fleet.toml:1: include[6]: variable `A` is not set",
    ]
    folder.write({"fleet.toml": f"include = 3\n{HEAD}"})
    assert folder.told() == ["fleet.toml:1: include: `3` is a number, not a string"]


def test_a_table_of_names_that_is_no_table(folder: Folder) -> None:
    """In either file, in its own place."""
    folder.write({"fleet.toml": f'include = ["a.toml"]\n{HEAD}', "a.toml": "\ncontainers = 3"})
    assert folder.told() == ["a.toml:2: containers: `3` is a number, not a table"]
    folder.write({"fleet.toml": 'include = ["a.toml"]\ncontainers = 3', "a.toml": HEAD})
    assert folder.told() == ["fleet.toml:2: containers: `3` is a number, not a table"]


def test_a_later_file_overrides_what_an_earlier_one_includes(folder: Folder) -> None:
    """Files of the command line are put together last."""
    folder.write(
        {
            "fleet.toml": f'include = ["db.toml"]\n{HEAD}',
            "db.toml": DB,
            "local.toml": '[containers.db]\nimage = "host"\ncommand = ["x"]',
        }
    )
    db = folder.container("db", "fleet.toml", "local.toml")
    assert (db.image.reference, len(db.volumes)) == ("host", 1)
