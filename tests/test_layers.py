"""The rule of the tree: imports go down."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "hpctools"

# From the bottom to the top. A module may import its own part and the parts of lower lines.
LAYERS = (
    ("hpctools.errors", "hpctools.preemption"),
    ("hpctools.process", "hpctools.files"),  # the doors to effects
    ("hpctools.slurm",),
    ("hpctools.images", "hpctools.inventory", "hpctools.native"),
    ("hpctools.conf", "hpctools.jobs", "hpctools.usage"),
    ("hpctools.doctor", "hpctools.executor", "hpctools.sandbox"),
    ("hpctools.conf.verify", "hpctools.site"),  # boot a configuration in a sandbox; take one for the cluster
    ("hpctools.api",),
    ("hpctools",),  # what `import hpctools` offers
    ("hpctools.cli",),
    ("hpctools.__main__",),
)
# The version is a fact that everything may state.
FREE = {("hpctools", "__version__")}
DOORS = ("hpctools.process", "hpctools.files")
# Text to values and back: what these say can be tested with text alone.
PURE = (
    "hpctools.slurm",
    "hpctools.conf.accounts",
    "hpctools.conf.candidate",
    "hpctools.conf.described",
    "hpctools.conf.arithmetic",
    "hpctools.conf.finding",
    "hpctools.conf.policy",
    "hpctools.conf.policy_accounts",
    "hpctools.conf.policy_daemons",
    "hpctools.conf.policy_read",
    "hpctools.conf.policy_words",
    "hpctools.conf.preemption",
    "hpctools.conf.priority",
    "hpctools.conf.rules",
    "hpctools.images.needs",
    "hpctools.images.references",
    "hpctools.inventory.fold",
    "hpctools.inventory.found",
    "hpctools.inventory.from_ansible",
    "hpctools.inventory.from_csv",
    "hpctools.inventory.from_ibnet",
    "hpctools.inventory.from_slurm",
    "hpctools.inventory.groups",
    "hpctools.inventory.imports",
    "hpctools.inventory.model",
    "hpctools.inventory.read",
    "hpctools.inventory.reading",
    "hpctools.inventory.summary",
    "hpctools.inventory.write",
    "hpctools.jobs.check",
    "hpctools.jobs.env_lint",
    "hpctools.jobs.env_rules",
    "hpctools.jobs.exported",
    "hpctools.jobs.fabric",
    "hpctools.jobs.options",
    "hpctools.jobs.render",
    "hpctools.jobs.spec",
    "hpctools.site.verdicts",
    "hpctools.site.written",
)
# What reaches outside without one of our doors.
EFFECTS = {"asyncio", "ctypes", "fcntl", "http", "shutil", "socket", "subprocess", "tempfile", "urllib"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# data/ holds links to folders of text; whatever Python lies there is text too.
FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if "data" not in path.parts}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text())


def imports(module: str) -> Iterator[tuple[str, str]]:
    """(module, name or "") of every import, those inside functions too."""
    package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((source, alias.name) for alias in node.names)


def ours(module: str) -> set[str]:
    """The modules of hpctools that module imports."""
    found = set()
    for source, name in imports(module):
        if source.partition(".")[0] == "hpctools" and (source, name) not in FREE:
            found.add(f"{source}.{name}" if f"{source}.{name}" in FILES else source)
    return found - {module}


def part(module: str) -> tuple[int, str] | None:
    """The layer of a module, as a height, and the part of it that it belongs to: the longest that fits."""
    fitting = [
        (height, name)
        for height, names in enumerate(LAYERS)
        for name in names
        if module == name or (module.startswith(name + ".") and name != "hpctools")
    ]
    return max(fitting, key=lambda found: len(found[1]), default=None)


def upward(module: str, imported: Iterable[str]) -> list[str]:
    """Those of imported that module must not import."""
    height, name = part(module) or (-1, "")
    wrong = []
    for target in imported:
        target_height, target_name = part(target) or (len(LAYERS), "")
        if target_height >= height and target_name != name:
            wrong.append(target)
    return wrong


def within(module: str, parts: Iterable[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in parts)


def cycle(graph: Mapping[str, set[str]]) -> list[str] | None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


@pytest.mark.parametrize("module", FILES)
def test_every_module_has_a_layer(module: str) -> None:
    assert part(module), f"{module} stands in no layer: add its part to LAYERS"


@pytest.mark.parametrize("module", FILES)
def test_imports_go_down(module: str) -> None:
    assert upward(module, ours(module)) == []


def test_no_modules_import_each_other() -> None:
    assert cycle({module: ours(module) for module in FILES}) is None


@pytest.mark.parametrize("module", [module for module in FILES if within(module, PURE)])
def test_pure_modules_run_and_write_nothing(module: str) -> None:
    assert [target for target in ours(module) if within(target, DOORS)] == []
    assert {source.partition(".")[0] for source, _ in imports(module)} & EFFECTS == set()
    opened = [
        node.lineno
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"
    ]
    assert opened == []


def test_an_import_that_goes_up_is_found() -> None:
    assert upward("hpctools.slurm.tres", ["hpctools.jobs.spec"]) == ["hpctools.jobs.spec"]
    assert upward("hpctools.jobs.spec", ["hpctools.usage.ledger"]) == ["hpctools.usage.ledger"]
    assert upward("hpctools.jobs.spec", ["hpctools.slurm.tres", "hpctools.jobs.site"]) == []


def test_a_module_outside_of_the_table_is_found() -> None:
    assert part("hpctools.helpers") is None
    assert upward("hpctools.cli", ["hpctools.helpers"]) == ["hpctools.helpers"]


def test_a_cycle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
