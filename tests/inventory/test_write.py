"""Writing an inventory: what is read again is the same."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings

from hpctools.inventory.model import Inventory
from hpctools.inventory.read import inventory as read
from hpctools.inventory.write import to_yaml
from tests.inventory.strategies import inventories

HERE = Path(__file__).parent


@settings(max_examples=100, deadline=None)
@given(inventories())
def test_what_is_written_is_read_as_the_same(made: Inventory) -> None:
    text = to_yaml(made, ["gpu037: a remark", "two\nlines\x07"])
    again = read(text.encode(), "inventory.yaml")
    assert again == made
    assert list(again.types) == list(made.types)
    assert to_yaml(again) == to_yaml(made)


def test_it_is_short_and_readable() -> None:
    alpha = read((HERE / "alpha.yaml").read_bytes(), "alpha.yaml")
    text = to_yaml(alpha, ["gpu037: GPUs: 7 h100, and 8 h100 on the others"])
    assert text == (HERE / "alpha.written.yaml").read_text()


def test_remarks_are_comments_whatever_they_hold() -> None:
    made = read(
        b"cluster: a\nnode_types: {t: {sockets: 1, cores_per_socket: 1, memory: 1G}}\n"
        b"nodes: {hosts: n, type: t}",
        "",
    )
    text = to_yaml(made, ["one\ncluster: b\r\x85nodes: []"])
    assert all(line.startswith("#") for line in text.partition("cluster: a")[0].splitlines())
    assert read(text.encode(), "") == made
