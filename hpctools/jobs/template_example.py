"""What a template makes of a small job, to be read."""

from __future__ import annotations

import os
from collections.abc import Mapping

from hpctools.jobs import render, request, resources, run_files
from hpctools.jobs.templates import Template

NODES, GPUS = 2, 8


def script(template: Template, site: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """The script of `python train.py` on two nodes of eight GPUs; no cluster is asked, nothing is made.

    Raises InvalidInput for a site or template that is wrong.
    """
    values: dict[str, object] = {"template": str(template.path), "nodes": NODES, "gpus_per_node": GPUS}
    if "array" in template.packaged:
        values["array"] = "0-9"
    program = ("train.py",) if template.needs_target else ()
    target = "python" if template.needs_target else ""
    values |= {"site": site, "command": template.needs_target, "python": "/usr/bin/python3"}
    asked = request.gather(target, program, values, environ=environ)
    if template.launches or any(one.where != "template=" for one in asked.problems):
        asked.check()  # the frame, which no job may have, may be read all the same
    taken = resources.resolve(asked.spec, asked.site, None)
    return render.render(asked.spec, taken, asked.site, run_files.example(asked.spec))[0]
