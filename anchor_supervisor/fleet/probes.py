"""`health` and `startup`: exactly one probe, and when it is asked."""

from __future__ import annotations

from typing import Final

from anchor_supervisor.fleet import schema, values
from anchor_supervisor.fleet.model import (
    ExecProbe,
    Health,
    HttpProbe,
    LogProbe,
    NotifyProbe,
    OnUnhealthy,
    Probe,
    Startup,
    TcpProbe,
)
from anchor_supervisor.fleet.ports import port
from anchor_supervisor.fleet.sheet import Sheet, Table
from anchor_supervisor.fleet.wording import Mistake, printable, show
from anchor_supervisor.patterns import pattern
from anchor_supervisor.values import evolve

PROBES: Final = ("exec", "tcp", "http", "log", "notify")
SHORTEST_INTERVAL: Final = 0.01  # seconds; a probe costs about a millisecond
MOST_RETRIES: Final = 1000
LONGEST_PATTERN: Final = 1024  # letters

# Visible ASCII but `#`, which never reaches a server. A line break would forge a header.
_HTTP: Final = pattern(r":([0-9]{1,5})(/[!-\"$-~]*)?")


def health(sheet: Sheet, path: str, value: object) -> Health | None:
    """Read `health = {...}`; None where it has no probe that could be read."""
    table = Table(sheet, path, value, schema.HEALTH)
    probe, default = _probe(table), Health(TcpProbe(1))
    asked = _asked(table, default)
    checked = Health(
        probe=probe or default.probe,
        interval=asked.interval,
        timeout=asked.timeout,
        retries=asked.retries,
        start_period=table.read("start_period", values.duration(), default.start_period),
        on_failure=table.read("on_failure", values.choice(OnUnhealthy), default.on_failure),
    )
    return checked if probe is not None else None


def startup(sheet: Sheet, path: str, value: object) -> Startup | None:
    """Read `startup = {...}`; None where it has no probe that could be read."""
    table = Table(sheet, path, value, schema.STARTUP)
    probe = _probe(table)
    asked = _asked(table, Startup(TcpProbe(1)))
    return evolve(asked, probe=probe) if probe is not None else None


def _asked(table: Table, default: Health | Startup) -> Startup:
    """Read how often the probe is asked, for how long, and how many times in vain."""
    times = values.duration(SHORTEST_INTERVAL)
    return Startup(
        probe=default.probe,
        interval=table.read("interval", times, default.interval),
        timeout=table.read("timeout", times, default.timeout),
        retries=table.read("retries", values.whole(1, MOST_RETRIES), default.retries),
    )


def _probe(table: Table) -> Probe | None:
    """Read the one probe; note where there are none or several."""
    exec_probe: Probe | None = table.read("exec", _exec, None)
    tcp_probe: Probe | None = table.read("tcp", lambda value: TcpProbe(port(value)), None)
    http_probe: Probe | None = table.read("http", _http, None)
    log_probe: Probe | None = table.read("log", _log, None)
    notify_probe: Probe | None = table.read("notify", _notify, None)
    probe = exec_probe or tcp_probe or http_probe or log_probe or notify_probe
    given = [name for name in PROBES if name in table]
    if len(given) != 1 and not table.sheet.blames(table.path):
        listed = " and ".join(f"`{name}`" for name in given) or "none"
        message = f"exactly one probe is needed: {listed} given"
        table.sheet.report(table.path, message, "exec, tcp, http, log or notify")
    if isinstance(probe, LogProbe | NotifyProbe) and "interval" in table and len(given) == 1:
        message = f"`interval` has no meaning for `{given[0]}`, which is asked once a run"
        table.sheet.report(table.at("interval"), message, "`timeout` says how long is waited")
    return probe


def _exec(value: object) -> ExecProbe:
    return ExecProbe(values.program(value))


def _http(value: object) -> HttpProbe:
    text = values.text(value)
    found = _HTTP.fullmatch(text)
    if found is None:
        message = f"{show(text)} is not `:PORT/PATH`"
        raise Mistake(message, hint="such as `:80/health`")
    return HttpProbe(port(found.group(1)), found.group(2) or "/")


def _log(value: object) -> LogProbe:
    """Accept what the `regex` package can compile, which is what looks at the output."""
    pattern = values.filled_text(value)
    if len(pattern) > LONGEST_PATTERN:
        message = f"{show(pattern)} has more than {LONGEST_PATTERN} letters"
        raise Mistake(message)
    import regex  # here, because it takes 20 ms and few files need it

    try:
        regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError) as error:
        message = f"{show(pattern)} is not a regular expression: {printable(str(error))}"
        raise Mistake(message) from error
    return LogProbe(pattern)


def _notify(value: object) -> NotifyProbe:
    if not values.boolean(value):
        raise Mistake("`notify = false` asks for nothing", hint="leave it out")
    return NotifyProbe()
