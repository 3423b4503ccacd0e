"""Which cluster is meant: the one that SLURM_CONF or /etc/slurm names, else the only sandbox that is up."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from hpctools.errors import HpctoolsError, InvalidInput, Problem

SYSTEM_CONF = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/usr/local/etc/slurm.conf")


def choose(environ: MutableMapping[str, str] = os.environ) -> str | None:
    """Set SLURM_CONF in environ where nothing else names a cluster and one sandbox is up.

    Returns the sandbox's name when it was chosen so. Raises InvalidInput when two are up, or when
    the one that is up has a network or a release of its own.
    """
    if environ.get("SLURM_CONF") or any(Path(path).exists() for path in SYSTEM_CONF):
        return None
    from hpctools.sandbox import roots

    found = running()
    if len(found) > 1:
        hint = f'name one: eval "$(hpctools sandbox env --name {sorted(found)[0]})"'
        raise InvalidInput([Problem("sandbox", f"several are up: {', '.join(sorted(found))}", hint)])
    for name, record in found.items():
        release = record["spec"].get("slurm")
        if record["spec"].get("netns") or release not in (None, environ.get(roots.INSIDE)):
            hint = f"hpctools sandbox run --name {name} -- COMMAND"
            raise InvalidInput([Problem("sandbox", f"{name} is not reached from outside", hint)])
        environ["SLURM_CONF"] = record["slurm_conf"]
        if record["spec"].get("timezone"):
            environ["TZ"] = record["spec"]["timezone"]
        return name
    return None


def running() -> dict[str, dict[str, Any]]:
    """The records of this user's sandboxes that are up; some of their daemons may have failed."""
    from hpctools.sandbox import places, processes

    found = {}
    for name in places.names():
        try:
            record = places.load(name)
        except HpctoolsError:
            continue
        if record and record["state"] == "up" and record["boot_id"] == processes.boot_id():
            if any(processes.Identity(*pair).alive() for pair in record["daemons"].values()):
                found[name] = record
    return found
