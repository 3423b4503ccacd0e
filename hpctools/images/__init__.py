"""Images of containers: what names them, the shared cache, what they hold and lack."""

from hpctools.images.checking import check
from hpctools.images.making import build, pull
from hpctools.images.needs import Lack
from hpctools.images.resolved import Image, resolve

__all__ = ["Image", "Lack", "build", "check", "pull", "resolve"]
