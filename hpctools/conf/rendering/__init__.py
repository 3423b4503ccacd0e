"""From inventory and policy to every file of a cluster's configuration."""

from hpctools.conf.rendering.files import mode, render, write

__all__ = ["mode", "render", "write"]
