"""What a job on a fabric needs of its image, and what an image lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

FATAL, WARNING, NOTE = "fatal", "warning", "note"
PYTHON = (3, 8)
# How NCCL's plugin for libfabric (aws-ofi-nccl) is called.
PLUGINS = ("libnccl-net.so", "libnccl-net-ofi.so", "libnccl-net-aws-ofi.so")
_RDMA_CORE = (
    "Debian: libibverbs1 ibverbs-providers; RHEL: rdma-core libibverbs; or the site's binds bring them"
)


@dataclass(frozen=True)
class Lack:
    """Something that an image lacks for a job. severity: fatal where no job can run, warning, note.

    what: the library or program. message: what follows from it. hint: what would be right.
    """

    what: str
    severity: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.message}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True)
class Library:
    """path: where the loader finds it. error: what the loader says; both None where it cannot be asked.
    there: where it lies, as far as one looked."""

    path: str | None = None
    error: str | None = None
    there: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether it loads; a library that wants only the driver, which --nv brings, does."""
        if self.path is None and self.error is None:
            return bool(self.there)
        return self.path is not None or "libcuda" in (self.error or "")


@dataclass(frozen=True)
class Contents:
    """What was seen in an image: the version of its python3, libraries by name, the providers that
    libibverbs has, NCCL as brought by torch, the environment that the image sets."""

    python: tuple[int, ...]
    libraries: Mapping[str, Library] = field(default_factory=dict)
    providers: tuple[str, ...] = ()
    bundled: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def lacks(contents: Contents, fabric: str, *, gpus: bool, absent: Sequence[str] = ()) -> tuple[Lack, ...]:
    """What an image lacks for jobs on a fabric (a kind, as of a site; empty: none is known).

    absent: binds of the site that could not be counted, since they are not on this host.
    """
    found = list(_python(contents))
    if fabric in ("infiniband", "roce"):
        found += _verbs(contents, fabric)
    if fabric == "efa":
        found += _library(contents, "libefa.so.1", "libfabric then sees no EFA adapter", "the EFA installer")
        found += _libfabric(contents, "EFA", "the EFA installer, or bind /opt/amazon")
    if fabric == "slingshot":
        found += _library(contents, "libcxi.so.1", "libfabric then sees no Slingshot adapter", "bind it")
        found += _libfabric(contents, "Slingshot", "bind the host's libfabric and aws-ofi-nccl")
    if gpus:
        found += _nccl(contents)
    if absent and any(one.severity == WARNING for one in found):
        what = ", ".join(absent)
        found.append(Lack(what, NOTE, "bound by the site, but not on this host: not counted"))
    return tuple(found)


def _python(contents: Contents) -> Iterator[Lack]:
    if contents.python < PYTHON:
        has = ".".join(map(str, contents.python)) or "none"
        yield Lack("python3", FATAL, f"jobs start by one of 3.8 or newer; in it is {has}")


def _verbs(contents: Contents, fabric: str) -> Iterator[Lack]:
    title = "InfiniBand" if fabric == "infiniband" else "RoCE"
    falls = f"NCCL has no other way to {title}: it falls to sockets, or ends where NCCL_NET=IB forbids that"
    missing = list(_library(contents, "libibverbs.so.1", falls, _RDMA_CORE))
    yield from missing
    if missing:
        return
    if not contents.providers:
        message = f"libibverbs has none and sees no adapter. {falls}"
        yield Lack("libibverbs/libmlx5-rdmav*.so", WARNING, message, _RDMA_CORE)
    elif fabric == "infiniband" and not any("mlx5" in one for one in contents.providers):
        message = f"libibverbs has only {', '.join(contents.providers)} and sees no ConnectX. {falls}"
        yield Lack("libibverbs/libmlx5-rdmav*.so", WARNING, message, _RDMA_CORE)


def _libfabric(contents: Contents, title: str, hint: str) -> Iterator[Lack]:
    falls = (
        f"NCCL reaches {title} by aws-ofi-nccl and libfabric alone: it falls to sockets, or ends where"
        " NCCL_NET forbids that"
    )
    yield from _library(contents, "libfabric.so.1", falls, hint)
    plugins = [contents.libraries.get(name, Library()) for name in PLUGINS]
    if not any(one.usable for one in plugins):
        best = next((name for name, one in zip(PLUGINS, plugins, strict=True) if one.there), PLUGINS[0])
        yield from _library(contents, best, falls, hint)


def _nccl(contents: Contents) -> Iterator[Lack]:
    if contents.bundled:
        return
    message = "nor has it a torch that brings one: torch.distributed has no backend nccl"
    yield from _library(contents, "libnccl.so.2", message, "the image wants torch for CUDA, or libnccl2")


def _library(contents: Contents, name: str, message: str, hint: str) -> Iterator[Lack]:
    """The lack of a library that does not load, with why it does not."""
    library = contents.libraries.get(name, Library())
    if library.usable:
        return
    if not library.there:
        yield Lack(name, WARNING, f"not in the image; {message}", hint)
        return
    at = library.there[0]
    folder = at.rpartition("/")[0]
    if library.error and name not in library.error.partition(":")[0]:
        yield Lack(name, WARNING, f"{at} does not load: {library.error}; {message}", hint)
    else:
        yield Lack(
            name,
            WARNING,
            f"it is {at}, where the loader does not look; {message}",
            f"LD_LIBRARY_PATH={folder}",
        )
