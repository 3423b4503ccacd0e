"""The JSON Schema for editors says what the reader says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings

from hpctools.errors import InvalidInput
from hpctools.inventory import read as reader
from hpctools.inventory.model import Inventory
from hpctools.inventory.write import to_yaml
from tests.inventory.strategies import inventories

HERE = Path(__file__).parent
SCHEMA: dict[str, Any] = json.loads(
    (HERE.parent.parent / "slurm_conf/schemas/inventory.schema.json").read_text()
)
JUDGE = jsonschema.Draft202012Validator(SCHEMA)
ALPHA = (HERE / "alpha.yaml").read_text()
DEFS = SCHEMA["$defs"]


def objects(schema: object) -> list[dict[str, Any]]:
    """Every part of schema that names properties."""
    if isinstance(schema, list):
        return [one for item in schema for one in objects(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if isinstance(schema.get("properties"), dict) else []
    return own + [one for item in schema.values() for one in objects(item)]


def accepted(text: str) -> tuple[bool, bool]:
    """Whether the schema takes text, and whether the reader does."""
    try:
        reader.inventory(text.encode(), "i.yaml")
    except InvalidInput:
        return JUDGE.is_valid(yaml.safe_load(text)), False
    return JUDGE.is_valid(yaml.safe_load(text)), True


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_it_knows_the_keys_of_the_reader() -> None:
    assert list(DEFS["node_type"]["properties"]) == reader.TYPE_KEYS
    assert list(DEFS["gpus"]["properties"]) == reader.GPU_KEYS
    assert list(DEFS["group"]["properties"]) == reader.GROUP_KEYS
    assert DEFS["node_type"]["properties"]["fabric"]["properties"]["kind"]["enum"] == list(reader.FABRICS)


def test_every_key_is_described_and_no_other_is_taken() -> None:
    for one in objects(SCHEMA):
        assert one["additionalProperties"] is False
        for key, below in one["properties"].items():
            known = DEFS.get(below.get("$ref", "").rpartition("/")[2], {})
            assert "description" in below or "description" in known or key in ("nodes", "switches"), key


def test_the_example_is_accepted_by_both() -> None:
    assert accepted(ALPHA) == (True, True)


@settings(max_examples=60, deadline=None)
@given(inventories())
def test_what_is_written_is_accepted(made: Inventory) -> None:
    JUDGE.validate(yaml.safe_load(to_yaml(made)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("cluster: alpha", "cluster: Alpha"),
        ("cluster: alpha", "name: alpha"),
        ("node_types:", "types:"),
        ("sockets: 2", "sockets: two"),
        ("sockets: 2", "socket: 2"),
        ("cores_per_socket: 56", "cores_per_socket: 0"),
        ("memory: 2014G", "memory: 2014 GB"),
        ("memory: 2014G", ""),
        ("type: h100", "type: NVIDIA H100"),
        ("count: 8", "count: 65"),
        ("numa: [0, 0, 0, 0, 1, 1, 1, 1]", "numa: [a]"),
        ("1g.5gb: 4", "1g: 4"),
        ("1g.5gb: 4", "1g.5gb: 8"),
        ("kind: infiniband", "kind: ib"),
        ("rate: 400G", "rate: fast"),
        ("weight: 100", "weight: -1"),
        ("features: [ib, nvme]", "features: [a b]"),
        ("reserved: {cores: 4", "reserved: {cpus: 4"),
        ("per_switch: 8", "per_switch: 0"),
        ("per_switch: 8", "switches: 8"),
        ('name: "spine1", ', ""),
    ],
)
def test_a_mistake_of_form_is_refused_by_both(old: str, new: str) -> None:
    assert old in ALPHA
    assert accepted(ALPHA.replace(old, new, 1)) == (False, False)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("memory: 2014G", "memory: 1.5T"),
        ("rate: 400G", "rate: 400"),
        ("weight: 100", "weight: 0"),
        ("features: [ib, nvme]", "features: ib"),
        ("features: [ib, nvme]", "features: ['ib:hdr', nps=4]"),
        ('hosts: "mig[1-2]"', "hosts: [mig1, mig2]"),
        ("1g.5gb: 4", "1g.5gb+me: 1"),
    ],
)
def test_another_form_of_a_value_is_accepted_by_both(old: str, new: str) -> None:
    assert old in ALPHA
    assert accepted(ALPHA.replace(old, new, 1)) == (True, True)
