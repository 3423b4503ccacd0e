"""hpctools: Slurm GPU clusters for those who use, run and pay for them."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hpctools.api import Job, job, list_jobs, submit

__all__ = ["Job", "__version__", "job", "list_jobs", "submit"]


def __getattr__(name: str) -> object:
    # The functions of hpctools.api, imported when they are used: the command line starts without.
    if name in __all__:
        from hpctools import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
