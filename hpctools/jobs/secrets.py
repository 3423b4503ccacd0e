"""Variables of a job that nobody else shall read: --secret NAME and --env-file FILE.

They stand in no script, no command line, no record and no environment that Slurm keeps: in the run
folder they are a file that only its owner reads, launch.py sets them for the ranks, and it goes when
the job has ended.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from hpctools.errors import ParseError, Problem
from hpctools.jobs import readers
from hpctools.jobs.settings import Settings

# In the run folder; launch.py reads it.
FILE = "secrets.json"
# More is no list of variables.
LARGEST = 1 << 20

Variables = tuple[tuple[str, str], ...]


def gather(settings: Settings, environ: Mapping[str, str], cwd: str, problems: list[Problem]) -> Variables:
    """The secrets of a job: those of the file, then those that were named. No problem tells a value."""
    found: dict[str, str] = {}
    name = settings.text("env-file")
    if name:
        path, where = Path(cwd, name), settings.where("env-file")
        try:
            with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
                found |= of_text(file.read(LARGEST), str(path), environ, problems)
        except OSError as error:
            problems.append(Problem(where, f"{path}: {error.strerror}"))
    for variable, text in settings.entries("secret").items():
        where = settings.where(f"secret.{variable}")
        if text is not None:
            message = "has a value, which the shell's history, ps or a file would show"
            problems.append(
                Problem(where, message, f"export {variable} and name it alone, or use --env-file")
            )
        elif variable not in environ:
            problems.append(
                Problem(where, "is not set here, so there is nothing to pass on", f"export {variable}=...")
            )
        else:
            found[variable] = environ[variable]
    return tuple(found.items())


def of_text(text: str, path: str, environ: Mapping[str, str], problems: list[Problem]) -> dict[str, str]:
    """The variables of a file of lines NAME=value, or NAME for one to be inherited.

    `export` may stand before, # begins a line of comment, one pair of quotes around a value goes.
    Nothing in a value is expanded or run.
    """
    found = {}
    for number, line in enumerate(text.split("\n"), 1):
        words = line.strip().removeprefix("export ").strip()
        if not words or words.startswith("#"):
            continue
        name, equals, value = words.partition("=")
        where = f"{path}:{number}"
        try:
            readers.variable_name(name)
        except ParseError:
            # Not the error's own words: what is no name may be a part of a secret.
            problems.append(Problem(where, "does not begin with a name of a variable", "NAME=value"))
            continue
        if not equals and name not in environ:
            problems.append(Problem(where, f"{name} is not set here, so there is nothing to pass on"))
        elif "\0" in value:
            problems.append(Problem(where, f"{name} holds a NUL character"))
        else:
            found[name] = _unquoted(value) if equals else environ[name]
    return found


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value


def remarks(settings: Settings, cwd: str) -> tuple[str, ...]:
    """What is doubtful about how secrets are kept here."""
    name = settings.text("env-file")
    try:
        mode = os.stat(os.path.join(cwd, name)).st_mode if name else 0
    except OSError:
        return ()
    return (f"{name} can be read by others: chmod 600 {name}",) if mode & 0o077 else ()


def forget(run: str) -> None:
    """Take the secrets of a job that has ended away. restart.py does it at the job's end, but a job that
    is killed has none.
    """
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(run, FILE))
