"""Several files are one fleet: what a later one says changes what an earlier one said."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor_supervisor.fleet import schema
from anchor_supervisor.fleet.document import tree_of
from anchor_supervisor.fleet.merge import ALTERNATIVES, APPENDED, merge
from anchor_supervisor.fleet.tree import Origin, flatten
from fleet_files import Folder

ENVIRONMENT: Final = {"SET": "s"}


def merged(*documents: object) -> Any:
    """What the documents are together, as plain values; each is a file of its own directory."""
    trees = [
        tree_of({"containers": {"web": one}}, {}, Origin(f"{n}.toml", f"/{n}", ENVIRONMENT))
        for n, one in enumerate(documents)
    ]
    whole = trees[0]
    for tree in trees[1:]:
        whole = merge(whole, tree)
    document: Any = flatten(whole).document
    return document["containers"]["web"]


@pytest.mark.parametrize(
    ("key", "before", "after", "both"),
    [
        ("user", "a", "b", "b"),
        ("limits", {"memory": "1M", "pids": 1}, {"pids": 2, "cpus": 3}, None),
        ("command", ["a", "b"], ["c"], ["c"]),
        ("entrypoint", ["a"], "b", "b"),
        ("profiles", ["a"], ["b"], ["b"]),
        ("capabilities", {"add": ["A"], "drop": ["B"]}, {"add": []}, {"add": [], "drop": ["B"]}),
        ("ulimits", {"core": [1, 2]}, {"core": 0, "nofile": 1}, {"core": 0, "nofile": 1}),
        ("labels", {"a": "1", "b": "2"}, {"b": "3"}, {"a": "1", "b": "3"}),
        ("image", "a", 3, 3),
        ("labels", {"a": "1"}, 3, 3),
        ("labels", 3, {"a": "1"}, {"a": "1"}),
        ("extends", {"file": "a", "container": "b"}, {"container": "c"}, {"container": "c"}),
        ("extends", "a", {"container": "c"}, {"container": "c"}),
    ],
)
def test_tables_merge_and_all_else_is_replaced(
    key: str, before: object, after: object, both: object
) -> None:
    """A list is a value like a number; what is of no type that is meant is told later."""
    wanted = {"memory": "1M", "pids": 2, "cpus": 3} if both is None else both
    assert merged({key: before}, {key: after}) == {key: wanted}
    assert merged({key: before}, {}) == merged({}, {key: before}) == {key: before}


@pytest.mark.parametrize(
    ("key", "before", "after", "both"),
    [
        ("ports", ["1:1", "2:2"], ["3:3", "1:1"], ["1:1", "2:2", "3:3"]),
        ("volumes", ["a:/a", "/b"], ["c:/c"], ["a:/a", "/b", "c:/c"]),
        ("volumes", ["a:/a:ro", "/b"], ["x:/a/", "y:/b"], ["x:/a/", "y:/b"]),
        ("volumes", ["a:/a"], ["/a", "tmpfs:/c", "b:/c"], ["/a", "tmpfs:/c", "b:/c"]),
        ("env_file", ["a"], ["b", "a"], ["a", "b", "a"]),
        ("env_file", "a", "b", ["a", "b"]),
        ("env_file", ["a"], "b", ["a", "b"]),
        ("secrets", ["a", "b"], ["c", "a"], ["a", "b", "c"]),
        (
            "secrets",
            ["a", {"source": "b", "target": "/b"}],
            [{"source": "a", "mode": "0400"}, {"source": "c", "target": "/b"}],
            [{"source": "a", "mode": "0400"}, {"source": "c", "target": "/b"}],
        ),
        (
            "secrets",
            ["a"],
            [{"source": "b", "target": "/run/secrets/a"}],
            [{"source": "b", "target": "/run/secrets/a"}],
        ),
        (
            "configs",
            ["a", "b"],
            [{"source": "x", "target": "/a"}],
            [{"source": "x", "target": "/a"}, "b"],
        ),
        ("ports", ["1:1"], 3, 3),
        ("ports", 3, ["1:1"], ["1:1"]),
        ("ports", ["1:1", ["x"]], [{"a": 1}, 2], ["1:1", ["x"], {"a": 1}, 2]),
        ("volumes", [3, {}], [3, {}], [3, {}, 3, {}]),
        ("secrets", [{"source": 3}, {"target": 4}], [{"source": 3}, {"target": 4}], None),
    ],
)
def test_some_lists_grow(key: str, before: object, after: object, both: object) -> None:
    """What would be at the same place in the container takes the place of the earlier one."""
    wanted = [{"source": 3}, {"target": 4}] * 2 if both is None else both
    assert merged({key: before}, {key: after}) == {key: wanted}


@pytest.mark.parametrize(
    ("key", "before", "after", "both"),
    [
        ("environment", ["A=1", "B=2"], {"B": "3"}, {"A": "1", "B": "3"}),
        ("environment", ["A=1", "SET"], ["A=2=x"], {"A": "2=x", "SET": "s"}),
        ("environment", {"A": "1"}, [3], [3]),
        ("depends_on", ["a", "b"], {"b": "healthy"}, {"a": "started", "b": "healthy"}),
        ("depends_on", {"a": "healthy"}, ["a"], {"a": "started"}),
        ("depends_on", ["a"], ["b"], {"a": "started", "b": "started"}),
        (
            "depends_on",
            {"a": "healthy"},
            {"a": {"on_restart": "restart"}},
            {"a": {"condition": "healthy", "on_restart": "restart"}},
        ),
        (
            "depends_on",
            {"a": {"on_restart": "restart"}},
            ["a"],
            {"a": {"on_restart": "restart", "condition": "started"}},
        ),
        ("networks", ["a"], {"b": {"aliases": ["x"]}}, {"a": {}, "b": {"aliases": ["x"]}}),
        ("networks", ["a"], ["b"], {"a": {}, "b": {}}),
        ("networks", ["a"], "none", "none"),
        ("networks", "none", ["a"], {"a": {}}),
        ("restart", "always", {"max": 3}, {"when": "always", "max": 3}),
        ("restart", {"when": "no", "max": 3}, "always", {"when": "always", "max": 3}),
        ("restart", "always", "no", "no"),
        ("build", "./a", {"target": "t"}, {"context": "./a", "target": "t"}),
        ("build", {"args": ["A=1"]}, {"args": {"B": 2}}, {"args": {"A": "1", "B": 2}}),
        ("health", "none", {"tcp": 1}, {"tcp": 1}),
        ("health", {"tcp": 1}, "none", "none"),
    ],
)
def test_a_short_form_is_the_table_that_it_stands_for(
    key: str, before: object, after: object, both: object
) -> None:
    """However a thing is written, it merges alike."""
    assert merged({key: before}, {key: after}) == {key: both}


@pytest.mark.parametrize(
    ("key", "before", "after", "both"),
    [
        ("health", {"tcp": 1, "retries": 2}, {"exec": ["x"]}, {"retries": 2, "exec": ["x"]}),
        ("health", {"tcp": 1}, {"retries": 2}, {"tcp": 1, "retries": 2}),
        ("startup", {"log": "x"}, {"notify": True}, {"notify": True}),
        ("schedule", {"every": "1h"}, {"cron": "0 3 * * *"}, {"cron": "0 3 * * *"}),
    ],
)
def test_of_keys_that_exclude_each_other_the_later_one_counts(
    key: str, before: object, after: object, both: object
) -> None:
    """Another probe, another way to say when."""
    assert merged({key: before}, {key: after}) == {key: both}


def test_a_secret_from_elsewhere(folder: Folder) -> None:
    """An override may take its content from another source; the rest of the table stays."""
    folder.write(
        {
            "fleet.toml": '[containers.web]\nimage = "host"\ncommand = ["x"]\nconfigs = ["c"]\n'
            '[configs.c]\ncontent = "base"\nmode = "0440"',
            "local/local.toml": '[configs.c]\nfile = "./c.txt"',
            "local/c.txt": "local",
        }
    )
    [grant] = folder.container("web", "fleet.toml", "local/local.toml").grants
    assert (grant.content, grant.mode) == (b"local", 0o440)


def test_every_rule_is_about_a_key_that_there_is() -> None:
    """A key that is renamed takes its rule along."""
    assert set(APPENDED) <= set(schema.CONTAINER)
    for trail, keys in ALTERNATIVES.items():
        name = ".".join(part.replace("*", "NAME") for part in trail)
        known = {key for where, one in schema.SECTIONS.items() if where == name for key in one}
        assert known & keys
    for where, section in schema.SECTIONS.items():
        probes = {"exec", "tcp", "http", "log", "notify"} & set(section)
        trail = tuple(part.replace("NAME", "*") for part in where.split("."))
        assert probes <= {"notify"} or probes <= ALTERNATIVES[trail]


BASE: Final = """\
[fleet]
name = "shop"
limits = "strict"

[containers.web]
image = "./base"
command = ["serve"]
ports = ["8080:80"]
volumes = ["./conf:/etc/conf:ro", "data:/data"]
environment = { MODE = "production", LEVEL = "info" }
env_file = ["web.env"]
depends_on = ["db"]

[containers.db]
image = "postgres"

[volumes.data]
"""
LOCAL: Final = """\
[fleet]
limits = "best-effort"

[containers.web]
ports = ["127.0.0.1:9229:9229"]
volumes = ["./src:/srv", "./conf:/etc/conf"]
environment = ["LEVEL=debug"]
env_file = ["web.env"]

[containers.mail]
image = "mailhog"
"""
FILES: Final = {
    "fleet.toml": BASE,
    "web.env": "A=base\nB=base",
    "local/local.toml": LOCAL,
    "local/web.env": "B=local",
}


def test_a_fleet_and_its_override(folder: Folder) -> None:
    """Each relative path starts at the file that it is written in."""
    fleet = folder.write(FILES).load("fleet.toml", "local/local.toml")
    assert (fleet.name, fleet.limits) == ("shop", "best-effort")
    assert list(fleet.containers) == ["web", "db", "mail"]
    web = fleet.containers["web"]
    assert web.image.reference == f"{folder.path}/base"
    assert [port.host_port for port in web.ports] == [8080, 9229]
    assert [volume.source for volume in web.volumes] == [
        f"{folder.path}/local/conf",
        "data",
        f"{folder.path}/local/src",
    ]
    assert not web.volumes[0].read_only
    assert web.environment == {"A": "base", "B": "local", "MODE": "production", "LEVEL": "debug"}
    assert web.depends_on == {"db": "started"}


def test_a_place_is_that_of_who_wrote_it(folder: Folder) -> None:
    """File, line, and the path as it is in that file, whatever place in a list it has come to."""
    fleet = folder.write(FILES).load("fleet.toml", "local/local.toml")
    here, local = "fleet.toml", "local/local.toml"
    assert fleet.place("containers.web.image") == (here, 6, "containers.web.image")
    assert fleet.place("containers.web.ports[0]") == (here, 8, "containers.web.ports[0]")
    assert fleet.place("containers.web.ports[1]") == (local, 5, "containers.web.ports[0]")
    assert fleet.place("containers.web.volumes[0]") == (local, 6, "containers.web.volumes[1]")
    assert fleet.place("containers.web.volumes[1]") == (here, 9, "containers.web.volumes[1]")
    level = fleet.place("containers.web.environment.LEVEL")
    assert level == (local, 7, "containers.web.environment[0]")
    assert fleet.place("containers.web.stop.grace") == (here, 5, "containers.web.stop.grace")
    assert fleet.place("fleet.limits") == (local, 2, "fleet.limits")


def test_a_mistake_is_told_in_the_file_that_made_it(folder: Folder) -> None:
    """Also in a list or a table that several files have made."""
    text = '[containers.web]\nports = ["x"]\nvolumes = ["w:/w"]\nlimits.memory = "x"\nuse = 1\n'
    folder.write({**FILES, "b.toml": f'{text}environment = ["GONE"]\ndepends_on = ["dbb"]'})
    told = folder.told("fleet.toml", "b.toml")
    assert told.pop(0).startswith("b.toml:2: containers.web.ports[0]: `x` has no host port")
    assert told == [
        "b.toml:3: containers.web.volumes[0]: there is no volume `w`",
        "b.toml:4: containers.web.limits.memory: `x` is not a size",
        "b.toml:5: containers.web.use: unknown key `use`",
        "b.toml:6: containers.web.environment[0]: variable `GONE` is not set",
        "b.toml:7: containers.web.depends_on[0]: there is no container `dbb`",
    ]


def test_what_is_overridden_need_not_be_right(folder: Folder) -> None:
    """A variable that only the base wants, and an override makes needless, is no mistake."""
    folder.write(
        {
            "fleet.toml": '[containers.web]\nimage = "${IMAGE:?which one}"\nreplicas = "x"\n',
            "local.toml": '[containers.web]\nimage = "host"\ncommand = ["x"]\nreplicas = 2\n',
        }
    )
    assert folder.container("web", "fleet.toml", "local.toml").replicas == 2
    assert folder.told("local.toml", "fleet.toml") == [
        "fleet.toml:2: containers.web.image: variable `IMAGE` is not set: which one",
        "fleet.toml:3: containers.web.replicas: `x` is not a whole number",
    ]


def test_the_name_of_a_fleet_of_several_files(folder: Folder) -> None:
    """The last `[fleet].name`, or else the first file's name."""
    folder.write(FILES)
    assert folder.load("local/local.toml", "fleet.toml").name == "shop"
    folder.write({"plain.toml": '[containers.x]\nimage = "x"', "named.toml": '[fleet]\nname = "n"'})
    assert folder.load("plain.toml", "fleet.toml", "local/local.toml").name == "shop"
    folder.write({"more.toml": '[fleet]\nlimits = "strict"'})
    assert folder.load("plain.toml", "more.toml").name == "plain"
    assert folder.load("fleet.toml", "named.toml").name == "n"
    assert folder.load("named.toml", "plain.toml").name == "n"


def test_more_than_two_files(folder: Folder) -> None:
    """From left to right."""
    text = (
        '[containers.web]\nimage = "host"\ncommand = ["{0}"]\nports = ["{0}:80"]\nlabels.l{0}="1"'
    )
    names = [f"f{number}.toml" for number in range(1, 5)]
    folder.write({name: text.format(n) for n, name in enumerate(names, 1)})
    web = folder.container("web", *names)
    assert web.command == ("4",)
    assert [port.host_port for port in web.ports] == [1, 2, 3, 4]
    assert list(web.labels) == ["l1", "l2", "l3", "l4"]


values = st.recursive(
    st.integers(0, 3) | st.text("ab=:/", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(sorted(schema.CONTAINER)) | st.text("ab"), inner)
    ),
    max_leaves=8,
)
tables = st.dictionaries(st.sampled_from(sorted(schema.CONTAINER)), values, max_size=5)


@given(tables, tables)
def test_any_documents_merge(one: dict[str, object], two: dict[str, object]) -> None:
    """Nothing changes with an empty one, no key is lost, and no key comes from nowhere."""
    assert merged(one, {}) == merged({}, one) == one
    both = merged(one, two)
    assert set(both) == {*one, *two}
    for key in both.keys() - two.keys():
        assert both[key] == one[key]
    for key in two.keys() - one.keys():
        assert both[key] == two[key]
