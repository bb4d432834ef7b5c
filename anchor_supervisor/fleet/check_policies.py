"""The policies of one container: how it ends, starts again, is updated; and contradictions."""

from __future__ import annotations

from collections.abc import Iterator

from anchor_supervisor.fleet.finding import Finding, path_of
from anchor_supervisor.fleet.model import Container, Kind, RestartWhen, UpdateOrder, UpdatePolicy
from anchor_supervisor.fleet.signals import NO_STOP_SIGNALS, check_signal
from anchor_supervisor.fleet.units import format_duration
from anchor_supervisor.fleet.wording import Mistake, show

Findings = Iterator[Finding]


def policy_findings(container: Container) -> Findings:
    """Yield every policy that could not be carried out, or never would be."""
    yield from _stop_signal(container)
    yield from _restart(container)
    yield from _exit_codes(container)
    yield from _max_runtime(container)
    yield from _update(container)
    if container.kind is Kind.JOB:
        yield from _job(container)
    elif container.schedule is not None:
        message = "a service runs all the time, so `schedule` has no meaning"
        because = (_path(container, "kind"),)
        yield Finding(_path(container, "schedule"), message, 'add `kind = "job"`', because)


def _path(container: Container, *keys: str) -> str:
    return path_of("containers", container.name, *keys)


def _stop_signal(container: Container) -> Findings:
    name = container.stop.signal
    key = _path(container, "stop", "signal")
    try:
        check_signal(name)
    except Mistake as mistake:
        yield Finding(key, mistake.message, mistake.hint)
        return
    if name in NO_STOP_SIGNALS:
        yield Finding(key, f"{show(name)} does not end a process", "`TERM`, `INT` or `QUIT`")


def _restart(container: Container) -> Findings:
    policy = container.restart
    if policy.delay > policy.max_delay:
        yield Finding(
            _path(container, "restart", "max_delay"),
            f"`{format_duration(policy.max_delay)}` is below `delay`, "
            f"`{format_duration(policy.delay)}`",
            because=(_path(container, "restart", "delay"),),
        )


def _exit_codes(container: Container) -> Findings:
    policy = container.restart
    only, never = policy.on_exit_codes, policy.never_on_exit_codes
    key = _path(container, "restart", "on_exit_codes")
    because = (_path(container, "restart", "when"),)
    if only is not None and not only:
        yield Finding(key, "no exit code is named", 'leave it out, or `restart = "no"`', (key,))
    if policy.when is RestartWhen.ON_FAILURE:
        for name, codes in (("on_exit_codes", only or ()), ("never_on_exit_codes", never)):
            if 0 in codes:
                message = "exit code `0` is no failure, after which alone there is a restart"
                hint = 'leave it out, or `when = "always"`'
                yield Finding(_path(container, "restart", name), message, hint, because)
    for code in sorted((only or frozenset()) & never):
        message = f"exit code `{code}` is in `never_on_exit_codes` as well"
        yield Finding(key, message, because=(_path(container, "restart", "never_on_exit_codes"),))


def _max_runtime(container: Container) -> Findings:
    """A run that ends before something is over never gets anywhere."""
    longest = container.max_runtime
    if longest is None:
        return
    rivals = [(("update", "monitor"), container.update.monitor)]
    if container.health is not None:
        rivals.append((("health", "start_period"), container.health.start_period))
    for keys, seconds in rivals:
        if longest <= seconds:
            message = (
                f"every run is over after `{format_duration(longest)}`, before "
                f"`{'.'.join(keys)}`, `{format_duration(seconds)}`"
            )
            key = _path(container, "max_runtime")
            yield Finding(key, message, because=(_path(container, *keys),))


def _update(container: Container) -> Findings:
    policy = container.update
    if policy.drain != UpdatePolicy().drain and not container.ports:
        yield Finding(
            _path(container, "update", "drain"),
            "the container publishes no ports, so there is nothing to drain",
            "leave it out",
            (_path(container, "ports"),),
        )
    if policy.order is not UpdateOrder.START_FIRST:
        return
    for name, attachment in container.networks.items():
        if attachment.address is not None:
            fixed = _path(container, "networks", name, "address")
            yield Finding(
                _path(container, "update", "order"),
                f"`start-first` runs the old and the new side by side, and `{attachment.address}` "
                "cannot be the address of both",
                "`stop-first`, or leave the `address` out",
                (fixed,),
            )


def _job(container: Container) -> Findings:
    because = (_path(container, "kind"),)
    if container.restart.when is RestartWhen.ALWAYS:
        yield Finding(
            _path(container, "restart"),
            "a job that is always restarted is never done",
            '`restart = "on-failure"`, or a service',
            because,
        )
    for name, probe in (("health", container.health), ("startup", container.startup)):
        if probe is not None:
            yield Finding(
                _path(container, name),
                f"a job is ready when it exits 0, so `{name}` has no meaning",
                "leave it out, or make it a service",
                because,
            )
    if container.update.order is UpdateOrder.START_FIRST:
        message = "a job is done when it exits 0, so its old runs are not kept up for new ones"
        hint = "leave it out, or make it a service"
        yield Finding(_path(container, "update", "order"), message, hint, because)
    if container.update.monitor:
        message = "a job is done when it exits 0, so nothing is left to watch"
        hint = "leave it out, or make it a service"
        yield Finding(_path(container, "update", "monitor"), message, hint, because)
