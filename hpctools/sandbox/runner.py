"""Commands on a sandbox, as its own users if wanted, and its daemons' logs."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Sequence

from hpctools.errors import InvalidInput, NotFound, Problem
from hpctools.process import foreground
from hpctools.sandbox import cluster, daemons, places
from hpctools.sandbox.daemons import Sandbox


def run(name: str, command: Sequence[str], user: str | None = None) -> int:
    """Run command on the terminal with the sandbox's environment and return its status.

    user: another user's name (root only): his home and groups; where accounting does not know
    him yet he is added to the account research. Raises NotFound, InvalidInput.
    """
    sandbox = cluster.load(name)
    env = sandbox.command_env(os.environ)
    if user is not None:
        env |= _become(sandbox, user)
    if shutil.which(command[0], path=env.get("PATH")) is None:
        raise NotFound(f"{command[0]}: there is no such program")
    return foreground(sandbox.view().words(list(command), user=user), env=env)


def _become(sandbox: Sandbox, user: str) -> dict[str, str]:
    """The environment of user. Raises InvalidInput unless he is there and we may become him."""
    if os.geteuid() != 0:
        raise InvalidInput([Problem("--user", "only root may run as another user", "leave it out")])
    home = _homes(sandbox).get(user)
    if home is None:
        hint = "ada and lin are the sandbox's own" if sandbox.private_users else "name a user of this machine"
        raise InvalidInput([Problem("--user", f"there is no user {user!r}", hint)])
    if sandbox.spec.accounting:
        known = cluster.command(
            sandbox, ["sacctmgr", "-nP", "show", "assoc", f"user={user}", "format=account"]
        ).check()
        if not known.strip():
            added = [
                "sacctmgr",
                "-i",
                "add",
                "user",
                user,
                "account=research",
                f"cluster={sandbox.spec.name}",
            ]
            cluster.command(sandbox, added).check()
    return {"HOME": home, "USER": user, "LOGNAME": user}


def _homes(sandbox: Sandbox) -> dict[str, str]:
    """User -> home, of the users that the sandbox's processes see."""
    path = sandbox.places.shared / "sys" / "passwd"
    own = path.read_text().splitlines() if sandbox.private_users else []
    system = {entry.pw_name: entry.pw_dir for entry in pwd.getpwall()}
    return system | {fields[0]: fields[5] for fields in (line.split(":") for line in own) if len(fields) > 5}


def logs(name: str, daemon: str | None, lines: int, follow: bool) -> int:
    """Print the last lines of one daemon's log or of all, by tail(1). Raises InvalidInput."""
    sandbox = Sandbox.from_record(places.existing(name))
    known = [each for each in daemons.expected(sandbox.spec) if not each.startswith("net-")]
    if daemon is not None and daemon not in known:
        raise InvalidInput([Problem("DAEMON", f"there is no daemon {daemon!r}", ", ".join(known))])
    paths = [sandbox.places.log_of(each) for each in ([daemon] if daemon else known)]
    found = [str(path) for path in paths if path.exists()]
    if not found:
        raise NotFound(f"there are no logs yet in {sandbox.places.log}")
    return foreground(["tail", "-n", str(lines), *(["-F"] if follow else []), "--", *found])
