"""The report channel of a probe: versioned JSON lines on a descriptor of its own.

Never stdout, where mlx-audio prints while it fails. Every line is written with one system
call, so that what was reported before a crash survives it.
"""

from __future__ import annotations

import json
import os
from typing import Any

PROTOCOL = 1


class Channel:
    """Writes messages: ``{"v": 1, "m": <message>, ...}``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._owner = os.getpid()

    def send(self, message: str, /, **fields: Any) -> None:
        """Write one line. A forked child stays silent: its lines would mix with its parent's."""
        if os.getpid() != self._owner:
            return
        line = json.dumps({"v": PROTOCOL, "m": message, **fields}, default=str, ensure_ascii=True) + "\n"
        data = line.encode("ascii", "replace")
        while data:
            data = data[os.write(self._descriptor, data) :]
