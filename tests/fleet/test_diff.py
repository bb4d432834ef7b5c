"""What differs between two fleets, key by key."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given

from anchor_supervisor.fleet.diff import (
    Change,
    Effect,
    FleetChanges,
    changes,
    container_changes,
    effect_between,
)
from anchor_supervisor.fleet.leaves import UNSAID
from anchor_supervisor.fleet.model import Container, Fleet, LimitsMode, Network
from container_values import CONF, DATA, HUP, MOTD, PLAIN, TOKEN, VALUES, containers, pairs
from fleet_text import read

RESTART, RECREATE, LIVE, NOTHING = Effect.RESTART, Effect.RECREATE, Effect.LIVE, Effect.NOTHING


def fleet(*ones: Container) -> Fleet:
    """A fleet of these."""
    return Fleet("shop", {one.name: one for one in ones}, {})


def told(before: str, after: str) -> list[tuple[str, str | None, str | None, Effect]]:
    """What is told where the lines of container `web` change so."""
    head = '[containers.web]\nimage = "host"\ncommand = ["serve"]\n'
    tail = '\n[containers.db]\nimage = "host"\ncommand = ["db"]\nhealth = { tcp = 1 }\n'
    tail += '[volumes.data]\n[configs.motd]\ncontent = "x"\n'
    one, other = read(f"{head}{before}{tail}"), read(f"{head}{after}{tail}")
    found = changes(one, other)
    assert found.containers.keys() <= {"web"}
    return [
        (change.key.removeprefix("containers.web."), change.before, change.after, change.effect)
        for name in found.containers
        for change in found.containers[name].changes
    ]


@given(containers())
def test_a_fleet_does_not_differ_from_itself(one: Container) -> None:
    """Nor from its equal."""
    assert not changes(fleet(one), fleet(evolve(one)))
    assert changes(fleet(one), fleet(one)) == FleetChanges()


@given(pairs())
def test_what_is_told_has_the_effect_that_it_has(pair: tuple[Container, Container]) -> None:
    """`plan` and `apply` cannot disagree; and what differs is told, but for what is no key."""
    old, new = pair
    found = container_changes(old, new)
    assert max((one.effect for one in found), default=NOTHING) is effect_between(old, new)
    said = [name for name in VALUES if getattr(old, name) != getattr(new, name)]
    assert bool(found) == bool(set(said) - UNSAID)


@given(pairs())
def test_a_change_is_between_two_different_values(pair: tuple[Container, Container]) -> None:
    """A line that says the same before and after would say nothing."""
    for one in container_changes(*pair):
        assert one.before != one.after


@given(pairs())
def test_a_change_back_is_the_change_the_other_way_round(
    pair: tuple[Container, Container],
) -> None:
    """The same keys, as many times."""
    there, back = container_changes(*pair), container_changes(*reversed(pair))
    assert sorted(one.key for one in there) == sorted(one.key for one in back)


@given(pairs())
def test_nothing_hidden_is_told_and_nothing_unprintable(
    pair: tuple[Container, Container],
) -> None:
    """Secrets, variables and build arguments have no words; escapes stay what they are."""
    shown = " ".join(f"{one.key} {one.before} {one.after}" for one in container_changes(*pair))
    assert "hidden" not in shown
    assert shown.isprintable()


def test_plain_values_are_as_in_the_file() -> None:
    """Sizes, durations and commands in the file's own notation."""
    assert told("", 'limits = { memory = "64M", cpus = 0.5 }\nreplicas = 3') == [
        ("limits.memory", None, "64M", LIVE),
        ("limits.cpus", None, "0.5", LIVE),
        ("replicas", "1", "3", LIVE),
    ]
    assert told('user = "app"', 'working_dir = "/srv"\nread_only = true') == [
        ("read_only", "false", "true", RESTART),
        ("user", "app", None, RESTART),
        ("working_dir", None, "/srv", RESTART),
    ]
    assert told("", "entrypoint = ['sh', '-c', 'a b']") == [
        ("entrypoint", None, "sh -c 'a b'", RESTART)
    ]
    assert told("", 'restart = { delay = "1s", on_exit_codes = [75, 3] }\nmax_runtime = "1h"') == [
        ("restart.delay", "100ms", "1s", LIVE),
        ("restart.on_exit_codes", None, "3, 75", LIVE),
        ("max_runtime", None, "1h", LIVE),
    ]


def test_a_default_that_is_written_out_is_told_as_such() -> None:
    """A written limit is strict, and a written signal wins over the image's."""
    assert told("", 'limits = { pids = 4096 }\nstop = { signal = "TERM" }') == [
        ("limits.pids", "4096 by default", "4096", LIVE),
        ("stop.signal", "TERM by default", "TERM", LIVE),
    ]


def test_a_policy_that_comes_is_told_without_its_defaults() -> None:
    """And one that changes, by what changed."""
    health = 'health = { tcp = 80, interval = "5s" }'
    assert told("", health) == [
        ("health.tcp", None, "80", LIVE),
        ("health.interval", None, "5s", LIVE),
    ]
    assert told(health, 'health = { http = ":80/", interval = "5s" }') == [
        ("health.tcp", "80", None, LIVE),
        ("health.http", None, ":80/", LIVE),
    ]
    notify = "health = { notify = true }"
    assert told("", notify) == [("health.notify", None, "true", RESTART)]
    assert told(notify, "health = { notify = true, timeout = '9s' }") == [
        ("health.timeout", "5s", "9s", LIVE)
    ]
    job = 'kind = "job"\n'
    cron = f'{job}schedule = {{ cron = "0 3 * * *", timezone = "UTC" }}'
    assert told(job, cron) == [("schedule.cron", None, "0 3 * * *", LIVE)]
    assert told(cron, cron.replace("UTC", "Asia/Tokyo")) == [
        ("schedule.timezone", "UTC", "Asia/Tokyo", LIVE)
    ]


def test_of_variables_only_the_names_are_told() -> None:
    """Their values may be secrets."""
    old = 'environment = { A = "1", B = "2" }\nbuild = { args = { V = "1" } }'
    new = 'environment = { A = "1", B = "3", C = "4" }\nbuild = { args = { V = "2" } }'
    assert told(old, new) == [
        ("build.args.V", "set", "changed", NOTHING),
        ("environment.B", "set", "changed", RESTART),
        ("environment.C", None, "set", RESTART),
    ]


def test_dependencies_and_reactions() -> None:
    """By the key that has both."""
    long = 'depends_on = { db = { condition = "healthy", on_restart = "signal HUP" } }'
    assert told('depends_on = ["db"]', long) == [
        ("depends_on.db", "started", "healthy", LIVE),
        ("depends_on.db.on_restart", None, "signal HUP", LIVE),
    ]


def test_each_mount_is_told_by_its_target() -> None:
    """Entries as the file writes them."""
    old = 'volumes = ["data:/data", "tmpfs:/t:size=16M"]'
    new = 'volumes = ["data:/data:ro", "/c"]\nconfigs = ["motd"]'
    assert told(old, new) == [
        ('volumes."/data"', "data:/data", "data:/data:ro", RESTART),
        ('volumes."/t"', "tmpfs:/t:size=16M", None, RESTART),
        ('volumes."/c"', None, "/c", RESTART),
        ('configs."/motd"', None, "motd, mode 0444", RESTART),
    ]
    swapped = 'volumes = ["tmpfs:/t:size=16M", "data:/data"]'
    assert told(old, swapped) == [("volumes", "the same", "in another order", RESTART)]


def test_a_change_of_content_is_told_by_the_target_alone() -> None:
    """With the effect that the file wants."""
    old = evolve(PLAIN, volumes=(DATA, CONF), grants=(TOKEN, MOTD), on_change=HUP)
    new = evolve(
        old,
        volumes=(DATA, evolve(CONF, content="sha256:2")),
        grants=(evolve(TOKEN, content=b"other"), MOTD),
    )
    assert container_changes(old, new) == (
        Change('containers.web.volumes."/conf"', "content", "content changed", Effect.SIGNAL),
        Change(
            'containers.web.secrets."/run/secrets/token"',
            "content",
            "content changed",
            Effect.SIGNAL,
        ),
    )


def test_an_image_is_told_with_what_it_led_to() -> None:
    """The same name may mean something new."""
    ours, theirs = (evolve(PLAIN, image=image) for image in VALUES["image"][1:])
    assert container_changes(ours, theirs) == (
        Change("containers.web.image", "shop (sha256:aaaa)", "shop (sha256:bbbb)", RECREATE),
    )


def test_a_networks_own_table_is_told_where_it_is() -> None:
    """It is a change of every container that is on it, and of the fleet."""
    text = '[containers.web]\nimage = "x"\nnetworks = ["back"]\n[networks.back]\n'
    found = changes(read(text), read(f"{text}internal = true\n"))
    change = Change("networks.back.internal", "false", "true", RECREATE)
    assert found.fleet == (change,)
    assert found.containers["web"].changes == (change,)
    assert found.containers["web"].effect is RECREATE


def test_containers_that_come_and_go_are_named() -> None:
    """In the files' order; those that stay have their counts."""
    names = ("a", "b", "c", "d")
    a, b, c, d = (evolve(PLAIN, name=name) for name in names)
    found = changes(fleet(a, b, c), fleet(d, evolve(c, replicas=4), evolve(b, pull=b.pull)))
    assert (found.added, found.removed, list(found.containers)) == (("d",), ("a",), ["c"])
    assert (found.containers["c"].replicas_before, found.containers["c"].replicas) == (1, 4)
    assert found


def test_keys_of_the_fleet() -> None:
    """Its own, its networks and its volumes."""
    old = Fleet("shop", {}, {"a": Network("a")}, frozenset({"data"}))
    new = Fleet(
        "shop",
        {},
        {"b": Network("b", "10.88.1.0/24")},
        frozenset({"more"}),
        LimitsMode.BEST_EFFORT,
        8,
    )
    assert changes(old, new).fleet == (
        Change("fleet.limits", "strict", "best-effort", NOTHING),
        Change("fleet.parallel", None, "8", LIVE),
        Change("networks.a", "declared", None, NOTHING),
        Change("networks.b", None, "declared", NOTHING),
        Change("volumes.data", "declared", None, NOTHING),
        Change("volumes.more", None, "declared", NOTHING),
    )
    subnet = evolve(new, networks={"b": Network("b", "10.88.2.0/24")})
    assert changes(new, subnet).fleet == (
        Change("networks.b.subnet", "10.88.1.0/24", "10.88.2.0/24", RECREATE),
    )
