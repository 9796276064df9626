"""The command line: parsing and printing only.

Every public module of this package is a subcommand: ``why_not.py`` is ``diagnose why-not``,
and holds a click command of its own name, ``why_not``. Modules that begin with an underscore
are what they share. What is not a subcommand is a MODEL.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from mlx_diagnose import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on ``argv`` (``sys.argv[1:]`` by default) and return its exit code.

    Never raises: a defect of ours ends in a crash log and exit code 70.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if argv is None:
        # Syntax trees and facts live as long as the process: looking for cycles among them takes a third of its time.
        gc.set_threshold(1_000_000, 20, 100)
    try:
        code = int(_run(words))
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("diagnose: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        if argv is None:
            gc.disable()  # at its end as well
    return code


def _run(words: Sequence[str]) -> int:
    if words == ["--version"]:  # nothing heavy is imported for it
        print(f"diagnose {__version__}")
        return 0
    from mlx_diagnose.engine.cli._guard import guarded

    return guarded(words)
