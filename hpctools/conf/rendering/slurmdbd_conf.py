"""slurmdbd.conf: of the host that keeps the accounts. It holds no password: a file beside it does."""

from __future__ import annotations

from hpctools.conf.policy import Policy
from hpctools.conf.rendering import text


def slurmdbd_conf(policy: Policy, release: str) -> str:
    """ "" where there is no database."""
    if policy.daemons.database is None:
        return ""
    values = {
        "header": text.Text(text.header(release, "the accounting daemon.")),
        "daemons": policy.daemons,
        "database": policy.daemons.database,
    }
    return text.template("slurmdbd.conf", values)
