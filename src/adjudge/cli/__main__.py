"""``python -m adjudge.cli``: the command line without its script."""

import sys

from adjudge.cli import main

sys.exit(main())
