"""Job templates: which there are, where they come from, and one's own that begin with a packaged one.

A template is found by its name, NAME.sbatch.j2, in the user's folder (~/.config/hpctools/templates), then
the site's, then among the packaged ones.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from hpctools import files
from hpctools.errors import InvalidInput, NotFound, Problem
from hpctools.jobs import render, site
from hpctools.jobs.nearest import unknown
from hpctools.jobs.render import ENDING, PACKAGED, PREFIX
from hpctools.jobs.settings import DEFAULT, Setting, Settings
from hpctools.jobs.site import Site

BASE = "base"
# The template of each launcher.
LAUNCHERS: Mapping[str, str] = MappingProxyType(
    {render.of_launcher(one): one for one in ("torchrun", "srun", "accelerate", "mpirun", "none")}
)
# Packaged templates that need no TARGET, with the program of ours that they run; "" for none.
PROGRAMS: Mapping[str, str] = MappingProxyType({"nccl-test": "nccl_test.py", "preflight": ""})
YOURS, SITE, OURS = "yours", "site", "packaged"
_EXTENDS = re.compile(r"\{%-?\s*extends\s+[\"']([^\"']+)[\"']")
_COMMENT = re.compile(r"\{#-?\s*(.*?)\s*-?#\}", re.DOTALL)
_LIKE = re.compile(r"\blike: ([\w-]+)")
_LAUNCH = re.compile(r"\{%-?\s*block\s+launch\b[^%]*%\}(?!\s*\{%-?\s*endblock)")
_JINJA = re.compile(r"\{[{%#].*?[}%#]\}", re.DOTALL)

# What each block of base.sbatch.j2 is for, in its order, with an example of what may stand in one's own.
BLOCKS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "comment": ("what the script says of itself", "# Asks before it runs: ada@example.org."),
        "guard": ("refuses to start where the job could not work", "[[ -d /scratch ]] || exit 1"),
        "allowed": ("keeps to the list of variables that a job inherits", "unset DISPLAY"),
        "setup": ("the site's first lines: modules, paths", "module load cuda"),
        "exports": ("the variables of --env", "export MY_CACHE=/scratch/cache"),
        "fabric": ("what NCCL needs on the site's network", "export NCCL_DEBUG=INFO"),
        "container": ("what runs Python in the image, with --image", "export APPTAINER_TMPDIR=/scratch"),
        "begin": ("counts this start of the job, or ends it", 'echo "this is attempt $HPCTOOLS_ATTEMPT"'),
        "finish": ("defines _end: how the job ended, and whether it starts again", "trap 'date' EXIT"),
        "preflight": ("looks at the nodes, with --preflight", "df -h /scratch"),
        "rendezvous": ("where the ranks meet", 'echo "the ranks meet at $_address:$_port"'),
        "launch": ("starts the ranks, and leaves their status in $?", 'echo "the ranks start now"'),
    }
)  # fmt: skip


@dataclass(frozen=True)
class Template:
    """A template: its name and file, where it comes from (yours, site, packaged), the launcher whose
    template it is or begins with (None: not known), what it is for, the packaged templates that it is or
    begins with, and whether anything in it starts the ranks.
    """

    name: str
    path: Path
    origin: str
    launcher: str | None
    about: str
    packaged: tuple[str, ...]
    launches: bool = True

    @property
    def program(self) -> str | None:
        """The program of ours that it runs, "" for none at all; None where it runs a TARGET."""
        return next((PROGRAMS[one] for one in self.packaged if one in PROGRAMS), None)

    @property
    def needs_target(self) -> bool:
        """Whether `hpctools submit` needs a TARGET for it."""
        return self.program is None


def folders(chosen: Site, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where templates are looked for before the packaged ones: the user's folder, the site's."""
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    mine = Path(config, "hpctools", "templates")
    return tuple(one for one in (mine if mine.is_dir() else None, chosen.templates) if one)


def listing(searched: Sequence[Path]) -> tuple[Template, ...]:
    """All templates by name, each as it is found first; the packaged ones in the order of their use."""
    found: dict[str, Template] = {}
    for folder in (*searched, PACKAGED):
        for path in sorted(folder.glob(f"*{ENDING}")):
            name = path.name.removesuffix(ENDING)
            found.setdefault(name, describe(path, searched))
    order = [*LAUNCHERS, "array", *PROGRAMS]
    return tuple(sorted(found.values(), key=lambda one: (_place(order, one.name), one.name)))


def _place(order: list[str], name: str) -> int:
    return len(order) + 1 if name == BASE else order.index(name) if name in order else len(order)


def find(name: str, searched: Sequence[Path]) -> Template:
    """A template by its name. Raises InvalidInput with the nearest name if there is none."""
    for folder in (*searched, PACKAGED):
        path = folder / f"{name}{ENDING}"
        if path.is_file():
            return describe(path, searched)
    raise InvalidInput([unknown("NAME", "template", name, (one.name for one in listing(searched)))])


def describe(path: Path, searched: Sequence[Path]) -> Template:
    """What a template's file says of itself. Raises NotFound where it cannot be read."""
    origins = {PACKAGED: OURS, **dict.fromkeys(searched, SITE)}
    if searched and searched[0].parent.name == "hpctools":
        origins[searched[0]] = YOURS
    text = _read(path)
    lineage = tuple(_lineage(path, text, searched))
    packaged = tuple(one.name.removesuffix(ENDING) for one in lineage if one.parent == PACKAGED)
    return Template(
        name=path.name.removesuffix(ENDING),
        path=path,
        origin=origins.get(path.parent, YOURS),
        launcher=_launcher(packaged),
        about=_about(text),
        packaged=packaged,
        launches=BASE not in packaged or any(_LAUNCH.search(_COMMENT.sub("", _read(one))) for one in lineage),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from error


def _about(text: str) -> str:
    """The first sentence of its first comment."""
    comment = _COMMENT.search(text)
    words = " ".join(_JINJA.sub("", comment[1] if comment else "").split())
    return re.split(r"\.(?:\s|$)", words, maxsplit=1)[0]


def _parent(text: str) -> str | None:
    """The template that one begins with, or stands for as its first comment says; no example in a comment."""
    comment = _COMMENT.search(text)
    stated = _LIKE.search(comment[1] if comment else "")
    if stated and (PACKAGED / f"{stated[1]}{ENDING}").is_file():
        return f"{PREFIX}{stated[1]}{ENDING}"
    found = _EXTENDS.search(_COMMENT.sub("", text))
    return found[1] if found else None


def _lineage(path: Path, text: str, searched: Sequence[Path]) -> Iterator[Path]:
    """A template's file, then those of what it begins with, up to the frame."""
    for _ in range(20):  # one that extends itself in a circle is jinja2's to refuse
        yield path
        parent = _parent(text)
        if not parent:
            return
        is_ours = parent.startswith(PREFIX) or parent == path.name
        places = [PACKAGED] if is_ours else [path.parent, *searched, PACKAGED]
        above = [one / parent.removeprefix(PREFIX) for one in places]
        path = next((one for one in above if one.is_file()), PACKAGED / f"{BASE}{ENDING}")
        text = _read(path)


def _launcher(packaged: Iterable[str]) -> str | None:
    """The launcher of the first that is a launcher's."""
    return next((LAUNCHERS[one] for one in packaged if one in LAUNCHERS), None)


def choose(
    settings: Settings, searched: Sequence[Path], cwd: str, problems: list[Problem]
) -> tuple[Settings, Template | None]:
    """The settings with what --template means: the file itself, its launcher where none was named, and
    the preflight of the template that is nothing else. None: it is the launcher's own.
    """
    word = settings.text("template")
    if not word:
        return settings, None
    where = settings.where("template")
    path = Path(cwd, word)
    try:
        if "/" in word or word.endswith(".j2") or path.is_file():
            if not path.is_file():
                problems.append(Problem(where, f"there is no file {word}"))
                return settings, None
            found = describe(path, searched)
        else:
            found = find(word, searched)
    except InvalidInput as error:
        problems.extend(replace(one, where=where) for one in error.problems)
        return settings, None
    if not found.launches:
        text = f"{word} starts no ranks: it has nothing but the frame, base, and no block launch"
        hint = f'{{% extends "{PREFIX}torchrun{ENDING}" %}}, or another launcher\'s'
        problems.append(Problem(where, text, hint))
    values = dict(settings.values)
    values["template"] = replace(values["template"], value=str(found.path))
    launcher, origin = values["launcher"], f"template {found.name}"
    if found.launcher and launcher.origin == DEFAULT:
        values["launcher"] = Setting(found.launcher, origin, launcher.layer)
    elif found.launcher and launcher.value != found.launcher:
        text = f"is {launcher.value}, but the template {word} is one of {found.launcher}"
        problems.append(Problem(settings.where("launcher"), text))
    if "preflight" in found.packaged:
        values["preflight"] = Setting(True, origin, launcher.layer)
    if "array" in found.packaged and not settings.text("array"):
        problems.append(Problem(where, "array needs the tasks' numbers", "--array 0-9"))
    return Settings(values), found


def program(template: Template, target: str, args: Sequence[str], problems: list[Problem]) -> str | None:
    """The program of ours that a template runs, "" for none; None where it runs the TARGET."""
    if target and not template.needs_target:
        problems.append(Problem("TARGET", f"the template {template.name} runs no {target}", "leave it out"))
    if args and template.program == "":
        text = f"the template {template.name} runs nothing that could take {' '.join(args)}"
        problems.append(Problem("ARGS", text, "leave them out"))
    return template.program


def blocks(name: str) -> tuple[str, ...]:
    """The blocks of a packaged template, those of what it begins with too, in their order."""
    environment = render.environment(())
    found: set[str] = set()
    word = f"{PREFIX}{name}{ENDING}"
    for _ in range(20):
        template = environment.get_template(word)
        found |= template.blocks.keys()
        parent = _parent(_read(Path(str(template.filename))))
        if not parent:
            break
        word = parent
    return (*(one for one in BLOCKS if one in found), *sorted(found - BLOCKS.keys()))


def begin(name: str, path: Path, *, copy: bool = False) -> Path:
    """Write a template of one's own to path: one that begins with a packaged one, or all of it.

    Raises InvalidInput where there is no such template, or a file already.
    """
    source = PACKAGED / f"{name}{ENDING}"
    problems = []
    if not source.is_file():
        problems.append(unknown("NAME", "packaged template", name, _packaged()))
    if os.path.lexists(path):
        problems.append(Problem("FILE", f"{path} is there already", "name another one, or remove it"))
    elif not path.parent.is_dir():
        problems.append(Problem("FILE", f"there is no folder {path.parent}", "mkdir it first"))
    if problems:
        raise InvalidInput(problems)
    files.write(path, copied(name) if copy else starter(name))
    return path


def copied(name: str) -> str:
    """All of a packaged template; what it is like decides on its launcher, and whether it needs a TARGET."""
    return f"{{#- A copy of the packaged one. like: {name} -#}}\n" + _read(PACKAGED / f"{name}{ENDING}")


def starter(name: str) -> str:
    """A template that changes nothing yet, with every block of a packaged one ready to be overridden."""
    lines = [
        "{#-",
        f"My own {name}: what is not changed here stays as it is in the packaged one.",
        f"`hpctools templates show {name}` prints that; docs/templates.md tells of blocks and variables.",
        "To change a block take away the marks of its comment; super() is what stands there now.",
        "-#}",
        f'{{% extends "{PREFIX}{name}{ENDING}" %}}',
    ]
    for block in blocks(name):
        about, example = BLOCKS.get(block, ("", "# mine"))
        body = ["{{ super() -}}", example] if block != "launch" else [example, "{{ super() -}}"]
        lines += ["", f"{{# {block}: {about}" if about else f"{{# {block}", f"{{% block {block} %}}"]
        lines += [*body, "{% endblock %}", "#}"]
    return "\n".join(lines) + "\n"


def _packaged() -> Iterable[str]:
    return (path.name.removesuffix(ENDING) for path in PACKAGED.glob(f"*{ENDING}"))


def site_folders(name: str | None, cwd: str, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The folders of a site that is named as --site does, and the user's. Raises InvalidInput."""
    problems: list[Problem] = []
    word = name or environ.get("HPCTOOLS_SITE")
    chosen = site.load(site.find(word, cwd, problems), problems)
    if problems:
        raise InvalidInput(problems)
    return folders(chosen, environ)
