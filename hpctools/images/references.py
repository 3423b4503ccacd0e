"""What names an image: a file, an image of a registry, a name of the site or of the cache."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hpctools.errors import Problem

FILE, NAME = "file", "name"
DOCKER, ORAS = SCHEMES = ("docker", "oras")
# What a file of an image ends with: Apptainer's, Singularity's older ones, Enroot's.
SUFFIXES = (".sif", ".simg", ".img", ".sqsh", ".squashfs")
FORMS = "a file x.sif, docker://HOST/NAME:TAG, oras://HOST/NAME:TAG or a name of the site"

# The grammar of github.com/distribution/reference, without which no registry knows the image.
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REMOTE = re.compile(
    rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?"
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")


@dataclass(frozen=True)
class Reference:
    """text as it was given, and its kind: file, name, docker or oras."""

    kind: str
    text: str

    @property
    def remote(self) -> bool:
        """Whether it is fetched from a registry."""
        return self.kind in SCHEMES


def parse(text: str, where: str, problems: list[Problem]) -> Reference | None:
    """The reference that text is; None, and a problem, where it can be none."""
    wrong, hint = _wrong(text)
    if wrong:
        problems.append(Problem(where, wrong, hint))
        return None
    scheme, separator, _ = text.partition("://")
    if separator:
        return Reference(scheme, text)
    return Reference(FILE if "/" in text or text.endswith(SUFFIXES) else NAME, text)


def looks_remote(text: str) -> bool:
    """Whether text could be an image of a registry whose scheme was forgotten."""
    return ":" in text and bool(_REMOTE.fullmatch(text))


def is_name(text: str) -> bool:
    """Whether an image can have this name: letters, digits and . _ + -, no file's ending."""
    return bool(_NAME.fullmatch(text)) and not text.endswith(SUFFIXES)


def _wrong(text: str) -> tuple[str, str]:
    """What is wrong with text as a reference, and a hint; empty where nothing is."""
    if not text or not text.isprintable() or text != text.strip():
        return f"not an image: {text!r}", FORMS
    scheme, separator, rest = text.partition("://")
    if separator:
        return _wrong_remote(text, scheme, rest)
    before, colon, after = text.partition(":")
    if colon and before in SCHEMES:
        return f"{text}: // is missing", f"{before}://{after}"
    if "/" in text or text.endswith(SUFFIXES) or is_name(text):
        return "", ""
    if looks_remote(text):
        return f"{text} is neither a file nor a name", f"docker://{text} is an image of a registry"
    return f"not an image: {text!r}", FORMS


def _wrong_remote(text: str, scheme: str, rest: str) -> tuple[str, str]:
    if scheme not in SCHEMES:
        near = difflib.get_close_matches(scheme.lower(), SCHEMES, n=1)
        known = " or ".join(f"{one}://" for one in SCHEMES)
        return (
            f"{scheme}:// is no source of images here",
            f"{near[0]}://{rest}" if near else f"{known}, or a file",
        )
    if _REMOTE.fullmatch(rest):
        return "", ""
    if "#" in rest:
        return f"{text}: # is Enroot's way to part host and name", f"{scheme}://{rest.replace('#', '/', 1)}"
    if _REMOTE.fullmatch(rest.lower()):
        return f"{text}: names in registries are in lower case", f"{scheme}://{rest.lower()}"
    return f"not an image of a registry: {text!r}", f"{scheme}://HOST/NAME:TAG, or @sha256:DIGEST for :TAG"


def unknown(name: str, known: Mapping[str, object] | Iterable[str], where: str) -> Problem:
    """The problem of a name that is none of the known ones."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        hint = f"did you mean {near[0]}?"
    elif names:
        hint = f"names: {', '.join(names[:12])}{' ...' * (len(names) > 12)}; else {FORMS}"
    else:
        hint = FORMS
    return Problem(where, f"there is no image {name!r}", hint)
