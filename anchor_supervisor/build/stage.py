"""A stage of a Dockerfile, instruction by instruction, from its base to what it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

from anchor_supervisor.build import configuration as config
from anchor_supervisor.build import expand, history, steps
from anchor_supervisor.build import instructions as say
from anchor_supervisor.build.arguments import Scope
from anchor_supervisor.build.cache import key_of
from anchor_supervisor.build.workshop import Workshop, chain
from anchor_supervisor.errors import BuildError, FleetError, ImageError, KernelError
from anchor_supervisor.images.model import Layer
from anchor_supervisor.values import define, evolve, field, frozen

LAYERED: Final = (say.Run, say.Copy, say.Add, say.WorkDir)
"""What is counted and shown as a step, beside FROM: whatever may make a layer."""

Counter = Callable[[str], None]


@final
@frozen
class Built:
    """What a stage leaves, and what another begins with that is made FROM it."""

    configuration: Mapping[str, Any]
    layers: tuple[Layer, ...] = ()
    arguments: Mapping[str, str | None] = field(factory=dict)


@final
@define(eq=False)
class StageRun:
    """One stage under way. `begin` shows a step; `find` gives the layers of what `--from` names."""

    shop: Workshop
    dockerfile: say.Dockerfile
    globals_: Mapping[str, str]
    find: steps.FindLayers
    begin: Counter
    _configuration: dict[str, Any] = field(factory=dict, init=False)
    _layers: list[Layer] = field(factory=list, init=False)
    _scope: Scope = field(factory=Scope, init=False)
    _created: str = field(default="", init=False)
    _has_command: bool = field(default=False, init=False)

    def run(self, stage: say.Stage, base: Built) -> Built:
        """Do all of it. Raises BuildError, at its line, for what fails."""
        self._configuration, triggers = config.inherited(base.configuration)
        self._layers = list(base.layers)
        if "PATH" not in config.environment(self._configuration):
            path = say.Env(variables=(("PATH", config.DEFAULT_PATH),))
            self._configuration = config.changed(self._configuration, path)
        environment = config.environment(self._configuration)
        given = self.shop.options.arguments
        self._scope = Scope(given, self.globals_, environment, base.arguments)
        self._created = self._begun(stage, base)
        for text in triggers:
            trigger = config.on_build(text)
            line, end_line = stage.base.line, stage.base.end_line
            self._do(evolve(trigger, text=f"ONBUILD {text}", line=line, end_line=end_line))
        for instruction in stage.instructions:
            self._do(instruction)
        return Built(self._configuration, tuple(self._layers), self._scope.arguments)

    def _begun(self, stage: say.Stage, base: Built) -> str:
        """When it began: for what changes nothing but words, the same time at every rebuild."""
        said = [instruction.text for instruction in stage.instructions]
        settings = {key: base.configuration.get(key) for key in ("config", "history")}
        epoch = self.shop.options.epoch
        key = key_of("begun", chain(base.layers), settings, said, epoch)
        created = self.shop.cache.recall(key)
        if created is None:
            created = self.shop.created
            self.shop.cache.note(key, created)
        return created

    def _do(self, written: say.Instruction) -> None:
        dockerfile = self.dockerfile
        shown = isinstance(written, LAYERED)
        if shown:
            self.begin(written.text)
        started = time.monotonic()
        if isinstance(written, say.Arg):
            self._scope, declared = self._scope.declare(
                written, escape=dockerfile.escape, file=dockerfile.file
            )
            self._record(declared, None)
            return
        variables = self._scope.variables
        instruction = expand.instruction(
            written, variables, escape=dockerfile.escape, file=dockerfile.file
        )
        self._has_command = self._has_command or isinstance(instruction, say.Cmd)
        before = self._configuration
        self._configuration = config.changed(
            before, instruction, own_command=self._has_command, file=dockerfile.file
        )
        outcome = self._layer(instruction, before)
        self._scope = self._scope.with_environment(config.environment(self._configuration))
        if outcome is not None and outcome.made is not None:
            self._layers.append(outcome.made.layer)
            self._created = outcome.made.created
        self._record(instruction, outcome)
        if shown:
            is_cached = outcome is not None and outcome.cached
            self.shop.reporter.end(None if is_cached else time.monotonic() - started)

    def _layer(
        self, instruction: say.Instruction, before: Mapping[str, Any]
    ) -> steps.Outcome | None:
        """Do what makes a layer. Raises BuildError that shows the line."""
        ground = steps.Ground(tuple(self._layers), before, self._scope, self.find)
        try:
            match instruction:
                case say.Run():
                    return steps.run(self.shop, ground, instruction)
                case say.Copy() | say.Add():
                    return steps.copy(self.shop, ground, instruction)
                case say.WorkDir():
                    path = str(self._configuration["config"]["WorkingDir"])
                    return steps.make_working_dir(self.shop, ground, path)
                case _:
                    return None
        except KernelError:
            raise
        except (BuildError, FleetError, ImageError) as error:
            raise self._located(error, instruction) from error

    def _located(
        self, error: BuildError | FleetError | ImageError, instruction: say.Instruction
    ) -> BuildError:
        """Say where it is, show those lines, and what was last said by a command that failed."""
        first = instruction.line
        place = f"{self.dockerfile.file}:{first}: "
        # What a RUN's container is made of has no place in any file but this one.
        problems = error.problems if isinstance(error, FleetError) else ()
        why = "; ".join(problem.message for problem in problems) or error.message
        lines = [f"{place}{instruction.keyword}: {why}"]
        width = len(str(instruction.end_line))
        for number, line in enumerate(self.dockerfile.excerpt(instruction), first):
            lines.append(f"  {number:>{width}} | {line}")
        output: bytes = getattr(error, "output", b"")
        if output.strip():
            lines.append("its last output:")
            said = output.decode("utf-8", "replace").rstrip("\n").split("\n")
            lines += [f"  {line}" for line in said[-20:]]
        return BuildError("\n".join(lines), hint=error.hint)

    def _record(self, instruction: say.Instruction, outcome: steps.Outcome | None) -> None:
        """Write the history: with a layer's digest, or as a step that made none."""
        prefix = self._scope.history_prefix() if isinstance(instruction, say.Run) else ""
        made = outcome.made if outcome is not None else None
        self._configuration = history.recorded(
            self._configuration,
            history.created_by(instruction, self._configuration, arguments=prefix),
            created=self._created,
            diff_id=None if made is None else made.layer.diff_id,
        )


def needed(dockerfile: say.Dockerfile, target: int, bases: Sequence[int | None]) -> list[int]:
    """The stages that the target is made of, in order; `bases` are those they are made FROM."""
    wanted, ahead = set[int](), [target]
    while ahead:
        index = ahead.pop()
        if index in wanted:
            continue
        wanted.add(index)
        found = [bases[index]]
        for instruction in dockerfile.stages[index].instructions:
            found += [dockerfile.find(name, before=index) for name in _origins(instruction)]
        ahead += [each for each in found if each is not None]
    return sorted(wanted)


def _origins(instruction: say.Instruction) -> list[str]:
    """What an instruction takes from elsewhere."""
    match instruction:
        case say.Copy(from_=str(name)):
            return [name]
        case say.Run(mounts=mounts):
            return [mount.from_ for mount in mounts if mount.from_ is not None]
        case _:
            return []
