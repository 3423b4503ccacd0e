"""Which releases of Slurm a sandbox can have here."""

from __future__ import annotations

from hpctools import process
from hpctools.errors import HpctoolsError
from hpctools.sandbox import cluster, places, programs, roots


def known() -> list[dict[str, str | None]]:
    """The releases a sandbox can have here: release, exact and suite where installed, and how."""
    found: list[dict[str, str | None]] = []
    if not programs.missing(["slurmctld"]):
        exact = programs.release(process.run)
        native = exact.rpartition(".")[0]
        found.append({"release": native, "exact": exact, "suite": None, "how": "installed on this machine"})
    for release, suite in roots.SUITES.items():
        root = roots.find(release)
        how = f"hpctools sandbox {'up' if root else 'install'} --slurm {release}"
        found.append({"release": release, "exact": root.exact if root else None, "suite": suite, "how": how})
    return found


def remove(release: str) -> bool:
    """Take a root away; False where there was none. Raises HpctoolsError while a sandbox uses it."""
    users = [
        name for name in places.names() if (spec := cluster.recorded_spec(name)) and spec.slurm == release
    ]
    if up_now := [name for name in users if places.existing(name)["state"] != "down"]:
        raise HpctoolsError(f"the sandbox {up_now[0]} uses it: hpctools sandbox down --name {up_now[0]}")
    return roots.remove(release)
