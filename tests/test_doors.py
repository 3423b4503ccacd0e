"""The rule of the libraries: each has one door."""

from __future__ import annotations

import ast
import configparser
import re
import sys

import pytest

from tests.test_layers import FILES, ROOT, imports, tree, within

# Who may import what; a part stands for all its modules.
DOORS = {
    "subprocess": ("hpctools.process", "hpctools.jobs.runtime"),
    "click": ("hpctools.cli",),
    "jinja2": ("hpctools.jobs.render", "hpctools.sandbox.config", "hpctools.conf.rendering"),
    "pandas": ("hpctools.usage",),
    "psutil": ("hpctools.sandbox", "hpctools.inventory", "hpctools.doctor"),
    "pyslurm": ("hpctools.native",),
    "rich": ("hpctools.cli",),
    "submitit": ("hpctools.executor",),
}
# The name under which a distribution is imported, where it is another one.
IMPORTED_AS = {"pyyaml": "yaml"}
# What a text becomes a program through.
TEXT_RUNNERS = {"eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
RUNNERS = {"run", "Popen", "call", "check_call", "check_output"}
# Copied into jobs and images, where Python may be 3.8 and nothing is installed.
RUNTIME = [
    module
    for module in FILES
    if module.startswith("hpctools.jobs.runtime.")
    or module in ("hpctools.preemption", "hpctools.images.inside")
]
NEWER_THAN_3_8 = {"graphlib", "tomllib", "zoneinfo"}


def libraries(module: str) -> set[str]:
    return {source.partition(".")[0] for source, _ in imports(module)}


def asks_for_a_shell(call: ast.Call) -> bool:
    """Whether shell=True is given, or to a function of subprocess something that could be True."""
    values = [word.value for word in call.keywords if word.arg == "shell"]
    if not values:
        return False
    if isinstance(values[0], ast.Constant):
        return values[0].value is True
    return ast.unparse(call.func).rpartition(".")[2] in RUNNERS


def calls(code: ast.Module) -> list[str]:
    """What runs a shell or a text as a program, with its line."""
    found = []
    for node in ast.walk(code):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in TEXT_RUNNERS or asks_for_a_shell(node):
                found.append(f"{name}, line {node.lineno}")
    return found


@pytest.mark.parametrize("library", DOORS)
def test_a_library_has_one_door(library: str) -> None:
    users = [module for module in FILES if library in libraries(module)]
    assert [module for module in users if not within(module, DOORS[library])] == []


@pytest.mark.parametrize("module", FILES)
def test_no_text_becomes_a_program(module: str) -> None:
    assert calls(tree(module)) == []


def test_a_text_that_becomes_a_program_is_found() -> None:
    code = "run(x, shell=True); run(x, shell=y); os.system(x); subprocess.getoutput(x); eval(x); exec(x)"
    assert len(calls(ast.parse(code))) == 6
    assert calls(ast.parse("run(x, shell=False); re.compile(x); env(shell=name); self.exec(x)")) == []


def test_what_is_installed_is_what_is_imported() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].split("\n")
    names = {re.split(r"[\s<>=!~;\[]", line)[0].lower() for line in lines if line}
    declared = {IMPORTED_AS.get(name, name) for name in names}
    used = set().union(*(libraries(module) for module in FILES))
    assert used - sys.stdlib_module_names - {"hpctools"} == declared


@pytest.mark.parametrize("module", RUNTIME)
def test_what_is_copied_into_jobs_is_python_3_8_of_the_standard_library(module: str) -> None:
    ast.parse(FILES[module].read_text(), feature_version=(3, 8))
    assert libraries(module) - sys.stdlib_module_names == set()
    assert libraries(module) & NEWER_THAN_3_8 == set()
