"""RUN, COPY, ADD and WORKDIR: each gives a layer, made now or found in the cache.

What a layer was made from is its key: the layers below it, what the step says once its variables
are replaced, and what it takes from elsewhere by content. Labels, times and places do not count.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final, final

from anchor_supervisor.build import configuration as config
from anchor_supervisor.build import instructions as say
from anchor_supervisor.build import modes
from anchor_supervisor.build.arguments import Scope
from anchor_supervisor.build.cache import Made, key_of
from anchor_supervisor.build.copying import Wishes, owner_of, plan_copy
from anchor_supervisor.build.fingerprint import fingerprint
from anchor_supervisor.build.ignore import ignore
from anchor_supervisor.build.layer_plan import LayerPlan
from anchor_supervisor.build.run_mounts import Mounts
from anchor_supervisor.build.selection import Source, select
from anchor_supervisor.build.tree import Tree
from anchor_supervisor.build.workshop import Workshop, chain
from anchor_supervisor.errors import BuildError
from anchor_supervisor.fleet.wording import Mistake
from anchor_supervisor.images.layer_writer import LayerWriter
from anchor_supervisor.images.model import Layer
from anchor_supervisor.values import frozen

_FORM: Final = 1  # of keys; one more makes every key a new one
_NONE: Final = "none"
_SCRIPTS: Final = "/.anchor"

FindLayers = Callable[[str], Sequence[Layer]]
"""The layers of what `--from` names. Raises AnchorError."""


@final
@frozen
class Outcome:
    """What a step came to: a layer, or None where it changed nothing."""

    made: Made | None
    cached: bool


@final
@frozen
class Ground:
    """What a step is done over: layers, configuration, variables; and how to find others'."""

    layers: Sequence[Layer]
    configuration: Mapping[str, Any]
    scope: Scope
    find: FindLayers

    @property
    def working_dir(self) -> str:
        """Where the step is."""
        return _setting(self.configuration, "WorkingDir") or "/"

    @property
    def user(self) -> str | None:
        """Whose the step is; None: root."""
        return _setting(self.configuration, "User") or None


def _setting(configuration: Mapping[str, Any], name: str) -> str:
    settings = configuration.get("config")
    found = settings.get(name) if isinstance(settings, dict) else None
    return found if isinstance(found, str) else ""


def run(shop: Workshop, ground: Ground, step: say.Run) -> Outcome:
    """Do a RUN."""
    if step.network is say.Network.HOST:
        message = "`--network=host` would give the step the machine's own network"
        raise BuildError(message, hint="the default network reaches out as well")
    argv, script = _argv(ground, step)
    with ExitStack() as opened:

        def tree(name: str | None) -> Tree:
            return shop.context if name is None else _tree(shop, ground, name)

        mounts = Mounts(tree, shop.cache, shop.options.secrets, shop.room, shop.secret_room, opened)
        key = key_of(
            *("run", _FORM, chain(ground.layers), argv, script, ground.user, ground.working_dir),
            *(dict(ground.scope.cache_variables), step.network.value, shop.options.epoch),
            list(mounts.facts(step.mounts, ground.working_dir, shop.digests)),
        )
        made = shop.cache.find(key, shop.lease)
        if made is not None:
            return Outcome(made, cached=True)
        from anchor_supervisor.build.command import Command, run_command  # trio: not for a hit

        prepared = mounts.prepare(step.mounts, ground.working_dir)
        volumes, targets = prepared.volumes, prepared.targets
        if script is not None:
            program = mounts.script(script, argv[0])
            volumes, targets = (*volumes, *program.volumes), (*targets, *program.targets)
        command = Command(
            argv,
            shop.paths(ground.layers),
            {**ground.scope.run_environment, **prepared.environment},
            ground.working_dir,
            ground.user,
            step.network is not say.Network.NONE,
            volumes,
            targets,
        )
        layer = run_command(
            command,
            shop.store,
            shop.lease,
            scratch=shop.room,
            reporter=shop.reporter,
            newest=shop.newest,
        )
    return _kept(shop, key, layer)


def _argv(ground: Ground, step: say.Run) -> tuple[tuple[str, ...], str | None]:
    """What is executed, and the script that it is, where the step is one."""
    if isinstance(step.command, tuple):
        return step.command, None
    if step.script is not None:
        return (f"{_SCRIPTS}/{step.heredocs[0].name}",), step.script
    return config.command(ground.configuration, step.shell_text), None


def copy(shop: Workshop, ground: Ground, step: say.Copy | say.Add) -> Outcome:
    """Do a COPY or an ADD."""
    destination = _destination(ground, step.destination)
    parents = isinstance(step, say.Copy) and step.parents
    unpack = isinstance(step, say.Add) and step.unpack is not False
    found: list[Source] = []
    digest = _fingerprint(shop, ground, step, parents=parents, found=found)
    key = key_of(
        *("copy", _FORM, chain(ground.layers), destination, step.chown, step.chmod),
        *(parents, unpack, digest, shop.options.epoch),
    )
    made = shop.cache.find(key, shop.lease)
    if made is not None:
        return Outcome(made, cached=True)
    sources = found or _sources(shop, ground, step, parents=parents)
    plan = LayerPlan(shop.resolver(ground.layers), now=shop.now, newest=shop.newest)
    owner = None if step.chown is None else _owner(shop, ground, step.chown)
    plan.owner = owner or (0, 0)
    change = None if step.chmod is None else modes.read(step.chmod)
    with ExitStack() as opened:
        wishes = Wishes(owner, change, parents, unpack)
        plan_copy(plan, sources, destination, wishes, scratch=shop.room, opened=opened)
        if plan.is_empty:
            shop.reporter.note("nothing matched, so nothing was copied")
            return Outcome(None, cached=False)
        return _kept(shop, key, _written(shop, plan))


def _fingerprint(
    shop: Workshop,
    ground: Ground,
    step: say.Copy | say.Add,
    *,
    parents: bool,
    found: list[Source],
) -> str:
    """What is copied, by content; for an image, remembered, since its content never changes."""
    origin = step.from_ if isinstance(step, say.Copy) else None
    memo = None
    if origin is not None:
        facts = (chain(ground.find(origin)), step.sources, step.exclude, parents)
        memo = key_of("from", _FORM, *facts)
        recalled = shop.cache.recall(memo)
        if recalled is not None:
            return recalled
    found += _sources(shop, ground, step, parents=parents)
    digest = fingerprint(found, shop.digests)
    if memo is not None:
        shop.cache.note(memo, digest)
    return digest


def _sources(
    shop: Workshop, ground: Ground, step: say.Copy | say.Add, *, parents: bool
) -> list[Source]:
    origin = step.from_ if isinstance(step, say.Copy) else None
    tree = shop.context if origin is None else _tree(shop, ground, origin)
    excluded = None
    if step.exclude:
        try:
            excluded = ignore(step.exclude).excluded
        except Mistake as mistake:
            raise BuildError(mistake.message, hint=mistake.hint) from mistake
    sources = [
        source
        for pattern in step.sources
        for source in select(tree, pattern, parents=parents, excluded=excluded)
    ]
    texts = [
        Source(heredoc.name, content=heredoc.body.encode("utf-8", "surrogateescape"))
        for heredoc in step.heredocs
    ]
    return sources + texts


def _tree(shop: Workshop, ground: Ground, name: str) -> Tree:
    return shop.tree(ground.find(name), f"`{name}`")


def _destination(ground: Ground, path: str) -> str:
    """Make it absolute, and keep what says that it is a directory."""
    whole = posixpath.join(ground.working_dir, path)
    is_directory = path.endswith(("/", "/.", "/..")) or path in (".", "..")
    clean = "/" + posixpath.normpath(whole).lstrip("/")
    return f"{clean.rstrip('/')}/" if is_directory else clean


def _owner(shop: Workshop, ground: Ground, text: str) -> tuple[int, int]:
    root = shop.root(ground.layers)
    return owner_of(text, shop.context.root if root is None else root)


def make_working_dir(shop: Workshop, ground: Ground, path: str) -> Outcome:
    """Do a WORKDIR; `path` is absolute. The directory is made for the stage's user."""
    key = key_of("workdir", _FORM, chain(ground.layers), path, ground.user, shop.options.epoch)
    if shop.cache.recall(key) == _NONE:
        return Outcome(None, cached=True)
    made = shop.cache.find(key, shop.lease)
    if made is not None:
        return Outcome(made, cached=True)
    plan = LayerPlan(shop.resolver(ground.layers), now=shop.now, newest=shop.newest)
    place = plan.image.resolve(path)
    if place.is_directory or not place.path:
        shop.cache.note(key, _NONE)
        return Outcome(None, cached=False)
    if ground.user is not None:
        plan.owner = _owner(shop, ground, ground.user)
    plan.make_directory(place.path)
    return _kept(shop, key, _written(shop, plan))


def _written(shop: Workshop, plan: LayerPlan) -> Layer:
    with LayerWriter(shop.store, shop.lease) as writer:
        plan.write(writer.write)
        return writer.finish()


def _kept(shop: Workshop, key: str, layer: Layer) -> Outcome:
    made = Made(layer, shop.created)
    shop.cache.keep(key, made)
    return Outcome(made, cached=False)
