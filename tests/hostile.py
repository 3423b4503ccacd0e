"""Text that programs take for more than text, for tests of what carries it."""

from __future__ import annotations

import random
from collections.abc import Sequence

# What shells, sbatch's reader, Slurm's file name patterns, jinja2 and terminals look for.
PARTS = (
    " ", "  ", "'", '"', "''", '""', "#", " #", "$", "$(touch executed)", "`touch executed`", "executed",
    ";touch executed;", "&& touch executed", "| touch executed", "> executed", "*", "?", "[a-z]", "{a,b}",
    "~", "!", "!!", "%", "%j", "%A_%a", "%%", "%5j", "(", ")", "<", "=", "--", " --wrap=true", "-", ":",
    ",", "@", "^", "..", "é", "☃", "😀", "\u202e", "\u2028", "a", "B", "0", "${HOME}", "$((1+1))", "$'\\x41'",
    "#SBATCH --hold", "{{ run }}", "{% raw %}", "\\", "\\n", "\\'", "\n", "\r\n", "\t", "\x1b[31m", "\x7f",
    "\ntouch executed\n", "\n#SBATCH --hold\n", "'\ntouch executed\n'", "EOF\n", "\udc80", "x" * 200,
)  # fmt: skip


def texts(seed: int, count: int, parts: Sequence[str] = PARTS, most: int = 5) -> list[str]:
    """Texts made of these parts, the same in every run; each part alone comes first."""
    chance = random.Random(seed)  # noqa: S311
    made = ["".join(chance.choices(parts, k=chance.randint(2, most))) for _ in range(count)]
    return [*parts, *made][:count]


def folder_name(text: str) -> str:
    """text as it can be the name of a folder: no slash, not too long."""
    name = f"d{text}".replace("/", "_").encode("utf-8", "surrogateescape")
    return name[:120].decode("utf-8", "surrogateescape")


# A script that writes what reached it into its run folder: words, two variables, folder.
PROGRAM = """\
import json, os, sys
seen = [sys.argv[1:], {name: os.environ.get(name) for name in ("A", "b_1")}, os.getcwd()]
with open(os.path.join(os.environ["HPCTOOLS_RUN"], "seen.json"), "w") as file:
    json.dump(seen, file)
"""
