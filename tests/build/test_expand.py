"""Variables in a Dockerfile's words."""

from __future__ import annotations

import contextlib
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor_supervisor.build import instructions as say
from anchor_supervisor.build.expand import LARGEST, instruction, word, words
from anchor_supervisor.build.instructions import Heredoc, MountKind, RunMount
from anchor_supervisor.errors import FleetError, Problem
from anchor_supervisor.fleet.wording import Mistake

SET = {"A": "one", "EMPTY": "", "P": "/usr/local/lib", "FOO": "foobarbaz", "S": "a b", "é": "e"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("$A-${A}x$NO.", "one-onex."),
        ("$é", "e"),
        (r"\$A \a", "$A a"),
        ("a\\", "a"),
        ("'$A'", "$A"),
        (r"'\$A'", r"\$A"),
        ('"$A"', "one"),
        (r'"\$A \"x\" \\ \t"', r'$A "x" \ \t'),
        ('"it\'s" \'a "b"\'', 'it\'s a "b"'),
        ("a'b'\"c\"d", "abcd"),
        ("${NO:-d} ${NO-d} ${EMPTY:-d} ${EMPTY-d}", "d d d "),
        ("${A:-d} ${A-d}", "one one"),
        ("${NO:+d}${NO+d}${EMPTY:+d} ${EMPTY+d} ${A:+d} ${A+d}", " d d d"),
        ("${A:?no} ${A?no} ${EMPTY?no}", "one one "),
        ("${NO:-$A} ${NO:-${NONE:-$P}}", "one /usr/local/lib"),
        ("${NO:-'a } b'}", "a } b"),
        (r"${NO:-a\}b}", "a}b"),
        ("${P#*/} ${P##*/}", "usr/local/lib lib"),
        ("${P%/*} ${P%%/*}x", "/usr/local x"),
        ("${P#/usr} ${P%x}", "/local/lib /usr/local/lib"),
        ("${FOO/ba/fo} ${FOO//ba/fo} ${FOO//ba/}", "fooforbaz fooforfoz foorz"),
        ("${FOO/?a*/$A}", "fooone"),
        (r"${P//\//:}", ":usr:local:lib"),
        (r"${P//\//\/}", r"\/usr\/local\/lib"),
        ("$", "$"),
        ("$.a $", "$.a $"),
        ("$1a$@$*$#$?$-$$$!${1}${@}${#}", "a"),
        ("$12x", "x"),
        ("}{", "}{"),
        ("${A}}", "one}"),
    ],
)
def test_every_form_means_what_docker_means(text: str, expected: str) -> None:
    """Those of the reference documentation, and what BuildKit makes of odd ones."""
    assert word(text, SET) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("'a", "a ' in `'a` is never closed"),
        ('"a', 'a " in `"a` is never closed'),
        ("${A", "a `${` in `${A` lacks its `}`"),
        ("${A:-b", "a `${` in `${A:-b` lacks its `}`"),
        ("${A/b}", "a `${` in `${A/b}` lacks its `/`"),
        ("${}", "a `${` in `${}` is not followed by a variable's name"),
        ("${.}", "a `${` in `${.}` is not followed by a variable's name"),
        ("${A:=b}", "`:=` after `${A` has no meaning"),
        ("${A:#b}", "`:#` after `${A` has no meaning"),
        ("${A:}", "`:}` after `${A` has no meaning"),
        ("${A^^}", "`^` after `${A` has no meaning"),
        ("${NO:?}", "variable `NO` is not set: required"),
        ("${NO?say $A}", "variable `NO` is not set: say one"),
        ("${EMPTY:?it}", "variable `EMPTY` is not set: it"),
        (r"${A#\a}", r"`\a` in the pattern `\a` has no meaning"),
    ],
)
def test_wrong_forms_are_named(text: str, message: str) -> None:
    """Never taken for text."""
    with pytest.raises(Mistake) as caught:
        word(text, SET)
    assert caught.value.message == message


@pytest.mark.parametrize(
    "text", ["${A:-" * 100_000, "${A:-" * 21 + "}" * 21, "$LONG" * 10, "${LONG//x/$LONG}"]
)
def test_nothing_grows_without_end(text: str) -> None:
    """Neither the levels of braces nor the text."""
    with pytest.raises(Mistake, match=r"more than 20|longer than 4 MiB"):
        word(text, {"LONG": "x" * (LARGEST // 8)})


def test_the_escape_sign_may_be_another() -> None:
    """A backslash is a letter then."""
    assert word(r"`$A \$A", SET, escape="`") == r"$A \one"


def test_in_a_heredoc_quotes_are_letters() -> None:
    """Variables and escapes are not."""
    assert word("'$A' \"${A}\" \\$A \\\\\n", SET, quotes=False) == "'one' \"one\" $A \\\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a $S", ("a", "a", "b")),
        ('a "$S"', ("a", "a b")),
        (r"a\ b", ("a b",)),
        ("'' $EMPTY", ()),
        ("x${NO:-c d}", ("xc", "d")),
    ],
)
def test_words_split_where_nothing_is_quoted(text: str, expected: tuple[str, ...]) -> None:
    """Also inside what a variable holds."""
    assert words(text, SET) == expected


LETTERS = st.text(st.sampled_from("ab/._-"), max_size=4)
PATTERNS = st.text(st.sampled_from("ab/*?"), min_size=1, max_size=4)
NAMES = st.sampled_from(["A", "B", "EMPTY", "NO"])
PLAIN = st.recursive(
    st.one_of(
        LETTERS,
        NAMES.map(lambda name: f"${{{name}}}"),
        st.tuples(NAMES, st.sampled_from(["#", "##", "%", "%%"]), PATTERNS).map(
            lambda parts: f"${{{''.join(parts)}}}"
        ),
    ),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(NAMES, st.sampled_from([":-", "-", ":+", "+"]), inner).map(
            lambda parts: f"${{{''.join(parts)}}}"
        ),
    ),
    max_leaves=4,
)
FORMS = st.one_of(
    PLAIN,
    PLAIN.map(lambda text: f'"{text}\\$ \\a"'),
    PLAIN.map(lambda text: f"'{text}'{text}\\$\\'"),
)


@settings(max_examples=60)
@given(st.lists(FORMS, max_size=20), LETTERS, LETTERS)
def test_what_bash_knows_too_means_the_same(forms: list[str], first: str, second: str) -> None:
    """The forms that both have, inside one another, asked of a real bash."""
    variables = {"A": first, "B": second, "EMPTY": ""}
    # An assignment neither splits nor globs.
    script = "".join(f"x={form}\nprintf '%s\\0' \"$x\"\n" for form in forms)
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**variables, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
    )
    expected = done.stdout.decode().split("\0")[:-1]
    assert [word(form, variables) for form in forms] == expected


@given(st.text(st.sampled_from("${}:-+?#%/'\"\\AN "), max_size=24))
def test_any_text_is_expanded_or_a_mistake(text: str) -> None:
    """Nothing else is raised; and what has nothing to expand comes out as it is."""
    with contextlib.suppress(Mistake):
        assert isinstance(word(text, SET), str)
        assert isinstance(words(text, SET), tuple)
    assert word(text.translate(dict.fromkeys(map(ord, "$'\"\\"))), SET).count("$") == 0


MOUNT = RunMount("type=cache,target=$A", MountKind.CACHE, read_only=False)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (say.From("a:$A", "$P"), say.From("a:one", "/usr/local/lib")),
        (say.From("a", "$NO"), say.From("a", None)),
        (say.Env((("$A", "'$A'"), ("b", '"x $A"'))), say.Env((("one", "$A"), ("b", "x one")))),
        (say.Label((('"a b"', "$A"),)), say.Label((("a b", "one"),))),
        (
            say.Copy(("$A", "b"), "$P/", "x", "$A", "$A", ("$A",)),
            say.Copy(("one", "b"), "/usr/local/lib/", "x", "one", "one", ("$A",)),
        ),
        (
            say.Copy((), "/a", heredocs=(Heredoc("A", "'$A'\n"), Heredoc("B", "$A", expand=False))),
            say.Copy(
                (), "/a", heredocs=(Heredoc("A", "'one'\n"), Heredoc("B", "$A", expand=False))
            ),
        ),
        (say.Add(("$A",), "$A"), say.Add(("one",), "one")),
        (say.WorkDir("$P/$A"), say.WorkDir("/usr/local/lib/one")),
        (say.User("$A"), say.User("one")),
        (say.StopSignal("$A"), say.StopSignal("one")),
        (say.Volume(("$A", "b")), say.Volume(("one", "b"))),
        (say.Expose(("$S", "80")), say.Expose(("a", "b", "80"))),
        (
            say.Run("echo $A", mounts=(MOUNT,)),
            say.Run(
                "echo $A", mounts=(RunMount("", MountKind.CACHE, target="one", read_only=False),)
            ),
        ),
        *(
            (same, same)
            for same in (
                say.Cmd("echo $A"),
                say.Entrypoint(("$A",)),
                say.Shell(("$A",)),
                say.HealthCheck("$A"),
                say.OnBuild("USER $A", say.User("$A")),
                say.Maintainer("$A"),
                say.Arg((("a", "$A"),)),
            )
        ),
    ],
)
def test_each_instruction_has_its_own_parts_expanded(
    given: say.Instruction | say.From, expected: say.Instruction | say.From
) -> None:
    """What a container's shell would expand is left to it."""
    assert instruction(given, SET) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (say.User("${A", line=3), "a `${` in `${A` lacks its `}`"),
        (say.From("$NO", line=3), "the image `$NO` is empty"),
        (say.Env((("$NO", "a"),), line=3), "the name `$NO` is empty"),
        (say.Add(("${X:-https://a}",), "b", line=3), "`ADD` downloads nothing: `https://a`"),
        (
            say.Run("a", mounts=(RunMount("target=/x,ro=$A"),), line=3),
            "a mount's `ro` is `true` or `false`, not `one`",
        ),
    ],
)
def test_what_is_wrong_only_then_has_its_line(
    given: say.Instruction | say.From, message: str
) -> None:
    """As what is wrong from the beginning."""
    with pytest.raises(FleetError) as caught:
        instruction(given, SET, file="D")
    (problem,) = caught.value.problems
    assert problem == Problem(message, "D", 3, None, problem.hint)
