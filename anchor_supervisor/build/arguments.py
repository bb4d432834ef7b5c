"""Which variables a stage sees: ARG, ENV, `--build-arg`, the platforms; and what wins over what.

Pure. An ENV (the image's or the stage's) wins over an ARG of the same name; what `--build-arg`
gives wins over an ARG's default, and counts only where an ARG declares it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from anchor_supervisor.build import expand
from anchor_supervisor.build.instructions import Arg, Dockerfile, OnBuild
from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.wording import Mistake
from anchor_supervisor.images.model import Platform
from anchor_supervisor.values import evolve, field, frozen

Variables = Mapping[str, str]

PROXIES: Final = frozenset(
    spelled
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for spelled in (name, name.lower())
)
"""`--build-arg`s that a RUN sees without an ARG; then they are in no history and no cache key."""


def platform_arguments(
    build: Platform, target: Platform, *, stage: str = "default"
) -> dict[str, str]:
    """Return what `FROM` sees by itself, and a stage when an ARG of it asks."""
    return {
        "BUILDPLATFORM": str(build),
        "BUILDOS": build.os,
        "BUILDARCH": build.architecture,
        "BUILDVARIANT": build.variant or "",
        "TARGETPLATFORM": str(target),
        "TARGETOS": target.os,
        "TARGETARCH": target.architecture,
        "TARGETVARIANT": target.variant or "",
        "TARGETSTAGE": stage,
    }


def global_variables(dockerfile: Dockerfile, given: Variables, platforms: Variables) -> Variables:
    """Return what FROM is expanded with: the platforms, and the ARGs before the first FROM.

    `given` is what `--build-arg` gave. Raises FleetError.
    """
    automatic = {name: given.get(name, value) for name, value in platforms.items()}
    scope = Scope(given=given, arguments=automatic)
    for arg in dockerfile.arguments:
        scope, _ = scope.declare(arg, escape=dockerfile.escape, file=dockerfile.file)
    return scope.variables


def unknown(dockerfile: Dockerfile, given: Variables) -> tuple[str, ...]:
    """Return the names that `--build-arg` gives and no ARG asks for; docker warns about them."""
    said = [each for stage in dockerfile.stages for each in stage.instructions]
    inner = [each.instruction if isinstance(each, OnBuild) else each for each in said]
    args = [*dockerfile.arguments, *(each for each in inner if isinstance(each, Arg))]
    declared = {name for arg in args for name, _ in arg.arguments}
    known = declared | PROXIES | platform_arguments(Platform(), Platform()).keys()
    return tuple(sorted(given.keys() - known))


@final
@frozen
class Scope:
    """What one stage sees at one line. A stage made FROM another begins with its `arguments`.

    `environment` is the configuration's; `globals_` is what `global_variables` returned.
    `arguments` are those declared so far, in order; None is declared and never set.
    """

    given: Variables = field(factory=dict)
    globals_: Variables = field(factory=dict)
    environment: Variables = field(factory=dict)
    arguments: Mapping[str, str | None] = field(factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """What this stage's instructions are expanded with."""
        return {**self._set_arguments, **self.environment}

    @property
    def run_environment(self) -> dict[str, str]:
        """What a RUN's process gets: the same, and the proxies that `--build-arg` gave."""
        proxies = {name: self.given[name] for name in self.given if name in PROXIES}
        return {**proxies, **self.variables}

    @property
    def cache_variables(self) -> dict[str, str]:
        """What a RUN's result may depend on: all it sees, but proxies that no ARG declares."""
        return self.variables

    def with_environment(self, environment: Variables) -> Scope:
        """Return the scope after an ENV, or a FROM, has changed the environment."""
        return evolve(self, environment=dict(environment))

    def declare(self, arg: Arg, *, escape: str = "\\", file: str = "") -> tuple[Scope, Arg]:
        """Return the scope after an ARG, and the ARG with the values it got. Raises FleetError."""
        scope = self
        declared: list[tuple[str, str | None]] = []
        for name, default in arg.arguments:
            try:
                value = scope._value(name, default, escape)
            except Mistake as mistake:
                place = (file or None, arg.line or None, None, mistake.hint)
                raise FleetError([Problem(mistake.message, *place)]) from mistake
            declared.append((name, value))
            known = scope.arguments.get(name)
            updated = {**scope.arguments, name: known if value is None else value}
            scope = evolve(scope, arguments=updated)
        return scope, evolve(arg, arguments=tuple(declared))

    def history_prefix(self) -> str:
        """Return how a RUN's history names its arguments: `|1 V=2 `; nothing without any."""
        if not self.arguments:
            return ""
        seen = self.variables
        pairs = " ".join(f"{name}={seen.get(name, '')}" for name in self.arguments)
        return f"|{len(self.arguments)} {pairs} "

    @property
    def _set_arguments(self) -> dict[str, str]:
        return {name: value for name, value in self.arguments.items() if value is not None}

    def _value(self, name: str, default: str | None, escape: str) -> str | None:
        if name in self.given:
            return self.given[name]
        if default is not None:
            return expand.word(default, self.variables, escape=escape)
        return self.globals_.get(name)
