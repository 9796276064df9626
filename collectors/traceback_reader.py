"""Reads tracebacks line by line: a state machine for the styles of CPython, exception groups, rich and IPython."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mlx_diagnose.collectors import traceback_patterns as patterns
from mlx_diagnose.collectors.exception_docs import Frame
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.collectors.traceback_remains import LoneException

#: Times that "[Previous line repeated ...]" is believed; Python's own limit of recursion is 1000.
MAX_REPEATED = 3000


@dataclass
class Block:
    """One traceback while it is read. ``linked``: what was printed before it is its cause or context."""

    linked: bool = False
    frames: list[Frame] = field(default_factory=list)
    type: str = ""
    message: list[str] = field(default_factory=list)

    @property
    def tells(self) -> bool:
        return bool(self.type or self.frames)


class Reader:
    """A state machine over lines; a state is the method that takes the next line."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._block = Block()
        self._state: Callable[[str], None] = self._between
        self._prefix: re.Pattern[str] | None = None
        self._linked = False
        self._raw = ""
        self._blanks = 0
        self._wants_source = False
        #: Cells in a row of rich's box, and in the last line of a message.
        self._width = self._printed = 0
        self._place: list[str] = []

    def feed(self, line: str) -> None:
        self._raw = line
        found = self._prefix.match(line) if self._prefix is not None else None
        self._state(line[found.end() :] if found else line)

    def alone(self, found: LoneException, lines: Sequence[str]) -> list[Block]:
        """The exception that stands by itself in ``lines``, with its message as far as that goes."""
        self._begin(self._message)
        self._block.type, self._block.message = found.type, [found.message]
        for line in lines[found.index + 1 :]:
            if self._state != self._message:
                break
            self.feed(line)
        return self._blocks[:1]

    def chains(self) -> list[list[Block]]:
        """Tracebacks that belong together, in the order in which they were printed."""
        chains: list[list[Block]] = []
        for block in self._blocks:
            if not block.tells:
                continue
            if block.linked and chains:
                chains[-1].append(block)
            else:
                chains.append([block])
        return chains

    # -- outside -------------------------------------------------------------------------------

    def _between(self, line: str) -> None:
        header, text = patterns.HEADER.search(self._raw), line.strip()
        if header:
            self._open(self._raw, header)
        elif patterns.LINK.search(line):
            self._linked = True
        elif patterns.DUMP.match(line):
            self._state = self._dump
        elif patterns.FRAME.match(line):  # the head was cut off
            self._begin(self._python)
            self._prefix = self._prefix or _spaces(len(line) - len(line.lstrip()) - 2)
            self._python(line)
        elif text and not (patterns.CUT.fullmatch(text) or patterns.LINK_REST.fullmatch(text)):
            self._linked = False

    def _dump(self, line: str) -> None:
        """What faulthandler prints of a thread has frames and no exception."""
        if not patterns.FRAME.match(line):
            self._end(line)

    def _open(self, line: str, header: re.Match[str]) -> None:
        before = line[: header.start()]
        if patterns.BOX.search(before):
            self._begin(self._rich)
            self._width = len(line)
            indent = before[: len(before) - len(before.lstrip())]
            self._prefix = _spaces(len(indent))
        elif (named := patterns.NAMED_HEADER.fullmatch(before)) is not None and patterns.is_type(
            named[2], len(named[3]) > 8, True
        ):
            self._begin(self._ipython)
            self._prefix = _spaces(len(named[1]))
        else:
            self._begin(self._python)
            self._prefix = _prefix(before)

    def _begin(self, state: Callable[[str], None]) -> None:
        self._block = Block(self._linked)
        self._blocks.append(self._block)
        self._state, self._linked, self._wants_source = state, False, False
        self._width, self._blanks, self._place = 0, 0, []

    def _end(self, line: str) -> None:
        """The traceback is complete; ``line`` is the first that does not belong to it.

        The prefix stays, since what follows may have it as well.
        """
        self._state = self._between
        self._between(line)

    # -- CPython -------------------------------------------------------------------------------

    def _python(self, line: str) -> None:
        frame = patterns.FRAME.match(line)
        if frame:
            self._add(frame["file"], frame["line"], frame["function"])
        elif (repeated := patterns.REPEATED.match(line)) is not None:
            if self._block.frames:
                self._block.frames += [self._block.frames[-1]] * min(int(repeated[1]), MAX_REPEATED)
            self._wants_source = False
        elif self._is_outside(line):
            self._end(line)
        elif not (self._wants_source and line[:1].isspace()) and self._is_exception(line):
            pass
        elif self._wants_source and line.strip():
            self._source(line)

    def _is_outside(self, line: str) -> bool:
        return bool(patterns.HEADER.search(line) or patterns.LINK.search(line) or patterns.FENCE.match(line))

    def _add(self, file: str, line: str | None, function: str | None) -> None:
        number = int(line) if line is not None and line.isdigit() else None
        self._block.frames.append(Frame(file_name(file), number, clean((function or "").strip(), 500)))
        self._wants_source = True

    def _source(self, line: str) -> None:
        text = line.strip()
        if patterns.UNDERLINE.fullmatch(text) or patterns.CUT.fullmatch(text):
            text = ""
        self._wants_source = False
        if text:
            self._at(None, text)

    def _at(self, number: int | None, source: str) -> None:
        """Say of the last frame which line it is at."""
        last = self._block.frames[-1]
        line = last.line if number is None else number
        self._block.frames[-1] = Frame(last.file, line, last.function, last.module, clean(source.strip(), 2000))

    def _is_exception(self, line: str) -> bool:
        """Whether ``line`` names the exception; if so what follows is its message."""
        found = patterns.EXCEPTION.fullmatch(line)
        if found is None or not patterns.is_type(found["type"], found["message"] is not None, bool(self._block.frames)):
            return False
        self._block.type = found["type"]
        self._block.message = [found["message"] or ""]
        self._state, self._blanks, self._printed = self._message, 0, len(line)
        return True

    # -- the message ---------------------------------------------------------------------------

    def _message(self, line: str) -> None:
        """A message goes on until something else begins; an empty line ends it unless more was announced."""
        if not line.strip():
            self._blanks += 1
            return
        so_far = self._block.message
        goes_on = line[:1].isspace() or so_far == [""] or so_far[-1].rstrip().endswith((":", ","))
        if (
            self._is_outside(line)
            or patterns.OTHER_TEXT.match(line)
            or self._says_it_again(line)
            or (self._blanks and not goes_on)
        ):
            self._end(line)
        else:
            if self._was_folded(line):
                so_far[-1] = so_far[-1] + line if self._printed >= self._width else f"{so_far[-1].rstrip()} {line}"
            else:
                so_far.extend([""] * self._blanks)
                so_far.append(line)
            self._blanks, self._printed = 0, len(line)

    def _was_folded(self, line: str) -> bool:
        """The last line ended where rich's terminal did: the next word would not have fitted."""
        room = self._width - self._printed - 1
        return self._width > 0 and not self._blanks and room < len(line.split(" ", 1)[0])

    def _says_it_again(self, line: str) -> bool:
        """A program that caught the exception often prints it once more."""
        first = next((text.strip() for text in self._block.message if text.strip()), "")
        return f"{self._block.type.rpartition('.')[2]}:" in line or (first != "" and line.endswith(f": {first}"))

    # -- rich ------------------------------------------------------------------------------------

    def _rich(self, line: str) -> None:
        text = line.strip()
        if patterns.BOX_BOTTOM.match(text):
            self._rich_place()
            self._state = self._after_box
            return
        row = patterns.BOX_ROW.fullmatch(text)
        if row is None:
            # In a row it is the value of a local variable that has the words.
            if patterns.HEADER.search(line):
                self._end(line)
            return
        content = row[1]
        code = patterns.BOX_CODE.match(content)
        if code or not content.strip() or patterns.BOX.match(content.strip()):
            self._rich_place()
            if code and code["here"] and self._block.frames:
                self._at(int(code["line"]), patterns.BOX_GUIDES.sub("", code["source"] or ""))
        elif not patterns.BOX_NOISE.match(content.strip()):
            self._place.append(content)

    def _rich_place(self) -> None:
        """The place of a frame stands over one or more rows, before its code."""
        text = ""
        for row, after in zip(self._place, [*self._place[1:], ""], strict=False):
            # A row that is full has lost the space at which it was broken; elsewhere a long path is broken in a word.
            spaced = row.endswith(" ") or patterns.BOX_FULL.search(row) or after.startswith("in ")
            text += f"{row.rstrip()} " if spaced else row
        self._place = []
        place = patterns.BOX_PLACE.fullmatch(text.strip())
        line = patterns.BOX_LINE.fullmatch(text.strip())
        if line:  # code without a file
            self._add("<unknown>", line["line"], line["function"])
        elif place:
            self._add(place["file"].strip(), place["line"], place["function"])

    def _after_box(self, line: str) -> None:
        if self._is_outside(line) or (line.strip() and not self._is_exception(line)):
            self._end(line)

    # -- IPython -------------------------------------------------------------------------------

    def _ipython(self, line: str) -> None:
        text = line.strip()
        arrow = patterns.ARROW.match(line)
        frame = patterns.FRAME.match(line)
        if arrow and self._block.frames:
            self._at(int(arrow["line"]), arrow["source"])
        elif frame:  # a SyntaxError, or IPython without its own style
            self._add(frame["file"], frame["line"], frame["function"])
        elif self._is_outside(line):
            self._end(line)
        elif (place := patterns.ipython_place(text)) is not None:
            self._add(*place)
        else:
            self._is_exception(line)


def file_name(path: str) -> str:
    """The path of a file as a traceback gives it, that of Windows with ``/``."""
    if patterns.WINDOWS_PATH.match(path):
        path = path.replace("\\", "/")
    return clean(path, 1000) or "<unknown>"


def _spaces(count: int) -> re.Pattern[str] | None:
    return re.compile(f" {{{count}}}") if 0 < count <= patterns.LONGEST_PREFIX else None


def _prefix(before: str) -> re.Pattern[str] | None:
    """What stands before the first line of a traceback, as a pattern for the other lines.

    Figures may differ from line to line (the time); what a logger wrote only once does not match there.
    """
    if not before or len(before) > patterns.LONGEST_PREFIX:
        return None
    group = patterns.GROUP_PREFIX.match(before)
    if group:
        return re.compile(re.escape(group[1]) + r"[|+] ?")
    parts = re.split(r"(\d+)", before)
    return re.compile("".join(r"\d{1,20}" if part.isdigit() else re.escape(part) for part in parts))
