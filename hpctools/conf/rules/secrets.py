"""What users must not read, and what they must not write."""

from __future__ import annotations

from collections.abc import Iterator

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import At, Problem
from hpctools.conf.rules import rule
from hpctools.slurm.conf_text import remove_line
from hpctools.slurm.releases import at_least

_SCRIPT_SINCE = "25.11"
_METRICS_AUTH_SINCE = "26.05"


@rule("password-in-slurm-conf", "error")
def password_in_slurm_conf(candidate: Candidate) -> Iterator[Problem]:
    """slurm.conf is read by every command of every user."""
    slurm = candidate.slurm
    if not slurm:
        return
    for line in slurm.all("AccountingStoragePass"):
        pair = line.pairs[0]
        if pair.value and not pair.value.startswith(("/", "socket=")):
            message = f"{pair.key} holds a password, which every user can read"
            hint = "remove it and change it: it means nothing here, slurmdbd has its own in slurmdbd.conf"
            yield Problem(pair, message, hint, edits=(remove_line(line),))
    for line in slurm.all("JobCompPass"):
        pair = line.pairs[0]
        if pair.value:
            message = f"{pair.key} holds a password, which every user can read"
            other = "JobCompPassScript, or " if at_least(candidate.release, _SCRIPT_SINCE) else ""
            yield Problem(pair, message, f"{other}keep jobs in slurmdbd; then change the password")


@rule("file-writable-by-all", "error")
def file_writable_by_all(candidate: Candidate) -> Iterator[Problem]:
    for path, stat in candidate.stats.items():
        if stat.mode & 0o002:
            message = f"any user can write to it (mode {stat.mode:04o}), and name programs that root runs"
            yield Problem(At(path), message, f"chmod o-w {path}")


@rule("metrics-refused", "warning")
def metrics_refused(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    pair = slurm.get("MetricsType") if slurm else None
    private = slurm.get("PrivateData") if slurm else None
    if not slurm or not pair or not private or not private.value:
        return
    if not at_least(candidate.release, _METRICS_AUTH_SINCE):
        message = f"{private.key}={private.value}: slurmctld refuses every request for metrics"
        yield Problem(
            pair, message, f"remove {private.key} or {pair.key}; {_METRICS_AUTH_SINCE} can tell who asks"
        )
    elif (
        not slurm.get("MetricsAuthUsers")
        and "ignore_private_data" not in slurm.value("MetricsParameters").lower()
    ):
        message = f"{private.key}={private.value}: only root and SlurmUser get metrics, and must authenticate"
        yield Problem(pair, message, "MetricsAuthUsers=prometheus, or MetricsParameters=ignore_private_data")
