"""The examples of docs/inventory.md are what they say."""

from __future__ import annotations

import re
from pathlib import Path

from hpctools.inventory.from_csv import COLUMNS
from hpctools.inventory.imports import FORMATS, Source, imported
from hpctools.inventory.read import FABRICS, GPU_KEYS, GROUP_KEYS, TYPE_KEYS, inventory
from hpctools.inventory.summary import tree

PAGE = (Path(__file__).parent.parent.parent / "docs" / "inventory.md").read_text()


def example() -> str:
    match = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert match
    return match[1]


def test_the_example_is_an_inventory_and_shown_as_the_page_says() -> None:
    shown = tree(inventory(example().encode(), "docs"))
    assert "\n".join(f"    {line}" for line in shown[:7]) in PAGE


def test_the_table_is_an_inventory() -> None:
    table = re.search(r"    (host,sockets.*?)\n\n", PAGE, re.DOTALL)
    assert table
    text = re.sub(r"^ {4}", "", table[1], flags=re.MULTILINE)
    found = imported("a", [Source("docs", text.encode())]).inventory
    assert found.gpu_types == {"h100": 128}
    assert list(found.leaves) == ["leaf01", "leaf02"]


def test_every_key_column_and_form_stands_on_the_page() -> None:
    words = set(re.findall(r"[a-z_0-9]+", PAGE))
    assert {*TYPE_KEYS, *GPU_KEYS, *GROUP_KEYS, *FABRICS, *COLUMNS, *FORMATS} - words == set()
