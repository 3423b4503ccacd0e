"""Values that are not printed."""

from __future__ import annotations

import re

HIDDEN = "(hidden)"
# Lower-cased. StorageParameters and the others may name keys, or hold them.
_SECRET = frozenset(
    (
        "storagepass accountingstoragepass jobcomppass defaultstoragepass authaltparameters "
        "storageparameters jobcompparams tlsparameters certmgrparameters certgenparameters"
    ).split()
)
# The words of AuthInfo that hold nothing secret (slurm.conf(5)).
_OPEN = re.compile(r"(?:socket|ttl|cred_expire)=[^,]*|use_client_ids|disable_sack")
_QUOTED = re.compile(rf"\b({'|'.join(_SECRET)}|authinfo)(\s*=\s*)(\"[^\"]*\"|[^\s\"]+)", re.IGNORECASE)


def shown(key: str, value: str) -> str:
    """value as it may be printed."""
    name = key.lower()
    closed = name == "authinfo" and not all(map(_OPEN.fullmatch, value.split(",")))
    return HIDDEN if value and (closed or name in _SECRET) else value


def without(text: str) -> str:
    """A text that may quote lines of a file, without their secrets."""
    return _QUOTED.sub(lambda match: f"{match[1]}{match[2]}{shown(match[1], match[3])}", text)
