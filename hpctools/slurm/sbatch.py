"""sbatch: submitting a script, and the directives that stand in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hpctools.errors import ParseError

# Carried as they are: nothing here ends a word, groups, escapes or starts a comment.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./\[\]{}~^*?!|&;<>()$`-]+")
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_SUBMITTED = re.compile(r"([0-9]+)(?:;(\S+))?")
# allocate.c. Until 24.11 "at T using", since 25.05 "at T on cluster C a using"; a heterogeneous
# job has neither "nodes" nor a partition.
_START = (
    r"Job (?P<job>[0-9]+) to start at (?P<start>\S+)(?: on cluster (?P<cluster>\S+))?(?: a)? using"
    r" (?P<cpus>[0-9]+) processors on (?:nodes )?(?P<nodes>\S*)(?: in partition (?P<partition>\S+))?"
)
_PREEMPTS = r"\s+Preempts: ([0-9,]+)"
_PREFIX = r"^(?:sbatch: )?(?:error: |fatal: )?(?:allocation failure: )?"


@dataclass(frozen=True)
class SubmitAnswer:
    """What sbatch --parsable printed: the job's id, and the cluster's name where one was chosen."""

    job_id: str
    cluster: str | None


@dataclass(frozen=True)
class TestOnly:
    """What sbatch --test-only said.

    start (as Slurm printed it) is when the job would start if no pending job were ahead; preempts
    are the jobs that would be preempted. message is sbatch's own text, without its prefixes.
    """

    __test__ = False  # pytest would take the name for a test's

    ok: bool
    start: str | None
    nodes: str | None
    partition: str | None
    message: str
    preempts: tuple[str, ...] = ()


def command(script: str, *, test_only: bool = False) -> list[str]:
    """The words that submit script, or ask whether and when it could run."""
    return ["sbatch", *(["--test-only"] if test_only else ["--parsable"]), script]


def parse(text: str) -> SubmitAnswer:
    """The answer of sbatch --parsable: the last line "id" or "id;cluster". Raises ParseError.

    Lines before it are a site's own (cli_filter and job_submit plugins print there).
    """
    lines = text.strip().split("\n")
    match = _SUBMITTED.fullmatch(lines[-1].strip()) if lines else None
    if not match:
        raise ParseError("an answer of sbatch --parsable", text)
    return SubmitAnswer(match[1], match[2])


def parse_test_only(stderr: str) -> TestOnly:
    """The answer of sbatch --test-only, which it gives on stderr, whatever its exit status."""
    message = "\n".join(filter(None, (re.sub(_PREFIX, "", line).strip() for line in stderr.split("\n"))))
    match = re.search(_START, stderr)
    if not match:
        return TestOnly(False, None, None, None, message)
    preempts = re.search(_PREEMPTS, stderr)
    return TestOnly(
        True,
        match["start"],
        match["nodes"] or None,
        match["partition"],
        message,
        tuple(preempts[1].split(",")) if preempts else (),
    )


def directive(name: str, value: str | None) -> str:
    """One line "#SBATCH --name=value", or "#SBATCH --name" where value is None.

    Quoted for sbatch's own reader, which is not a shell (src/sbatch/opt.c, get_argument): quotes
    group, # outside of them starts a comment, a backslash escapes even inside of single quotes.
    Raises ParseError for what no quoting carries: see directive_problem.
    """
    if not _NAME.fullmatch(name):
        raise ParseError("an option of sbatch", name)
    if value is None:
        return f"#SBATCH --{name}"
    if problem := directive_problem(value):
        raise ParseError(f"a value for --{name} ({problem})", value)
    return f"#SBATCH --{name}={_quote(value)}"


def _quote(value: str) -> str:
    if not value or _PLAIN.fullmatch(value):
        return value
    if '"' not in value:
        return f'"{value}"'
    # A quote of each kind cannot stand in its own: leave, write it in the other kind, go on.
    return "'" + value.replace("'", "'\"'\"'") + "'"


def directive_problem(value: str) -> str | None:
    """Why value cannot be carried by a directive, None if it can.

    A newline would end the directive and make script text of what follows; NUL ends the line for
    sbatch; a backslash is eaten, differently from release to release (26.05 keeps a space after it).
    """
    if "\\" in value:
        return "sbatch does not carry a backslash in a directive"
    for character in value:
        if character in "\n\r":
            return "a line break would end the directive"
        if ord(character) < 32 or 127 <= ord(character) < 160:
            return f"a control character (U+{ord(character):04X}) cannot be carried in a directive"
        if 0xD800 <= ord(character) <= 0xDFFF:
            return f"U+{ord(character):04X} is not a character: the text is not valid UTF-8"
    return None
