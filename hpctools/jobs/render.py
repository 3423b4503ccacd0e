"""A job's script, from its template.

Every {{ value }} of a template comes out quoted for bash, unless it is text of ours (Text).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hpctools.errors import InvalidInput, Problem
from hpctools.jobs import contained, containers, directives, exported, fabric
from hpctools.jobs.nearest import unknown
from hpctools.jobs.resources import Resources
from hpctools.jobs.site import Site
from hpctools.jobs.spec import JobSpec

if TYPE_CHECKING:
    from jinja2 import Environment

PACKAGED = Path(__file__).parent.parent / "data" / "job_templates"
# Names the packaged template where a site has one of the same name.
PREFIX = "hpctools/"
ENDING = ".sbatch.j2"
RESTART = ("max_attempts", "retries", "crash_limit", "crash_seconds")
_UNSET = re.compile(r"variable (\S+) is not set")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def render(spec: JobSpec, resources: Resources, site: Site, run: str) -> tuple[str, tuple[str, ...]]:
    """The script of a job, and the --set variables that its template did not read.

    run: the run folder, absolute. Raises InvalidInput when the template is wrong, ParseError when a
    directive cannot be carried (see directives.problems).
    """
    import jinja2

    variables = Variables(site.variables)
    values = {**_values(spec, resources, site, run), "var": variables}
    words = launcher_options(spec, variables)
    values["launcher_options"] = shlex.join(words)
    values["launcher_words"] = Text(" ".join(map(quote, words)))
    template = spec.settings.text("template")
    folders, name = spec.templates, of_launcher(spec.launcher) + ENDING
    if template and Path(template).parent == PACKAGED:
        name = PREFIX + os.path.basename(template)  # what it begins with may be the site's
    elif template:
        folders, name = (Path(template).parent, *spec.templates), os.path.basename(template)
    templates = environment(folders)
    try:
        text = templates.get_template(name).render(values)
        problems = lost_blocks(templates, name) if folders else []
    except jinja2.TemplateSyntaxError as error:
        where = f"{error.filename or error.name}:{error.lineno}"
        raise InvalidInput([Problem(where, str(error.message))]) from error
    except jinja2.TemplateNotFound as error:
        raise InvalidInput([Problem(template or name, f"there is no template {error.name}")]) from error
    except jinja2.UndefinedError as error:
        unset = _UNSET.fullmatch(str(error))
        hint = f"--set {unset[1]}=VALUE" if unset else "--set NAME=VALUE sets a variable: {{ var.NAME }}"
        raise InvalidInput([Problem(template or name, str(error), hint)]) from error
    except Exception as error:
        # A template may fail in any way that Python can; ours do not.
        raise InvalidInput([Problem(template or name, f"{type(error).__name__}: {error}")]) from error
    if problems:
        raise InvalidInput(problems)
    given = spec.settings.entries("set")
    return text, variables._unread(one for one in given if not one.startswith("site."))


def _values(spec: JobSpec, resources: Resources, site: Site, run: str) -> dict[str, object]:
    """What templates can use, beside `var`; base.sbatch.j2 tells what each is."""
    return {
        "directives": Text(directives.lines(directives.of(spec, resources, site, run))),
        "allowed": Text(exported.lines(site.export, site.exported)),
        "exports": Text(exports(spec.exports)),
        "fabric": Text(network(spec, site)),
        "setup": Text(setup(site)),
        "preflight": Text(preflight(spec, resources, site)),
        "run": run,
        "python": spec.python,
        "container": Text(contained.lines(spec, site.containers, resources, run, quote)),
        "interpreter": Text(_interpreter(spec)),
        "preflight_interpreter": Text(_interpreter(spec, preflight=True)),
        "launcher": spec.launcher,
        "ranks_per_node": resources.ranks,
        "port_base": site.ports[0],
        "port_count": site.ports[1] - site.ports[0] + 1,
        **{name: spec.settings.number(name.replace("_", "-")) or 0 for name in RESTART},
    }


def _interpreter(spec: JobSpec, *, preflight: bool = False) -> str:
    """The Python that runs on the nodes. Pyxis would unpack the image a second time for the preflight,
    which takes longer than that may.
    """
    container = spec.container
    if container is None or (preflight and container.runtime == containers.PYXIS):
        return '"$_python"'
    return '"${_container[@]}"'


def of_launcher(launcher: str) -> str:
    """The name of a launcher's template."""
    return "plain" if launcher == "none" else launcher


def launcher_options(spec: JobSpec, variables: Variables) -> list[str]:
    """What --set LAUNCHER.options says: words of the launcher, split as a shell splits them."""
    name = f"{spec.launcher}.options"
    try:
        return shlex.split(str(variables[name]))
    except KeyError:
        return []
    except ValueError as error:
        raise InvalidInput([Problem(f"--set {name}", f"cannot be split into words: {error}")]) from error


def setup(site: Site) -> str:
    """The site's first lines. `module` and activation scripts read variables that are not set."""
    return f"set +u\n{site.setup.strip()}\nset -u" if site.setup.strip() else ""


class Text(str):
    """Text of ours, or of a template's: it comes out as it is."""

    __slots__ = ()


def environment(folders: Iterable[Path]) -> Environment:
    """jinja2 as job templates are written for: strict, quoting, blocks that leave no empty lines."""
    import jinja2

    class Templates(jinja2.Environment):
        # What blocks and macros give, {{ super() }} too, is made of text that is quoted already.
        concat = staticmethod(lambda parts: Text("".join(parts)))

        def join_path(self, template: str, parent: str) -> str:
            # A site's torchrun.sbatch.j2 that extends torchrun.sbatch.j2 means the packaged one.
            return PREFIX + template if template == parent else template

    class Undefined(jinja2.StrictUndefined):
        @property
        def _undefined_message(self) -> str:
            of = self._undefined_obj
            if isinstance(of, Variables):
                return f"variable {of._before}{self._undefined_name} is not set"
            return super()._undefined_message

    packaged = jinja2.FileSystemLoader(PACKAGED)
    loaders: list[jinja2.BaseLoader] = [jinja2.FileSystemLoader(list(folders)), packaged]
    return Templates(
        loader=jinja2.ChoiceLoader([*loaders, jinja2.PrefixLoader({PREFIX.rstrip("/"): packaged})]),
        undefined=Undefined,
        finalize=lambda value: value if isinstance(value, Text) else quote(str(value)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def lost_blocks(environment: Environment, name: str) -> list[Problem]:
    """Outer blocks of a template, or of what it begins with, that nothing above them has: jinja2 leaves
    them out without a word.
    """
    from jinja2 import nodes

    def outer(node: nodes.Node) -> Iterator[nodes.Block]:
        for child in node.iter_child_nodes():
            if isinstance(child, nodes.Block):
                yield child
            else:
                yield from outer(child)

    lineage = []
    while name and environment.loader:
        text, file, _ = environment.loader.get_source(environment, name)
        parsed = environment.parse(text)
        extends = parsed.find(nodes.Extends)
        found = extends.template if extends else None
        parent = str(found.value) if isinstance(found, nodes.Const) else ""
        lineage.append((file, parsed, parent))
        if extends and not parent:
            return []  # what it begins with is known only where it is rendered
        name = parent and environment.join_path(parent, name)
    problems: list[Problem] = []
    known: set[str] = set()
    for file, parsed, parent in reversed(lineage):
        if parent:
            lost = (one for one in outer(parsed) if one.name not in known)
            problems += [
                unknown(f"{file}:{one.lineno}", "block", one.name, known, f"of {parent}") for one in lost
            ]
        known |= {one.name for one in parsed.find_all(nodes.Block)}
    return problems


def quote(text: str) -> str:
    """text as one word of bash.

    Control characters are spelled out: a line break within quotes could look like a directive to
    sbatch, and a carriage return makes it refuse the script.
    """
    if not _CONTROL.search(text):
        return shlex.quote(text)
    plain = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _CONTROL.sub(lambda match: f"\\{ord(match[0]):03o}", plain) + "'"


def exports(values: Iterable[tuple[str, str]]) -> str:
    """The lines that give a job its variables."""
    return "\n".join(f"export {name}={quote(text)}" for name, text in values)


def network(spec: JobSpec, site: Site) -> str:
    """The lines that give a job what NCCL needs on the site's fabric; what the user gives wins."""
    needed = fabric.variables(site.fabric, spec.nodes, dict(spec.exports))
    return fabric.lines(needed, site.fabric.title, quote)


def preflight(spec: JobSpec, resources: Resources, site: Site) -> str:
    """The words that tell preflight.py what a node should have; empty without --preflight."""
    if not spec.settings.value("preflight"):
        return ""
    network = site.fabric
    words = {
        "gpus": str(resources.gpus),
        "fabric": network.kind if spec.nodes > 1 else "",
        "hcas": "" if network.hcas.startswith("^") else network.hcas.lstrip("="),
        "interfaces": network.interfaces[1:] if network.interfaces.startswith("=") else "",
        "bandwidth": f"{network.bandwidth_gb_s or 0:g}",
    }
    told = [name for name, text in words.items() if text not in ("", "0") or name == "gpus"]
    outside = ["--outside"] * (spec.container is not None and spec.container.runtime == containers.PYXIS)
    return " ".join([*(f"--{name}={quote(words[name])}" for name in told), *outside])


class Variables:
    """The variables of a site and of --set in a template: {{ var.a.b }}. Notes which were read.

    Its own names begin with _: jinja2 takes an attribute before an item.
    """

    def __init__(self, values: Mapping[str, str], before: str = "", read: set[str] | None = None) -> None:
        self._values, self._before = values, before
        self._read: set[str] = set() if read is None else read

    def _unread(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name not in self._read)

    def __getitem__(self, name: str) -> object:
        full = self._before + name
        if full in self._values:
            self._read.add(full)
            return self._values[full]
        if any(one.startswith(f"{full}.") for one in self._values):
            return Variables(self._values, f"{full}.", self._read)
        # jinja2 makes its undefined of it, which is an error as soon as it is used.
        raise KeyError(full)
