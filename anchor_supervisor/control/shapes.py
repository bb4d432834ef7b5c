"""The control protocol's JSON values, field by field. Types only; `protocol` has the routes.

Times are RFC 3339 with milliseconds (log lines: nanoseconds); durations are seconds, sizes bytes;
an absent fact is null.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class FleetInfo(TypedDict):
    """A running fleet. `ready`: every container is up.

    `files` (absolute) and `profiles` are what it was made of, or last changed to.
    """

    name: str
    pid: int
    file: str | None
    files: list[str]
    profiles: list[str]
    since: str
    containers: int
    ready: bool


class PortRow(TypedDict):
    """One published port."""

    host_address: str
    host_port: int
    container_port: int
    protocol: str


class LimitsRow(TypedDict):
    """The limits in force; null where there is none."""

    memory: int | None
    cpus: float | None
    pids: int | None


class ContainerRow(TypedDict):
    """One instance: an element of `anchor ps --json`.

    `name` is `<container>.<replica>`; `next` says what happens next (`starts again`, `is killed`,
    `runs again` ...) and `next_at` when; `oom` carries the words of an out-of-memory kill. Of
    restarts there were `attempts` within the last `attempts_window` seconds, and may be
    `attempts_most` (null: without end). `update` says how far an update of the container is, where
    one is under way or did not get to its end, `warning` what is wrong with this run.
    """

    fleet: str
    container: str
    replica: int
    name: str
    kind: str
    image: str
    state: str
    health: str
    reason: str
    since: str
    next: str | None
    next_at: str | None
    pid: int | None
    address: str | None
    ports: list[PortRow]
    restarts: int
    attempts: int
    attempts_most: int | None
    attempts_window: float
    update: str | None
    warning: str | None
    exit_code: int | None
    signal: int | None
    oom: str | None
    started_at: str | None
    finished_at: str | None
    limits: LimitsRow | None


class Dependency(TypedDict):
    """What an instance waits for, and what that waits for in turn."""

    name: str
    condition: str
    met: bool
    state: str
    health: str
    reason: str
    dependencies: list[Dependency]


class ProbeResult(TypedDict):
    """One answer of the health probe."""

    at: str
    ok: bool
    duration: float | None
    output: str


class ProbeStory(TypedDict):
    """The probe in words, failures in a row, and the last answers, oldest first.

    `startup`: it is the probe of `startup`, after which that of `health` is asked.
    """

    probe: str
    startup: bool
    failures: int
    retries: int
    results: list[ProbeResult]


class RestartStory(TypedDict):
    """The restart policy, and where the counting stands."""

    when: str
    in_window: int
    max: int | None
    window: float
    delay: float | None


class ScheduleStory(TypedDict):
    """When a job runs, in words; `next_at` is the next time, whatever becomes of it.

    `queued`: a run waits for the one under way. `skipped` were left out because one was under way.
    `suspended`: it rests until an operator starts the job.
    """

    when: str
    next_at: str | None
    queued: bool
    skipped: int
    suspended: bool


class StopStory(TypedDict):
    """How it is stopped, in words, and how the last `stop.command` ended (null: there was none)."""

    how: str
    command_at: str | None
    command_ok: bool | None
    command_output: str | None


class Exit(TypedDict):
    """How a run ended. `ran` is its length in seconds."""

    code: int | None
    signal: int | None
    oom: str | None
    at: str | None
    ran: float | None


class HistoryEntry(TypedDict):
    """One transition."""

    time: str
    state: str
    health: str
    reason: str


class LogLine(TypedDict):
    """One record of output. `base64` is there where `text` could not hold the bytes exactly."""

    name: str
    time: str
    stream: str
    partial: bool
    text: str
    base64: NotRequired[str]


class Why(TypedDict):
    """The whole story of one instance. Lists are oldest first.

    `told` is what the container last said of itself (STATUS= to its NOTIFY_SOCKET), `until` when
    `max_runtime` ends the run, `incidents` the last entries of the journal that are no
    transitions.
    """

    container: ContainerRow
    dependencies: list[Dependency]
    last_exit: Exit | None
    probe: ProbeStory | None
    restarts: RestartStory | None
    schedule: ScheduleStory | None
    stop: StopStory
    update: UpdateRow | None
    told: str | None
    until: str | None
    incidents: list[JournalEntry]
    log: list[LogLine]
    history: list[HistoryEntry]


class ExecContext(TypedDict):
    """What `exec` needs to become a process of a running instance. Ids are the container's own.

    `capabilities` is a mask; `pid` the main process as the host numbers it; `cgroup` an
    absolute path.
    """

    name: str
    pid: int
    cgroup: str
    environment: list[str]
    uid: int
    gid: int
    groups: list[int]
    capabilities: int
    working_dir: str
    no_new_privileges: bool


class RootContext(TypedDict):
    """What `cp`, `diff` and `commit` need of an instance's root, whether it runs or not.

    `pid` and `start_time` (clock ticks since boot) are those of a run that goes on. `hold` is the
    number of the hold that keeps it still: another one later, and it has moved. `layers` are
    directories, the uppermost first; `first_id` is the host's number for the container's 0, and
    `ids` how many it has (null: all). What a `volatile` one has written its next start forgets.
    `mount_points` are what anchor may have made in the root to mount on.
    `volumes` are `fleet.model.Volume`, field by field.
    """

    fleet: str
    name: str
    state: str
    pid: int | None
    start_time: int | None
    hold: int | None
    image: str
    image_kind: str
    digest: str
    layers: list[str]
    host: bool
    strategy: str
    read_only: bool
    volatile: bool
    writable: str
    first_id: int
    ids: int | None
    mount_points: list[str]
    volumes: list[dict[str, Any]]
    process: ProcessFacts


class ProcessFacts(TypedDict):
    """What the fleet file and the image say of a container's process, as an image would."""

    entrypoint: list[str] | None
    command: list[str] | None
    environment: dict[str, str]
    user: str | None
    working_dir: str | None
    stop_signal: str
    labels: dict[str, str]
    ports: list[str]


class Held(TypedDict):
    """The first and only line of a hold: every process of the instance has stopped."""

    name: str
    held: bool


class JournalEntry(TypedDict):
    """One thing that happened, as the journal keeps it; more keys follow from `event`.

    ``transition``: container (an instance), before, state, health, reason, exit. ``update``:
    container, result, reason. The others say what happened in figures; an absent fact is null or
    left out. `time` has nanoseconds.
    """

    time: str
    event: str


class KeyChange(TypedDict):
    """One key that differs. `key` is a path within its table: `limits.memory`.

    Values are as a person writes them; null is what is not there. Secrets are never shown.
    `effect`: nothing, live, signal, restart or recreate.
    """

    key: str
    before: str | None
    after: str | None
    effect: str


class ContainerChange(TypedDict):
    """What becomes of one container. `action`: start, stop or change; `effect`: its greatest.

    `replicas` is how many there will be, after how many there are.
    """

    container: str
    action: str
    effect: str
    replicas_before: int
    replicas: int
    keys: list[KeyChange]


class Plan(TypedDict):
    """What an apply would do. `running` false: what `up` would start.

    `keys` are those of the fleet itself, its networks and volumes.
    """

    fleet: str
    running: bool
    keys: list[KeyChange]
    containers: list[ContainerChange]


class UpdateRow(TypedDict):
    """One container's update.

    `result` is null while it is `active`, then done, paused, rolled back or superseded.
    """

    container: str
    active: bool
    result: str | None
    reason: str
    replaced: int
    total: int


class ApplyResult(TypedDict):
    """How an apply ended. `failed` tells of each instance that is not as the file says, in words.

    `ok`: everything is as the file says.
    """

    plan: Plan
    updates: list[UpdateRow]
    failed: list[str]
    ok: bool


class ApplyLine(TypedDict):
    """One line of an apply: the plan first, then what happens, then the result. One key is set."""

    plan: NotRequired[Plan]
    entry: NotRequired[JournalEntry]
    result: NotRequired[ApplyResult]


class DownResult(TypedDict):
    """What a fleet's end has removed, in words, a line each."""

    removed: list[str]


class ErrorBody(TypedDict):
    """The inside of an error answer; `kind` is a class of our errors.

    `problems` are all that is wrong with a fleet's file, or with the machine for it: words, hint.
    """

    message: str
    hint: str | None
    kind: str
    problems: NotRequired[list[tuple[str, str | None]]]
