"""The house rules, as tests: which way imports point, what has a test, how long things may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from anchor_supervisor import values

CHECKOUT: Final = Path(__file__).parents[1]
PACKAGE: Final = CHECKOUT / "anchor_supervisor"
TESTS: Final = CHECKOUT / "tests"
FILE_LINES: Final = 400
FUNCTION_LINES: Final = 70

SOURCES: Final = sorted(PACKAGE.rglob("*.py"))
EVERY_FILE: Final = sorted(
    path
    for folder in ("anchor_supervisor", "tests", "configs", "bench")
    for path in (CHECKOUT / folder).rglob("*")
    if path.suffix in {".py", ".pyi", ".c", ".h", ".sh", ".toml"}
)
PYTHON_FILES: Final = [path for path in EVERY_FILE if path.suffix == ".py"]

OPEN_BASES: Final = frozenset(
    {"Protocol", "StrEnum", "IntEnum", "Enum", "IntFlag", "TypedDict", "NamedTuple"}
)
"""A class with one of these bases cannot be opened further, or is made to be implemented."""

NOTHING_TO_RUN: Final = frozenset(
    {
        "control/handler.py",
        "control/shapes.py",
        "fleet/finding.py",
        "fleet/model.py",
        "fleet/mount_model.py",
        "fleet/policy_model.py",
        "fleet/schedule_model.py",
        "fleet/surroundings.py",
        "images/progress.py",
        "supervision/commands.py",
        "supervision/events.py",
    }
)
"""Types and values alone; mypy and whoever uses them are their test."""

TESTED_ELSEWHERE: Final = {
    "build/test_service.py": [
        *("build/options.py", "build/stage.py", "build/workshop.py"),
        "cli/build.py",
    ],
    "end_to_end/test_cp.py": [
        *("cli/cp.py", "runtime/container_root.py", "runtime/root_facts.py"),
        "runtime/stopped_volumes.py",
    ],
    "end_to_end/test_diff_and_commit.py": [
        *("cli/commit.py", "cli/diff.py", "runtime/committing.py", "runtime/container_changes.py"),
    ],
    "end_to_end/test_crash.py": ["cli/down.py"],
    "end_to_end/test_foreground.py": ["runtime/life.py"],
    "end_to_end/test_verbs.py": [
        *("cli/doctor.py", "cli/exec_.py", "cli/inspect.py"),
    ],
    "cli/test_images.py": [
        *("cli/history.py", "cli/image_words.py", "cli/prune.py", "cli/rmi.py", "cli/tag.py"),
    ],
    "cli/test_import.py": ["cli/save.py"],
    "cli/test_change_verbs.py": [
        *("cli/apply.py", "cli/change.py", "cli/entry_words.py", "cli/events.py", "cli/plan.py"),
        *("cli/plan_words.py", "cli/scale.py", "cli/times.py", "cli/wanted.py"),
    ],
    "cli/test_verbs.py": [
        *("cli/actions.py", "cli/kill.py", "cli/logs.py"),
        *("cli/restart.py", "cli/start.py", "cli/stop.py", "cli/why.py"),
    ],
    "cli/test_ps.py": ["cli/row_words.py"],
    "control/test_client.py": ["control/answers.py"],
    "control/test_fleets.py": ["control/address.py"],
    "control/test_server.py": ["control/connection.py"],
    "control/test_routes.py": ["control/asked.py"],
    "runtime/test_changing.py": ["runtime/settling.py"],
    "runtime/test_service.py": ["runtime/loop.py"],
    "runtime/test_views.py": ["runtime/inspecting.py"],
    "runtime/test_machine.py": ["runtime/asking.py", "runtime/held_facts.py"],
    "runtime/test_stop_signal.py": ["runtime/looks.py"],
    "runtime/test_reload.py": ["runtime/completion.py"],
    "fleet/test_diff.py": ["fleet/leaves.py"],
    "fleet/test_parse.py": ["fleet/check.py", "fleet/sheet.py"],
    "images/test_resolve.py": ["images/plain.py"],
    "images/test_load.py": ["images/load_parts.py", "images/load_root.py"],
    "kernel/test_steps.py": ["kernel/mount_steps.py"],
    "observability/test_log_store.py": ["observability/rotation.py"],
    "supervision/test_core.py": ["supervision/flow.py"],
}
"""Source files whose promises are kept by a test file of another name."""


def relative(path: Path) -> str:
    """A path as one would type it in the checkout."""
    return str(path.relative_to(CHECKOUT))


def test_imports_point_down() -> None:
    """The contracts in pyproject.toml hold: layers, and rooms that cannot act."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_source_file_has_a_test_file() -> None:
    """`room/file.py` is tested by `tests/room/test_file.py`, or is on a list above; never both."""
    elsewhere = [name for names in TESTED_ELSEWHERE.values() for name in names]
    excepted = {*NOTHING_TO_RUN, *elsewhere}
    tested = {str(path.relative_to(PACKAGE)) for path in SOURCES if own_test(path).is_file()}
    sources = {str(path.relative_to(PACKAGE)) for path in SOURCES if path.name != "__init__.py"}
    assert not sorted(sources - tested - excepted), "without a test file"
    assert not sorted(excepted & tested), "has a test file of its own by now"
    assert not sorted(excepted - sources), "is not there any more"
    assert not [name for name in TESTED_ELSEWHERE if not (TESTS / name).is_file()]


def own_test(source: Path) -> Path:
    """Where the tests of a source file belong."""
    inside = source.relative_to(PACKAGE)
    return TESTS / inside.parent / f"test_{inside.stem.strip('_')}.py"


def test_files_are_short() -> None:
    """A file can be read in one sitting."""
    lengths = {relative(path): path.read_text().count("\n") for path in EVERY_FILE}
    assert not {path: lines for path, lines in lengths.items() if lines > FILE_LINES}


def test_functions_are_short() -> None:
    """A function can be read on one screen."""
    lengths = {
        f"{relative(path)}: {function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path in PYTHON_FILES
        for function in functions(path)
    }
    assert not {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES}


def test_nothing_is_left_for_later() -> None:
    """What is not done is not in the code; where it belongs is the tracker."""
    words = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
    assert not [relative(path) for path in EVERY_FILE if words.search(path.read_text())]


def test_classes_are_closed() -> None:
    """A public class is final, unless it is an exception, an enumeration or a protocol."""
    assert not [
        f"{relative(path)}: {node.name}"
        for path in SOURCES
        for node in public_classes(path)
        if "final" not in decorators(node) and not is_open(node)
    ]


def test_values_cannot_change() -> None:
    """What is wanted, what happened and what to do are said once: frozen, not defined."""
    values = [
        *PACKAGE.glob("fleet/*model.py"),
        *(PACKAGE / "supervision" / f"{name}.py" for name in ("commands", "events", "states")),
        *PACKAGE.glob("kernel/*steps.py"),
    ]
    assert len(values) >= len(("model", "commands", "events", "states", "steps"))
    assert not [
        f"{relative(path)}: {node.name}"
        for path in values
        for node in public_classes(path)
        if "define" in decorators(node)
    ]


def test_every_test_says_what_it_proves() -> None:
    """Each test function has a docstring: the property, in a sentence."""
    assert not [
        f"{relative(path)}: {function.name}"
        for path in PYTHON_FILES
        if path.name.startswith("test_")
        for function in functions(path)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def public_classes(path: Path) -> Iterator[ast.ClassDef]:
    """Every class of a file that others may use."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node


def decorators(node: ast.ClassDef) -> set[str]:
    """The names of a class's decorators."""
    return {ast.unparse(each).split("(")[0] for each in node.decorator_list}


def is_open(node: ast.ClassDef) -> bool:
    """Whether a class needs no `final`: nobody can extend it, or everybody may."""
    bases = {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}
    return bool(bases & OPEN_BASES) or any(
        name.endswith(("Error", "Exception", "Bug")) for name in {*bases, node.name}
    )


def test_whoever_makes_values_asks_our_own_module() -> None:
    """A field of attrs' would be the default of a field of ours; see `values.py`."""
    ours = set(values.__all__)
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "attrs":
                names = {one.name for one in node.names}
                assert ours.isdisjoint(names) or path == Path(values.__file__), path


def test_no_class_of_values_asks_for_super() -> None:
    """It would mean the class as it was written, which is not the one that values are of."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                decorators = {ast.unparse(one).partition("(")[0] for one in node.decorator_list}
                if decorators & {"frozen", "define"}:
                    written = ast.unparse(node)
                    assert "super()" not in written, (path, node.name)
                    assert "__class__" not in written, (path, node.name)
