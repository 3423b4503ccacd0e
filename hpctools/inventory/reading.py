"""From YAML that people wrote to values: every mistake at once, each with its line and key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeVar

from hpctools.errors import ParseError, Problem
from hpctools.slurm import hostlist, units
from hpctools.slurm.yaml_text import Value, YamlFile

T = TypeVar("T")
# 1 EiB: no machine has it, and what is multiplied with it still fits Slurm's 64 bits.
MOST_MEMORY_MB = 2**40
NOUNS = {"list": "list", "map": "mapping"}


@dataclass
class Reader:
    """Reads the values of one file; what is wrong gathers in problems, and a default stands in for it."""

    problems: list[Problem] = field(default_factory=list)

    def say(self, value: Value, message: str, hint: str = "") -> None:
        self.problems.append(Problem(f"{value.path}:{value.line}", message, hint))

    @property
    def in_order(self) -> list[Problem]:
        """The problems by line, each once."""
        return sorted(
            dict.fromkeys(self.problems), key=lambda problem: int("0" + problem.where.rpartition(":")[2])
        )

    def root(self, file: YamlFile) -> Value | None:
        """The mapping that the file is; None, and a problem, where it is none."""
        for line, key in file.repeated:
            self.problems.append(Problem(f"{file.path}:{line}", f"{key} stands here a second time"))
        if file.error:
            line, what = file.error
            self.problems.append(Problem(f"{file.path}:{line}", f"is not YAML: {what}"))
            return None
        if file.root is None or file.root.kind != "map":
            what = "is empty" if file.root is None else "is no mapping of keys"
            self.problems.append(Problem(f"{file.path}:1", what))
            return None
        return file.root

    def entries(self, value: Value | None, what: str) -> Mapping[str, Value]:
        """A mapping whose keys are names of the user's; {} for None."""
        if value is None or value.kind == "null":
            return {}
        if not isinstance(value.value, Mapping):
            self.say(value, f"{what} is no mapping of names")
            return {}
        return value.value

    def fields(
        self, value: Value, what: str, known: Iterable[str], needed: Iterable[str] = ()
    ) -> Mapping[str, Value]:
        """A mapping whose keys are ours, those without a value left out; says what is unknown or missing."""
        if value.kind == "null":
            self.say(value, f"{what} is empty")
        found = self.entries(value, what)
        names = list(known)
        for key, below in found.items():
            if key not in names:
                near = get_close_matches(key, names, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
                self.say(below, f"{what}: no key {key}", hint)
        if value.kind == "map":
            for key in needed:
                if key not in found or found[key].kind == "null":
                    self.say(found.get(key, value), f"{what}: {key} is missing")
        return {key: below for key, below in found.items() if below.kind != "null"}

    def list_of(self, value: Value | None, what: str) -> tuple[Value, ...]:
        """The items of a list; one value alone is a list of one, None one of none."""
        if value is None or value.kind == "null":
            return ()
        for item in value.items:
            if item.kind == "null":
                self.say(item, f"{what}: an item is empty")
        return (
            tuple(item for item in value.items if item.kind != "null") if value.kind == "list" else (value,)
        )

    def text(self, value: Value | None, what: str) -> str:
        return self.scalar(value, what) or ""

    def scalar(self, value: Value | None, what: str) -> str | None:
        """The text of one value; None, and perhaps a problem, where it is none. A key without a value is as
        if it were not there.
        """
        if value is None or value.kind == "null":
            return None
        if not isinstance(value.value, str):
            self.say(value, f"{what} is a {NOUNS[value.kind]}, and one value is wanted")
            return None
        return value.value

    def texts(self, value: Value | None, what: str) -> tuple[str, ...]:
        return tuple(self.text(item, what) for item in self.list_of(value, what))

    def integer(
        self, value: Value | None, what: str, default: int = 0, low: int = 0, high: int = 2**31
    ) -> int:
        text = self.scalar(value, what)
        if value is None or text is None:
            return default
        # Python reads no number of thousands of digits.
        if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
            self.say(value, f"{what}: {shown(text)} is no whole number from {low} to {high}")
            return default
        return int(text)

    def flag(self, value: Value | None, what: str, default: bool = False) -> bool:
        text = self.scalar(value, what)
        if value is None or text is None:
            return default
        if text.lower() not in ("true", "false", "yes", "no"):
            self.say(value, f"{what}: {shown(text)} is neither true nor false")
            return default
        return text.lower() in ("true", "yes")

    def memory_mb(self, value: Value | None, what: str, default: int = 0, low: int = 0) -> int:
        """2014G or a number of MiB."""
        amount = self.parsed(value, what, units.parse_memory_mb, default)
        if value is not None and not low <= amount <= MOST_MEMORY_MB:
            self.say(value, f"{what}: {shown(value.text)} is {'too much' if amount else 'too little'}")
            return default
        return amount

    def names(self, value: Value | None, what: str) -> tuple[str, ...]:
        """Names in Slurm's short form, gpu[001-064]; a list of such is taken, too."""
        found: list[str] = []
        for item in self.list_of(value, what):
            found += self.parsed(item, what, hostlist.expand, [])
        return tuple(found)

    def one_of(self, value: Value | None, what: str, choices: Iterable[str], default: str) -> str:
        text = self.scalar(value, what)
        choices = list(choices)
        if value is None or text is None:
            return default
        if text not in choices:
            near = get_close_matches(text, choices, n=1)
            hint = f"did you mean {near[0]}?" if near else ""
            self.say(value, f"{what}: {shown(text)} is none of {', '.join(choices)}", hint)
            return default
        return text

    def parsed(self, value: Value | None, what: str, parse: Callable[[str], T], default: T) -> T:
        """What parse makes of a text; its ParseError becomes a problem."""
        text = self.scalar(value, what)
        if value is None or text is None:
            return default
        try:
            return parse(text)
        except ParseError as error:
            self.say(value, f"{what}: {shown(text)} is not {error.what}")
        return default


def shown(text: str) -> str:
    """text for a message: what is empty, long or unprintable so that it can be seen."""
    text = text if text.isprintable() and text.strip() == text != "" else repr(text)
    return text if len(text) <= 60 else f"{text[:59]}…"
