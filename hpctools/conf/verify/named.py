"""Places in a candidate that a message names by a value: a switch, a GRES, a word in quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpctools.conf.candidate import Candidate, Conf
from hpctools.conf.finding import At, Place
from hpctools.conf.verify import gres
from hpctools.errors import ParseError
from hpctools.slurm import hostlist, releases

_OF_TOPOLOGY = re.compile(r"\b(?:switch(?:es)?|leaf|blocks?|rings?)\b|topology\.(?:conf|yaml)", re.IGNORECASE)
# That a plugin is not there is said about TopologyPlugin.
_OF_PLUGIN = re.compile(r"plugin|select/", re.IGNORECASE)
_NAME = re.compile(r"[\w.-]*\w(?:\[[\d,-]+\])?")
_GRES = re.compile(r"(?:Invalid GRES record for |\bgres/)(\w+)")
_FOR_NODE = re.compile(r"for node (\S+)")
_QUOTED = re.compile(r"\"([^\"]+)\"|'([^']+)'|\(([^()]+)\)|: (\S+?)\.?$|\bfor ([a-z_/]+)(?= looking|$)")


@dataclass(frozen=True)
class _Topology:
    """A topology file. own: values that name a switch or block; others: of nodes and children."""

    path: str
    own: tuple[tuple[str, Place], ...]
    others: tuple[tuple[str, Place], ...]


def of_topology(candidate: Candidate, message: str) -> Iterator[Place]:
    """The line of the switch, block or node that the message names, else the topology file."""
    topology = _topology(candidate, message)
    if topology is None or not _OF_TOPOLOGY.search(message) or _OF_PLUGIN.search(message):
        return
    names = _NAME.findall(message)
    own: dict[str, Place] = {}
    for value, place in topology.own:
        # A switch that is defined twice is wrong where it is defined again.
        own[value] = place
    yield from (own[name] for name in names if name in own)
    yield from _holding(topology.others, names)
    yield At(topology.path)


def of_gres(conf: Conf | None, message: str, node: str) -> Iterator[Place]:
    """The line of gres.conf about whose Count or File the message is, where there is one; node: whose
    slurmd said it, "" for none."""
    match = _GRES.search(message)
    if conf is None or not match or not re.search(r"\bcount\b|\bFile\b", message):
        return
    if on := _FOR_NODE.search(message):
        node = on[1]
    lines = [
        line
        for line in conf.lines
        if line.value("Name") == match[1] and (not node or gres.is_for(line, node))
    ]
    counted = "does not match File" in message
    exact = [line for line in lines if bool(line.get("File") or line.get("MultipleFiles")) == counted]
    if counted:
        exact = [line for line in exact if line.get("Count")]
    for found in (exact, lines):
        if len(found) == 1:
            yield found[0]


def of_quoted(candidate: Candidate, confs: Sequence[Conf], message: str) -> Iterator[Place]:
    """The pair with the value that the message quotes, where just one has it."""
    pairs = list(dict.fromkeys(pair for conf in confs for line in conf.lines for pair in line.pairs))
    for groups in _QUOTED.findall(message):
        word = _plain("".join(groups))
        # A number, or yes, stands for nothing.
        if not re.search("[a-z]", word) or len(word) < 2:
            continue
        found = [pair for pair in pairs if _plain(pair.value) == word]
        found = found or [pair for pair in pairs if word in re.split("[,=]", _plain(pair.value))]
        if len(found) == 1:
            yield found[0]
    if (match := re.search(r"node \"([^\"]+)\"", message)) and (topology := _topology(candidate, message)):
        yield from _holding(topology.others, [match[1]])


def _plain(value: str) -> str:
    """Slurm writes GRES:foo for gres/foo."""
    return value.lower().replace("/", ":")


def _topology(candidate: Candidate, message: str) -> _Topology | None:
    """The topology file that the release reads."""
    file = candidate.yamls.get("topology.yaml")
    if file and "topology.conf" not in message and releases.at_least(candidate.release, "25.05"):
        own: list[tuple[str, Place]] = []
        others: list[tuple[str, Place]] = []
        for key, value in file.root.walk() if file.root else ():
            if value.text:
                kind = own if key in ("topology", "switch", "block", "ring") else others
                kind.append((value.text, value))
        return _Topology(file.path, tuple(own), tuple(others))
    conf = candidate.conf("topology.conf")
    if conf is None:
        return None
    lines = [line for line in conf.lines if line.pairs]
    return _Topology(
        conf.path,
        tuple((line.pairs[0].value, line) for line in lines),
        tuple((pair.value, pair) for line in lines for pair in line.pairs[1:]),
    )


def _holding(values: Sequence[tuple[str, Place]], names: Sequence[str]) -> Iterator[Place]:
    """The places of host lists that have one of names."""
    for text, place in values:
        try:
            members = {text, *hostlist.expand(text)}
        except ParseError:
            members = {text}
        if not members.isdisjoint(names):
            yield place
