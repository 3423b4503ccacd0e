"""What lint says: one value for each thing that is wrong in a configuration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from hpctools.slurm.conf_text import Edit

# As Slurm takes it: fatal, a daemon would not start (or a command not run); error, a daemon starts and
# says so, or what the configuration is for does not work; warning, it works and should be otherwise.
Severity = Literal["fatal", "error", "warning"]
SEVERITIES: tuple[Severity, ...] = ("fatal", "error", "warning")


class Place(Protocol):
    """Where something stands: a Pair, a Line, or a node of a YAML file."""

    @property
    def path(self) -> str: ...

    @property
    def line(self) -> int: ...


@dataclass(frozen=True)
class At:
    """A place that no pair or line is: a whole file (line 1), or a line known by number."""

    path: str
    line: int = 1


@dataclass(frozen=True)
class Finding:
    """One problem. line: from 1. hint: what to do. edits: what mends it safely, in its own file."""

    file: str
    line: int
    severity: Severity
    rule: str
    message: str
    hint: str
    edits: tuple[Edit, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}: {self.severity} [{self.rule}] {self.message}{hint}"

    def as_json(self) -> dict[str, str | int]:
        return {
            "file": self.file,
            "line": self.line,
            "severity": self.severity,
            "rule": self.rule,
            "message": self.message,
            "hint": self.hint,
        }


@dataclass(frozen=True)
class Problem:
    """What a rule says about a place; severity None: the rule's own. edits stand in the place's file."""

    where: Place
    message: str
    hint: str = ""
    severity: Severity | None = None
    edits: tuple[Edit, ...] = ()


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """By file as first met, then line, then severity; each said once."""
    findings = list(dict.fromkeys(findings))
    files = {file: rank for rank, file in enumerate(dict.fromkeys(one.file for one in findings))}
    return sorted(
        findings, key=lambda one: (files[one.file], one.line, SEVERITIES.index(one.severity), one.rule)
    )
