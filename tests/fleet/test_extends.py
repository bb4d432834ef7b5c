"""`extends`: a container made of another one, of the fleet or of a file."""

from __future__ import annotations

import pytest

from anchor_supervisor.fleet import extends
from anchor_supervisor.fleet.extends import LONGEST_CHAIN
from fleet_files import Folder
from fleet_text import HEAD, messages, problems_in, read

WEB = """\
[containers.web]
image = "./root"
command = ["web"]
environment = { A = "1", B = "2" }
volumes = ["./conf:/etc/conf:ro"]
restart = "always"
depends_on = { db = "started" }
labels = { tier = "front" }

[containers.db]
image = "host"
command = ["db"]
"""


def test_a_container_has_what_it_extends_and_its_own() -> None:
    """Tables merge, some lists grow, all else is its own where it says it."""
    worker = read(
        f"""{WEB}
[containers.worker]
extends = "web"
command = ["work"]
environment = ["B=3"]
volumes = ["/cache"]
restart = {{ max = 2 }}
"""
    ).containers["worker"]
    assert worker.name == "worker"
    assert (worker.image.reference, worker.command) == ("/etc/fleet/root", ("work",))
    assert worker.environment == {"A": "1", "B": "3"}
    assert [volume.target for volume in worker.volumes] == ["/etc/conf", "/cache"]
    assert (worker.restart.when, worker.restart.max) == ("always", 2)
    assert worker.depends_on == {"db": "started"}
    assert worker.labels == {"tier": "front"}


def test_a_chain_in_any_order() -> None:
    """Also where what is extended comes later, or is not there this time."""
    fleet = read(
        f'[containers.c]\nextends = {{ container = "b" }}\nprofiles = []\n'
        f'[containers.b]\nextends = "a"\nuser = "b"\nprofiles = ["none"]\n'
        f"{WEB.replace('.web]', '.a]')}"
    )
    assert list(fleet.containers) == ["c", "a", "db"]
    assert (fleet.containers["c"].user, fleet.containers["c"].command) == ("b", ("web",))


BASES = {
    "bases/base.toml": 'include = ["more.toml"]\n[containers.app]\nextends = "root"\n'
    'environment = ["WHO"]\n[containers.wrong]\nimage = "$NOWHERE"\nx = 1\n',
    "bases/more.toml": '[containers.root]\nimage = "./img"\nenv_file = ["x.env"]\n'
    'command = ["run"]\nvolumes = ["./d:/d", "data:/data"]\nbuild = "./src"\n',
    "bases/.env": "WHO=base",
    "bases/x.env": "E=$WHO",
}


def test_a_container_of_another_file(folder: Folder) -> None:
    """Paths and variables are that file's; only the one container is taken, and nothing else."""
    text = """\
[containers.web]
extends = { file = "bases/base.toml", container = "app" }
volumes = ["./own:/own"]
environment = { MINE = "$WHO" }
[volumes.data]
"""
    folder.write({**BASES, "fleet.toml": text, ".env": "WHO=here"})
    fleet = folder.load()
    web = fleet.containers["web"]
    assert list(fleet.containers) == ["web"]
    assert web.image.reference == f"{folder.path}/bases/img"
    assert [volume.source for volume in web.volumes] == [
        f"{folder.path}/bases/d",
        "data",
        f"{folder.path}/own",
    ]
    assert web.build is not None
    assert web.build.context == f"{folder.path}/bases/src"
    assert web.environment == {"E": "base", "WHO": "base", "MINE": "here"}
    assert fleet.place("containers.web.image") == (("bases/more.toml", 2, "containers.web.image"))
    assert fleet.place("containers.web").line == 1


def test_what_it_extends_is_what_all_files_make_of_it(folder: Folder) -> None:
    """Files are merged first."""
    folder.write(
        {
            "fleet.toml": f'{WEB}[containers.worker]\nextends = "web"',
            "local.toml": '[containers.web]\nuser = "me"\n[containers.more]\nextends = "db"',
        }
    )
    fleet = folder.load("fleet.toml", "local.toml")
    assert fleet.containers["worker"].user == "me"
    assert fleet.containers["more"].command == ("db",)


def test_what_is_missing_is_told_as_what_it_lacks(folder: Folder) -> None:
    """A volume that is not declared here, at the line of the file that wants it."""
    text = '[containers.web]\nextends = { file = "bases/base.toml", container = "app" }'
    folder.write({**BASES, "fleet.toml": text})
    assert folder.told() == [
        "bases/more.toml:5: containers.web.volumes[1]: there is no volume `data`"
    ]


def test_a_mistake_that_several_have_in_common_is_told_once() -> None:
    """At its line, for the first that has it."""
    found = problems_in(
        f"{HEAD}stop = {{ grace = 1 }}\n"
        '[containers.a]\nextends = "web"\n[containers.b]\nextends = "a"\nstop = { grac = 1 }'
    )
    assert [(one.line, one.key, one.message) for one in found] == [
        (4, "containers.web.stop.grace", "`1` has no unit"),
        (9, "containers.b.stop.grac", "unknown key `grac`"),
    ]


def test_what_is_one_containers_own_fault_is_told_of_that_one() -> None:
    """A port that is inherited is in the way of the one it is inherited from."""
    found = problems_in(f'{HEAD}ports = ["80:80"]\n[containers.a]\nextends = "web"')
    assert [(one.line, one.key, one.message) for one in found] == [
        (4, "containers.a.ports", "`127.0.0.1:80/tcp` is already published by `web`")
    ]


def test_an_unknown_container() -> None:
    """With the nearest name; nothing that follows from it is told."""
    found = problems_in(
        f'{HEAD}depends_on = {{ a = "healthy" }}\n[containers.a]\nextends = "wbe"\n'
        '[containers.b]\nextends = { container = "x" }\n[containers.c]\nextends = "a"'
    )
    assert [(one.line, one.key, one.message, one.hint) for one in found] == [
        (6, "containers.a.extends", "there is no container `wbe`", "did you mean `web`?"),
        (8, "containers.b.extends.container", "there is no container `x`", None),
    ]


def test_an_unknown_container_of_a_file(folder: Folder) -> None:
    """The file is named, too."""
    text = '[containers.web]\nextends = { file = "bases/base.toml", container = "ap" }'
    folder.write({**BASES, "fleet.toml": text})
    [problem] = folder.problems()
    assert problem.message == f"there is no container `ap` in `{folder.path}/bases/base.toml`"
    assert (problem.line, problem.hint) == (2, "did you mean `app`?")
    folder.write({"bases/base.toml": "containers = 1"})
    assert "there is no container `ap`" in folder.told()[0]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ('""', ["extends: the value is empty"]),
        ("3", ["extends: `3` is a number, not a string"]),
        ('["web"]', ["extends: `[…]` is a list, not a string"]),
        ('"$GONE"', ["extends: variable `GONE` is not set"]),
        ("{}", ["extends: `container` is missing"]),
        ('{ file = "x.toml" }', ["extends: `container` is missing"]),
        ('{ file = "x.toml", container = "a", service = "b" }', ["extends.service: unknown key"]),
        ('{ file = 1, container = "a" }', ["extends.file: `1` is a number, not a string"]),
        (
            '{ file = "x.toml", container = "a" }',
            ["extends.file: `x.toml` cannot be read: No such file or directory"],
        ),
        ('{ file = ".", container = "a" }', ["extends.file: `.` is not a plain file"]),
    ],
)
def test_what_cannot_be_meant(folder: Folder, value: str, told: list[str]) -> None:
    """At the line of the key; that there is no image then is not told as well."""
    folder.write({"fleet.toml": f"[containers.web]\nextends = {value}"})
    found = folder.told()
    assert len(found) == len(told)
    for line, words in zip(found, told, strict=True):
        assert line.startswith(f"fleet.toml:2: containers.web.{words}")


def test_what_is_wrong_with_the_other_file_is_told_there(folder: Folder) -> None:
    """Beside everything else, and once, whoever extends it."""
    entry = 'extends = { file = "base.toml", container = "a" }'
    text = f"[containers.x]\n{entry}\n[containers.y]\n{entry}\n{HEAD}usr = 1"
    folder.write({"fleet.toml": text, "base.toml": "\n\na = x"})
    assert folder.told() == [
        "base.toml:3: not valid TOML: invalid value",
        "fleet.toml:8: containers.web.usr: unknown key `usr`",
    ]
    folder.write({"base.toml": 'include = ["gone.toml"]'})
    assert folder.told()[0] == (
        "base.toml:1: include[0]: `gone.toml` cannot be read: No such file or directory"
    )
    folder.write({"base.toml": '[containers.a]\nextends = "b"'})
    assert folder.told()[0] == (
        "base.toml:2: containers.a.extends: there is no container `b` in `base.toml`"
    )


def test_a_circle_shows_the_whole_chain(folder: Folder) -> None:
    """Told once, at the key that closes it."""
    text = "".join(
        f'[containers.{one}]\nextends = "{other}"\n'
        for one, other in ("ab", "bc", "ca", "dd", "ea")
    )
    assert [(one.line, one.message) for one in problems_in(text)] == [
        (6, "`extends` in a circle: `a` -> `b` -> `c` -> `a`"),
        (8, "`extends` in a circle: `d` -> `d`"),
    ]
    entry = '[containers.{}]\nextends = {{ file = "{}.toml", container = "{}" }}'
    folder.write(
        {"fleet.toml": entry.format("x", "a", "y"), "a.toml": entry.format("y", "fleet", "x")}
    )
    circle = "`y` in `a.toml` -> `x` in `fleet.toml` -> `y` in `a.toml`"
    assert folder.told() == [f"fleet.toml:2: containers.x.extends: `extends` in a circle: {circle}"]


def test_chains_and_sizes_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody could follow, and what would fill the memory."""
    names = [f"c{number}" for number in range(LONGEST_CHAIN)]
    links = [
        f'[containers.{one}]\nextends = "{other}"\n'
        for one, other in zip(names, [*names[1:], "web"], strict=True)
    ]
    chain = "".join(links)
    for text in (chain + HEAD, HEAD + "".join(reversed(links))):
        [problem] = problems_in(text)
        assert problem.message == f"more than {LONGEST_CHAIN} containers extend one another"
    assert len(read(chain.replace('extends = "c1"', 'image = "x"') + HEAD).containers) > 20
    monkeypatch.setattr(extends, "MOST_VALUES", 20)
    labels = ", ".join(f"l{number} = '1'" for number in range(6))
    many = "".join(f'[containers.c{number}]\nextends = "web"\n' for number in range(2))
    [problem] = problems_in(f"{HEAD}labels = {{ {labels} }}\n{many}")
    assert problem.message == "with what is extended, the fleet has more than 20 values"


def test_a_container_that_is_no_table() -> None:
    """It is told as one, whoever extends it."""
    found = problems_in(f'containers.a = 3\ncontainers.b.extends = "a"\n{HEAD}')
    assert found[0].message == "`3` is a number, not a table"


def test_extending_without_containers_at_all() -> None:
    """Nothing to complete, and what is wrong is told."""
    assert messages("", "[networks]\nx = 1") == ["`1` is a number, not a table"]
    assert [one.message for one in problems_in("containers = 3")] == [
        "`3` is a number, not a table"
    ]
