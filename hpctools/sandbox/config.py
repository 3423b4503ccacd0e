"""From a Spec to the text of every configuration file."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpctools.errors import InvalidInput, Problem
from hpctools.sandbox.daemons import Sandbox
from hpctools.sandbox.spec import OWN_KEYS

FILES = {"slurm.conf": 0o644, "gres.conf": 0o644, "cgroup.conf": 0o644, "slurmdbd.conf": 0o600}
# Keys that may stand on several lines, each adding one more.
ARRAY_KEYS = frozenset(("nodename", "partitionname", "nodeset", "downnodes", "slurmctldhost"))


@dataclass(frozen=True)
class Node:
    """One node of slurm.conf: its name, the host it says it runs on, where it listens."""

    name: str
    hostname: str
    address: str
    port: int


def render(sandbox: Sandbox, nodes: Sequence[Node], controller: str) -> dict[str, str]:
    """Every file of etc by name; controller: the host name of slurmctld and slurmdbd.

    Raises InvalidInput for what conf_dir holds wrong.
    """
    import jinja2

    environment = jinja2.Environment(  # noqa: S701 - configuration files, not HTML
        loader=jinja2.FileSystemLoader(Path(__file__).parent.parent / "data" / "slurm_conf" / "sandbox"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    spec = sandbox.spec
    values: dict[str, Any] = {
        "spec": spec,
        "places": sandbox.places,
        "nodes": nodes,
        "ports": sandbox.ports,
        "controller": controller,
        "address": sandbox.address,
        "release": tuple(int(part) for part in sandbox.release.split(".")[:2]),
        "user": pwd.getpwuid(os.geteuid()).pw_name,
        "sockets": 2 if spec.cpus_per_node % 2 == 0 else 1,
        "memory_per_cpu_mb": max(1, spec.memory_mb // spec.cpus_per_node),
    }
    texts = {name: environment.get_template(f"{name}.j2").render(values) for name in FILES}
    extra = overlay(Path(spec.conf_dir)) if spec.conf_dir else {}
    lines = (*extra.pop("slurm.conf", "").splitlines(), *spec.conf)
    texts["slurm.conf"] = merge(texts["slurm.conf"], lines)
    return {**texts, **extra}


def merge(text: str, lines: Sequence[str]) -> str:
    """slurm.conf with lines added, each in the place of what text says of the same key.

    A key of ARRAY_KEYS keeps all new lines and loses all old ones.
    """
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    new: dict[str, list[str]] = {}
    for line in lines:
        key = _key(line)
        new[key] = [*new.get(key, []), line] if key in ARRAY_KEYS else [line]
    kept = [line for line in text.splitlines() if _key(line) not in new]
    added = [line for group in new.values() for line in group]
    return "\n".join([*kept, *(["# From --conf and --conf-dir:", *added] if added else [])]) + "\n"


def _key(line: str) -> str:
    return line.partition("=")[0].strip().rstrip("+-").strip().lower()


def overlay(folder: Path) -> dict[str, str]:
    """The .conf and .yaml files of folder by name: slurm.conf without what is the sandbox's own.

    slurm.conf's lines win over the generated ones, key by key; any other file takes the place of
    the generated one. Raises InvalidInput where slurm.conf names what the sandbox must keep.
    """
    texts = {
        path.name: path.read_text() for path in sorted(folder.iterdir()) if path.suffix in (".conf", ".yaml")
    }
    found = []
    joined = texts.get("slurm.conf", "").replace("\\\n", " ")
    for number, line in enumerate(joined.splitlines(), 1):
        if _key(line) in OWN_KEYS and not line.lstrip().startswith("#"):
            hint = "remove the line: nodes, ports, paths and accounting come from the options of up"
            found.append(
                Problem(
                    f"{folder / 'slurm.conf'}:{number}",
                    f"{line.split('=')[0].strip()} is the sandbox's own",
                    hint,
                )
            )
    if "slurmdbd.conf" in texts:
        found.append(Problem(str(folder / "slurmdbd.conf"), "is the sandbox's own", "remove the file"))
    if found:
        raise InvalidInput(found)
    if "slurm.conf" in texts:
        texts["slurm.conf"] = joined
    return texts
