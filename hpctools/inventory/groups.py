"""Hosts of one type as groups that can be written short: with their switches, blocks, racks, addresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hpctools.inventory.found import Found, in_order
from hpctools.inventory.model import Group, NodeType


def groups_of(type: NodeType, hosts: Iterable[Found]) -> Iterator[Group]:
    """The groups of hosts of a type, sorted by name.

    Hosts are together where they have the same features, and know the same of their places. Where
    switches (blocks, racks) do not have equally many of them in turn, each has a group of its own.
    """
    parts: dict[object, list[Found]] = {}
    for one in sorted(hosts, key=lambda one: in_order(one.host)):
        extra = tuple(word for word in one.features if word not in type.features)
        known = (bool(one.switch), bool(one.block), bool(one.rack), bool(one.address))
        parts.setdefault((extra, known), []).append(one)
    for (extra, _), some in parts.items():  # type: ignore[misc]
        even = all(share(places) for places in _places(some) if places)
        by_place: dict[object, list[Found]] = {}
        for one in some:
            by_place.setdefault(None if even else (one.switch, one.block, one.rack), []).append(one)
        for together in by_place.values():
            switches, blocks, racks = _places(together)
            yield Group(
                hosts=tuple(one.host for one in together),
                type=type.name,
                switches=switches,
                blocks=blocks,
                racks=racks,
                addresses=tuple(one.address for one in together if one.address),
                features=extra,
            )


def share(places: Sequence[str]) -> tuple[tuple[str, ...], int] | None:
    """Names in turn and how many places each has, the last perhaps fewer; None where they are not so.

    share(("a", "a", "b", "b")) is (("a", "b"), 2).
    """
    names = list(dict.fromkeys(places))
    each = places.count(names[0])
    if [names[index // each] for index in range(len(places)) if index // each < len(names)] != list(places):
        return None
    return tuple(names), each


def _places(hosts: Sequence[Found]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """switches, blocks and racks; () where not known."""
    switches, blocks, racks = (
        tuple(getattr(one, name) for one in hosts if getattr(one, name))
        for name in ("switch", "block", "rack")
    )
    return switches, blocks, racks
