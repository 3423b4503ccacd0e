"""What daemons log, as problems at the candidate's own lines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import At, Finding, Place, Severity
from hpctools.conf.verify import named, secrets
from hpctools.errors import ParseError
from hpctools.slurm import hostlist

# log.c: the daemon's name or a time stands before the level, and sometimes a thread's name.
_LINE = re.compile(r"(?:\[[^\]]*\] ?|[\w()-]+: )*?(fatal|error|warning): (?:(?:error|fatal): )?(.*)")
# Said by the platform or about what was replaced, whatever the candidate says.
NOISE = re.compile(
    "|".join(
        (
            # Debian's packages: plugins whose libraries or parts are not installed.
            r"pmix|PMIx",
            r"cannot create (url|http)_parser context",
            r"cgroup[ /]v1\b.*deprecated",
            # A virtual machine's clock.
            r"High latency for \d+ calls to gettimeofday",
            # The first start: there is no state to recover.
            r"Could not open [\w ]+ state file \S+: No such file",
            r"NOTE: Trying backup \w* ?state save file",
            r"No fed_mgr state file",
            # Nodes that are not started, at addresses where nobody is.
            r"Network is unreachable|Unable to contact slurm controller",
            r"Nodes \S+ not responding",
            # A question of ours that was given up while a busy slurmctld was answering it.
            r"slurm_send_node_msg: .*msg_type=RESPONSE_\w+\) failed: ",
            # All daemons have the files, where the site may be configless.
            r"Running with local config file despite",
            # An ordinary user, in the place of SlurmUser and SlurmdUser.
            r"Not running as root|plugin will not work unless SlurmdUser is root",
            # ProctrackType is replaced; task/cgroup is, too.
            r"If using PrologFlags=Contain for pam_slurm_adopt",
            r"Resource spec: (Limited|.*not constrained)",
        )
    )
)
# s_p_parse_file of parse_config.c: it tries for a minute, and then there is no configuration.
STALL = re.compile(r"cannot stat file (\S+): .*retrying in 1sec up to 60sec")
_FILE_LINE = re.compile(r"in file (\S+) line (\d+)")
_PARSE_ERROR = re.compile("Parse error in file")
_REFUSED = re.compile(
    r"unrecognized key|Parse error in file|\"Include\" failed in file"
    r"|Bad SelectTypeParameter|is not a valid option for"
)
_WITHOUT_REASON = re.compile(r"Unable to process configuration file|Could not open/read/parse \S+\.conf")
_UNKNOWN_KEY = re.compile(r"unrecognized key: (\S+)")
_PARTITION = re.compile(r"partition[ =]+\(?'?([\w.-]+)", re.IGNORECASE)
_NODES = re.compile(r"(?:Node(?:Name)?s?[ =]+|from )\[?([\w.-]+(?:\[[\d,-]+\])?)", re.IGNORECASE)
_SETTING = re.compile(r"\b([A-Za-z]\w+)=(\S+)")
_PLUGIN = re.compile(r"\b(?!gres/)([a-z]\w*/\w+)\b")
# A key's name is told from a word by its second capital.
_KEY = re.compile(r"\b[A-Z][a-z]*[A-Z]\w+\b")
_FILE = re.compile(r"\b(topology\.conf|topology\.yaml|gres\.conf|cgroup\.conf|acct_gather\.conf)\b")
# What a message means by a plain word.
_MEANT = {
    "cgroup plugin": ("CgroupPlugin",),
    "topology": ("TopologyPlugin",),
    "node selection": ("SelectType",),
    "default partition": ("PartitionName",),
    "PartitionName information": ("PartitionName",),
    "preempt": ("PreemptType", "PreemptMode"),
    "association|slurmdbd": ("AccountingStorageType",),
    "shared gres": ("SelectType", "GresTypes"),
}
_HINTS = {
    r"retrying in 1sec": "it would wait for the file for 60 s and then end: add the file",
    r"unrecognized key": "hpctools conf lint knows what became of it",
    r"invalid (AllowQOS|DenyQOS|qos)": "add the QOS, and AccountingStorageType=accounting_storage/slurmdbd",
}


_SEVERITIES: Mapping[str, Severity] = {"fatal": "fatal", "error": "error", "warning": "warning"}


class Locator:
    """Finds the line of the candidate that a message is about."""

    def __init__(self, candidate: Candidate, origin: Mapping[str, str], main: Conf | None = None) -> None:
        """main: the file that the daemon reads first, if it is not slurm.conf."""
        self.candidate = candidate
        self.origin = origin
        self.slurm = main or candidate.confs["slurm.conf"]
        self.confs = [main] if main else [self.slurm, *candidate.confs.values()]

    def place(self, message: str, node: str = "") -> Place:
        """The most precise there is; slurm.conf's first line where the message names nothing. node: whose
        slurmd said it."""
        return next(self._places(message, node), At(self.slurm.path))

    def told(self, message: str) -> str:
        """message with the candidate's own paths."""
        for path in sorted(self.origin, key=len, reverse=True):
            message = message.replace(path, self.origin[path])
        # A line that is quoted has what was added to it.
        return secrets.without(re.sub(r" NodeAddr=239\.[\d.,\[\]-]+", "", message))

    def _places(self, message: str, node: str) -> Iterator[Place]:
        if match := _FILE_LINE.search(message):
            yield At(self.origin.get(match[1], self.slurm.path), int(match[2]))
        if match := STALL.search(message):
            yield from self._missing(match[1])
        if match := _UNKNOWN_KEY.search(message):
            yield from self._key(match[1])
        for match in _PARTITION.finditer(message):
            yield from (line for line in self.slurm.all("PartitionName") if line.pairs[0].value == match[1])
        yield from named.of_topology(self.candidate, message)
        yield from named.of_gres(self.candidate.conf("gres.conf"), message, node)
        for match in _NODES.finditer(message):
            yield from self._node(match[1])
        for key, value in _SETTING.findall(message):
            yield from self._setting(key, value)
        if "SHARING configuration" in message and (gres := self.candidate.conf("gres.conf")):
            yield from (line for line in gres.lines if line.value("Name") in ("shard", "mps"))
        yield from named.of_quoted(self.candidate, self.confs, message)
        for word in _KEY.findall(message):
            yield from self._key(word)
            # "PrologFlag Serial is incompatible with ..."
            yield from self._key(f"{word}s")
        for match in _PLUGIN.finditer(message):
            yield from self._value(match[1])
        for match in _FILE.finditer(message):
            if match[1] in self.candidate.confs or match[1] in self.candidate.yamls:
                yield At(os.path.join(os.path.dirname(self.slurm.path), match[1]))
        for pattern, keys in _MEANT.items():
            if re.search(pattern, message, re.IGNORECASE):
                for key in keys:
                    yield from self._key(key)

    def _key(self, key: str) -> Iterator[Place]:
        """The last line of slurm.conf with the key, at its beginning or further on; then other files'."""
        for conf in self.confs:
            if lines := conf.all(key):
                yield lines[-1].pairs[0]
        for conf in self.confs:
            yield from (
                pair for line in conf.lines for pair in line.pairs[1:] if pair.key.lower() == key.lower()
            )

    def _setting(self, key: str, value: str) -> Iterator[Place]:
        """Where a line has just this, but for the brackets that slurmd adds."""
        for conf in self.confs:
            for pair in (pair for line in conf.lines for pair in line.pairs):
                if pair.key.lower() == key.lower() and pair.value.strip("[]") == value.strip("[]"):
                    yield pair

    def _value(self, value: str) -> Iterator[Place]:
        for line in self.slurm.lines:
            yield from (pair for pair in line.pairs[:1] if value in pair.value.split(","))

    def _node(self, names: str) -> Iterator[Place]:
        for line in self.slurm.all("NodeName"):
            if line.pairs[0].value in (names, f"[{names}]"):
                yield line
        try:
            first = hostlist.expand(names)[:1]
        except ParseError:
            return
        if first and (record := self.slurm.node_of.get(first[0])):
            yield record.at

    def _missing(self, path: str) -> Iterator[Place]:
        """The Include that names a file, or the key that asks for it."""
        name = os.path.basename(path)
        for line, _ in self.candidate.absent:
            if os.path.basename(line.include or "") == name:
                yield line
        if name.startswith("topology"):
            yield from self._key("TopologyPlugin")


def read(text: str) -> Iterator[tuple[Severity, str]]:
    """The severity and message of each line of a log that has one, noise left out."""
    for line in text.splitlines():
        match = _LINE.match(line)
        if match and not NOISE.search(match[2]):
            yield _SEVERITIES[match[1]], match[2].strip()


def last(text: str) -> str:
    """The last line of a log, without its time; "" of an empty one."""
    return re.sub(r"^\[[^\]]*\] |^\w+: ", "", text.strip().rpartition("\n")[2])


def findings(text: str, daemon: str, locator: Locator) -> list[Finding]:
    """The problems in the log of a daemon. daemon: slurmctld, slurmd-n1, ...

    Messages about one line that differ in numbers only, as for each node of a list, are one problem.
    """
    rule, _, node = daemon.partition("-")
    groups: dict[tuple[str, int, str], list[Finding]] = {}
    found = [finding(rule, *said, locator, node=node) for said in _blamed([*dict.fromkeys(read(text))])]
    for one in _without_echoes(found):
        message = one.message
        groups.setdefault((one.file, one.line, re.sub(r"\d+", "", message)), []).append(one)
    return [_once(group) for group in groups.values()]


def _once(group: Sequence[Finding]) -> Finding:
    first = group[0]
    if len(group) == 1:
        return first
    return replace(first, message=f"{first.message} (and {len(group) - 1} more such messages)")


def finding(
    rule: str, severity: Severity, message: str, locator: Locator, hint: str = "", node: str = ""
) -> Finding:
    if not hint:
        hint = next((text for pattern, text in _HINTS.items() if re.search(pattern, message)), "")
    where = locator.place(message, node)
    return Finding(where.path, where.line, severity, rule, locator.told(message), hint)


def _blamed(said: Sequence[tuple[Severity, str]]) -> list[tuple[Severity, str]]:
    """With the errors fatal that are why a file was refused, in the place of the message that it was."""
    why = [text for _, text in said if _REFUSED.search(text)]
    refused = [text for severity, text in said if severity == "fatal" and _WITHOUT_REASON.match(text)]
    if not why or not refused:
        return list(said)
    return [("fatal" if text in why else severity, text) for severity, text in said if text not in refused]


def _without_echoes(found: Sequence[Finding]) -> Iterator[Finding]:
    """Without "Parse error in file ..." about a line whose unknown key has been named, and without
    "Include failed" for a file whose own line has been named."""
    named = {(one.file, one.line) for one in found if _UNKNOWN_KEY.search(one.message)}
    parsed = [one for one in found if _UNKNOWN_KEY.search(one.message) or _PARSE_ERROR.match(one.message)]
    for one in found:
        repeated = _PARSE_ERROR.match(one.message) and (one.file, one.line) in named
        if not repeated and not (parsed and one.message.startswith('"Include" failed in file')):
            yield one
