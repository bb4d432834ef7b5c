"""The configuration of an image that is made from a container: its image's, the fleet's, changes.

As docker has it, the new image says what the container was told: command, variables, user and the
like. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from anchor_supervisor.build import configuration as config
from anchor_supervisor.build import dockerfile, expand, history
from anchor_supervisor.build import instructions as say
from anchor_supervisor.build.configuration import Configuration
from anchor_supervisor.control.shapes import ProcessFacts
from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.images.model import Layer, Platform

DEFAULT_SIGNAL: Final = "TERM"
OPTION: Final = "--change"
_ALLOWED: Final = (
    *(say.Cmd, say.Entrypoint, say.Env, say.Expose, say.HealthCheck, say.Label, say.OnBuild),
    *(say.StopSignal, say.User, say.Volume, say.WorkDir),
)


def begun(
    base: Mapping[str, Any] | None, platform: Platform, *, kept: bool = True
) -> Configuration:
    """Return the configuration of the image `base`; None: of none at all.

    Where its layers are not `kept`, neither is its history, which has an entry for each.
    """
    if base is None:
        return config.empty(platform)
    configuration, triggers = config.inherited(base)
    if triggers:
        configuration["config"]["OnBuild"] = list(triggers)
    return configuration if kept else {**configuration, "history": []}


def told(configuration: Configuration, process: ProcessFacts) -> Configuration:
    """Add what the container's process was told. Absent facts change nothing."""
    given = {
        "Entrypoint": process["entrypoint"],
        "Cmd": process["command"],
        "User": process["user"],
        "WorkingDir": process["working_dir"],
    }
    known = {key: value for key, value in given.items() if value is not None}
    settings = {**configuration["config"], **known}
    if process["entrypoint"] is not None and process["command"] is None:
        settings.pop("Cmd", None)
    variables = {**config.environment(configuration), **process["environment"]}
    settings["Env"] = [f"{name}={value}" for name, value in variables.items()]
    if process["stop_signal"] != DEFAULT_SIGNAL:
        settings["StopSignal"] = f"SIG{process['stop_signal']}"
    for key, more in (
        ("Labels", process["labels"]),
        ("ExposedPorts", {port: {} for port in process["ports"]}),
    ):
        if more:
            settings[key] = {**(settings.get(key) or {}), **more}
    return {**configuration, "config": settings}


def new_variables(configuration: Configuration, process: ProcessFacts) -> tuple[str, ...]:
    """Name the variables that the fleet adds to the image: some may be secret."""
    known = config.environment(configuration)
    return tuple(name for name, value in process["environment"].items() if known.get(name) != value)


def changed(configuration: Configuration, texts: Sequence[str]) -> Configuration:
    """Apply instructions of a Dockerfile, one a text. Raises FleetError for any other."""
    own_command = False
    for text in texts:
        instruction = _instruction(text)
        variables = config.environment(configuration)
        expanded = expand.instruction(instruction, variables, file=OPTION)
        own_command = own_command or isinstance(expanded, say.Cmd)
        configuration = config.changed(
            configuration, expanded, own_command=own_command, file=OPTION
        )
    return configuration


def _instruction(text: str) -> say.Instruction:
    parsed = dockerfile.parse(f"FROM scratch\n{text}\n", file=OPTION)
    said = [instruction for stage in parsed.stages for instruction in stage.instructions]
    if len(parsed.stages) != 1 or len(said) != 1 or not isinstance(said[0], _ALLOWED):
        words = ", ".join(kind.keyword for kind in _ALLOWED)
        problem = Problem(f"`{text}` is not a change to a configuration", hint=f"one of {words}")
        raise FleetError([problem])
    return said[0]


def recorded(
    configuration: Configuration,
    new: Sequence[tuple[Layer, str]],
    *,
    created: str,
    author: str | None,
    message: str | None,
) -> Configuration:
    """Write the new layers into the history; the comment belongs to the last."""
    for number, (layer, words) in enumerate(new, 1):
        comment = message if number == len(new) else None
        configuration = history.recorded(
            configuration, words, created=created, diff_id=layer.diff_id, comment=comment
        )
    if author is not None:
        configuration = {**configuration, "author": author}
    return configuration
