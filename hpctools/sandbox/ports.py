"""Free TCP ports on loopback: probed, and reserved while they are handed out."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Collection, Iterator

from hpctools.errors import HpctoolsError

# Below the ephemeral ports (32768 and up) and apart from those of jobs (20000 to 29999).
FIRST, LAST = 16000, 19999


@contextlib.contextmanager
def reserved(
    address: str, count: int, *, wanted: Collection[int] = (), taken: Collection[int] = ()
) -> Iterator[list[int]]:
    """count free ports on address; wanted ones first, never one of taken.

    While the block runs, an abstract socket (unix(7)) holds each against other users' sandboxes,
    until the daemons listen on them.
    """
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        for port in [*wanted, *(port for port in range(FIRST, LAST + 1) if port not in wanted)]:
            if len(ports) == count:
                break
            if port not in taken and _hold(held, port) and free(address, port):
                ports.append(port)
        if len(ports) < count:
            raise HpctoolsError(f"fewer than {count} ports of {FIRST} to {LAST} are free on {address}")
        yield ports


def _hold(held: contextlib.ExitStack, port: int) -> bool:
    holder = held.enter_context(socket.socket(socket.AF_UNIX))
    try:
        holder.bind(f"\0hpctools-port-{port}")
    except OSError:
        return False
    return True


def free(address: str, port: int) -> bool:
    """Whether nothing listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
