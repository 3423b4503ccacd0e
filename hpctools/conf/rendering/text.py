"""The text of the files: lines of Slurm's grammar, and the templates of slurm_conf/render/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hpctools.errors import InvalidInput, ParseError, Problem
from hpctools.slurm import conf_text

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent.parent.parent / "data" / "slurm_conf"
# By this a file is known that may be written over.
MARK = "Made by `hpctools conf render`"

Pairs = Iterable[tuple[str, object]]


def header(release: str, what: str) -> str:
    """The first lines of a file. No date and no version: the same input gives the same bytes."""
    again = "change inventory and policy, and render again"
    return f"# {MARK} for Slurm {release}: {what}\n# Changes here are lost: {again}.\n"


def line(pairs: Pairs, comment: str = "") -> str:
    """A line of Key=value; pairs whose value is None or "" are left out."""
    words = [f"{key}={quoted(value)}" for key, value in pairs if value not in (None, "")]
    return " ".join([*words, *([f" # {comment}"] if comment else [])]) + "\n"


def quoted(value: object) -> str:
    """A value as Slurm's parser reads it. Raises InvalidInput for what no line can carry."""
    try:
        return conf_text.quoted(str(value))
    except ParseError as error:
        raise InvalidInput([Problem(str(value), "cannot be written into a file of Slurm's")]) from error


def template(name: str, values: Mapping[str, object]) -> str:
    """slurm_conf/render/NAME.j2 with values; each {{ value }} comes out quoted."""
    return _environment().get_template(f"{name}.j2").render(values)


@cache
def _environment() -> Environment:
    import jinja2

    return jinja2.Environment(  # noqa: S701 - configuration files, not HTML
        loader=jinja2.FileSystemLoader(FOLDER / "render"),
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: value if isinstance(value, Text) else quoted(value),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


class Text(str):
    """Text of ours: it comes out of a template as it is."""

    __slots__ = ()


def override(text: str, settings: Mapping[str, str]) -> str:
    """text with settings of the site: in the place of a line of the same key, else at the end."""
    left = {key.lower(): (key, value) for key, value in settings.items()}
    overridden = frozenset(left)
    found = []
    for one in text.splitlines(keepends=True):
        key = one.partition("=")[0].strip().lower()
        if key in left:
            found.append(line([left.pop(key)], "set by the policy"))
        elif key not in overridden:
            found.append(one)
    added = [line([pair]) for pair in left.values()]
    return "".join([*found, *(["\n# Set by the policy.\n", *added] if added else [])])
