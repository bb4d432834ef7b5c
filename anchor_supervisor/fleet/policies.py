"""`limits`, `restart`, `stop` and `update`: how long, how often, how much."""

from __future__ import annotations

from typing import Final

from anchor_supervisor.fleet import schema, values
from anchor_supervisor.fleet.model import (
    Kind,
    Limits,
    OnUpdateFailure,
    RestartPolicy,
    RestartWhen,
    StopPolicy,
    UpdateOrder,
    UpdatePolicy,
)
from anchor_supervisor.fleet.sheet import Sheet, Table
from anchor_supervisor.fleet.signals import signal_name
from anchor_supervisor.fleet.wording import Mistake, show
from anchor_supervisor.patterns import pattern
from anchor_supervisor.values import field_names

SHORTEST_DELAY: Final = 0.001  # seconds
LARGEST_CODE: Final = 255
LONGEST_DRAIN: Final = 3600.0  # seconds
MOST_CPUS: Final = 1024.0
LARGEST_WEIGHT: Final = 10_000  # cgroup-v2.rst: cpu.weight, io.weight
MOST_PIDS: Final = 4_194_304  # PID_MAX_LIMIT (proc_sys_kernel(5))

_CPUSET: Final = pattern(r"[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*")


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
        declared=table.given & frozenset(field_names(Limits)),
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


def restart(sheet: Sheet, path: str, value: object, kind: Kind) -> RestartPolicy:
    """Read `restart = "..."` or its table. Services restart on failure, jobs not, unless told."""
    default = default_restart(kind)
    if isinstance(value, str | bool):
        when = sheet.attempt(path, _when, value, default.when)
        return RestartPolicy(when=when)
    table = Table(sheet, path, value, schema.RESTART)
    # No delay at all is a wish; less than the clock can tell apart is a slip.
    delay = table.read("delay", _delay, default.delay)
    highest = max(default.max_delay, delay)
    only = frozenset(table.items("on_exit_codes", _exit_code))
    policy = RestartPolicy(
        when=table.read("when", _when, default.when),
        delay=delay,
        factor=table.read("factor", values.fraction(1.0, 1000.0), default.factor),
        max_delay=table.read("max_delay", values.duration(SHORTEST_DELAY), highest),
        jitter=table.read("jitter", values.fraction(0.0, 1.0), default.jitter),
        max=table.read("max", values.whole(1, 1_000_000), None),
        window=table.read("window", values.duration(SHORTEST_DELAY), default.window),
        reset_after=table.read("reset_after", values.duration(), default.reset_after),
        on_exit_codes=only if "on_exit_codes" in table else None,
        never_on_exit_codes=frozenset(table.items("never_on_exit_codes", _exit_code)),
    )
    _idle(table, policy)
    return policy


def _idle(table: Table, policy: RestartPolicy) -> None:
    """Note the keys that nothing would ever ask for."""
    idle = sorted(table.given & schema.RESTART.keys() - {"when"})
    if policy.when is RestartWhen.NO and idle and not table.sheet.blames(table.at("when")):
        message = f"`{idle[0]}` has no meaning where nothing is restarted"
        table.sheet.report(table.at(idle[0]), message, 'add `when = "on-failure"`')
        return
    waits = [key for key in ("factor", "max_delay", "jitter") if key in table]
    if policy.delay == 0 and waits and not table.sheet.blames(table.at("delay")):
        message = f"`{waits[0]}` has no meaning where no `delay` is waited"
        table.sheet.report(table.at(waits[0]), message, "leave it out")


def _delay(value: object) -> float:
    return 0.0 if values.duration()(value) == 0 else values.duration(SHORTEST_DELAY)(value)


def _exit_code(value: object) -> int:
    return values.whole(0, LARGEST_CODE)(value)


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
        signal=table.read("signal", signal_name, default.signal),
        grace=table.read("grace", values.duration(), default.grace),
        declared=table.given & frozenset({"signal", "grace"}),
        command=table.read("command", values.program, None),
    )


def update(sheet: Sheet, path: str, value: object) -> UpdatePolicy:
    """Read `update = {...}`."""
    table = Table(sheet, path, value, schema.UPDATE)
    default = UpdatePolicy()
    failure = values.choice(OnUpdateFailure)
    return UpdatePolicy(
        order=table.read("order", values.choice(UpdateOrder), default.order),
        parallelism=table.read("parallelism", values.whole(1, 1000), default.parallelism),
        monitor=table.read("monitor", values.duration(), default.monitor),
        drain=table.read("drain", values.duration(high=LONGEST_DRAIN), default.drain),
        on_failure=table.read("on_failure", failure, default.on_failure),
    )
