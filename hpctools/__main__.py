"""`python -m hpctools`."""

import sys

from hpctools.cli import main

sys.exit(main())
