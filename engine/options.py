"""What one diagnosis was asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Seconds that a patient may take in all, unless told otherwise.
DEFAULT_TIMEOUT = 300.0


@dataclass(frozen=True, slots=True)
class Options:
    """The request behind a run, as the command line or a caller of the library gives it.

    ``model`` is a hub id or a path as the user wrote it. ``python`` is the patient's
    interpreter, None to choose one. ``offline`` None means the default: offline for what is
    local. ``timeout`` is in seconds for the whole patient process, ``memory`` its ceiling in
    bytes. ``engine`` is durable or clips, None for whichever is the default here.
    ``rule_dirs`` are searched after the built-in rules; ``plugins`` lets installed rule packs
    take part. ``trace`` records the calls of the load, of a model that loads as well.
    """

    model: str
    python: str | None = None
    category: str | None = None
    revision: str | None = None
    offline: bool | None = None
    only_static: bool = False
    timeout: float = DEFAULT_TIMEOUT
    memory: int | None = None
    engine: str | None = None
    rule_dirs: tuple[Path, ...] = ()
    plugins: bool = True
    trace: bool = False
