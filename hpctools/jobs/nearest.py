"""What somebody may have meant by a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable

from hpctools.errors import Problem

# More names than this are no help in a message.
MANY = 12


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that is most like name, None if none is."""
    import difflib

    # Case is the usual difference (H200, h200), and difflib sees only different letters.
    folded = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=cutoff)
    return folded[found[0]] if found else None


def unknown(where: str, what: str, name: str, known: Iterable[str], of: str = "") -> Problem:
    """The problem of a name that is none of the known ones, with the nearest of them, or all."""
    known = sorted(set(known))
    near = nearest(name, known)
    return Problem(
        where,
        f"there is no {what} {name!r}{of and f' {of}'}",
        f"did you mean {near}?" if near else listed(known),
    )


def listed(known: Iterable[str]) -> str:
    """Names for a hint: "there are a, b and 7 more"."""
    names = sorted(set(known))
    if not names:
        return "there are none"
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return f"there {'is' if len(names) == 1 else 'are'} {', '.join(names[:MANY])}{more}"
