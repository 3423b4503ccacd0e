"""job_container.conf: a /tmp and a /dev/shm for each job, emptied with it."""

from __future__ import annotations

from hpctools.conf.policy import Policy
from hpctools.conf.rendering import text


def job_container_conf(policy: Policy, release: str) -> str:
    """ "" where jobs share /tmp. namespace/tmpfs, its successor since 25.11, reads the same file."""
    if not policy.daemons.private_tmp:
        return ""
    values = {
        "header": text.Text(text.header(release, "where each job's /tmp and /dev/shm are.")),
        "folder": policy.daemons.private_tmp,
    }
    return text.template("job_container.conf", values)
