"""An administrator's configuration: made, judged, mended, upgraded, and booted before it goes live.

    new(policy, folder)                     the two files that a site keeps, to begin with
    render(inventory, policy, release)      every file of Slurm's, as a mapping from name to text
    lint(paths, release=...)                what is wrong in files
    fix(paths, release=...)                 the same files, mended where that is safe
    upgrade(paths, to=..., since=...)       what a newer release breaks, and the files that it takes

`hpctools.conf.verify.verify(path, release)` boots a configuration in a sandbox.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpctools.conf.judge import lint as lint
    from hpctools.conf.mending import fix as fix
    from hpctools.conf.rendering import render as render
    from hpctools.conf.starting import new as new
    from hpctools.conf.upgrading import upgrade as upgrade

# Named after what they do; their modules have other names, or importing one would hide the function.
_MODULES = {
    "fix": "mending",
    "lint": "judge",
    "new": "starting",
    "render": "rendering",
    "upgrade": "upgrading",
}


def __getattr__(name: str) -> object:
    # Imported when used: what judges needs nothing of what renders.
    if name in _MODULES:
        return getattr(import_module(f"hpctools.conf.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
