"""Policies that contradict each other, or the container they are for."""

from __future__ import annotations

import pytest

from fleet_text import container, messages, problems

JOB = 'kind = "job"\n'


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("15", "`15` is not a signal"),
        ("", "the value is empty"),
        ("STOP", "`STOP` does not end a process"),
        ("SIGCONT", "`CONT` does not end a process"),
        ("RTMIN+31", "`RTMIN+31` is not a signal"),
    ],
)
def test_a_stop_signal_is_one_that_ends(name: str, message: str) -> None:
    """By name."""
    assert messages(f'stop = {{ signal = "{name}" }}') == [message]


def test_keys_that_make_no_sense_for_a_job() -> None:
    """A job is ready when it exits 0, and then it is done."""
    found = messages(f'{JOB}health = {{ tcp = 80 }}\nstartup = {{ tcp = 80 }}\nrestart = "always"')
    assert found == [
        "a job is ready when it exits 0, so `health` has no meaning",
        "a job is ready when it exits 0, so `startup` has no meaning",
        "a job that is always restarted is never done",
    ]
    assert messages(f'{JOB}update = {{ order = "start-first", monitor = "1s" }}') == [
        "a job is done when it exits 0, so nothing is left to watch",
        "a job is done when it exits 0, so its old runs are not kept up for new ones",
    ]
    assert container(f"{JOB}update = {{ parallelism = 2 }}").update.parallelism == 2


def test_a_run_outlasts_what_it_is_watched_for() -> None:
    """Else it would never get that far."""
    [found] = problems('max_runtime = "10s"\nhealth = { tcp = 80, start_period = "10s" }\n')
    assert found.message == "every run is over after `10s`, before `health.start_period`, `10s`"
    assert found.key == "containers.web.max_runtime"
    assert messages('max_runtime = "10s"\nupdate = { monitor = "1m" }') == [
        "every run is over after `10s`, before `update.monitor`, `1m`"
    ]
    assert container('max_runtime = "11s"\nupdate = { monitor = "10s" }').max_runtime == 11.0


def test_an_update_drains_only_ports() -> None:
    """There is nothing else that others come by."""
    assert messages('update = { drain = "5s" }') == [
        "the container publishes no ports, so there is nothing to drain"
    ]
    assert container('ports = ["80:80"]\nupdate = { drain = "5s" }').update.drain == 5.0


def test_old_and_new_side_by_side_need_two_addresses() -> None:
    """A fixed one is one."""
    lines = 'networks = { back = { address = "10.88.201.9" } }\n'
    network = '[networks.back]\nsubnet = "10.88.201.0/24"\n'
    [found] = problems(f'{lines}update = {{ order = "start-first" }}', network)
    assert found.message == (
        "`start-first` runs the old and the new side by side, and `10.88.201.9` "
        "cannot be the address of both"
    )
    assert found.key == "containers.web.update.order"
    assert container(f'{lines}update = {{ order = "stop-first" }}', network).networks


def test_old_and_new_side_by_side_need_room_in_the_network() -> None:
    """As many more as are replaced at a time."""
    network = '[networks.back]\nsubnet = "10.88.201.0/29"\n'
    lines = 'networks = ["back"]\nreplicas = 4\nupdate = { order = "start-first", parallelism = '
    assert messages(f"{lines}2 }}", network) == [
        "`10.88.201.0/29` has room for 5 containers, not for 6"
    ]
    assert container(f"{lines}1 }}", network).replicas == 4
