"""policy.yaml, slurm: where the daemons and their database are."""

from __future__ import annotations

import re

from hpctools.conf.policy import Daemons, Database
from hpctools.conf.policy_words import read_settings
from hpctools.errors import ParseError
from hpctools.inventory.reading import Reader
from hpctools.slurm.yaml_text import Value

DAEMON_KEYS = tuple(
    """controllers database user state_save spool logs scripts configless autodetect private_tmp
    mounts ports settings""".split()
)
DATABASE_KEYS = ("host", "storage_host", "name", "user", "secret", "purge_months")
AUTODETECT = ("nvml", "nvidia", "files")
# What other parts of the policy say: the weights are computed from the order, for such factors.
_ELSEWHERE = {
    **dict.fromkeys(
        (f"priorityweight{name}" for name in ("age", "assoc", "fairshare", "jobsize", "partition", "qos")),
        "priority: order",
    ),
    "prioritytype": "priority: order",
    "priorityfavorsmall": "priority: favor",
    "prioritymaxage": "priority: max_age",
    "prioritydecayhalflife": "priority: half_life",
    "preempttype": "preempt",
    "preemptmode": "preempt",
    "preemptexempttime": "preempt: exempt",
}
_OTHER_FACTORS = ("NO_NORMAL", "NO_FAIR_TREE", "SMALL_RELATIVE_TO_TIME", "DEPTH_OBLIVIOUS")


def read_daemons(value: Value, reader: Reader) -> Daemons:
    fields = reader.fields(value, "slurm", DAEMON_KEYS, ("controllers",))
    default = Daemons(())

    def path(key: str, otherwise: str) -> str:
        # An empty text is one: "" for no private_tmp.
        text = reader.text(fields[key], f"slurm: {key}") if key in fields else otherwise
        if key in fields and text and not text.startswith("/"):
            reader.say(fields[key], f"slurm: {key}: {text} is no absolute path")
        return text

    settings = read_settings(fields.get("settings"), "slurm", reader, _ELSEWHERE)
    for key, text in settings.items():
        place = reader.entries(fields["settings"], "")[key]
        if key.lower() == "priorityflags" and any(word in text.upper() for word in _OTHER_FACTORS):
            reader.say(
                place, f"slurm: settings: {key}={text} changes what the weights are computed for", "leave it"
            )
    return Daemons(
        controllers=reader.names(fields.get("controllers"), "slurm: controllers"),
        database=_database(fields["database"], reader) if "database" in fields else None,
        user=reader.text(fields.get("user"), "slurm: user") or default.user,
        state_save=path("state_save", default.state_save),
        spool=path("spool", default.spool),
        logs=path("logs", default.logs),
        scripts=path("scripts", default.scripts),
        configless=reader.flag(fields.get("configless"), "slurm: configless", default.configless),
        autodetect=reader.one_of(fields.get("autodetect"), "slurm: autodetect", AUTODETECT, ""),
        private_tmp=path("private_tmp", default.private_tmp),
        mounts=_mounts(fields.get("mounts"), reader),
        ports=reader.parsed(fields.get("ports"), "slurm: ports", _ports, default.ports),
        settings=settings,
    )


def _mounts(value: Value | None, reader: Reader) -> tuple[str, ...]:
    found = reader.texts(value, "slurm: mounts")
    for path in found:
        if value and not re.fullmatch(r"/[^\s=]*", path):
            reader.say(value, f"slurm: mounts: {path!r} is no absolute path without spaces", "/home")
    return found


def _ports(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{4,5})-([0-9]{4,5})", text)
    if not match or not 1024 <= int(match[1]) <= int(match[2]) <= 65535:
        raise ParseError("a range of ports from 1024 to 65535", text)
    return int(match[1]), int(match[2])


def _database(value: Value, reader: Reader) -> Database:
    fields = reader.fields(value, "database", DATABASE_KEYS, ("host",))
    default = Database(reader.text(fields.get("host"), "database: host"))
    secret = reader.text(fields.get("secret"), "database: secret")
    if secret and not re.fullmatch(r"[A-Za-z0-9_./-]+", secret):
        reader.say(fields["secret"], "database: secret names a file that holds StoragePass=..., nothing else")
        secret = ""
    return Database(
        host=default.host,
        storage_host=reader.text(fields.get("storage_host"), "database: storage_host")
        or default.storage_host,
        name=reader.text(fields.get("name"), "database: name") or default.name,
        user=reader.text(fields.get("user"), "database: user") or default.user,
        secret=secret,
        purge_months=reader.integer(fields.get("purge_months"), "database: purge_months", 0, 0, 1200),
    )
