"""Notices when the load reads a file of which only name and size were learnt from the hub.

Such a file is a link to a hole in one folder. What is read from a hole would be an invention,
so the run ends there, the file is fetched, and the model is loaded again.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Callable, Optional

from mlx_diagnose.collectors.probes import ghosts


class Unfetched(ghosts.ValueDependent):
    """A file that was not fetched is being read."""


class Holes:
    """Watches the folder of holes; ``send`` reports the file that was wanted, as a path below it."""

    def __init__(self, folder: str, send: Callable[..., None]) -> None:
        self._folder = os.path.realpath(folder) + os.sep
        self._send = send

    def install(self) -> None:
        """Watch what Python opens, and what MLX reads by itself."""
        sys.addaudithook(self._hook)
        import mlx.core as mx

        load = mx.load

        def watched(file: Any, *args: Any, **kwargs: Any) -> Any:
            self.refuse(file)
            return load(file, *args, **kwargs)

        mx.load = watched

    def _hook(self, event: str, args: Any) -> None:
        if event == "open":
            self.refuse(args[0])

    def refuse(self, path: Any) -> None:
        """Raise :class:`Unfetched` where ``path`` is a hole."""
        name = _text(path)
        if name is None:
            return
        real = os.path.realpath(name)
        if real.startswith(self._folder):
            wanted = real[len(self._folder) :]
            self._send("wanted", file=wanted)
            frame = sys._getframe(2)
            raise Unfetched("open %s" % wanted, frame.f_code.co_filename, frame.f_lineno)


def _text(path: Any) -> Optional[str]:
    try:
        path = os.fspath(path)
    except TypeError:
        return None
    return os.fsdecode(path) if path and not isinstance(path, int) else None
