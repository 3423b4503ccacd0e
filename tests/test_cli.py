"""The command line as a whole: its help, its errors, its completion, what it imports."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hpctools import cli
from hpctools.errors import CommandError, HpctoolsError, InvalidInput, Problem, SlurmUnavailable

ROOT = Path(__file__).parent.parent
PROGRAM = "import sys; from hpctools.cli import main; sys.exit(main())"
HEAVY = {
    "duckdb",
    "jinja2",
    "json",
    "numpy",
    "pandas",
    "psutil",
    "pyslurm",
    "rich",
    "submitit",
    "torch",
    "yaml",
}
# What --help may import beyond what click itself does.
LIGHT = {"hpctools", "hpctools.cli"}


def hpctools(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def modules_after(code: str, *words: str) -> set[str]:
    """The modules that Python has imported when it ends."""
    report = "import atexit, sys; atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)))\n"
    done = subprocess.run(
        [sys.executable, "-c", report + code, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split())


def walk(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below, f"{path} lists {name} and has it not"
            yield from walk(below, f"{path} {name}")


@cache
def commands() -> dict[str, click.Command]:
    """Every command by the words that call it, hpctools itself left out."""
    return {path: command for path, command in walk(cli.cli, "hpctools") if path != "hpctools"}


def failing(error: BaseException) -> click.Command:
    @click.command()
    def fail() -> None:
        raise error

    return fail


def outcome(
    command: click.Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of main() with command in the place of ours."""
    monkeypatch.setattr(cli, "cli", command)
    status = cli.main([])
    said = capsys.readouterr()
    return status, said.out, said.err


# --- help -----------------------------------------------------------------------------------------
def test_help_imports_nothing_heavy_and_no_command() -> None:
    extra = modules_after(PROGRAM, "--help") - modules_after("import click.formatting")
    assert extra & HEAVY == set()
    assert {name for name in extra if name.startswith("hpctools")} == LIGHT


def test_a_dry_run_of_submit_is_imported_without_the_heavy_libraries() -> None:
    loaded = modules_after("import hpctools.cli.submit")
    assert loaded & {"duckdb", "numpy", "pandas", "pyslurm", "submitit", "torch", "rich"} == set()


def test_the_table_says_what_the_commands_say_of_themselves() -> None:
    for name, (_, _, help) in cli.COMMANDS.items():
        command = commands()[f"hpctools {name}"]
        assert command.name == name
        assert command.get_short_help_str(limit=200) == help


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    for path, command in commands().items():
        if path.split()[1] == name:
            assert command.help, f"{path} has no help"
            # A group's example may be of one of its commands.
            assert re.search(rf"^\s+.*\b{path}\b", command.help, re.MULTILINE), (
                f"{path}: no example in its help"
            )


def test_every_option_says_what_it_does() -> None:
    silent = [
        f"{path} {parameter.opts[0]}"
        for path, command in commands().items()
        for parameter in command.params
        if isinstance(parameter, click.Option) and not (parameter.help or parameter.hidden)
    ]
    assert silent == []


def test_every_command_stands_in_the_docs() -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    headings = {line.lstrip("# ").strip("`") for line in text.splitlines() if line.startswith("#")}
    assert [path for path in commands() if path not in headings] == []


def test_the_docs_name_no_command_that_is_not_there() -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    headings = {line.lstrip("# ").strip("`") for line in text.splitlines() if line.startswith("#")}
    assert {heading for heading in headings if heading.startswith("hpctools ")} <= commands().keys()


def test_the_version_is_that_of_the_package() -> None:
    import hpctools as package

    assert CliRunner().invoke(cli.cli, ["--version"]).output == f"hpctools, version {package.__version__}\n"


# --- errors ---------------------------------------------------------------------------------------
def test_an_unknown_command_is_the_users_mistake_and_the_nearest_is_named() -> None:
    done = hpctools("submti")
    assert done.returncode == 2
    assert "No such command 'submti'. Did you mean 'submit'?" in done.stderr


def test_an_unknown_command_like_none_of_ours_gets_no_suggestion() -> None:
    done = hpctools("xyzzy")
    assert done.returncode == 2
    assert "Did you mean" not in done.stderr


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (HpctoolsError("no such job"), 1),
        (CommandError(["sbatch"], 1, "sbatch: error: no\nsbatch: error: never"), 1),
        (SlurmUnavailable(["squeue"], 1, "Unable to contact slurm controller"), 1),
        (InvalidInput([Problem("--nodes", "5 of 4"), Problem("--time", "too long", "at most 1:00:00")]), 2),
    ],
)
def test_an_error_of_ours_is_one_line_a_problem_and_its_own_status(
    error: HpctoolsError, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended, out, err = outcome(failing(error), monkeypatch, capsys)
    assert (ended, out) == (status, "")
    assert err == "".join(f"hpctools: {line}\n" for line in str(error).splitlines())


def test_what_was_not_foreseen_is_one_plain_request_to_report_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HPCTOOLS_DEBUG", raising=False)
    status, _, err = outcome(failing(KeyError("nodes")), monkeypatch, capsys)
    assert status == 1
    assert "KeyError: 'nodes'" in err
    assert "HPCTOOLS_DEBUG=1" in err
    assert "Traceback" not in err


def test_debug_lets_what_was_not_foreseen_through(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPCTOOLS_DEBUG", "1")
    with pytest.raises(KeyError):
        outcome(failing(KeyError("nodes")), monkeypatch, capsys)


def test_a_file_that_cannot_be_read_is_named_and_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = PermissionError(13, "Permission denied", "site.yaml")
    assert outcome(failing(error), monkeypatch, capsys) == (1, "", "hpctools: site.yaml: Permission denied\n")


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = outcome(failing(KeyboardInterrupt()), monkeypatch, capsys)
    assert (status, err.strip()) == (130, "")


@pytest.mark.parametrize("status", [0, 7, 143])
def test_a_command_ends_with_the_status_it_asks_for(
    status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    @click.pass_context
    def end(ctx: click.Context) -> None:
        ctx.exit(status)

    assert outcome(end, monkeypatch, capsys) == (status, "", "")


def test_a_reader_that_leaves_is_no_error() -> None:
    """hpctools ... | head: quiet, whether the pipe breaks while printing or at the end."""
    for lines in (3, 100_000):
        code = (
            "import sys, click, hpctools.cli as c\n"
            f"def many(): click.echo('line\\n' * {lines})\n"
            "c.cli = click.Command('x', callback=many)\n"
            "sys.exit(c.main([]))"
        )
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = subprocess.run(
                [sys.executable, "-c", code],
                cwd=ROOT,
                stdout=writing,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        finally:
            os.close(writing)
        assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_the_output_is_said_once() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "--help"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["hpctools: [Errno 28] No space left on device"]


def test_bytes_that_are_no_text_can_be_printed() -> None:
    code = (
        "import sys, click, hpctools.cli as c\n"
        "c.cli = click.Command('x', callback=lambda: click.echo('a\\udcff'))\n"
        "sys.exit(c.main([]))"
    )
    for encoding, printed in (("utf-8", b"a\\udcff\n"), ("latin-1", b"a\\udcff\n"), ("ascii", b"a?\n")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, printed, b"")


# --- completion -----------------------------------------------------------------------------------
SHELLS = ("bash", "zsh", "fish")


def shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.mark.parametrize("name", SHELLS)
def test_a_shell_reads_its_completion_script(name: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(hpctools("completion", name).stdout)
    assert "_HPCTOOLS_COMPLETE" in script.read_text()
    done = subprocess.run([shell(name), "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


COMPLETE = {
    # The words after which tab is pressed are "hpctools s".
    "bash": """
        source "$1"
        COMP_WORDS=(hpctools s) COMP_CWORD=1
        _hpctools_completion hpctools s hpctools
        printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        compdef() { :; }
        compadd() { print -l -- ${(P)@[-1]}; }
        _describe() { print -l -- ${(P)3}; }
        source "$1"
        words=(hpctools s) CURRENT=2
        _hpctools_completion
    """,
    "fish": """
        source $argv[1]
        complete --do-complete "hpctools s"
    """,
}


@pytest.mark.parametrize("name", SHELLS)
def test_a_shell_completes_commands(name: str, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "hpctools"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n{PROGRAM}\n")
    program.chmod(0o755)
    script = tmp_path / "script"
    script.write_text(hpctools("completion", name).stdout)
    words = ["-f"] if name == "zsh" else ["--norc"] if name == "bash" else ["--no-config"]
    marker = [] if name == "fish" else ["shell"]
    done = subprocess.run(
        [shell(name), *words, "-c", COMPLETE[name], *marker, script],
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    found = {re.split(r"[:\t]", line)[0] for line in done.stdout.splitlines()}
    assert found == {"submit", "status", "site", "sandbox"}


def test_completing_a_command_name_imports_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_HPCTOOLS_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "hpctools s")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert {name for name in modules_after(PROGRAM) if name.startswith("hpctools")} == LIGHT


def test_a_closed_stdout_is_no_bug() -> None:
    """`hpctools jobs >&-`: there is nobody to print for."""
    words = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "hpctools", "sandbox", "list"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, "bug" in done.stderr) == (0, False)
