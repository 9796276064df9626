"""A pasted text as exceptions: what :class:`ExceptionDoc` says, read off what Python and its friends print.

Understood are the tracebacks of CPython 3.8 to 3.14, of exception groups, of rich and of
IPython, from any platform, with prefixes of a log, cut-outs and other text around them. What
is left of a failure where there is no traceback is understood as well: the last line alone,
the dump of a crash, the complaint of an installer. Nothing in a text makes this raise; time
is linear in its length.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlx_diagnose.collectors import traceback_patterns as patterns
from mlx_diagnose.collectors.exception_docs import ExceptionDoc, Frame
from mlx_diagnose.collectors.pasted_lines import plain_lines
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.collectors.traceback_reader import Block, Reader, file_name
from mlx_diagnose.collectors.traceback_remains import (
    Complaint,
    Crash,
    complaints_in,
    crash_in,
    lone_exception,
    uncaught_in,
)

#: What stands for the type of an exception whose last line was cut off.
CUT_OFF = "<cut off>"


@dataclass(frozen=True, slots=True)
class Pasted:
    """What a text tells of a failure.

    ``chain``: the exception raised and what it came from, newest first; empty where there is
    none. ``frames`` of each are outermost first, Windows paths written with ``/``. ``lines`` is
    the whole text, cleaned; ``crash`` how a process ended without an exception; ``complaints``
    those of installers; ``others`` the number of further tracebacks in the text.
    """

    lines: tuple[str, ...]
    chain: tuple[ExceptionDoc, ...] = ()
    crash: Crash | None = None
    complaints: tuple[Complaint, ...] = ()
    others: int = 0

    @property
    def raised(self) -> ExceptionDoc | None:
        """The exception that ended it."""
        return self.chain[0] if self.chain else None

    @property
    def tells_nothing(self) -> bool:
        """There is no failure in the text."""
        return not (self.chain or self.crash or self.complaints)


def parse(text: str) -> Pasted:
    """What ``text`` tells. Of several tracebacks the last one counts that speaks of mlx-audio, else the last."""
    lines = plain_lines(text)
    reader = Reader()
    for line in lines:
        reader.feed(line)
    chains = reader.chains()
    chosen = next((chain for chain in reversed(chains) if _mentions_mlx_audio(chain)), chains[-1] if chains else None)
    documents = _documents(chosen) if chosen else ()
    crash = crash_in(lines) if not documents else None
    complaints = tuple(complaints_in(lines))
    if not documents and crash is None:
        found = lone_exception(lines)
        documents = _documents(Reader().alone(found, lines)) if found is not None else ()
    elif not documents and crash is not None and (thrown := uncaught_in(lines)) is not None:
        documents = (document(thrown.type, thrown.message, crash.frames),)
    return Pasted(tuple(lines), documents, crash, complaints, max(0, len(chains) - 1))


def _mentions_mlx_audio(chain: Iterable[Block]) -> bool:
    return any(
        "mlx_audio" in text for block in chain for text in (*(frame.file for frame in block.frames), *block.message)
    )


def _documents(blocks: list[Block]) -> tuple[ExceptionDoc, ...]:
    newest_first = [block for block in reversed(blocks) if block.type] or blocks[-1:]
    return tuple(
        document(block.type or CUT_OFF, "\n".join(block.message).rstrip(" \t\r\n"), tuple(block.frames), order)
        for order, block in enumerate(newest_first)
    )


def document(type: str, message: str, frames: tuple[Frame, ...] = (), order: int = 0) -> ExceptionDoc:
    """The exception of this printed ``type``, with the class hierarchy as far as it is known here.

    Suggestions that Python prints behind a message are no part of it.
    """
    module, _, name = clean(type, 300).rpartition(".")
    text = patterns.SUGGESTION.sub("", message)
    return ExceptionDoc(
        stage="unknown",
        role="raised" if order == 0 else "cause",
        type=name,
        module=module or patterns.HOME_OF.get(name, "builtins"),
        bases=_bases(name),
        message=text,
        attributes=_attributes(name, text),
        frames=frames,
        order=order,
    )


def _bases(name: str) -> tuple[str, ...]:
    known = getattr(builtins, name, None)
    if isinstance(known, type) and issubclass(known, BaseException):
        return tuple(base.__name__ for base in known.__mro__[1:-1])
    return ()


def _attributes(name: str, message: str) -> Mapping[str, str]:
    """The file that an OSError speaks of; on Windows its path is printed with doubled backslashes."""
    path = patterns.WINDOWS_FILE.search(message)
    if path:
        return {"filename": file_name(path[1].replace("\\\\", "\\"))}
    absent = patterns.ABSENT_FILE.search(message) if name == "FileNotFoundError" else None
    return {"filename": file_name(absent[1])} if absent else {}
