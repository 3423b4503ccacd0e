"""What makes a sandbox's processes see their own users, hosts and network.

Namespaces end with their last process, so nothing of them can stay behind.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

USERS = ("ada", "lin")
FIRST_UID = 64701  # above Debian's dynamic system range, below nobody (deb-policy 9.2.2)

# $1 is laid over $2, and so on until --; then the words that follow are run.
_BIND = 'while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 126; shift 2; done; shift; exec "$@"'
# The same below the folder $1, which becomes the root (pivot_root(2), the last lines of its notes).
_ENTER = """
root=$1 cwd=$PWD
shift
mount --bind "$root" "$root" && cd "$root" || exit 126
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then [ -d ".$2" ] || mkdir -p ".$2"; else [ -e ".$2" ] || : >".$2"; fi
    mount --rbind "$1" ".$2" || exit 126
    shift 2
done
shift
pivot_root . . && umount -l . || exit 126
cd "$cwd" 2>/dev/null || cd /
exec "$@"
"""
_HOLD = 'hostname "$1" && exec sleep infinity'
# A user may not be allowed in the folder that the superuser stands in.
_AS_USER = 'cd . 2>/dev/null || cd "$HOME" || exit 126; exec "$@"'


def loopback_address() -> str | None:
    """The address that this host's name resolves to, where that is loopback, else None.

    With NoInAddrAny Slurm's daemons listen on what the host's name resolves to
    (slurm_setup_addr in slurm_protocol_socket.c), on Debian often 127.0.1.1.
    """
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        return None
    return address if address.startswith("127.") else None


@dataclass(frozen=True)
class View:
    """How the processes of one host of the sandbox see the system.

    binds: target -> the file or folder laid over it, in a mount namespace of their own. network_pid:
    the process that holds the network and UTS namespace to join, if any. root: a folder that is
    their root, where programs are of another release; binds are then seen in it.
    """

    binds: Mapping[str, str] = field(default_factory=dict)
    network_pid: int | None = None
    root: str | None = None

    def words(self, argv: Sequence[str], *, user: str | None = None) -> list[str]:
        """argv, run in this view, as user if one is named."""
        result = list(argv)
        if user is not None:
            result = ["/bin/sh", "-c", _AS_USER, "sh", *result]
            result = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--", *result]
        if self.binds:
            pairs = [word for target, source in self.binds.items() for word in (source, target)]
            unshare = ["unshare", "--mount", "--propagation", "slave"]
            if os.geteuid() != 0:
                unshare += ["--user", "--map-current-user", "--keep-caps"]
            script = [_BIND, "sh"] if self.root is None else [_ENTER, "sh", self.root]
            result = [*unshare, "--", "/bin/sh", "-c", *script, *pairs, "--", *result]
        if self.network_pid is not None:
            spaces = [f"--{kind}=/proc/{self.network_pid}/ns/{kind}" for kind in ("net", "uts")]
            result = ["nsenter", *spaces, "--", *result]
        return result


def hold_words(hostname: str) -> list[str]:
    """A process that holds a network and UTS namespace with that host name."""
    return ["unshare", "--net", "--uts", "--", "/bin/sh", "-c", _HOLD, "sh", hostname]


def network_address(number: int) -> str:
    """The address of host number of a sandbox with --netns, in 10.89.0.0/16; 0 is the controller's."""
    return f"10.89.{number // 250}.{number % 250 + 1}"


def network_commands(controller_pid: int, node_pids: Sequence[int]) -> list[list[str]]:
    """The commands that join the namespaces by a bridge in the controller's: host i of the nodes
    gets network_address(i + 1). Nothing of this is seen in the host's own network."""
    inside = ["nsenter", f"--net=/proc/{controller_pid}/ns/net", "--", "ip"]
    commands = [
        [*inside, "link", "set", "lo", "up"],
        [*inside, "link", "add", "br0", "type", "bridge"],
        [*inside, "addr", "add", f"{network_address(0)}/16", "dev", "br0"],
        [*inside, "link", "set", "br0", "up"],
    ]
    for number, pid in enumerate(node_pids, 1):
        there = ["nsenter", f"--net=/proc/{pid}/ns/net", "--", "ip"]
        peer = ["peer", "name", "eth0", "netns", str(pid)]
        commands += [
            [*inside, "link", "add", f"veth{number}", "type", "veth", *peer],
            [*inside, "link", "set", f"veth{number}", "master", "br0", "up"],
            [*there, "link", "set", "lo", "up"],
            [*there, "addr", "add", f"{network_address(number)}/16", "dev", "eth0"],
            [*there, "link", "set", "eth0", "up"],
        ]
    return commands


def link_command(controller_pid: int, number: int, state: str) -> list[str]:
    """Cut (down) or restore (up) the link of node number, counted from 1."""
    return [
        "nsenter",
        f"--net=/proc/{controller_pid}/ns/net",
        "--",
        "ip",
        "link",
        "set",
        f"veth{number}",
        state,
    ]


def hosts_text(entries: Mapping[str, str], system: str) -> str:
    """/etc/hosts with entries (name -> address) in the place of what system says of those names."""
    kept = [line for line in system.splitlines() if not set(line.split("#")[0].split()[1:]) & set(entries)]
    return "\n".join([*kept, *(f"{address} {name}" for name, address in entries.items())]) + "\n"


def users_text(passwd: str, group: str, homes: Mapping[str, str]) -> tuple[str, str]:
    """/etc/passwd and /etc/group with the sandbox's users added, unless the system has them."""
    present = {line.partition(":")[0] for line in passwd.splitlines()}
    for number, (user, home) in enumerate(homes.items()):
        if user not in present:
            uid = FIRST_UID + number
            passwd += f"{user}:x:{uid}:{uid}:user of the sandbox:{home}:/bin/bash\n"
            group += f"{user}:x:{uid}:\n"
    return passwd, group
