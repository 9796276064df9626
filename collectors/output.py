"""What the patient printed while it loaded: the lines in which it warns or complains."""

from __future__ import annotations

import re

from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

#: Lines that are asserted at most, and characters of each.
MAX_LINES = 40
MAX_LENGTH = 500

_ERROR = re.compile(r"\b(error|fail(ed|ure|s)?|exception|unable to|cannot|can't)\b", re.IGNORECASE)
_WARNING = re.compile(r"warn|could ?n[o']t|not found|missing|unrecognized|fallback|skipping|without", re.IGNORECASE)
#: ``file.py:12: UserWarning: text`` of the warnings module, and ``WARNING:root:text`` of logging.
_PREFIX = re.compile(r"^(?:(?P<file>/?[^:\n]+\.py):(?P<line>\d+): (?:\w*Warning): |[A-Z]+:[\w.]+:)")
_TRACEBACK = re.compile(r"^(Traceback |  )")


def collect(memory: WorkingMemory, stdout: str, stderr: str) -> None:
    """Assert an ``output`` fact for each line of warning or error; the lines of tracebacks are told elsewhere."""
    count = 0
    for stream, text in (("stdout", stdout), ("stderr", stderr)):
        for line in text.splitlines():
            if count >= MAX_LINES:
                return
            if _TRACEBACK.match(line):
                continue
            level = "error" if _ERROR.search(line) else "warning" if _WARNING.search(line) else None
            if level is None:
                continue
            prefix = _PREFIX.match(line)
            said = clean(line[prefix.end() :] if prefix else line, MAX_LENGTH).strip()
            if said:
                where = (prefix["file"], int(prefix["line"])) if prefix and prefix["file"] else (None, None)
                memory.add("output", Provenance("output", *where), stream=stream, text=said, level=level)
                count += 1
