"""Trackable resources (TRES) and generic resources of nodes (GRES).

cpu=8,mem=64G,node=1,billing=8,gres/gpu=4,gres/gpu:h200=4      TRES of jobs, partitions, limits
gpu:h200:8(S:0-1),shard:16                                     GRES of nodes
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hpctools.errors import ParseError
from hpctools.slurm import units

# "Nothing", as squeue, scontrol, sinfo and sacct say it.
NOTHING = frozenset({"", "(null)", "N/A", "(none)"})
# Counted in megabytes, and printed with a unit.
_MEMORY = ("mem", "vmem", "bb/")

_COUNT = re.compile(r"([0-9]{1,20})([kmgtp]?)", re.IGNORECASE)
_SCALE = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4, "p": 1024**5}


@dataclass(frozen=True)
class Gres:
    """One generic resource: "gpu:h200:8" is Gres("gpu", "h200", 8). type is "" where none is named."""

    name: str
    type: str
    count: int


def parse(text: str) -> dict[str, int]:
    """Amounts by name, in the order of the text; mem in megabytes. Raises ParseError."""
    if text in NOTHING:
        return {}
    amounts = {}
    for word in text.split(","):
        name, equals, amount = word.partition("=")
        if not equals or not name:
            raise ParseError("a list of TRES", text)
        amounts[name] = _amount(name, amount, text)
    return amounts


def _amount(name: str, amount: str, text: str) -> int:
    if name.startswith(_MEMORY):
        return units.parse_memory_mb(amount)
    match = _COUNT.fullmatch(amount)
    if not match:
        raise ParseError("a list of TRES", text)
    return int(match[1]) * _SCALE[match[2].lower()]


def format(amounts: Mapping[str, int]) -> str:
    """The text that parse reads: {"cpu": 8, "mem": 65536} is "cpu=8,mem=64G"."""
    return ",".join(
        f"{name}={units.format_memory(amount) if name.startswith(_MEMORY) else amount}"
        for name, amount in amounts.items()
    )


def gpu_count(amounts: Mapping[str, int]) -> int:
    """Number of GPUs. Where gres/gpu is tracked it counts all types, else the types are added up."""
    if "gres/gpu" in amounts:
        return amounts["gres/gpu"]
    return sum(amount for name, amount in amounts.items() if name.startswith("gres/gpu:"))


def parse_gres(text: str) -> tuple[Gres, ...]:
    """The GRES of a node: name[:type][:count][(where it sits)], separated by commas.

    Sockets and indices in parentheses are left out; no count means one. Raises ParseError.
    """
    if text in NOTHING:
        return ()
    # Commas stand inside of the parentheses too: gpu:a100:3(IDX:0,2). An untyped GPU that is in use
    # is gpu:(null):1(IDX:0).
    plain = re.sub(r"\([^)]*\)", "", text.replace(":(null)", ""))
    return tuple(_gres(word, text) for word in plain.split(","))


def _gres(word: str, text: str) -> Gres:
    # Jobs' requests carry a prefix: gres:gpu:8 until 23.02, gres/gpu:8 since.
    name, *rest = word.removeprefix("gres:").removeprefix("gres/").split(":")
    count = 1
    if rest and (match := _COUNT.fullmatch(rest[-1])):
        count = int(match[1]) * _SCALE[match[2].lower()]
        rest = rest[:-1]
    # gres.conf(5): a resource that is shared without being counted.
    rest = [part for part in rest if part != "no_consume"]
    if not name or len(rest) > 1 or any(not part or "(" in part or ")" in part for part in (name, *rest)):
        raise ParseError("a list of GRES", text)
    return Gres(name, rest[0] if rest else "", count)
