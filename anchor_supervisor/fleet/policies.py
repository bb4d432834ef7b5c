"""`limits`, `health`, `restart` and `stop`: how long, how often, how much."""

from __future__ import annotations

import re
from typing import Final

from attrs import fields_dict

from anchor_supervisor.fleet import schema, values
from anchor_supervisor.fleet.model import (
    ExecProbe,
    Health,
    HttpProbe,
    Kind,
    Limits,
    OnUnhealthy,
    Probe,
    RestartPolicy,
    RestartWhen,
    StopPolicy,
    TcpProbe,
)
from anchor_supervisor.fleet.ports import port
from anchor_supervisor.fleet.sheet import Sheet, Table
from anchor_supervisor.fleet.wording import Mistake, show

PROBES: Final = ("exec", "tcp", "http", "log", "notify")
SHORTEST_INTERVAL: Final = 0.01  # seconds; a probe costs about a millisecond
SHORTEST_DELAY: Final = 0.001  # seconds
MOST_CPUS: Final = 1024.0
LARGEST_WEIGHT: Final = 10_000  # cgroup-v2.rst: cpu.weight, io.weight
MOST_PIDS: Final = 4_194_304  # PID_MAX_LIMIT (proc_sys_kernel(5))

# Visible ASCII but `#`, which never reaches a server. A line break would forge a header.
_HTTP: Final = re.compile(r":([0-9]{1,5})(/[!-\"$-~]*)?")
_CPUSET: Final = re.compile(r"[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*")


def limits(sheet: Sheet, path: str, value: object) -> Limits:
    """Read `limits = {...}`; what is left out is not limited, except pids."""
    table = Table(sheet, path, value, schema.LIMITS)
    weight = values.whole(1, LARGEST_WEIGHT)
    default = Limits()
    return Limits(
        memory=table.read("memory", values.size, None),
        memory_high=table.read("memory_high", values.size, None),
        swap=table.read("swap", values.size, None),
        cpus=table.read("cpus", values.fraction(0.01, MOST_CPUS), None),
        cpu_weight=table.read("cpu_weight", weight, None),
        cpuset=table.read("cpuset", _cpuset, None),
        pids=table.read("pids", values.whole(1, MOST_PIDS), default.pids),
        io_weight=table.read("io_weight", weight, None),
        declared=table.given & frozenset(fields_dict(Limits)),
    )


def _cpuset(value: object) -> str:
    text = values.plain(value)
    if _CPUSET.fullmatch(text) is None:
        message = f"{show(text)} is not a list of processors"
        raise Mistake(message, hint="such as `0-1` or `0,2`")
    for part in text.split(","):
        first, _, last = part.partition("-")
        if last and int(last) < int(first):
            message = f"{show(text)}: {show(part)} runs backwards"
            raise Mistake(message)
    return text


def health(sheet: Sheet, path: str, value: object) -> Health | None:
    """Read `health = {...}`: exactly one probe, and when it is asked."""
    table = Table(sheet, path, value, schema.HEALTH)
    given = [probe for probe in PROBES if probe in table]
    probe = _probe(table)
    if len(given) != 1 and not sheet.blames(path):
        listed = " and ".join(f"`{probe}`" for probe in given) or "none"
        sheet.report(path, f"exactly one probe is needed: {listed} given", "exec, tcp or http")
    default = Health(TcpProbe(1))
    times = values.duration(SHORTEST_INTERVAL)
    checked = Health(
        probe=probe or default.probe,
        interval=table.read("interval", times, default.interval),
        timeout=table.read("timeout", times, default.timeout),
        retries=table.read("retries", values.whole(1, 1000), default.retries),
        start_period=table.read("start_period", values.duration(), default.start_period),
        on_failure=table.read("on_failure", values.choice(OnUnhealthy), default.on_failure),
    )
    return checked if probe is not None else None


def _probe(table: Table) -> Probe | None:
    exec_probe: Probe | None = table.read("exec", _exec, None)
    tcp_probe: Probe | None = table.read("tcp", lambda value: TcpProbe(port(value)), None)
    http_probe: Probe | None = table.read("http", _http, None)
    return exec_probe or tcp_probe or http_probe


def _exec(value: object) -> ExecProbe:
    command = values.words(value)
    if not command or not command[0]:
        raise Mistake("the command is empty")
    return ExecProbe(command)


def _http(value: object) -> HttpProbe:
    text = values.text(value)
    found = _HTTP.fullmatch(text)
    if found is None:
        message = f"{show(text)} is not `:PORT/PATH`"
        raise Mistake(message, hint="such as `:80/health`")
    return HttpProbe(port(found.group(1)), found.group(2) or "/")


def restart(sheet: Sheet, path: str, value: object, kind: Kind) -> RestartPolicy:
    """Read `restart = "..."` or its table. Services restart on failure, jobs not, unless told."""
    default = default_restart(kind)
    if isinstance(value, str | bool):
        when = sheet.attempt(path, _when, value, default.when)
        return RestartPolicy(when=when)
    table = Table(sheet, path, value, schema.RESTART)
    delay = table.read("delay", values.duration(SHORTEST_DELAY), default.delay)
    highest = max(default.max_delay, delay)
    policy = RestartPolicy(
        when=table.read("when", _when, default.when),
        delay=delay,
        factor=table.read("factor", values.fraction(1.0, 1000.0), default.factor),
        max_delay=table.read("max_delay", values.duration(SHORTEST_DELAY), highest),
        jitter=table.read("jitter", values.fraction(0.0, 1.0), default.jitter),
        max=table.read("max", values.whole(1, 1_000_000), None),
        window=table.read("window", values.duration(SHORTEST_DELAY), default.window),
        reset_after=table.read("reset_after", values.duration(), default.reset_after),
    )
    idle = sorted(table.given & schema.RESTART.keys() - {"when"})
    if policy.when is RestartWhen.NO and idle and not sheet.blames(table.at("when")):
        sheet.report(
            table.at(idle[0]),
            f"`{idle[0]}` has no meaning where nothing is restarted",
            'add `when = "on-failure"`',
        )
    return policy


def default_restart(kind: Kind) -> RestartPolicy:
    """Return what a container without `restart` gets."""
    when = RestartWhen.NO if kind is Kind.JOB else RestartWhen.ON_FAILURE
    return RestartPolicy(when=when)


def _when(value: object) -> RestartWhen:
    if value is False:
        raise Mistake("`false` is a boolean, not a string", hint='`"no"`')
    if value == "unless-stopped":
        hint = "`always`: what an operator stops stays down anyway"
        message = f"{show(value)} is a word of compose's"
        raise Mistake(message, hint=hint)
    if isinstance(value, str) and value.startswith("on-failure:"):
        hint = '`{ when = "on-failure", max = 5 }`'
        message = f"{show(value)}: how often is a key of its own"
        raise Mistake(message, hint=hint)
    return values.choice(RestartWhen)(value)


def stop(sheet: Sheet, path: str, value: object) -> StopPolicy:
    """Read `stop = {...}`."""
    table = Table(sheet, path, value, schema.STOP)
    default = StopPolicy()
    return StopPolicy(
        signal=table.read("signal", _signal, default.signal),
        grace=table.read("grace", values.duration(), default.grace),
        declared=table.given & frozenset({"signal", "grace"}),
    )


def _signal(value: object) -> str:
    return values.filled_text(value).upper().removeprefix("SIG")
