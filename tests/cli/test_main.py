"""The program as a whole: verbs, help, typos, and how little it loads."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from anchor_program import Anchor
from anchor_supervisor.cli.main import NOT_YET, UNSAID, VERBS, _parser

ACTING_VERBS = {"up", "run", "exec", "doctor", "cp", "diff", "commit"}
CLIENT_VERBS = sorted(set(VERBS) - ACTING_VERBS)
HEAVY = {"trio", "attr", "attrs", "structlog", "rich", "pyroute2", "h11", "asyncio", "urllib3"}

# What a supervisor of directories that comes up has no use for yet, each with what it brings.
LATER = {
    "anchor_supervisor.control.connection",
    "anchor_supervisor.control.routes",
    "anchor_supervisor.images.store",
    "asyncio",
    "cronsim",
    "h11",
    "pyroute2",
    "regex",
    "rich",
    "structlog",
    "urllib3",
}
# What `anchor run` of a command that asks for nothing special has no use for either.
NOTHING_SPECIAL = {
    "anchor_supervisor.fleet.check_volumes",
    "anchor_supervisor.fleet.ports",
    "anchor_supervisor.fleet.probes",
    "anchor_supervisor.fleet.schedules",
    "anchor_supervisor.rootfs.grants",
    "anchor_supervisor.rootfs.reflink",
    "anchor_supervisor.rootfs.tree_copy",
    "anchor_supervisor.rootfs.volumes",
    "anchor_supervisor.runtime.contents",
    "ctypes",
    "datetime",
    "hashlib",
    "json",
    "shlex",
    "termios",
}
# Of the standard library, what a question to a supervisor can do without. Each takes 1 to 6 % of
# the time that `ps` may take, beside what it loads in turn.
DISPENSABLE = {
    "contextlib",
    "copy",
    "dataclasses",
    "inspect",
    "ipaddress",
    "pathlib",
    "shutil",
    "signal",
    "tempfile",
    "threading",
    "tomllib",
    "typing",
    "urllib",
}
LAST = "print(*sys.modules, file=sys.stderr)"


def loaded(result: subprocess.CompletedProcess[str]) -> set[str]:
    """What a script that ended with LAST had loaded."""
    assert result.returncode == 0, result.stderr
    return set(result.stderr.splitlines()[-1].split())


def rooms(modules: set[str]) -> set[str]:
    """The packages, or top modules, that these belong to."""
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("words", [("ps", "--json"), ("why", "web"), ("logs",), ("--version",)])
def test_asking_loads_only_the_standard_library(
    anchor: Anchor, shop: object, words: tuple[str, ...]
) -> None:
    """`anchor ps` answers within 60 ms, and so do its neighbours: they import nothing heavy."""
    script = (
        "import sys; from anchor_supervisor.cli.main import main;"
        f"code = main({list(words)}); {LAST}; sys.exit(code)"
    )
    found = rooms(loaded(anchor.python(script)))
    assert "anchor_supervisor" in found
    assert found & HEAVY == set()
    assert found - {"anchor_supervisor", "__main__"} <= sys.stdlib_module_names | loaded_by_site()


@pytest.mark.parametrize(
    "line",
    [
        *("ps", "-p shop ps --json", "ps -f shop.toml", "ps -a", "why web", "inspect web.1"),
        *("start web", "stop web", "restart web.1", "kill web"),
    ],
)
def test_asking_loads_little_of_the_standard_library(
    anchor: Anchor, shop: object, line: str
) -> None:
    """Most of the time that a client takes is the loading of modules, nearly all of them its."""
    (anchor.place / "shop.toml").write_text('# a fleet\n\n[fleet]\nname = "shop"\n')
    script = (
        "import sys; from anchor_supervisor.cli.main import main;"
        f"code = main({line.split()}); {LAST}; sys.exit(code)"
    )
    found = rooms(loaded(anchor.python(script)))
    assert found & (DISPENSABLE - loaded_by_site()) == set()


def test_a_request_is_sent_before_what_its_answer_needs_is_loaded(anchor: Anchor) -> None:
    """It is loaded while the supervisor makes the answer, which takes it as long."""
    script = f"import sys; import anchor_supervisor.cli.main, anchor_supervisor.cli.ps; {LAST}"
    later = {"json", "datetime", "anchor_supervisor.cli.render", "anchor_supervisor.cli.row_words"}
    assert loaded(anchor.python(script)) & (later - loaded_by_site()) == set()


def loaded_by_site() -> set[str]:
    """What an interpreter that does nothing has loaded already."""
    script = "import sys; print(*(name.partition('.')[0] for name in sys.modules))"
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(told.stdout.split())


@pytest.mark.parametrize("verb", CLIENT_VERBS)
def test_client_verbs_load_nothing_heavy(anchor: Anchor, verb: str) -> None:
    """Nor does any other verb that only speaks to a supervisor."""
    script = f"import sys; import anchor_supervisor.cli.{VERBS[verb].module}; {LAST}"
    assert rooms(loaded(anchor.python(script))) & HEAVY == set()


@pytest.mark.parametrize("line", ["ps", "ps -h", "logs -f -- web", "exec web -- ls --json -p x"])
def test_a_verb_that_comes_first_needs_no_parser_before_it(line: str) -> None:
    """What it would have said is known: every option has the value of one that is not given."""
    verb, *arguments = line.split()
    said = _parser().parse_args([verb, *arguments], argparse.Namespace(**UNSAID))
    assert vars(said) == {**UNSAID, "verb": verb, "arguments": arguments}


@pytest.mark.root
def test_a_short_command_is_over_before_the_loop_is_loaded(anchor: Anchor) -> None:
    """`anchor run true` needs neither attrs, trio, the core, a socket, nor the store."""
    script = (
        "import sys; from anchor_supervisor.cli.main import main;"
        f"code = main(['run', '--net', 'none', 'true']); {LAST}; sys.exit(code)"
    )
    found = loaded(anchor.python(script))
    assert rooms(found) & HEAVY == set()
    assert found & (LATER | NOTHING_SPECIAL) == set()
    assert not {"anchor_supervisor.runtime.loop", "anchor_supervisor.supervision.core"} & found


def test_a_supervisor_begins_without_what_it_needs_later(anchor: Anchor) -> None:
    """What serves operators, writes lines, probes, and keeps images is loaded by its first use."""
    script = f"import sys; import anchor_supervisor.cli.up, anchor_supervisor.runtime.loop; {LAST}"
    found = loaded(anchor.python(script))
    assert "trio" in found
    assert found & LATER == set()


@pytest.mark.parametrize("verb", [*CLIENT_VERBS, "doctor", "cp", "diff", "commit"])
def test_every_verb_has_help_with_examples(anchor: Anchor, verb: str) -> None:
    """`anchor VERB --help` and `anchor help VERB` say the same, with examples."""
    result = anchor(verb, "--help")
    assert result.returncode == 0
    assert f"usage: anchor {verb}" in result.stdout
    assert f"  anchor {verb}" in result.stdout.partition("examples:")[2]
    assert anchor("help", verb).stdout == result.stdout


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",), ("-h",)])
def test_the_overview_names_every_verb(anchor: Anchor, arguments: tuple[str, ...]) -> None:
    """Without a verb there is an overview."""
    result = anchor(*arguments)
    assert result.returncode == 0
    assert all(f"\n  {verb} " in result.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", ["stats", "wait", "pause"])
def test_a_verb_of_later_is_known(anchor: Anchor, verb: str) -> None:
    """A verb that is promised but not there is refused as such."""
    result = anchor(verb, "--some", "-x")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: `{verb}` is not supported yet\n")


def test_the_verbs_of_later_are_not_those_of_now() -> None:
    """No verb is both."""
    assert NOT_YET.isdisjoint(VERBS)


@pytest.mark.parametrize(("typo", "near"), [("lgos", "logs"), ("pss", "ps"), ("strat", "start")])
def test_a_typo_gets_the_nearest_verb(anchor: Anchor, typo: str, near: str) -> None:
    """An unknown verb is an error with the nearest one as a hint."""
    result = anchor(typo)
    assert result.returncode == 2
    assert result.stderr == f"error: unknown verb `{typo}`\nhint: did you mean `{near}`?\n"


def test_a_wrong_option_is_a_wrong_use(anchor: Anchor) -> None:
    """An option that there is not exits 2, with the usage."""
    result = anchor("ps", "--colour")
    assert result.returncode == 2
    assert "unrecognized arguments: --colour" in result.stderr


def test_options_go_before_or_after_the_verb(anchor: Anchor, shop: object) -> None:
    """`-p`, `-f` and `--json` mean the same on both sides."""
    before = anchor("-p", "shop", "--json", "ps")
    assert before.returncode == 0
    assert anchor("ps", "-p", "shop", "--json").stdout == before.stdout


def test_a_broken_pipe_is_quiet(anchor: Anchor, shop: object) -> None:
    """Who reads no further hears no complaint."""
    result = anchor.shell("{anchor} ps | true; echo ${{PIPESTATUS[0]}}")
    assert result.stderr == ""
    assert result.stdout in {"141\n", "0\n"}


def test_a_full_disk_is_an_error(anchor: Anchor, shop: object) -> None:
    """Output that cannot be written is told, not lost in silence."""
    result = anchor.shell("{anchor} ps > /dev/full")
    assert result.returncode == 1
    assert result.stderr == "error: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_long_answer_to_a_full_disk_is_the_same_error(anchor: Anchor, unbuffered: str) -> None:
    """Whether it fails at once or at the end, it is the disk's fault and not ours."""
    words = f"PYTHONUNBUFFERED={unbuffered} {{anchor}} volume ls --json"
    for number in range(100):
        (anchor.place / f"data/volumes/shop/volume-{number}/data").mkdir(parents=True)
    anchor.shell(f"ANCHOR_DATA_DIR=$PWD/data {words} > out")
    assert (anchor.place / "out").stat().st_size > 8192
    result = anchor.shell(f"ANCHOR_DATA_DIR=$PWD/data {words} > /dev/full")
    assert result.stderr == "error: cannot write to standard output: No space left on device\n"
    assert result.returncode == 1


def test_the_version(anchor: Anchor) -> None:
    """`--version` says which program this is."""
    assert anchor("--version").stdout.startswith("anchor 0.")
