"""The reference in docs/fleet.md, the schema and the model say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from attrs import evolve, fields_dict

from anchor_supervisor.fleet import schema
from anchor_supervisor.fleet.effects import EFFECTS
from anchor_supervisor.fleet.leaves import key_of
from anchor_supervisor.fleet.model import (
    Attachment,
    Build,
    Capabilities,
    Container,
    Health,
    Limits,
    RestartPolicy,
    Startup,
    StopPolicy,
    UpdatePolicy,
)
from anchor_supervisor.fleet.parse import loads
from anchor_supervisor.fleet.schedule_model import Schedule
from fleet_text import container, messages, read

REFERENCE: Final = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text("utf-8")
HEADINGS: Final = {
    "The file: top level": "",
    "`[fleet]`": "fleet",
    **{f"`[{name}]`": name for name in schema.SECTIONS if name.startswith("containers")},
    "`[networks.NAME]`": "networks.NAME",
    "`[volumes.NAME]`": "volumes.NAME",
    "`[secrets.NAME]`": "secrets.NAME",
    "`[configs.NAME]`": "configs.NAME",
}
LATER: Final = "*not supported yet*"

Row = tuple[str, str, str]
"""Type, default and meaning as the reference prints them."""


def _sections() -> dict[str, str]:
    """The reference's text under each heading of any level."""
    parts = re.split(r"^#+ (.*)$", REFERENCE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _rows(text: str) -> dict[str, Row]:
    found = re.findall(r"^\| `([a-z0-9_]+)` \| (.*?) \| (.*?) \| (.*) \|$", text, re.MULTILINE)
    return {key: (kind, default, meaning) for key, kind, default, meaning in found}


@pytest.mark.parametrize("heading", HEADINGS)
def test_the_reference_lists_every_key_of_a_section(heading: str) -> None:
    """In the schema's order, with its type, its default and whether it is supported."""
    section = schema.SECTIONS[HEADINGS[heading]]
    rows = _rows(_sections()[heading])
    assert list(rows) == list(section)
    for name, key in section.items():
        kind, default, meaning = rows[name]
        assert kind == key.type
        assert default == ("—" if key.default is None else f"`{key.default}`")
        assert (meaning == LATER) == (not key.supported)


def test_the_reference_has_no_section_without_keys() -> None:
    """Every section of the schema has a heading."""
    assert set(HEADINGS.values()) == set(schema.SECTIONS)


def test_every_example_of_the_reference_is_a_fleet(tmp_path: Path) -> None:
    """A reader can start from any of them, given the one file and the one variable."""
    (tmp_path / "token").write_text("t")
    variables = {"PASSWORD": "p"}
    examples = re.findall(r"^```toml\n(.*?)^```$", REFERENCE, re.MULTILINE | re.DOTALL)
    assert len(examples) > 10
    for example in examples:
        assert loads(
            example, file="e.toml", directory=str(tmp_path), environment=variables
        ).containers


IN_CONTAINER: Final = {
    name.removeprefix("containers.NAME"): section
    for name, section in schema.SECTIONS.items()
    if name.startswith("containers.NAME")
    and not name.endswith((".networks.NAME", ".depends_on.NAME", ".secrets", ".configs"))
}
NEEDED: Final = {".health": "tcp = 80, ", ".startup": "tcp = 80, ", ".schedule": 'every = "1h", '}
"""What else such a table has to have."""


@pytest.mark.parametrize("where", IN_CONTAINER)
def test_a_default_means_what_leaving_the_key_out_means(where: str) -> None:
    """Written out or not, the container is the same."""
    extra = NEEDED.get(where, "")
    prefix = where.removeprefix(".")
    kind = 'kind = "job"\n' if where == ".schedule" else ""
    plain = container(f"{kind}{prefix} = {{ {extra}}}".replace(", }", " }") if prefix else "")
    for name, key in IN_CONTAINER[where].items():
        if key.default is None:
            continue
        pair = f"{name} = {key.default}"
        written = container(f"{kind}{prefix} = {{ {extra}{pair} }}" if prefix else pair)
        assert written.limits.declared == ({name} if where == ".limits" else set())
        assert written.stop.declared == ({name} if where == ".stop" else set())
        assert _without_declared(written) == _without_declared(plain)


def _without_declared(one: Container) -> Container:
    return evolve(
        one,
        limits=evolve(one.limits, declared=frozenset()),
        stop=evolve(one.stop, declared=frozenset()),
        build=None,
    )


@pytest.mark.parametrize("section", schema.SECTIONS)
def test_a_key_that_is_not_supported_yet_is_refused(section: str) -> None:
    """Whatever its value."""
    later = [name for name, key in schema.SECTIONS[section].items() if not key.supported]
    for name in later:
        after, lines = "", ""
        if section.startswith("containers.NAME."):
            lines = f"{section.rpartition('.')[2]} = {{ {name} = 1 }}"
        elif section == "containers.NAME":
            lines = f"{name} = 1"
        else:
            after = f"[{name}]\nx = 1"
        assert f"`{name}` is not supported yet" in messages(lines, after)


def test_the_schema_has_the_fields_of_the_model() -> None:
    """A field that no key sets could never be used."""
    supported = {
        name: {key for key, one in section.items() if one.supported}
        for name, section in schema.SECTIONS.items()
    }
    assert supported["containers.NAME.limits"] == set(fields_dict(Limits)) - {"declared"}
    assert supported["containers.NAME.restart"] == set(fields_dict(RestartPolicy))
    assert supported["containers.NAME.stop"] == set(fields_dict(StopPolicy)) - {"declared"}
    assert supported["containers.NAME.build"] == set(fields_dict(Build))
    assert supported["containers.NAME.capabilities"] == set(fields_dict(Capabilities))
    assert supported["containers.NAME.networks.NAME"] == set(fields_dict(Attachment)) - {"network"}
    assert supported["containers.NAME.schedule"] == set(fields_dict(Schedule))
    assert supported["containers.NAME.update"] == set(fields_dict(UpdatePolicy))
    probes = {"exec", "tcp", "http", "log", "notify"}
    assert supported["containers.NAME.health"] - probes == set(fields_dict(Health)) - {"probe"}
    assert supported["containers.NAME.startup"] - probes == set(fields_dict(Startup)) - {"probe"}


def test_what_a_dependency_leaves_out_is_the_default() -> None:
    """Its table is as good as the word, and as nothing."""
    other = '[containers.db]\nimage = "host"\ncommand = ["true"]\n'
    word = container('depends_on = { db = "started" }', other)
    for name, key in schema.DEPENDENCY.items():
        assert container(f"depends_on = {{ db = {{ {name} = {key.default} }} }}", other) == word
    assert container("depends_on = { db = {} }", other) == word


@pytest.mark.parametrize("where", ["secrets", "configs"])
def test_what_a_secret_leaves_out_is_the_default(where: str) -> None:
    """And so for configs."""
    plain = f'[{where}.token]\nenvironment = "TOKEN"\n'
    variables = {"TOKEN": "x"}
    lines = f'{where} = ["token"]'
    for name, key in schema.SECTIONS[f"{where}.NAME"].items():
        if key.default is not None:
            written = container(lines, f"{plain}{name} = {key.default}\n", variables)
            assert written == container(lines, plain, variables)


def test_the_reference_tells_the_effect_of_every_key() -> None:
    """As the code has it; `extends` and `env_file` are gone when a file has been understood."""
    text = _sections()["What a change does"]
    rows = re.findall(r"^\| (nothing|live|restart|recreate) \| (.*?) \|", text, re.MULTILINE)
    told = {key: effect for effect, keys in rows for key in re.findall(r"`([a-z_]+)`", keys)}
    ours = {key_of(name).partition(".")[0]: effect for name, effect in EFFECTS.items()}
    del ours["name"], ours["complete"], ours["image_health"]
    ours |= {"configs": EFFECTS["grants"], "networks": EFFECTS["networks"]}
    ours["depends_on"] = max(EFFECTS["depends_on"], EFFECTS["on_restart"])
    del ours["on_restart"]
    assert told == {key: effect.name.lower() for key, effect in ours.items()}
    supported = {name for name, key in schema.CONTAINER.items() if key.supported}
    assert told.keys() == supported - {"extends", "env_file"}


def test_words_of_other_tools_lead_to_keys_that_exist() -> None:
    """A hint never sends anyone to a key that is unknown."""
    for word, ours in schema.ELSEWHERE.items():
        first, _, second = ours.partition(".")
        holders = [section for section in schema.SECTIONS.values() if first in section]
        assert holders
        assert not second or second in schema.SECTIONS[f"containers.NAME.{first}"]
        assert all(word not in section for section in holders)


def test_the_default_network_is_the_one_that_the_schema_names() -> None:
    """`networks = ["default"]`."""
    text = '[containers.web]\nimage = "x"\n'
    assert read(text) == read(f'{text}networks = ["default"]')
