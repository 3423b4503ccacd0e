"""Hosts from Ansible's facts: `ansible all -m setup --tree facts`, a fact cache, or what it printed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping

from hpctools.errors import InvalidInput, Problem
from hpctools.inventory.found import Found
from hpctools.inventory.model import Fabric

# gpu001 | SUCCESS => {
_SAID = re.compile(r"^(\S+) \| ([A-Z!]+)[^\n{]*=> *(?=\{)", re.MULTILINE)


def ansible_facts(text: str, path: str) -> tuple[Found, ...]:
    """The hosts of facts: one host's JSON, or `host | SUCCESS => {...}` of many. Raises InvalidInput.

    The facts know no GPUs.
    """
    found = []
    problems: list[Problem] = []
    for host, start, said in _documents(text, path, problems):
        if said in ("SUCCESS", "CHANGED"):
            where = f"{path}:{text.count(chr(10), 0, start) + 1}"
            try:
                facts, _ = json.JSONDecoder().raw_decode(text, start)
            except (ValueError, RecursionError) as error:
                problems.append(Problem(where, f"is no JSON: {error}"[:200]))
                continue
            one = _host(host, facts, where, problems)
            found += [one] if one else []
        else:
            problems.append(Problem(path, f"{host}: {said}: Ansible did not reach it"))
    if problems:
        raise InvalidInput(problems)
    return tuple(found)


def _documents(text: str, path: str, problems: list[Problem]) -> Iterator[tuple[str, int, str]]:
    """Each host's name, where its JSON starts, and how it went; the name of a file is that of its host."""
    if text.lstrip().startswith("{"):
        name = path.replace("\\", "/").rpartition("/")[2].removesuffix(".json")
        yield name, len(text) - len(text.lstrip()), "SUCCESS"
        return
    said = list(_SAID.finditer(text))
    if not said:
        problems.append(Problem(path, "holds no facts of Ansible", "ansible all -m setup --tree DIR"))
    yield from ((match[1], match.end(), match[2].rstrip("!")) for match in said)


def _host(name: str, said: object, where: str, problems: list[Problem]) -> Found | None:
    facts = said.get("ansible_facts", said) if isinstance(said, Mapping) else None
    if not isinstance(facts, Mapping):
        problems.append(Problem(where, "is no mapping of facts"))
        return None

    def fact(key: str) -> object:
        return facts.get(f"ansible_{key}", facts.get(key))

    def number(key: str) -> int:
        value = fact(key)
        if isinstance(value, int) and 0 < value < 2**31:
            return value
        problems.append(Problem(where, f"no fact ansible_{key} of {name}", "gather_subset: hardware"))
        return 1

    host = fact("hostname")
    return Found(
        host=host if isinstance(host, str) and host else name.partition(".")[0],
        sockets=number("processor_count"),
        cores_per_socket=number("processor_cores"),
        threads_per_core=number("processor_threads_per_core"),
        # In MiB, rounded down, of all memory that the kernel has: the same as slurmd -C.
        memory_mb=number("memtotal_mb"),
        fabric=_fabric(fact),
    )


def _fabric(fact: Callable[[str], object]) -> Fabric | None:
    """InfiniBand where there are interfaces of it; what Ethernet is used for, facts do not tell."""
    names = fact("interfaces")
    found = [fact(str(name).replace("-", "_")) for name in names] if isinstance(names, list) else []
    ports = [one for one in found if isinstance(one, Mapping) and one.get("type") == "infiniband"]
    rates = [one["speed"] for one in ports if isinstance(one.get("speed"), int) and one["speed"] >= 1000]
    return Fabric("infiniband", len(ports), max(rates) // 1000 if rates else None) if ports else None
