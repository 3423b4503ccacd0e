"""What the throw-away cluster has in the place of the candidate's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Ground:
    """Paths are absolute texts. release: major.minor. ports: slurmctld, slurmdbd.

    started: the ports of the nodes whose slurmd runs; empty while the controller boots alone.
    """

    release: str
    host: str
    address: str
    user: str
    group: str
    ports: Mapping[str, int]
    etc: str
    run: str
    state: str
    spool: str
    log: str
    devices: str
    munge_socket: str
    started: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
