"""A site: what is true of a cluster for every job. One YAML file; example.yaml shows every key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from hpctools.errors import ParseError, Problem
from hpctools.jobs import containers, exported, fabric, readers, settings
from hpctools.jobs.containers import Containers
from hpctools.jobs.fabric import Fabric
from hpctools.jobs.nearest import unknown

if TYPE_CHECKING:
    from hpctools.jobs.config_file import Entry

SYSTEM = Path("/etc/hpctools/site.yaml")
PACKAGED = Path(__file__).parent.parent / "data" / "site_configs"
_PORTS = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")


@dataclass(frozen=True)
class Site:
    """What a site file says.

    path: the file, None without one. defaults: settings of every job. setup: lines of shell that
    run first in each job. templates: a folder that is searched before the packaged templates.
    gpu_option: how GPUs are asked for, gpus-per-node or gres. ask_memory: whether --mem is given
    (some sites refuse it). whole_nodes: whether a job that takes all GPUs of its nodes is
    exclusive there. export: what of the environment at submission a job gets, LISTED, ALL or NONE.
    exported: further names for LISTED, * for any letters.
    ports: of the rendezvous, first and last. fabric: the network between the nodes.
    containers: how images are run there. variables: for the site's own templates.
    """

    path: Path | None = None
    description: str = ""
    defaults: settings.Layer = field(default_factory=dict)
    setup: str = ""
    templates: Path | None = None
    gpu_option: str = "gpus-per-node"
    ask_memory: bool = True
    whole_nodes: bool = True
    export: str = exported.LISTED
    exported: tuple[str, ...] = ()
    # Below 32768, where Linux takes ports for outgoing connections from.
    ports: tuple[int, int] = (20000, 29999)
    fabric: Fabric = field(default_factory=Fabric)
    containers: Containers = field(default_factory=Containers)
    variables: Mapping[str, str] = field(default_factory=dict)


def _ports(text: str) -> tuple[int, int]:
    match = _PORTS.fullmatch(text)
    if not match or not 1024 <= int(match[1]) <= int(match[2]) <= 65535:
        raise ParseError("a range of ports from 1024 to 65535", text)
    return int(match[1]), int(match[2])


# The keys that are one text, each with its reader and what it takes.
KEYS: Mapping[str, tuple[Callable[[str], object], str]] = MappingProxyType(
    {
        "description": (str, ""),
        "setup": (str, ""),
        "templates": (readers.path, ""),
        "gpu_option": (readers.one_of("gpus-per-node", "gres"), "gpus-per-node or gres"),
        "ask_memory": (readers.flag, "yes or no"),
        "whole_nodes": (readers.flag, "yes or no"),
        "export": (readers.one_of("LISTED", "ALL", "NONE"), "LISTED, ALL or NONE"),
        "exported": (exported.patterns, "SCRATCH, MYSITE_*"),
        "ports": (_ports, "20000-29999"),
    }
)


def find(name: str | None, cwd: str, problems: list[Problem], where: str = "--site") -> Path | None:
    """The file of a site: the one named, a packaged one of this name, /etc/hpctools/site.yaml."""
    if not name:
        return SYSTEM if SYSTEM.exists() else None
    if "/" in name or name.endswith((".yaml", ".yml")):
        path = Path(cwd) / Path(name).expanduser()
        if not path.is_file():
            problems.append(Problem(where, f"there is no site file {path}"))
            return None
        return path
    path = PACKAGED / f"{name}.yaml"
    if not path.is_file():
        problems.append(unknown(where, "packaged site", name, (one.stem for one in packaged())))
        return None
    return path


def packaged() -> tuple[Path, ...]:
    """The files of the sites that come with hpctools."""
    return tuple(sorted(PACKAGED.glob("*.yaml")))


def load(path: Path | None, problems: list[Problem]) -> Site:
    """The site that a file describes; without a file one that says nothing."""
    if path is None:
        return Site()
    from hpctools.jobs import config_file

    maps = [f"defaults.{name}" for name in settings.MAPS]
    entries = config_file.read(path, problems, lists=("containers",), maps=maps)
    found: dict[str, object] = {"path": path}
    for key, entry in entries.items():
        where = f"{path}:{entry.line}"
        if key in KEYS:
            found |= _one(key, entry.value, where, problems)
        elif key == "defaults":
            inner = {name.replace("-", "_"): one for name, one in entry.entries.items()}
            found[key] = settings.of_entries(inner, str(path), problems)
        elif key == "variables":
            found[key] = _flat(entry.entries)
        elif key == "fabric":
            found[key] = _fabric(entry, path, problems)
        elif key == "containers":
            found[key] = containers.read(entry.entries, path, problems)
        else:
            known = [*KEYS, "defaults", "fabric", "containers", "variables"]
            problems.append(unknown(where, "key of a site", key, known))
    site = replace(Site(), **found)  # type: ignore[arg-type]
    return replace(site, templates=path.parent / site.templates) if site.templates else site


def change(site: Site, changes: Mapping[str, str], problems: list[Problem]) -> Site:
    """A site after --set: site.KEY changes a key of its own, any other name a variable."""
    variables = dict(site.variables)
    found: dict[str, object] = {}
    made, images = site.fabric, site.containers
    for name, text in changes.items():
        scope, _, key = name.partition(".")
        if scope != "site" or not key:
            variables[name] = text
        elif key.partition(".")[0] == "fabric":
            part = key.partition(".")[2] or "kind"
            made = fabric.change(made, part, text, f"--set {name}", problems)
        elif key.partition(".")[0] == "containers":
            images = containers.change(images, key.partition(".")[2], text, f"--set {name}", problems)
        elif key in KEYS:
            found |= _one(key, text, f"--set {name}", problems)
        else:
            problems.append(unknown(f"--set {name}", "key of a site", key, KEYS))
    found |= {"variables": variables, "fabric": made, "containers": images}
    return replace(site, **found)  # type: ignore[arg-type]


def _one(key: str, value: object, where: str, problems: list[Problem]) -> dict[str, object]:
    read, form = KEYS[key]
    if value is None:
        return {}
    if not isinstance(value, str):
        problems.append(Problem(where, f"{key} is a map; text is expected", form))
        return {}
    try:
        return {key: read(value)}
    except ParseError as error:
        problems.append(Problem(where, f"{key}: {error}", form))
        return {}


def _fabric(entry: Entry, path: Path, problems: list[Problem]) -> Fabric:
    """The fabric of a file: a map of its keys, or its kind alone."""
    if isinstance(entry.value, str):
        return fabric.read({"kind": (entry.value, f"{path}:{entry.line}")}, problems)
    parts = {}
    for name, one in entry.entries.items():
        inner = {key: value.value for key, value in one.entries.items()}
        parts[name] = (inner if isinstance(one.value, Mapping) else one.value, f"{path}:{one.line}")
    return fabric.read(parts, problems)


def _flat(entries: Mapping[str, Entry], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, entry in entries.items():
        if isinstance(entry.value, Mapping):
            found |= _flat(entry.entries, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = entry.value or ""
    return found
