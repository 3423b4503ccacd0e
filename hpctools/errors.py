"""Everything that hpctools raises.

HpctoolsError
├── InvalidInput        what the user gave is wrong: every problem at once (exit 2)
├── ParseError          an answer of a program could not be read
├── CommandError        a program ended with an error
│   ├── SlurmUnavailable    Slurm's daemons did not answer; may be tried again
│   └── CommandTimeout      a program did not end in time; what it did is unknown
└── NotFound            a job, file, program or sandbox that is not there
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing wrong in what the user gave.

    where: the option (`--nodes`), file (`site.yaml:3`) or field it stands in.
    message: what is wrong. hint: what would be right; may be empty.
    """

    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class HpctoolsError(Exception):
    """Base of all errors of hpctools; exit_status is what the command line ends with."""

    exit_status = 1


class InvalidInput(HpctoolsError):
    """The user's mistakes, all of them."""

    exit_status = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class ParseError(HpctoolsError):
    """text, found at where, is not a what ("a duration", "a line of squeue")."""

    def __init__(self, what: str, text: str, where: str = "") -> None:
        self.what, self.text, self.where = what, text, where
        super().__init__(f"{where}: not {what}: {text!r}" if where else f"not {what}: {text!r}")


class CommandError(HpctoolsError):
    """argv ended with status; stderr holds what it said."""

    def __init__(self, argv: Sequence[str], status: int, stderr: str) -> None:
        self.argv, self.status, self.stderr = tuple(argv), status, stderr
        super().__init__(f"{argv[0]} ended with status {status}: {stderr.strip() or 'no message'}")


class SlurmUnavailable(CommandError):
    """Slurm's daemons did not answer; the same call may be tried again."""


class CommandTimeout(CommandError):
    """argv did not end within the time allowed; whether it did its work is unknown."""


class NotFound(HpctoolsError):
    """Something named by the user or needed by us is not there."""
