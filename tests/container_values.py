"""What Hypothesis makes of a container: a few values for each field of the model."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from attrs import evolve
from hypothesis import strategies as st

from anchor_supervisor.fleet.model import (
    Attachment,
    Build,
    Capabilities,
    Condition,
    Container,
    ExecProbe,
    Grant,
    GrantKind,
    Health,
    HttpProbe,
    Image,
    ImageKind,
    Kind,
    Limits,
    LogProbe,
    Network,
    NetworkMode,
    NotifyProbe,
    Port,
    Propagation,
    Pull,
    Reaction,
    ReactionKind,
    RestartPolicy,
    RestartWhen,
    RootStrategy,
    Startup,
    StopPolicy,
    TcpProbe,
    UpdateOrder,
    UpdatePolicy,
    UserNamespace,
    Volume,
    VolumeKind,
)
from anchor_supervisor.fleet.schedule_model import Overlap, Schedule
from anchor_supervisor.fleet.schedules import zone

HOST: Final = Image(ImageKind.HOST, "host")
PLAIN: Final = Container("web", HOST, command=("serve",))
DATA: Final = Volume(VolumeKind.NAMED, "/data", "data")
CONF: Final = Volume(VolumeKind.BIND, "/conf", "/etc/conf", read_only=True, content="sha256:1")
TOKEN: Final = Grant(GrantKind.SECRET, "token", "/run/secrets/token", b"hidden-1")
MOTD: Final = Grant(GrantKind.CONFIG, "motd", "/motd", b"hidden-2", 0o444)
WEB_PORT: Final = Port("127.0.0.1", 8080, 80)
HUP: Final = Reaction(ReactionKind.SIGNAL, "HUP")

VALUES: Final[Mapping[str, tuple[Any, ...]]] = MappingProxyType(
    {
        "name": ("web",),
        "image": (
            HOST,
            Image(ImageKind.STORE, "shop", "sha256:aaaa"),
            Image(ImageKind.STORE, "shop", "sha256:bbbb"),
        ),
        "build": (None, Build("/src"), Build("/src", "/src/D", {"V": "hidden-3"}, "run")),
        "pull": tuple(Pull),
        "kind": tuple(Kind),
        "root": tuple(RootStrategy),
        "read_only": (False, True),
        "volatile": (False, True),
        "user": (None, "1000:1000"),
        "working_dir": (None, "/srv"),
        "entrypoint": (None, ("sh", "-c", "a b")),
        "command": (None, ("serve",), ("serve", "--fast")),
        "environment": ({}, {"A": "hidden-4"}, {"A": "hidden-5", "B": "hidden-6"}),
        "volumes": (
            (),
            (DATA, CONF),
            (CONF, DATA),
            (DATA, evolve(CONF, content="sha256:2")),
            (evolve(CONF, read_only=False, content=None),),
            (evolve(DATA, subpath="a"), evolve(CONF, propagation=Propagation.SLAVE)),
            (DATA, DATA),
            (Volume(VolumeKind.TMPFS, "/t", size=1 << 20, mode=0o1777, uid=1, gid=2),),
            (Volume(VolumeKind.ANONYMOUS, "/a", copy=False, noexec=True),),
        ),
        "network_mode": tuple(NetworkMode),
        "networks": (
            {},
            {"back": Attachment(network=Network("back"))},
            {"back": Attachment(("db",), "10.88.1.9", Network("back", "10.88.1.0/24"))},
            {"back": Attachment(), "front": Attachment(network=Network("front", internal=True))},
        ),
        "init": (True, False),
        "essential": (False, True),
        "limits": (
            Limits(),
            Limits(declared=frozenset({"pids"})),
            Limits(memory=64 << 20, cpus=0.5, declared=frozenset({"memory", "cpus"})),
        ),
        "health": (
            None,
            Health(TcpProbe(80)),
            Health(TcpProbe(81), interval=1.0),
            Health(HttpProbe(80, "/x")),
            Health(LogProbe("ready")),
        ),
        "image_health": (True, False),
        "restart": (
            RestartPolicy(),
            RestartPolicy(RestartWhen.ALWAYS, delay=0.5, max=3),
            RestartPolicy(on_exit_codes=frozenset({1, 75})),
            RestartPolicy(on_exit_codes=frozenset({1}), never_on_exit_codes=frozenset({2})),
        ),
        "stop": (
            StopPolicy(),
            StopPolicy(declared=frozenset({"grace"})),
            StopPolicy("QUIT", 1.0, frozenset({"signal", "grace"}), ("pg_ctl", "stop")),
        ),
        "depends_on": ({}, {"db": Condition.STARTED}, {"db": Condition.HEALTHY}),
        "ports": (
            (),
            (WEB_PORT,),
            (Port("127.0.0.1", 53, 53, "udp"), WEB_PORT),
            (WEB_PORT, Port("127.0.0.1", 53, 53, "udp")),
        ),
        "replicas": (1, 3),
        "hostname": (None, "web.example"),
        "extra_hosts": ({}, {"registry": "10.0.0.5"}),
        "ulimits": ({}, {"nofile": (1024, 65536)}, {"nofile": (5, 5), "core": (0, 0)}),
        "sysctls": ({}, {"net.core.somaxconn": "1024"}),
        "capabilities": (Capabilities(), Capabilities(("NET_RAW",), ("ALL",))),
        "user_namespace": tuple(UserNamespace),
        "no_new_privileges": (True, False),
        "masked_paths": (True, False),
        "labels": ({}, {"tier": "front\x1b[31m"}),
        "complete": (False, True),
        "startup": (None, Startup(ExecProbe(("x",))), Startup(NotifyProbe(), retries=3)),
        "on_restart": ({}, {"db": HUP}, {"db": Reaction(ReactionKind.RESTART)}),
        "on_change": (Reaction(ReactionKind.RESTART), Reaction(ReactionKind.IGNORE), HUP),
        "max_runtime": (None, 60.0),
        "schedule": (
            None,
            Schedule(every=60.0),
            Schedule(cron="0 3 * * *", timezone=zone("Europe/Paris"), overlap=Overlap.QUEUE),
            Schedule(cron="0 3 * * *", catch_up=True),
        ),
        "update": (UpdatePolicy(), UpdatePolicy(UpdateOrder.START_FIRST, 2, 1.0, 0.0)),
        "grants": (
            (),
            (TOKEN, MOTD),
            (MOTD, TOKEN),
            (evolve(TOKEN, content=b"hidden-7"), MOTD),
            (evolve(TOKEN, mode=0o440, owner="app"),),
        ),
        "profiles": ((), ("debug",)),
    }
)
"""By field; whatever must not be told has `hidden` in it."""


@st.composite
def containers(draw: st.DrawFn) -> Container:
    """Draw one of all possible containers, most of whose fields are as they usually are."""
    chosen = draw(st.sets(st.sampled_from(sorted(VALUES)), max_size=8))
    fields: dict[str, Any] = {name: draw(st.sampled_from(VALUES[name])) for name in sorted(chosen)}
    return evolve(PLAIN, **fields)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Container, Container]:
    """Draw a container before and after a change of a few keys."""
    before = draw(containers())
    chosen = draw(st.sets(st.sampled_from(sorted(VALUES)), max_size=4))
    fields: dict[str, Any] = {name: draw(st.sampled_from(VALUES[name])) for name in sorted(chosen)}
    return before, evolve(before, **fields)
