"""Which cluster Slurm's commands ask, and whether a record is of a job there.

Records lie in the home folder, which several clusters may share: the same job id, even under the
same path of slurm.conf, can be another job.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hpctools.jobs.record import Record

# Where Slurm's commands look for slurm.conf by themselves: as packaged, configless (sackd, slurmd
# --conf-server), as packaged by Debian 10.
CONF = ("/etc/slurm/slurm.conf", "/run/slurm/conf/slurm.conf", "/etc/slurm-llnl/slurm.conf")


def conf(environ: Mapping[str, str] = os.environ) -> str | None:
    """The slurm.conf in use; None where there is none on this machine (a configless cluster)."""
    return environ.get("SLURM_CONF") or next((path for path in CONF if os.path.isfile(path)), None)


def missing(environ: Mapping[str, str] = os.environ) -> str:
    """The file that SLURM_CONF names and that is not there; Slurm's commands wait for it a minute."""
    given = environ.get("SLURM_CONF", "")
    return given if given and not os.path.isfile(given) else ""


def name(path: str | None) -> str | None:
    """ClusterName of a slurm.conf; None where it cannot be told."""
    try:
        text = Path(path).read_text(errors="replace") if path else ""
    except OSError:
        return None
    for line in text.splitlines():
        key, equals, value = line.partition("#")[0].partition("=")
        if equals and key.strip().lower() == "clustername":
            return (value.split() or [""])[0].lower() or None
    return None


def is_here(record: Record, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a submission went to the cluster that is asked now, as far as that can be told."""
    here = conf(environ)
    if record.slurm_conf != here:
        return False
    return None in (record.cluster, mine := name(here)) or record.cluster == mine


def elsewhere(record: Record) -> str:
    """What to tell of a job on another cluster."""
    cluster = f" ({record.cluster})" if record.cluster else ""
    return f"it was submitted to another cluster{cluster}: export SLURM_CONF={record.slurm_conf or ''}"
