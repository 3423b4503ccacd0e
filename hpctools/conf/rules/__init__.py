"""The rules of `conf lint`: each has a name, a severity and a page in docs/rules/.

A rule is a function from a candidate to what is wrong in it. It reads values and nothing else: no
file, no program, no clock. The modules here hold them by subject.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import Finding, Problem, Severity

_PAGES = Path(__file__).parent.parent.parent / "data" / "rules"

Check = Callable[[Candidate], Iterable[Problem]]


@dataclass(frozen=True)
class Rule:
    """A name, as in `[name]` of a finding; the severity that its findings have unless one says else."""

    name: str
    severity: Severity
    check: Check

    def findings(self, candidate: Candidate) -> Iterator[Finding]:
        for problem in self.check(candidate):
            yield Finding(
                problem.where.path,
                problem.where.line,
                problem.severity or self.severity,
                self.name,
                problem.message,
                problem.hint,
                problem.edits,
            )


_RULES: dict[str, Rule] = {}


def rule(name: str, severity: Severity) -> Callable[[Check], Check]:
    """Register a function as the rule of that name."""

    def register(check: Check) -> Check:
        if name in _RULES:
            raise ValueError(f"two rules are named {name}")
        _RULES[name] = Rule(name, severity, check)
        return check

    return register


def rules() -> Mapping[str, Rule]:
    """All rules by name, in alphabetical order."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(_RULES.items()))


def page(name: str) -> str:
    """The text of docs/rules/NAME.md. Raises OSError for a name that is no rule's."""
    return (_PAGES / f"{name}.md").read_text(encoding="utf-8")
