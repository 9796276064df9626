"""Variables of the environment that data (a rule, an adapter) may set.

None that makes a program run other code, and no secret.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
#: What decides which code a process runs is not for data to say.
_OF_THE_PROCESS = re.compile(r"(?i)(PATH|HOME|SHELL|IFS|(LD|DYLD|PYTHON|BASH|GIT)_?\w*)")
_SECRET = re.compile(r"(?i)\w*(TOKEN|SECRET|PASSWORD|API_KEY)")


def refused(name: str) -> str | None:
    """Why data may not set ``name``, None if it may."""
    if not _NAME.fullmatch(name):
        return f"{name!r} is no name of a variable"
    if _OF_THE_PROCESS.fullmatch(name):
        return f"{name} decides which code runs, so it is not set from data"
    if _SECRET.fullmatch(name):
        return f"{name} is a secret, which does not belong into a file"
    return None
