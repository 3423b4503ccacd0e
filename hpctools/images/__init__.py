"""Images of containers: what names them, the shared cache, what they hold and lack."""

from hpctools.images.resolved import Image, resolve

__all__ = ["Image", "resolve"]
