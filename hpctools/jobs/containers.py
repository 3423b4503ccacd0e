"""Containers: what a site says of them, and the image that a job runs in."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from hpctools.errors import HpctoolsError, InvalidInput, ParseError, Problem
from hpctools.jobs import readers
from hpctools.jobs.nearest import unknown
from hpctools.jobs.settings import Settings

if TYPE_CHECKING:
    from hpctools.jobs.config_file import Entry

APPTAINER, SINGULARITY, PYXIS, NONE = RUNTIMES = ("apptainer", "singularity", "pyxis", "none")
NV, ROCM = "nv", "rocm"
# What an image is without --python.
PYTHON = "python3"


@dataclass(frozen=True)
class Bind:
    """A folder or file of the host that is seen in the image, at inside."""

    outside: str
    inside: str
    read_only: bool = False


@dataclass(frozen=True)
class Containers:
    """What a site says of containers.

    runtime: one of RUNTIMES. images: its names, each with a file or an image of a registry. binds:
    what every image needs to see: data, rdma-core, libfabric, aws-ofi-nccl. gpu: whose libraries of
    the GPUs' driver are brought in, nv, rocm or none. options: further words for `apptainer exec`.
    cache: the folder of images that were pulled.
    """

    runtime: str = APPTAINER
    images: Mapping[str, str] = field(default_factory=dict)
    binds: tuple[Bind, ...] = ()
    gpu: str = NV
    options: tuple[str, ...] = ()
    cache: str = ""


@dataclass(frozen=True)
class Container:
    """The image of a job.

    reference: as it was asked for. source: the file or the image of a registry that it stands for.
    path, sha256: its file and that one's digest; empty where Pyxis fetches it. binds: the user's.
    python: the interpreter in the image.
    """

    runtime: str
    reference: str
    source: str
    path: str
    sha256: str
    binds: tuple[Bind, ...] = ()
    python: str = PYTHON

    def described(self) -> dict[str, str | None]:
        """For records of the job."""
        return {
            "runtime": self.runtime,
            "reference": self.reference,
            "source": self.source,
            "path": self.path or None,
            "sha256": self.sha256 or None,
        }


def bind(text: str) -> Bind:
    """HOST, HOST:IMAGE or HOST:IMAGE:ro, as Apptainer and Pyxis take it. Raises ParseError."""
    form = "/data, /data:/mnt or /data:/mnt:ro"
    parts = text.split(":")
    mode = parts.pop() if len(parts) > 1 and parts[-1] in ("ro", "rw") else "rw"
    outside = os.path.expanduser(parts[0])
    inside = parts[1] if len(parts) == 2 else outside
    if len(parts) > 2 or not outside.startswith("/") or not inside.startswith("/"):
        raise ParseError(f"a bind ({form}, absolute)", text)
    return Bind(outside, inside, mode == "ro")


def _binds(words: Sequence[str]) -> tuple[Bind, ...]:
    return tuple(map(bind, words))


def _one_word(text: str) -> str:
    # A cache that is relative would be another one in each folder.
    path = readers.path(text)
    if not path.startswith("/"):
        raise ParseError("an absolute path", text)
    return path


# The keys that are one text, and those that are lists, each with its reader and what it takes.
KEYS: Mapping[str, tuple[Callable[[str], object], str]] = MappingProxyType(
    {
        "runtime": (readers.one_of(*RUNTIMES), ", ".join(RUNTIMES)),
        "gpu": (readers.one_of(NV, ROCM, NONE), "nv, rocm or none"),
        "cache": (_one_word, "/shared/images"),
    }
)
LISTS: Mapping[str, tuple[Callable[[Sequence[str]], object], str]] = MappingProxyType(
    {"binds": (_binds, "[/scratch, /opt/amazon:/opt/amazon:ro]"), "options": (tuple, "[--no-privs]")}
)


def read(entries: Mapping[str, Entry], path: Path, problems: list[Problem]) -> Containers:
    """The containers of a site's file."""
    found: dict[str, object] = {}
    for key, entry in entries.items():
        where = f"{path}:{entry.line}"
        if key == "images":
            found[key] = {
                name: one.value for name, one in entry.entries.items() if isinstance(one.value, str)
            }
        elif key in LISTS and entry.items is not None:
            found |= _value(*LISTS[key], key, entry.items, where, problems)
        elif key in (*KEYS, *LISTS) and isinstance(entry.value, str):
            found |= _text(key, entry.value, where, problems)
        elif key in (*KEYS, *LISTS):
            form = (KEYS.get(key) or LISTS[key])[1]
            problems.append(Problem(where, f"containers: {key}: is not what is expected", form))
        else:
            problems.append(unknown(where, "key of containers", key, ["images", *KEYS, *LISTS]))
    return replace(Containers(), **found)  # type: ignore[arg-type]


def change(old: Containers, key: str, text: str, where: str, problems: list[Problem]) -> Containers:
    """The containers after --set site.containers.KEY=text; words of options stand apart."""
    if key not in (*KEYS, *LISTS):
        problems.append(unknown(where, "key of containers", key, [*KEYS, *LISTS]))
        return old
    return replace(old, **_text(key, text, where, problems))  # type: ignore[arg-type]


def _text(key: str, text: str, where: str, problems: list[Problem]) -> dict[str, object]:
    if key in KEYS:
        return _value(*KEYS[key], key, text, where, problems)
    try:
        words = shlex.split(text) if key == "options" else [one.strip() for one in text.split(",")]
    except ValueError as error:
        problems.append(Problem(where, f"containers: {key}: {error}", LISTS[key][1]))
        return {}
    return _value(*LISTS[key], key, words, where, problems)


def _value(
    read: Callable[..., object], form: str, key: str, given: object, where: str, problems: list[Problem]
) -> dict[str, object]:
    try:
        return {key: read(given)}
    except ParseError as error:
        problems.append(Problem(where, f"containers: {key}: {error}", form))
        return {}


def of(settings: Settings, site: Containers, cwd: str, problems: list[Problem]) -> Container | None:
    """The image of a job, found and read; None for a job without one."""
    reference = settings.text("image")
    own = _own_binds(settings, problems)
    if reference is None:
        if own:
            message = "says what an image is to see, and the job has none"
            problems.append(Problem(settings.where(next(iter(_bind_names(settings)))), message, "--image"))
        return None
    where = settings.where("image")
    if site.runtime == NONE:
        hint = "--set site.containers.runtime=apptainer"
        problems.append(Problem(where, "this site has no containers (containers: runtime: none)", hint))
        return None
    try:
        source, path, sha256 = _found(reference, site, cwd, where)
    except InvalidInput as error:
        problems.extend(error.problems)
        return None
    except HpctoolsError as error:
        problems.append(Problem(where, str(error)))
        return None
    python = settings.text("python") or PYTHON
    return Container(site.runtime, reference, source, path, sha256, own, python)


def _found(reference: str, site: Containers, cwd: str, where: str) -> tuple[str, str, str]:
    """What a reference stands for, its file and digest. Raises InvalidInput, HpctoolsError."""
    # Only a job in an image pays for the import.
    from hpctools import images
    from hpctools.images import references

    source = site.images.get(reference, reference)
    if site.runtime == PYXIS and source.startswith("docker://"):
        problems: list[Problem] = []
        references.parse(source, where, problems)
        if problems:
            raise InvalidInput(problems)
        return source, "", ""  # Enroot fetches it, on the nodes
    if site.runtime == PYXIS and not source.endswith((".sqsh", ".squashfs")):
        hint = "docker://HOST/NAME:TAG or a file x.sqsh, which `enroot import` makes"
        raise InvalidInput([Problem(where, f"{source}: Pyxis does not run this", hint)])
    cache = Path(site.cache) if site.cache else None
    found = images.resolve(reference, site.images, cache, cwd=cwd, where=where)
    return found.source, str(found.path), found.sha256


def _bind_names(settings: Settings) -> list[str]:
    return [f"bind.{name}" for name in settings.entries("bind")]


def _own_binds(settings: Settings, problems: list[Problem]) -> tuple[Bind, ...]:
    """The binds of --bind; a path may hold the = that parts names from values elsewhere."""
    found = []
    for name, text in settings.entries("bind").items():
        try:
            found.append(bind(name if text is None else f"{name}={text}"))
        except ParseError as error:
            problems.append(Problem(settings.where(f"bind.{name}"), str(error)))
    return tuple(found)
