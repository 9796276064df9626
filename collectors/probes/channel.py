"""The report channel of a probe: versioned JSON lines on a descriptor of its own.

Never stdout, where mlx-audio prints while it fails. Every line is written with one system
call, so that what was reported before a crash survives it.
"""

from __future__ import annotations

import json
import os
from typing import Any

PROTOCOL = 1

#: As they were before the patient's code could replace them.
_write, _process, _encoded = os.write, os.getpid, json.dumps


class Channel:
    """Writes messages: ``{"v": 1, "m": <message>, ...}``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._owner = _process()

    @property
    def ours(self) -> bool:
        """This is the process that the channel was made in, and no child that the patient's code forked."""
        return _process() == self._owner

    def send(self, message: str, /, **fields: Any) -> None:
        """Write one line. A forked child stays silent: its lines would mix with its parent's."""
        if not self.ours:
            return
        line = _encoded({"v": PROTOCOL, "m": message, **fields}, default=str, ensure_ascii=True) + "\n"
        data = line.encode("ascii", "replace")
        while data:
            data = data[_write(self._descriptor, data) :]
