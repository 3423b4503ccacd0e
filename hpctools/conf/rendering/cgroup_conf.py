"""cgroup.conf: what keeps a job to the cores, memory and GPUs that it was given."""

from __future__ import annotations

from hpctools.conf.rendering import text
from hpctools.slurm.releases import known


def cgroup_conf(release: str) -> str:
    """The same for every cluster."""
    values = {
        "header": text.Text(text.header(release, "what jobs are held to.")),
        "job_id_paths": "cgroupjobidpaths" in known("cgroup.conf", release),
    }
    return text.template("cgroup.conf", values)
