"""What can go wrong on the way, declared: which requests, and how they are answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

Host = Literal["hub", "cdn"]


@dataclass
class Fault:
    """How requests to ``path`` (a glob over the decoded path) go wrong.

    ``times`` limits how often; ``host`` and ``method`` narrow it. ``delay`` is waited before
    the answer. ``status`` replaces the answer (``headers`` and ``body`` with it). The others
    spoil the body of the ordinary answer: ``reset_after`` that many bytes the connection is
    reset, after ``cut_after`` it is closed in order; ``length_error`` is added to the announced
    length; ``drip`` sends one byte every that many seconds; ``corrupt`` flips the bits of every
    byte. ``ignore_range`` answers 200 with everything. ``redirect`` sends to an address ("self"
    makes a loop). ``drop`` closes the connection without any answer.
    """

    path: str
    host: Host | None = None
    method: str | None = None
    times: int | None = None
    delay: float = 0.0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    reset_after: int | None = None
    cut_after: int | None = None
    length_error: int = 0
    drip: float | None = None
    corrupt: bool = False
    ignore_range: bool = False
    redirect: str | None = None
    drop: bool = False

    def matches(self, host: Host, method: str, path: str) -> bool:
        """Whether the fault concerns this request and is not used up."""
        return (
            self.times != 0
            and self.host in (None, host)
            and self.method in (None, method)
            and fnmatchcase(path, self.path)
        )
