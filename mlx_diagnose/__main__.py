"""``python -m mlx_diagnose``: the same as the ``diagnose`` command."""

import sys

from mlx_diagnose.engine.cli import main

if __name__ == "__main__":
    sys.exit(main())
