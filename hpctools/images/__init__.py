"""Images of containers: what names them, the shared cache, what they hold and lack."""

from hpctools.images.checking import check, environment, inspect
from hpctools.images.listing import Listed, listing
from hpctools.images.making import build, pull
from hpctools.images.needs import Lack
from hpctools.images.resolved import Image, resolve

__all__ = [
    "Image",
    "Lack",
    "Listed",
    "build",
    "check",
    "environment",
    "inspect",
    "listing",
    "pull",
    "resolve",
]
