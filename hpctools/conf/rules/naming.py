"""Names of machines: that slurmd finds itself under them, and that others reach it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hpctools.conf.candidate import Candidate, Conf, Record
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.errors import ParseError
from hpctools.slurm import hostlist
from hpctools.slurm.conf_text import Pair

_LOCAL = re.compile(r"localhost(\..*)?|127\.[0-9.]+|::1", re.IGNORECASE)
_ADDRESS = re.compile(r"[0-9]+(\.[0-9]+){3}|.*:.*")
_BRACKETS = re.compile(r"\[[^\]]*\]")
# RFC 1123: labels of letters, digits and hyphens, the latter not at their ends.
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


@rule("controller-is-localhost", "error")
def controller_is_localhost(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    local = [pair for pair, address in _controllers(slurm) if _LOCAL.fullmatch(address)]
    remote = [node for node in slurm.nodes if _is_remote(node)] if local else []
    if sum(len(node.names) for node in remote) > 1:
        pair = local[0]
        message = f"{pair.key}={pair.value}: the slurmd of {remote[0].name} look for slurmctld on themselves"
        yield Problem(pair, message, "the name of slurmctld's machine, as nodes know it")


@rule("node-name-form", "warning")
def node_name_form(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    for node in slurm.nodes:
        # The names of cloud nodes are told by the machines themselves.
        if node.get("NodeHostName") or not node.names or _is_made_later(node):
            continue
        name = node.names[0]
        if name.isascii() and name.isalnum():
            continue
        if _ADDRESS.fullmatch(name):
            message = f"{name} is an address; slurmd looks for its host name among the nodes"
            yield Problem(node, message, f"NodeName as `hostname -s` says, and NodeAddr={name}")
        elif not node.get("NodeAddr") and not all(map(_LABEL.fullmatch, name.split("."))):
            message = f"{name} is no host name by RFC 1123 (letters, digits, hyphens): DNS may not have it"
            yield Problem(node, message, "another name, or add NodeHostName and NodeAddr")


@rule("node-name-qualified", "warning")
def node_name_qualified(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    found = [
        node
        for node in slurm.nodes
        if "." in node.name
        and not _ADDRESS.fullmatch(_BRACKETS.sub("1", node.name))
        and not node.get("NodeHostName")
    ]
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        message = f"{found[0].name}{more}: with a domain; slurmd looks for its short name first"
        yield Problem(
            found[0], message, "the short name (`hostname -s`), and NodeAddr where it does not resolve"
        )


@rule("node-address-shared", "error")
def node_address_shared(candidate: Candidate) -> Iterator[Problem]:
    """Two nodes at one address and port are one slurmd."""
    slurm = candidate.slurm
    if not slurm:
        return
    first: dict[tuple[str, str], str] = {}
    for node in slurm.nodes:
        pair, port = node.get("NodeAddr"), node.value("Port")
        if not pair or "[" in port or _is_made_later(node):
            continue
        addresses = _expand(pair)
        if len(addresses) != len(node.names):
            continue
        for name, address in zip(node.names, addresses, strict=True):
            before = first.setdefault((address.lower(), port), name)
            if before != name:
                message = f"{name} and {before} both have NodeAddr={address}: jobs of the one reach the other"
                yield Problem(
                    pair, message, "its own address; several slurmd of one machine need a Port each"
                )
                break


def _is_made_later(node: Record) -> bool:
    return node.value("State").upper().startswith(("CLOUD", "FUTURE"))


def _is_remote(node: Record) -> bool:
    """Whether it is another machine than the one that calls itself localhost."""
    address = node.value("NodeAddr", node.value("NodeHostName", node.name))
    return not _LOCAL.fullmatch(_BRACKETS.sub("1", address))


def _controllers(slurm: Conf) -> Iterator[tuple[Pair, str]]:
    """Each controller, and where nodes look for it: SlurmctldHost=name(address), or ControlAddr."""
    for line in slurm.all("SlurmctldHost"):
        if line.pairs:
            name, _, address = line.pairs[0].value.partition("(")
            yield line.pairs[0], (address.rstrip(")") or name).strip()
    pair = slurm.get("ControlMachine")
    if pair and not slurm.all("SlurmctldHost"):
        yield pair, slurm.value("ControlAddr", pair.value)


def _expand(pair: Pair) -> list[str]:
    if "[" not in pair.value and "," not in pair.value:
        return [pair.value]
    try:
        return hostlist.expand(pair.value)
    except ParseError:
        return []
