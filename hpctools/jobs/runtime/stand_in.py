"""In a job this is the package hpctools, where none is installed: it has hpctools.preemption alone.

The folder of this file stands in PYTHONPATH, so it is found first, and leaves to an installed one.
"""

import importlib
import os
import sys

_folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_path, _stand_in = list(sys.path), sys.modules.pop(__name__, None)
sys.path[:] = [one for one in _path if os.path.abspath(one) != _folder]
try:
    importlib.import_module("hpctools.preemption")
except ImportError:
    for _name in [one for one in sys.modules if one == __name__ or one.startswith(__name__ + ".")]:
        del sys.modules[_name]
    if _stand_in is not None:
        sys.modules[__name__] = _stand_in
finally:
    sys.path[:] = _path
