"""Files that mlx-audio's code looked for and did not find, while active."""

from __future__ import annotations

import os
import pathlib
from typing import Any, Callable, Dict, List, Optional, Tuple

from mlx_diagnose.collectors.probes import watch

MAX_LOOKUPS = 100
_NOT_DATA = (".py", ".pyc", ".so", ".pth")


class Lookups:
    """Notes look-ups (``exists``, ``is_file``, ``stat``) that found nothing; what is asked is answered as ever.

    All of them ask ``os.stat``, which the audit events leave out. The import system does not come
    this way.
    """

    def __init__(self, stage: Callable[[], Optional[str]], call: Callable[[], Optional[int]]) -> None:
        self._stage, self._call = stage, call
        self._restore: List[Callable[[], None]] = []
        self._seen: Dict[Tuple[str, Optional[str], Optional[int]], Dict[str, Any]] = {}

    def start(self) -> None:
        """Begin to watch."""
        original = os.stat

        def stat(path: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return original(path, *args, **kwargs)
            except (FileNotFoundError, NotADirectoryError):
                self._missed(path)
                raise

        self._replace(os, "stat", original, stat)
        # Python 3.8 to 3.10 keep a reference of their own.
        accessor = getattr(pathlib, "_NormalAccessor", None)
        if accessor is not None and vars(accessor).get("stat") is original:
            self._replace(accessor, "stat", original, staticmethod(stat))
        for features in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if original in features:
                features.add(stat)
                self._restore.append(lambda features=features: features.discard(stat))  # type: ignore[misc]

    def stop(self) -> List[Dict[str, Any]]:
        """End the watch; what was not found: ``[{"path", "file", "line", "stage", "call"}]``."""
        while self._restore:
            self._restore.pop()()
        found, self._seen = list(self._seen.values()), {}
        return found

    def _replace(self, owner: Any, name: str, original: Any, replacement: Any) -> None:
        setattr(owner, name, replacement)
        self._restore.append(lambda: setattr(owner, name, original))

    def _missed(self, path: Any) -> None:
        try:
            name = os.fspath(path)
        except TypeError:
            return
        if not isinstance(name, str) or name.endswith(_NOT_DATA) or len(self._seen) >= MAX_LOOKUPS:
            return
        file, line, importing = watch.asking_line()
        if file is None or importing or os.sep + "mlx_audio" + os.sep not in file:
            return
        self._seen.setdefault(
            (name, file, line),
            {"path": name, "file": file, "line": line, "stage": self._stage(), "call": self._call()},
        )
