"""The two files that a site keeps, inventory.yaml and policy.yaml, read together."""

from __future__ import annotations

from hpctools.conf.load import needed
from hpctools.conf.policy import Policy
from hpctools.conf.policy_read import policy
from hpctools.errors import InvalidInput, Problem
from hpctools.inventory.model import Inventory
from hpctools.inventory.read import inventory


def inputs(inventory_path: str, policy_path: str) -> tuple[Inventory, Policy]:
    """What both files say. Raises InvalidInput with the mistakes of both."""
    problems: list[Problem] = []
    facts, choices = None, None
    try:
        facts = inventory(needed(inventory_path), inventory_path)
    except InvalidInput as error:
        problems += error.problems
    try:
        choices = policy(needed(policy_path), policy_path)
    except InvalidInput as error:
        problems += error.problems
    if facts is None or choices is None:
        raise InvalidInput(problems)
    return facts, choices
