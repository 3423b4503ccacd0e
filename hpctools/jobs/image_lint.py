"""What is to be said of a job's image before it runs: what it lacks for the fabric, what it sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hpctools.errors import HpctoolsError
from hpctools.jobs import env_lint
from hpctools.jobs.containers import PYXIS, Bind
from hpctools.jobs.site import Site
from hpctools.jobs.spec import JobSpec

Say = Callable[[str], None]


def remarks(spec: JobSpec, site: Site, gpus: int, say: Say) -> tuple[str, ...]:
    """What is to be said at submission; nothing without an image that this host can look into.

    gpus: of each node. It is a look, never a reason to refuse: the nodes may have what this host lacks.
    """
    container = spec.container
    if container is None or container.runtime == PYXIS or not container.path:
        return ()
    # Only a job in an image pays for the import.
    from hpctools import images
    from hpctools.images import needs

    image = images.Image(Path(container.path), container.reference, container.source, container.sha256, 0)
    kind = site.fabric.kind if spec.nodes > 1 else ""
    binds = [*map(_text, site.containers.binds), *map(_text, container.binds)]
    try:
        lacks, sets = images.inspect(
            image, kind, binds=binds, gpus=gpus > 0, runtime=container.runtime, patient=False, say=say
        )
    except (HpctoolsError, OSError, ValueError) as error:
        return (f"the image {container.reference} was not looked into: {error}",)
    given = dict(spec.exports)
    origin = f"the image {container.reference}"
    found = (env_lint.Found(name, value, origin) for name, value in sets.items() if name not in given)
    said = [str(one) for one in lacks] if any(one.severity != needs.NOTE for one in lacks) else []
    return (
        *(f"the image {container.reference}: {text}" for text in said),
        *env_lint.said(found, spec, site),
    )


def _text(one: Bind) -> str:
    return f"{one.outside}:{one.inside}{':ro' * one.read_only}"
